"""Count what a user is left with after a set with planted faults has been curated, or ranked by something else.

The faults to rank are wrong labels and foreign pictures. Blurred pictures, copies and their originals are left out of
rankings, as neither right nor wrong. They are counted by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from variorum.arrays import Array, Bools, Floats, Ints

Figures = dict[str, float | int | None]


@dataclass(frozen=True)
class Truth:
    """The truth about the N pictures of a set.

    Attributes:
        given: `[N]` given class.
        true: `[N]` right class; -1 for foreign pictures.
        kind: `[N]` planted fault, "" for none.
        copy_of: `[N]` row of the original of a copy, -1 for others.
    """

    given: Ints
    true: Ints
    kind: Array
    copy_of: Ints

    @property
    def flipped(self) -> Bools:
        """Wrong labels."""
        return np.char.startswith(self.kind, "flip")

    @property
    def foreign(self) -> Bools:
        """Pictures of no class."""
        return np.asarray(self.kind == "foreign")

    @property
    def faulty(self) -> Bools:
        """The faults to rank."""
        return self.flipped | self.foreign

    @property
    def clean(self) -> Bools:
        """Pictures without a fault and without a planted copy."""
        clean = self.kind == ""
        clean[self.copy_of[self.copy_of >= 0]] = False
        return np.asarray(clean)

    @property
    def ranked(self) -> Bools:
        """The pictures that rankings are judged by."""
        return self.faulty | self.clean

    @property
    def budget(self) -> int:
        """Twice the number of faults to rank."""
        return 2 * int(self.faulty.sum())


@dataclass(frozen=True)
class Outcome:
    """The outcome for the N pictures of a set.

    Attributes:
        dropped: `[N]`.
        new: `[N]` new class of relabelled pictures, -1 for others.
        queue: rows of the pictures that people are asked about, in order, without those that are only drawn at random.
        score: `[N]` how suspect each picture is, NaN for those not ranked; None if nothing ranks all pictures.
    """

    dropped: Bools
    new: Ints
    queue: Ints
    score: Floats | None = None


def left_with(truth: Truth, outcome: Outcome, budgeted: Outcome) -> Figures:
    """Figures of a curation.

    Args:
        truth: of the set.
        outcome: of the recipe unchanged.
        budgeted: the same, with questions limited to the budget if the recipe can limit them.
    """
    n, asked = len(truth.given), np.zeros(len(truth.given), bool)
    asked[outcome.queue] = True
    relabelled = outcome.new >= 0
    right = relabelled & (outcome.new == truth.true)
    harmed = outcome.dropped | (relabelled & ~right)
    in_budget = np.zeros(n, bool)
    in_budget[budgeted.queue[: truth.budget]] = True
    settled = truth.flipped & right | truth.faulty & outcome.dropped
    copies = truth.copy_of >= 0
    originals = np.where(copies, truth.copy_of, 0)
    handled = outcome.dropped | asked
    order = np.concatenate([np.flatnonzero((relabelled | outcome.dropped) & truth.ranked), budgeted.queue])
    return {
        "asked": share(asked, np.ones(n, bool)),
        "clean_asked": share(asked, truth.clean),
        "flips_found": share(asked | right | outcome.dropped, truth.flipped),
        "foreign_found": share(handled, truth.foreign),
        "foreign_relabelled": int((relabelled & truth.foreign).sum()),
        "copies_found": share(handled | handled[originals], copies),
        "blurred_found": share(handled, truth.kind == "blurred"),
        "relabelled": int(relabelled.sum()),
        "relabelled_right": int(right.sum()),
        "clean_harmed": int((harmed & truth.clean).sum()),
        "clean_dropped": int((outcome.dropped & truth.clean).sum()),
        "found_in_budget": share(in_budget | settled, truth.faulty),
        "flips_found_in_budget": share(in_budget | settled, truth.flipped),
        "foreign_found_in_budget": share(in_budget | settled, truth.foreign),
        **ranking(truth, by_place(order, n) if outcome.score is None else outcome.score, order),
    }


def ranking(truth: Truth, score: Floats, order: Ints | None = None) -> Figures:
    """Average precision of scores `[N]` (higher is more suspect, NaN last), and precision at the planted number.

    The precision is that of `order`, row numbers, if given; places that it leaves empty count as wrong.
    """
    from sklearn.metrics import average_precision_score

    planted = int(truth.faulty.sum())
    if not planted:
        return {"ap": None, "precision_at_planted": None}
    value = np.nan_to_num(score, nan=-np.inf)
    finite = value[np.isfinite(value)]
    value = np.clip(value, (finite.min() - 1) if len(finite) else 0, None)
    rows = truth.ranked
    first = np.argsort(-value, kind="stable") if order is None else order
    first = first[rows[first]][:planted]
    return {
        "ap": float(average_precision_score(truth.faulty[rows], value[rows])),
        "precision_at_planted": float(truth.faulty[first].sum() / planted),
    }


def by_place(order: Ints, n: int) -> Floats:
    """Scores `[N]` by place in an order; NaN for rows that aren't in it."""
    score = np.full(n, np.nan)
    score[order[::-1]] = np.arange(len(order), dtype=np.float64)  # of two places the first counts
    return score


def share(some: Bools, of: Bools) -> float | None:
    """The share of some pictures that are `some`, None if there are no such pictures."""
    return float(some[of].mean()) if of.any() else None
