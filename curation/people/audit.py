"""A random sample for people that tells how wrong the edition and its release are, and what the detectors miss.

Flagged pictures alone say nothing about the errors that no detector suspects, so they make an edition look cleaner than
it is. Therefore unflagged pictures are drawn too, at random with known chances, and more of them where errors hide.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field, field_validator

from variorum.arrays import class_tiers
from variorum.curation.people.panel.answers import match_answers, read_answers
from variorum.curation.people.panel.estimator import allocate
from variorum.curation.people.panel.rates import audit_rates, expected_half_width, rounded
from variorum.curation.people.panel.sampling import FATES, STATES, TIERS, Population, Stratum, draw_order, split
from variorum.kit.labels.columns import check_columns, kind_of
from variorum.schemas.canonical import Json
from variorum.schemas.component import FLAGS, NUMBERS, Context, Decider
from variorum.schemas.errors import RecipeError
from variorum.schemas.verdict import Verdict

if TYPE_CHECKING:
    import pyarrow as pa

    from variorum.arrays import Floats
    from variorum.schemas.table import Table

FEW = 1000
"""Pictures below which a tenth of them is drawn, unless the recipe gives numbers."""
DRAWN = (100, 100, 30)
"""Unflagged, flagged and relabelled pictures that are drawn otherwise."""
PIECE = 1 << 16
"""Texts that are Python objects at a time."""


class Audit(Decider):
    """An `audit` verdict for each picture drawn, with its chance of being drawn as the value; figures once answered.

    Strata are flagged or not × head, middle and tail classes by size × kept, relabelled or dropped by the other steps,
    and optionally × the values of another column. Withheld pictures are shown to nobody, so the figures are about all
    others.
    """

    revision: ClassVar[int] = 3
    location: ClassVar[frozenset[str]] = frozenset({"answers"})
    reads_verdicts: ClassVar[bool] = True

    flags: tuple[str, ...] = ()
    """Boolean columns, such as `confident_learning.flag`; a picture is flagged if any of them is true."""
    sample: int | None = Field(default=None, ge=1)
    """Unflagged pictures to review; more if the minimum for the tail requires it. By default 100; of fewer than 1,000
    pictures, a tenth is drawn in all, flagged and relabelled ones included."""
    sample_flagged: int | None = Field(default=None, ge=0)
    """Flagged pictures to review; by default 100, or their part of the tenth."""
    sample_relabelled: int | None = Field(default=None, ge=0)
    """Relabelled pictures to review in addition, flagged or not; by default 30, or their part of the tenth. With 0, the
    release's error rate stays unknown."""
    least_tail: int = Field(default=30, ge=2)
    """Least number drawn from each stratum of kept pictures in tail classes, if it has them; 2 for other strata. Where
    a tenth is drawn there is no such minimum."""
    strata: str = ""
    """Another column that splits the strata, such as `licence`."""
    spread: dict[str, float] = Field(default_factory=dict)
    """Expected standard deviation of "wrong" by stratum, such as `{"unflagged/tail/kept": 0.4}`, 0.2 if not given.
    More is drawn where it is larger. For an expected error rate r it is √(r(1 - r))."""
    guesses: str = ""
    """Column in [0, 1] that guesses how likely each label is wrong; adds an estimate that uses it."""
    seed: int = 0
    """Another seed draws other pictures. With the same seed, a larger sample contains the smaller one."""
    answers: Path | None = None
    """CSV or parquet of people's answers: `id`, `sha256`, `wrong` (0 or 1, empty for not yet), `new_wrong` for the new
    label of relabelled pictures, and `reviewer` if there are several; or a file of votes on labels."""
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
                    f"{name!r} is not a stratum; names look like unflagged/tail/kept or flagged/head/relabelled/CC0-1.0"
                )
            if not value >= 0:
                raise ValueError(f"{name}: a standard deviation can't be {value}")
        return spread

    def needs(self) -> tuple[str, ...]:
        """The detectors whose columns are named in `flags`, `strata` and `guesses`."""
        names = (name.partition(".") for name in (*self.flags, self.strata, self.guesses))
        return tuple(dict.fromkeys(step for step, dot, _ in names if dot and step != "gate"))

    def without(self, steps: Collection[str]) -> Audit:
        """Without the columns of these steps."""
        gone = {name for name in (*self.flags, self.strata, self.guesses) if name.partition(".")[0] in steps}
        flags = tuple(name for name in self.flags if name not in gone)
        others = {field: "" for field in ("strata", "guesses") if getattr(self, field) in gone}
        return self.model_copy(update={"flags": flags, **others})

    def check(self, ctx: Context) -> None:
        """Return whether each column is a detector's or the edition's, and whether the answers can be read."""
        check_columns(filter(None, (*self.flags, self.strata, self.guesses)), "curate.audit")
        if self.answers:
            read_answers(self.answers)

    def check_columns(self, known: Mapping[str, Mapping[str, str]]) -> None:
        """Return whether the detectors give the columns; `flags` must be true and false, `guesses` numbers."""
        wanted = [("flags", name, FLAGS) for name in self.flags] + [("guesses", self.guesses, NUMBERS)]
        for field, name, kind in wanted:
            if (found := kind_of(name, known, f"curate.audit.{field}")) not in (None, kind):
                raise RecipeError(f"curate.audit.{field}: {name} holds {found}, not {kind}; name another column")
        kind_of(self.strata, known, "curate.audit.strata")

    def decide(self, table: Table, ctx: Context) -> Iterator[Verdict]:
        """The pictures drawn, by id."""
        population = self._population(table)
        drawn = population.chosen()
        rows, stratum = population.rows[drawn], population.stratum[drawn]
        chances = population.drawn / np.maximum(population.pictures, 1)
        ids = table.column("id").take(rows).to_pylist()
        for number in sorted(range(len(rows)), key=ids.__getitem__):
            yield table.verdict(rows[number], "audit", "drawn", value=chances[stratum[number]])

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Compute the rates that the answers give (`audit_rates`), and count the answers that are used."""
        population = self._population(table)
        queue = int(population.drawn.sum())
        if self.answers is None:
            return self._beforehand(population, queue)
        names = ("id", "sha256", "labels", "verdict.labels")
        ids, hashes, labels, new = (table.column(name).take(population.rows).to_pylist() for name in names)
        given = [" ".join(some or ()) for some in labels]
        answers = match_answers(read_answers(self.answers), list(zip(ids, hashes, given, new, strict=True)))
        answered, usable = ~np.isnan(answers.wrong), population.chosen(answers.wrong)
        wrong, new_wrong = (np.where(usable, one, np.nan) for one in (answers.wrong, answers.new_wrong))
        done = int((answered & population.chosen()).sum())
        guesses = self._guesses(table)[population.rows] if self.guesses else None
        return {
            "state": f"audited: {done} of {queue} pictures drawn are answered",
            "queue": queue,
            "answers_sha256": hashlib.sha256(self.answers.read_bytes()).hexdigest(),
            "answers": {
                "used": int((answered & usable).sum()),
                "unknown_picture": answers.unknown,
                "picture_changed": answers.changed,
                "not_drawn": int((answered & ~usable).sum()),
            },
            "reviewers_alpha": rounded(answers.alpha),
            **audit_rates(population, wrong, new_wrong, guesses),
        }

    def _beforehand(self, population: Population, queue: int) -> Mapping[str, Json]:
        """The figures before anybody has answered: how closely the answers would tell the error rate."""
        within = expected_half_width(population, self._spread(population.strata))
        state = f"not audited: {queue} {'picture' if queue == 1 else 'pictures'} in the queue"
        if np.isnan(within):
            return {"state": state, "queue": queue}
        points = round(100 * within)
        state += (
            f", which tell the error rate to about ± {points} points" if points > 1 else ", which tell the error rate"
        )
        return {"state": state, "queue": queue, "within": rounded(within)}

    def _spread(self, strata: Sequence[Stratum]) -> Floats:
        return np.array([self.spread.get(one.name, 0.2) for one in strata], np.float64)

    def _population(self, table: Table) -> Population:
        import pyarrow as pa
        import pyarrow.compute as pc

        y, _ = table.labels()
        variant = pc.fill_null(table.column("variant"), "")
        left_out = pc.is_in(variant, value_set=pa.array(self.leave_out, pa.string())).to_numpy()
        withheld = pc.equal(table.column("verdict.action"), "withhold").to_numpy()
        rows = np.flatnonzero(~left_out & ~withheld & (y >= 0))
        flagged = np.zeros(len(table), bool)
        for name in self.flags:
            column = table[name]
            if column.dtype != bool:
                raise RecipeError(f"curate.audit.flags: {name} holds {column.dtype}, not true and false")
            flagged |= column
        values = table[self.strata][rows].astype(str) if self.strata else None
        dropped, relabelled = (
            pc.equal(table.column("verdict.action"), action).to_numpy()[rows] for action in ("drop", "relabel")
        )
        fates = np.where(dropped, 2, np.where(relabelled, 1, 0))
        stratum, strata = split(flagged[rows], class_tiers(y[rows]), fates, values)
        pictures = np.bincount(stratum, minlength=len(strata))
        drawn = np.zeros(len(strata), np.int64)
        least = np.array([self.least_tail if one[1:3] == ("tail", "kept") else 2 for one in strata], np.int64)
        spread = self._spread(strata)
        group = np.array([2 if one.fate == "relabelled" else STATES.index(one.state) for one in strata], np.int64)
        if few := len(rows) < FEW:
            one = [int(pictures[h] == pictures[group == kind].max()) for h, kind in enumerate(group)]  # of each group
            drawn = allocate(pictures, math.ceil(len(rows) / 10), spread, np.array(one, np.int64))
        for number, total in enumerate((self.sample, self.sample_flagged, self.sample_relabelled)):
            mine = group == number
            if total is not None or not few:
                number = DRAWN[number] if total is None else total
                drawn[mine] = allocate(pictures[mine], number, spread[mine], least[mine]) if number else 0
        order = draw_order(texts(table.column("id").take(rows)), stratum, self.seed)
        return Population(rows, stratum, strata, pictures, drawn, order)

    def _guesses(self, table: Table) -> Floats:
        guesses = np.nan_to_num(table[self.guesses].astype(np.float64))
        if ((guesses < 0) | (guesses > 1)).any():
            raise RecipeError(
                f"curate.audit.guesses: {self.guesses} runs from {guesses.min():g} to {guesses.max():g}; it must be "
                "the probability that a label is wrong, in [0, 1]"
            )
        return guesses


def texts(column: pa.ChunkedArray) -> Iterator[str]:
    """A column's texts, of which only `PIECE` are Python objects at a time."""
    for start in range(0, len(column), PIECE):
        yield from column.slice(start, PIECE).to_pylist()
