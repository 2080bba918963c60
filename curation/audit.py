"""A random sample for people that tells how wrong the edition and its release are, and what the detectors miss.

Looking only at what is flagged says nothing of the errors that no detector suspects, and calls the edition cleaner
than it is. So some unflagged pictures are drawn too, at random and with known chances, more where errors hide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from curation.panel.answers import match_answers, read_answers
from curation.panel.estimator import Estimate, Strata, allocate, difference_estimate, share_of, stratified_rate
from curation.panel.sampling import FATES, STATES, TIERS, Population, draw_order, split
from schemas.canonical import Json
from schemas.component import CurationStep
from schemas.errors import RecipeError
from schemas.verdict import Verdict
from variorum.columns import class_tiers, given_labels, vector

if TYPE_CHECKING:
    import pyarrow as pa

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Audit(CurationStep):
    """An `audit` verdict for each picture drawn, its chance of being drawn as the value; figures once people answered.

    Strata are flagged or not x head, middle and tail classes by size x kept, relabelled or dropped by the other steps,
    and another column's values if wanted.
    """

    revision: ClassVar[int] = 2
    whereabouts: ClassVar[frozenset[str]] = frozenset({"answers"})
    reads_verdicts: ClassVar[bool] = True

    flags: tuple[str, ...] = ()
    """Boolean columns, such as `confident_learning.flag`; a picture is flagged if any of them says so."""
    sample: int = Field(default=100, ge=1)
    """Unflagged pictures to review; more where the tail's minimum asks for it."""
    sample_flagged: int = Field(default=100, ge=0)
    """Flagged pictures to review."""
    sample_relabelled: int = Field(default=30, ge=0)
    """Pictures to review that get another label, flagged or not, besides those: without, nothing can be said of the
    release."""
    least_tail: int = Field(default=30, ge=2)
    """At least so many from each stratum of what is kept of tail classes, where it has them; other strata give at least
    2."""
    strata: str = ""
    """Another column that strata are split by, such as `licence`."""
    spread: dict[str, float] = Field(default_factory=dict)
    """Expected standard deviation of "wrong" by stratum, such as `{"unflagged/tail/kept": 0.4}`, 0.2 where not given;
    strata with more of it are drawn from more. √(r(1 - r)) for an expected error rate r."""
    guesses: str = ""
    """Column in [0, 1] that guesses how likely each label is wrong; makes an estimate with its help, too."""
    seed: int = 0
    """Another seed draws other pictures. A larger sample under the same seed keeps those drawn before."""
    answers: Path | None = None
    """CSV or parquet of people's answers: `id`, `sha256`, `wrong` (0 or 1, empty for not yet), `new_wrong` for the new
    label of what is relabelled, and `reviewer` if there are several."""
    leave_out: tuple[str, ...] = ("plate",)
    """Variants that aren't meant to show their class."""

    @field_validator("spread")
    @classmethod
    def _known_strata(cls, spread: dict[str, float]) -> dict[str, float]:
        for name, value in spread.items():
            parts = name.split("/", 3)
            known = len(parts) > 2 and all(
                part in some for part, some in zip(parts, (STATES, TIERS, FATES), strict=False)
            )
            if not known:
                raise ValueError(
                    f"{name!r} is no stratum; they are called unflagged/tail/kept or flagged/head/relabelled/CC0-1.0"
                )
            if not value >= 0:
                raise ValueError(f"{name}: a standard deviation can't be {value}")
        return spread

    def needs(self) -> tuple[str, ...]:
        """The steps whose columns are named in `flags`, `strata` and `guesses`."""
        names = (name.partition(".") for name in (*self.flags, self.strata, self.guesses))
        return tuple(dict.fromkeys(step for step, dot, _ in names if dot and step != "gate"))

    def without(self, steps: Collection[str]) -> Audit:
        """Without the columns of these steps."""
        gone = {name for name in (*self.flags, self.strata, self.guesses) if name.partition(".")[0] in steps}
        flags = tuple(name for name in self.flags if name not in gone)
        others = {field: "" for field in ("strata", "guesses") if getattr(self, field) in gone}
        return self.model_copy(update={"flags": flags, **others})

    def decide(self, table: pa.Table) -> Iterator[Verdict]:
        """The pictures drawn, by id."""
        population = self._population(table)
        chosen = population.rows[population.chosen()]
        ids, hashes = (table.column(name).take(chosen).to_pylist() for name in ("id", "sha256"))
        chances = (population.drawn / np.maximum(population.pictures, 1))[population.stratum[population.chosen()]]
        for sample_id, sha256, chance in sorted(zip(ids, hashes, chances.tolist(), strict=True)):
            yield Verdict(sample_id, sha256, "audit", self.component_name(), "drawn", value=chance)

    def summarise(self, table: pa.Table) -> Mapping[str, Json]:
        """What the answers say: `audit_figures`, and how many of them could be used."""
        population = self._population(table)
        queue = int(population.drawn.sum())
        if self.answers is None:
            return {"state": f"not audited: {queue} pictures in the queue", "queue": queue}
        names = ("id", "sha256", "labels", "verdict.labels")
        ids, hashes, labels, new = (table.column(name).take(population.rows).to_pylist() for name in names)
        given = [" ".join(some or ()) for some in labels]
        answers = match_answers(read_answers(self.answers), list(zip(ids, hashes, given, new, strict=True)))
        there, usable = ~np.isnan(answers.wrong), population.chosen(answers.wrong)
        wrong, new_wrong = (np.where(usable, one, np.nan) for one in (answers.wrong, answers.new_wrong))
        done = int((there & population.chosen()).sum())
        guesses = self._guesses(table)[population.rows] if self.guesses else None
        return {
            "state": f"audited: {done} of {queue} pictures drawn are answered",
            "queue": queue,
            "answers_sha256": hashlib.sha256(self.answers.read_bytes()).hexdigest(),
            "answers": {
                "used": int((there & usable).sum()),
                "unknown_picture": answers.unknown,
                "picture_changed": answers.changed,
                "not_drawn": int((there & ~usable).sum()),
            },
            "reviewers_alpha": _rounded(answers.alpha),
            **audit_figures(population, wrong, new_wrong, guesses),
        }

    def _population(self, table: pa.Table) -> Population:
        y, _ = given_labels(table)
        meant = ~np.isin(vector(table, "variant").astype(str), self.leave_out)
        rows = np.flatnonzero(meant & (y >= 0))
        flagged = np.zeros(table.num_rows, bool)
        for name in self.flags:
            column = vector(table, name)
            if column.dtype != bool:
                raise RecipeError(f"curate.audit.flags: {name} holds {column.dtype}, not true and false")
            flagged |= column
        values = vector(table, self.strata)[rows].astype(str) if self.strata else None
        action = vector(table, "verdict.action")[rows]
        fates = np.where(action == "drop", 2, np.where(action == "relabel", 1, 0))
        stratum, strata = split(flagged[rows], class_tiers(y[rows]), fates, values)
        pictures = np.bincount(stratum, minlength=len(strata))
        drawn = np.zeros(len(strata), np.int64)
        least = np.array([self.least_tail if one[1:3] == ("tail", "kept") else 2 for one in strata], np.int64)
        spread = np.array([self.spread.get(one.name, 0.2) for one in strata], np.float64)
        group = np.array([2 if one.fate == "relabelled" else STATES.index(one.state) for one in strata], np.int64)
        for number, total in enumerate((self.sample, self.sample_flagged, self.sample_relabelled)):
            mine = group == number
            if total:
                drawn[mine] = allocate(pictures[mine], total, spread[mine], least[mine])
        ids = table.column("id").take(rows).to_pylist()
        return Population(rows, stratum, strata, pictures, drawn, draw_order(ids, stratum, self.seed))

    def _guesses(self, table: pa.Table) -> Floats:
        guesses = np.nan_to_num(vector(table, self.guesses).astype(np.float64))
        if ((guesses < 0) | (guesses > 1)).any():
            raise RecipeError(
                f"curate.audit.guesses: {self.guesses} runs from {guesses.min():g} to {guesses.max():g}; it must guess "
                "how likely a label is wrong, in [0, 1]"
            )
        return guesses


