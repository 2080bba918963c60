"""Chooses the questions that people are asked: the most useful ones within a budget, with controls among them.

The rules of `policy` say which pictures are doubtful, and what asking is worth: the chance of a fault, times what
finding it is worth. People's time is limited, so the best questions come first, whatever their reason is. Answers
calibrate the chances; without answers a chance is only good for ordering, and none is reported.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from variorum.curation.people.panel.answers import match_answers, read_answers
from variorum.edition.verdicts import rows_of
from variorum.kit.labels.classes import id_ranks
from variorum.kit.labels.columns import check_columns, kind_of
from variorum.schemas.canonical import Json
from variorum.schemas.component import NUMBERS, Context, Decider
from variorum.schemas.errors import RecipeError
from variorum.schemas.verdict import Verdicts
from variorum.stages.queue import ANSWERED, CALIBRATED, GOLD

if TYPE_CHECKING:
    import pyarrow as pa

    from variorum.arrays import Bools, Floats, Ints
    from variorum.schemas.table import Table

ENOUGH = 20
"""Answers that are needed before chances are calibrated and reported."""
UNKNOWN = 0.5
"""What a question of unknown worth counts as."""
FARTHEST = 12.0
"""Largest absolute log odds of a chance."""


class Review(Decider):
    """With a budget, takes questions back as `unasked`, or adds the next most suspect pictures; and draws controls."""

    location: ClassVar[frozenset[str]] = frozenset({"answers"})
    reads_verdicts: ClassVar[bool] = True

    budget: int | None = Field(default=None, ge=0)
    """Number of questions to ask, over all reasons. If the rules ask fewer, the pictures with the highest chances are
    added. By default every question is asked. Pictures drawn by `audit` and controls come on top."""
    chance: str = ""
    """Column with every picture's chance in [0, 1] of a fault, which adds pictures and which answers calibrate."""
    gold: float = Field(default=0.05, ge=0, lt=1)
    """Number of controls for every question: pictures that people have answered before, to see how careful they are."""
    answers: Path | None = None
    """CSV or parquet of people's answers so far: `id`, `sha256`, `wrong`, and `reviewer` if there are several; or a
    file of votes on labels. What is answered isn't asked again, except as a control."""

    def needs(self) -> tuple[str, ...]:
        """The detector whose column is named in `chance`."""
        step, dot, _ = self.chance.partition(".")
        return (step,) if dot and step != "gate" else ()

    def without(self, steps: Collection[str]) -> Review:
        """Without the column of these steps."""
        return self.model_copy(update={"chance": ""}) if set(self.needs()) & set(steps) else self

    def check(self, ctx: Context) -> None:
        """Return whether the column is a detector's or the edition's, and whether the answers can be read."""
        check_columns(filter(None, (self.chance,)), "curate.review.chance")
        if self.answers:
            read_answers(self.answers, "curate.review.answers")

    def check_columns(self, known: Mapping[str, Mapping[str, str]]) -> None:
        """Return whether the detector gives the column, and it holds numbers."""
        if (found := kind_of(self.chance, known, "curate.review.chance")) not in (None, NUMBERS):
            raise RecipeError(f"curate.review.chance: {self.chance} holds {found}, not {NUMBERS}; name another column")

    def decide(self, table: Table, ctx: Context) -> Iterator[Verdicts]:
        """`unasked` for questions left out, `review` for pictures added and for worths that answers have changed.

        What is answered gets a `note` in any case. Controls get an `audit` verdict with the reason `gold`.

        Raises:
            RecipeError: a chance outside [0, 1].
        """
        plan = self._plan(table)
        if len(plan.noted):
            yield table.verdicts(plan.noted, "note", ANSWERED)
        for reason, rows in ((ANSWERED, plan.answered), ("beyond_budget", plan.left_out)):
            if len(rows):
                yield table.verdicts(rows, "unasked", reason, worth=plan.worth[rows])
        for reason, rows in (("next_most_suspect", plan.added), (CALIBRATED, plan.reordered)):
            if len(rows):
                rows = rows[np.lexsort((plan.ties[rows], -plan.worth[rows]))]
                yield table.verdicts(rows, "review", reason, value=plan.worth[rows], worth=plan.worth[rows])
        if len(gold := self._gold(plan, ctx)):
            yield table.verdicts(gold, "audit", GOLD)

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Numbers of questions asked, left out and added, and once calibrated the faults expected in each group."""
        plan = self._plan(table)
        chosen = np.union1d(np.setdiff1d(plan.asked, plan.left_out), plan.added).astype(np.int64)
        others = np.setdiff1d(plan.open, chosen)
        groups = {"asked": chosen, "left_out": plan.left_out, "all_others": np.setdiff1d(others, plan.left_out)}
        expected: dict[str, Json] = {
            name: round(float(plan.chance[rows].sum()), 1) if plan.calibrated else None for name, rows in groups.items()
        }
        said = [f"People are asked about {len(chosen):,} of {len(table):,} pictures."]
        if len(plan.left_out):
            said.append(f"The budget of {self.budget:,} leaves {len(plan.left_out):,} other questions unasked.")
        if plan.calibrated:
            said.append(
                f"By {plan.answers:,} answers, about {plan.chance[chosen].sum():,.0f} of them are expected to be at "
                f"fault, and about {plan.chance[others].sum():,.0f} of all others that are not answered."
            )
        elif len(plan.left_out):
            said.append(
                f"How many faults are left among them can be estimated once {ENOUGH} questions are answered; "
                f"there are {plan.answers}."
            )
        file = {"answers_sha256": hashlib.sha256(self.answers.read_bytes()).hexdigest()} if self.answers else {}
        return {
            "asked": len(chosen),
            "left_out": len(plan.left_out),
            "added": len(plan.added),
            "controls": len(self._gold(plan, ctx)),
            "answers": plan.answers,
            "expected_faults": expected,
            **file,
            "findings": [" ".join(said)],
        }

    def _plan(self, table: Table) -> Plan:
        action = table.column("verdict.action")
        worth, chance = table["verdict.worth"].astype(np.float64), self._chances(table)
        asked = _are(action, "review")
        wrong = np.where(_are(action, "withhold"), np.nan, self._answered(table))  # nobody is shown these again
        answered = ~np.isnan(wrong)
        known = answered & ~np.isnan(chance)
        calibrated = int(known.sum()) >= ENOUGH
        if calibrated:
            better = calibrate(chance, chance[known], wrong[known])
            by_chance = asked & np.isclose(worth, chance)
            worth = np.where(by_chance, better, worth)
            chance = better
        value = np.where(asked, np.nan_to_num(worth, nan=UNKNOWN), np.nan_to_num(chance, nan=-1))
        wanted = _are(action, "review", "keep", "note", "audit", "weight") & ~answered & ~table["verdict.settled"]
        questions = np.flatnonzero(asked & ~answered)
        chosen, ties = questions, id_ranks(table)
        if self.budget is not None:
            candidates = np.flatnonzero(wanted & (asked | (value >= 0)))
            best = np.lexsort((ties[candidates], ~asked[candidates], -value[candidates]))[: self.budget]
            chosen = candidates[best]
        return Plan(
            ties=ties,
            chance=np.nan_to_num(chance),
            worth=np.where(asked, worth, chance),
            wrong=wrong,
            asked=questions,
            answered=np.flatnonzero(asked & answered),
            noted=np.flatnonzero(answered & ~_are(action, "relabel")),
            left_out=np.setdiff1d(questions, chosen),
            added=np.setdiff1d(chosen, questions),
            reordered=np.intersect1d(chosen, np.flatnonzero(by_chance)) if calibrated else np.zeros(0, np.int64),
            open=np.flatnonzero(wanted),
            answers=int(known.sum()),
            calibrated=calibrated,
        )

    def _chances(self, table: Table) -> Floats:
        if not self.chance:
            return np.full(len(table), np.nan)
        chance = table[self.chance].astype(np.float64)
        if ((chance < 0) | (chance > 1)).any():
            raise RecipeError(
                f"curate.review.chance: {self.chance} runs from {np.nanmin(chance):g} to {np.nanmax(chance):g}; "
                "a chance is between 0 and 1"
            )
        return chance

    def _answered(self, table: Table) -> Floats:
        """`[N]` 1 where people found a fault, 0 where they found none, NaN where nobody has answered."""
        import pyarrow as pa

        wrong = np.full(len(table), np.nan)
        if not self.answers:
            return wrong
        rows = read_answers(self.answers, "curate.review.answers")
        names = pa.chunked_array([pa.array([row["id"] for row in rows], pa.string())])
        found = rows_of(table.column("id"), names).drop_null().unique().to_numpy()
        columns = (table.column(name).take(found).to_pylist() for name in ("id", "sha256", "labels"))
        pictures = [(name, sha256, " ".join(labels or ()), "") for name, sha256, labels in zip(*columns, strict=True)]
        wrong[found] = match_answers(rows, pictures).wrong
        return wrong

    def _gold(self, plan: Plan, ctx: Context) -> Ints:
        """Rows of the controls: as many at fault as not, if there are enough of both."""
        number = math.ceil(self.gold * (len(plan.asked) - len(plan.left_out) + len(plan.added)))
        rng = ctx.rng("review", "", "gold")
        kinds = []
        for answer in (1, 0):
            rows = np.flatnonzero(plan.wrong == answer)
            rows = rows[np.argsort(plan.ties[rows])]
            kinds.append(rng.permutation(rows))
        half = [min(len(kinds[0]), max(number // 2, number - len(kinds[1]))), 0]
        half[1] = min(len(kinds[1]), number - half[0])
        return np.sort(np.concatenate([rows[:some] for rows, some in zip(kinds, half, strict=True)])).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Plan:
    """The pictures that are asked about and those that aren't; rows of the table.

    Attributes:
        ties: `[N]` ranks of the ids.
        chance: `[N]` of a fault, 0 if unknown.
        worth: `[N]` of asking.
        wrong: `[N]` the answers so far.
        asked: questions of the rules that aren't answered yet.
        answered: questions of the rules that are.
        noted: all pictures that are, but for those whose new label may be in question.
        left_out: questions beyond the budget.
        added: pictures that no rule asks about.
        reordered: questions whose worth the answers have changed.
        open: all pictures that a question could be about.
        answers: number of answers on pictures with a chance.
        calibrated: whether the chances are.
    """

    ties: Ints
    chance: Floats
    worth: Floats
    wrong: Floats
    asked: Ints
    answered: Ints
    noted: Ints
    left_out: Ints
    added: Ints
    reordered: Ints
    open: Ints
    answers: int
    calibrated: bool


def _are(column: pa.ChunkedArray, *wanted: str) -> Bools:
    """Return which of a column's texts `[N]` are wanted."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pc.is_in(column, value_set=pa.array(wanted, pa.string()))
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=bool)


def calibrate(chance: Floats, asked: Floats, wrong: Floats) -> Floats:
    """Chances corrected by answers: log odds times a slope, plus an intercept (Platt 1999), with a prior for few.

    Args:
        chance: `[N]` in [0, 1], NaN for unknown.
        asked: `[m]` chances of the pictures that are answered.
        wrong: `[m]` the answers, in [0, 1].

    Returns:
        `[N]`. The prior is N(0, 1.5²) for the intercept and N(1, 0.5²) for the slope.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    x = _log_odds(asked)

    def loss(of: Floats) -> float:
        z = of[0] + of[1] * x
        fit = np.logaddexp(0, z) - wrong * z
        return float(fit.sum() + (of[0] / 1.5) ** 2 / 2 + ((of[1] - 1) / 0.5) ** 2 / 2)

    intercept, slope = minimize(loss, np.array([0.0, 1.0]), method="BFGS").x
    return np.asarray(expit(intercept + max(slope, 0.0) * _log_odds(chance)))


def _log_odds(chance: Floats) -> Floats:
    from scipy.special import logit

    return np.asarray(np.clip(logit(chance), -FARTHEST, FARTHEST))
