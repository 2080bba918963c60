"""Says which label a picture should have instead of its own, and how sure that is.

A picture is a candidate if three readings propose the same other class: the heads fitted without it, early learning,
and its neighbours. On hard sets most candidates have the right label, and no calibrated probability tells them from
wrong labels. Their resemblance to the given class does. A wrong label drawn at random says nothing of the picture, so
among the pictures of the proposed class the picture resembles the given class as much as any. A hard picture lies
between both classes, and resembles the given one more than nearly all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from variorum.kit.labels.classes import most_flagged
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Detector, column_kinds
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints, Reals


MOST_VOTES = 0.15
"""Largest share of the votes for the given label of a label that is likely wrong; a certainly wrong one has none."""
LEAST_VOTES = 0.9
"""Least share of the votes for the proposed label if the given one is certainly wrong."""
CERTAIN, LIKELY = 0.2, 0.5
"""Largest resemblance to the given class of a label that is certainly, and likely, wrong."""
OFTEN = 2.0
"""Two classes are near if a pair has more than this many times an even share of the candidates."""
FEWEST, LEAST_SHARE = 8, 0.01
"""Nobody acts on fewer such labels, nor on a smaller share of the pictures."""
WRONG, TRIED = 2, 71
"""New labels that were wrong, and all, over the sets that the rule was tried on."""


class NewLabel(Detector):
    """Proposals of another label, and which of them are certain or likely to be right."""

    gives: ClassVar[Mapping[str, str]] = column_kinds(
        numbers="score proposed resemblance votes_for_given votes_for_proposed", flags="agreed candidate certain likely"
    )
    """`candidate`: all three readings propose the same other label; `agreed`: they propose the given one. `proposed`
    is the label of a candidate, -1 for others. `resemblance` is that of a candidate to its given class, in (0, 1].
    `votes_for_given` and `votes_for_proposed` are shares of the neighbours. `score` is 1 - `resemblance`, 0 for no
    candidate."""
    needs_labels: ClassVar[bool] = True

    def needs(self) -> tuple[str, ...]:
        """The three readings."""
        return ("probabilities", "early_learning", "neighbours")

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """The columns of `Readings`, `certain`, `likely`, and `score`: one minus the resemblance, 0 for no candidate.

        `certain` labels can be changed without asking, `likely` ones are proposed to people. If fewer than
        `fewest(judged)` are nearly certain, none is `certain` and they are `likely`; others are `likely` only if there
        are as many of them. `proposed` is -1 and `resemblance` is NaN without a candidate; all
        but the flags are NaN or -1 for pictures that a reading doesn't judge.
        """
        y, classes = table.labels()
        found = readings(
            y,
            table["probabilities.p"],
            places(table["early_learning.proposed"], classes),
            places(table["neighbours.proposed"], classes),
            table["neighbours.knn_index"],
        )
        judged = ~np.isnan(found.votes_for_given)
        clear, probable = verdicts(y, found)
        least = fewest(int(judged.sum()))
        certain = clear & (clear.sum() >= least)
        return {
            **found._asdict(),
            "proposed": np.where(found.candidate, np.append(classes, -1)[found.proposed], -1),
            "score": np.where(judged, np.where(found.candidate, 1 - found.resemblance, 0.0), np.nan),
            "certain": certain,
            "likely": (clear | (probable & (probable.sum() >= least))) & ~certain,
        }

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Counts, how many new labels are expected to be wrong, the classes with most candidates, and `findings`."""
        judged = ~np.isnan(table["score"])
        if not judged.any():
            return {"judged": 0}
        candidate, certain, likely = (table[name] for name in ("candidate", "certain", "likely"))
        y, classes = table.labels()
        clear, _ = verdicts(y, Readings(places(table["proposed"], classes), *(table[n] for n in Readings._fields[1:])))
        figures: dict[str, Json] = {
            "judged": int(judged.sum()),
            "candidates": int(candidate.sum()),
            "near_certain": int(clear.sum()),
            "needed_to_act": fewest(int(judged.sum())),
            "certain": int(certain.sum()),
            "likely": int(likely.sum()),
            "most_flagged_classes": most_flagged(table, candidate, judged=judged),
        }
        if certain.any():
            wrong, interval = expected_wrong(int(certain.sum()))
            figures |= {"wrong_new_labels_expected": wrong, "wrong_new_labels_interval": interval}
        return {**figures, "findings": findings(figures)}