def audit_figures(
    population: Population, wrong: Floats, new_wrong: Floats, guesses: Floats | None = None
) -> dict[str, Json]:
    """Error rates of edition and release, the flags' precision and recall, and what they cost the tail.

    A stratum without answers is taken to be like the rest of its kind; its name is given.

    Args:
        population: the pictures.
        wrong: `[n]` answers in [0, 1] on the label as given, NaN where there is none or it may not be used.
        new_wrong: `[n]` the same on the new label of what is relabelled.
        guesses: `[n]` in [0, 1] how likely a model thinks each label wrong.
    """
    is_flagged = population.where("flagged")
    raw = tally(population, wrong)
    home = merged(raw, is_flagged)
    strata, stratum = combined(raw, home), home[population.stratum]
    flagged, unflagged = strata[is_flagged], strata[~is_flagged]
    total, precision = float(strata.pictures.sum()), stratified_rate(flagged)
    after, new = after_release(population, wrong, new_wrong)
    figures: dict[str, Json] = {
        "error_rate": {
            "before": _figure(stratified_rate(strata)),
            "after": _figure(after),
            "from_flagged_alone": _rounded(
                precision.value * float(flagged.pictures.sum()) / total if total else np.nan
            ),
        },
        "new_labels": new,
        "precision": _figure(precision),
        "recall": _figure(share_of(flagged, unflagged)),
    }
    if guesses is not None:
        answered = ~np.isnan(wrong)
        means = np.bincount(stratum, weights=guesses, minlength=len(home)) / np.maximum(strata.pictures, 1)
        sizes = strata.pictures.astype(np.int64)
        helped = difference_estimate(wrong[answered], stratum[answered], guesses[answered], sizes, means)
        figures["error_rate_with_guesses"] = _figure(helped)
    figures["harm"] = {
        tier: _figure(share_of(raw[is_flagged & here].right(), raw[~is_flagged & here].right()))
        for tier in TIERS
        if (here := population.where(tier)).any()
    }
    value, low, high = raw.rates()
    names = [one.name for one in population.strata]
    figures["strata"] = {
        name: {
            "pictures": int(raw.pictures[h]),
            "answered": int(raw.answered[h]),
            "wrong": float(raw.wrong[h]),
            "rate": _figure(Estimate(value[h], low[h], high[h])),
        }
        for h, name in enumerate(names)
    }
    figures["strata_without_answers"] = [name for name, number in zip(names, raw.answered, strict=True) if not number]
    return figures


def after_release(population: Population, wrong: Floats, new_wrong: Floats) -> tuple[Estimate, dict[str, Json]]:
    """The share of wrong labels in what the release keeps, each picture with the label that it has there.

    What is dropped counts for nothing, what is relabelled by its new label. While that isn't answered wherever the old
    one is, there is no telling: those who called the old label right needn't say more, and would be all there is.

    Returns:
        The estimate; and of the new labels how many there are, how many are answered, how many still to be asked about,
        and their own rate.
    """
    relabelled, dropped = population.where("relabelled"), population.where("dropped")
    changed = relabelled[population.stratum]
    asked = int((changed & ~np.isnan(wrong)).sum())
    said = np.where(changed, new_wrong, wrong)
    answered = int((changed & ~np.isnan(said)).sum())
    raw = tally(population, said)
    kind = np.where(dropped, 3, np.where(relabelled, 2, population.where("flagged")))
    strata = combined(raw, merged(raw, kind))
    nothing = Estimate(np.nan, np.nan, np.nan)
    new: dict[str, Json] = {
        "pictures": int(changed.sum()),
        "answered": answered,
        "not_yet": asked - answered,
        "wrong": _figure(stratified_rate(strata[relabelled]) if asked == answered else nothing),
    }
    return stratified_rate(strata[~dropped]) if asked == answered else nothing, new


def tally(population: Population, answers: Floats) -> Strata:
    """The strata with what was answered `[n]`, NaN for nothing."""
    there = ~np.isnan(answers)
    return Strata.of(answers[there], population.stratum[there], population.pictures)


def merged(strata: Strata, kind: NDArray[np.integer[Any]] | Bools) -> Ints:
    """For each stratum the one that it is counted with: itself, or without answers the largest answered of its kind.

    Args:
        strata: H of them.
        kind: `[H]`.
    """
    home = np.arange(len(strata.pictures))
    for one in np.unique(kind):
        answered = np.flatnonzero((kind == one) & (strata.answered > 0))
        if len(answered):
            largest = answered[np.argmax(strata.pictures[answered])]
            home[(kind == one) & (strata.answered == 0)] = largest
    return home


def combined(strata: Strata, home: Ints) -> Strata:
    """Each stratum with those `[H]` that are counted with it; these are empty."""
    parts = (strata.pictures, strata.answered, strata.wrong)
    return Strata(*(np.bincount(home, weights=part, minlength=len(home)).astype(np.float64) for part in parts))


def _figure(estimate: Estimate) -> Json:
    if np.isnan(estimate.value):
        return None
    return {"value": _rounded(estimate.value), "low": _rounded(estimate.low), "high": _rounded(estimate.high)}


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)