class Readings(NamedTuple):
    """Three readings of N labels.

    Attributes:
        proposed: the class in 0..K-1 that all three propose, -1 if they don't, or if it is the given one.
        agreed: whether all three propose the given class.
        candidate: whether all three propose the same other class.
        resemblance: share of the pictures of the proposed class whose odds of the given class are at most the
            picture's, in (0, 1]; NaN if it isn't a candidate. 1 if the heads don't know the given class.
        votes_for_given: share of the neighbours with the given label; NaN if a reading doesn't judge the picture.
        votes_for_proposed: share of the neighbours with the proposed label; NaN if it isn't a candidate.
    """

    proposed: Ints
    agreed: Bools
    candidate: Bools
    resemblance: Floats
    votes_for_given: Floats
    votes_for_proposed: Floats


def readings(y: Ints, p: Reals, early: Ints, voted: Ints, knn_index: Array) -> Readings:
    """Candidates for another label.

    Args:
        y: given labels `[N]` in 0..K-1, -1 for none.
        p: out-of-sample probabilities `[N, K]`; a row of NaN isn't judged, 0 is a class that the head doesn't know.
        early: class `[N]` that early learning proposes, -1 if not judged.
        voted: class `[N]` that the neighbours propose, -1 if not judged.
        knn_index: rows of the neighbours `[N, k]`, -1 for none.
    """
    judged = (y >= 0) & (early >= 0) & (voted >= 0) & ~np.isnan(p.sum(axis=1))
    predicted = np.where(judged, p.argmax(axis=1), -1)
    same = judged & (predicted == early) & (predicted == voted)
    agreed, candidate = same & (predicted == y), same & (predicted != y)
    proposed = np.where(candidate, predicted, -1)
    given = np.where(judged, vote_share(y, knn_index, y), np.nan)
    other = np.where(candidate, vote_share(proposed, knn_index, y), np.nan)
    return Readings(proposed, agreed, candidate, resemblance(y, p, proposed, agreed), given, other)


def vote_share(label: Ints, knn_index: Array, y: Ints) -> Floats:
    """Share `[N]` of each picture's neighbours `[N, k]` (-1 for none) that are labelled `label`; NaN without any."""
    there = knn_index >= 0
    votes = (there & (np.append(y, -1)[knn_index] == label[:, None])).sum(axis=1)
    share = np.full(len(y), np.nan)
    np.divide(votes, there.sum(axis=1), out=share, where=there.any(axis=1))
    return share


def resemblance(y: Ints, p: Reals, proposed: Ints, agreed: Bools) -> Floats:
    """Rank how much each candidate resembles its given class i, among the pictures of the proposed class j.

    It is (1 + A) / (1 + n), where n pictures are labelled j by all readings, and A of them have a log p_i - log p_j as
    low as the candidate's. If the candidate is a picture of j whose label was drawn at random, it is uniform.

    Args:
        y: `[N]` given labels in 0..K-1, or -1.
        p: out-of-sample probabilities `[N, K]`.
        proposed: `[N]` j of a candidate, -1 for others.
        agreed: `[N]` pictures whose label all readings propose.

    Returns:
        `[N]` in (0, 1]; NaN if not a candidate, 1 for a given class with probability 0, which the head doesn't know.
    """
    rank = np.full(len(y), np.nan)
    rows = np.flatnonzero(proposed >= 0)
    rows = rows[np.lexsort((y[rows], proposed[rows]))]
    starts = np.flatnonzero(np.diff(proposed[rows], prepend=-1) | np.diff(y[rows], prepend=-1))
    members, theirs = rows[:0], p[:0]
    for a, b in pairwise([*starts.tolist(), len(rows)]):
        i, j = y[rows[a]], proposed[rows[a]]
        if a == 0 or proposed[rows[a - 1]] != j:
            members = np.flatnonzero(agreed & (y == j))
            theirs = p[members]
        ordered = np.sort(log_odds(theirs, i, j))
        asked = rows[a:b]
        as_low = np.searchsorted(ordered, log_odds(p[asked], i, j), side="right")
        rank[asked] = np.where(p[asked, i] > 0, (1 + as_low) / (1 + len(members)), 1.0)
    return rank


def log_odds(p: Reals, i: int, j: int) -> Floats:
    """The difference log p_i - log p_j of each row; finite, as probabilities are kept above the least float."""
    some = np.maximum(p[:, [i, j]].astype(np.float64), np.finfo(np.float32).tiny)
    return np.asarray(np.log(some[:, 0]) - np.log(some[:, 1]))


def verdicts(y: Ints, found: Readings) -> tuple[Bools, Bools]:
    """Masks `[N]` of the labels that are nearly certain, and likely, to be wrong, however few they are.

    Both need few votes for the given label. Near certain needs none, a low resemblance and most votes for the proposed
    label; likely allows more of it, but no pair of near classes, in which hard pictures and wrong labels look alike.
    """
    unsupported = found.candidate & (found.votes_for_given <= MOST_VOTES)
    alone = unsupported & (found.votes_for_given == 0)
    clear = alone & (found.resemblance <= CERTAIN) & (found.votes_for_proposed > LEAST_VOTES - 1e-9)
    return clear, unsupported & (found.resemblance <= LIKELY) & ~near(y, found.proposed)


def near(y: Ints, proposed: Ints) -> Bools:
    """Return whether each candidate `[N]` is of two near classes, which many *others* swap, too.

    With n_ij - 1 others and an even share e, the mean n_ij over all i != j, it is if (n_ij - 1/2) / (e + 1/2) is above
    `OFTEN`. A single candidate says nothing of its pair. `proposed` is -1 for other pictures.
    """
    k = int(y.max(initial=0)) + 1
    rows = np.flatnonzero(proposed >= 0)
    found = np.zeros(len(y), dtype=bool)
    if len(rows):
        _, pair, counts = np.unique(y[rows] * k + proposed[rows], return_inverse=True, return_counts=True)
        even = len(rows) / (k * (k - 1))
        found[rows] = (counts[pair] - 0.5) / (even + 0.5) > OFTEN
    return found


def fewest(judged: int) -> int:
    """Return how many labels must be nearly certain, or likely, to be wrong before any of them counts."""
    return max(FEWEST, int(np.ceil(LEAST_SHARE * judged - 1e-9)))


def expected_wrong(changed: int) -> tuple[float, list[Json]]:
    """Estimate how many of these new labels are wrong, with a 95 % interval (Clopper and Pearson, 1934).

    It rests on the rule's precision over the sets that it was tried on.
    """
    from scipy.stats import binomtest

    interval = binomtest(WRONG, TRIED).proportion_ci(0.95)
    return round(changed * WRONG / TRIED, 1), [round(float(changed * end), 1) for end in interval]


def findings(figures: Mapping[str, Any]) -> list[Json]:
    """Plain sentences about what was found, from the figures."""
    found: list[Json] = []
    if certain := figures["certain"]:
        middle, (least, most) = figures["wrong_new_labels_expected"], figures["wrong_new_labels_interval"]
        found.append(
            f"{certain:,} labels are nearly certain to be wrong. If all are changed, about {middle:g} of the new ones "
            f"are expected to be wrong (95 % interval {least:g} to {most:g}). This rests on other sets than yours, "
            f"where {WRONG} of {TRIED} were."
        )
    elif clear := figures["near_certain"]:
        found.append(
            f"{clear} {'labels are' if clear > 1 else 'label is'} nearly certain to be wrong, too few to act on "
            f"({figures['needed_to_act']} would be needed); people are asked."
        )
    if likely := figures["likely"]:
        verb = "labels are" if likely > 1 else "label is"
        found.append(f"{likely:,} {verb} likely to be wrong; people are shown a new one for each.")
    return found


def places(proposed: Array, classes: Ints) -> Ints:
    """Position `[N]` of each proposed label in the sorted `classes`; -1 for none."""
    known = np.isin(proposed, classes)
    return np.where(known, np.searchsorted(classes, np.where(known, proposed, -1)), -1)
