"""One score to order questions by, a chance of a fault for each picture, and how many pictures are worth a question.

The score adds up what four readings say against a picture and its label. No threshold on it, or on a count by confident
learning, suits hard and easy sets alike: both ask about every hard picture of a clean set. So the number of faults is
estimated first, from the candidates of `new_label`. A wrong label's resemblance to its given class is uniform, a hard
picture's is near one; the candidates with a low resemblance tell how many wrong labels there are at any.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from variorum.kit.labels.classes import id_ranks, most_flagged
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Detector, column_kinds
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Ints, Reals


LEAST = 1e-6
"""Lower bound of a probability."""
FAR, MANY = 0.1, 0.01
"""Weight of the distances' p-values, and the share of likely foreign pictures from which it is given in full."""
BACKED = 0.7
"""Least share of the neighbours with the class that the readings agree on, for a picture to be counted."""
LEVELS = (0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
"""Resemblances up to which candidates are counted."""
LEAST_COUNTED = 0.1
"""With a smaller share of counted pictures, the number of faults can't be told. The share is taken to be this then."""
SLOPE = 1.7
"""How much the log odds of a fault rise with the score."""
RARE = 0.005
"""Share of faults that is presumed where none are found."""


class Suspicion(Detector):
    """A score that orders all questions, the chance of a fault, and a flag for pictures worth a question."""

    gives: ClassVar[Mapping[str, str]] = column_kinds(numbers="score chance", flags="flag")
    needs_labels: ClassVar[bool] = True

    per_fault: float = Field(default=1.3, gt=0)
    """Questions for each fault that is expected, as long as they are few."""
    per_fault_of_many: float = Field(default=0.9, gt=0)
    """Questions for each fault that is expected, where that is more than the share `few` of the pictures."""
    few: float = Field(default=0.12, ge=0, le=1)
    """Share of the pictures up to which questions are few."""
    least: float = Field(default=0.015, ge=0, le=1)
    """At least this share of the pictures is flagged, also if no fault is expected; doubled when the number of faults
    can't be estimated."""
    most: float = Field(default=0.5, gt=0, le=1)
    """At most this share of the pictures is flagged."""

    def needs(self) -> tuple[str, ...]:
        """The four readings: heads, neighbours (by `new_label`), and the two distances from the classes."""
        return ("probabilities", "new_label", "out_of_distribution")

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """Columns `score`, `chance` in [0, 1] that the label or the picture is at fault, and `flag`.

        A picture without a label or a usable embedding gets NaN and False. One whose new label is certain isn't
        flagged.
        """
        foreign = table["out_of_distribution.likely"]
        _, classes = table.labels()
        score = suspicion(
            table["probabilities.self_confidence"],
            table["new_label.votes_for_given"],
            table["out_of_distribution.p_value"],
            table["out_of_distribution.neighbour_p_value"],
            foreign,
            len(classes),
        )
        judged = ~np.isnan(score)
        expected = self.expected(table, judged)
        certain = table["new_label.certain"]
        asked = self.questions(expected, int(certain.sum()), int(judged.sum()), agreed_on(table, judged))
        return {
            "score": score,
            "chance": chances(score, max(expected, RARE * judged.sum())),
            "flag": highest(np.where(certain, np.nan, score), asked, id_ranks(table)),
        }

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Counts, the expected number of faults, the most flagged classes, and `findings`."""
        judged = ~np.isnan(table["score"])
        if not judged.any():
            return {"judged": 0}
        flag = table["flag"]
        expected = round(self.expected(table, judged))
        return {
            "judged": int(judged.sum()),
            "expected_faults": expected,
            "flagged": int(flag.sum()),
            "most_flagged_classes": most_flagged(table, flag, judged=judged),
            "share_agreed_on": round(agreed_on(table, judged), 4),
            "findings": findings(expected, int(flag.sum()), int(judged.sum()), agreed_on(table, judged)),
        }

    def expected(self, table: Table, judged: Bools) -> float:
        """Expected number of faults: wrong labels, and pictures that are likely foreign if some certainly are."""
        candidate, _ = backed(table, judged)
        wrong = wrong_labels(table["new_label.resemblance"][candidate], agreed_on(table, judged))
        speaks = table["out_of_distribution.flag"].any()
        foreign = int((table["out_of_distribution.likely"] & judged).sum()) if speaks else 0
        return min(wrong + foreign, float(judged.sum()))

    def questions(self, expected: float, certain: int, judged: int, counted: float) -> int:
        """Number of pictures to flag.

        Args:
            expected: faults, those included whose new label is certain.
            certain: number of those; nobody needs to be asked about them.
            judged: number of pictures.
            counted: share of them that the readings agree on.
        """
        least = self.least if counted >= LEAST_COUNTED else 2 * self.least
        many = self.per_fault_of_many * (expected - certain)
        wanted = min(self.per_fault * expected, max(many, self.few * judged))
        return min(max(round(wanted), int(least * judged)), int(self.most * judged))


def backed(table: Table, judged: Bools) -> tuple[Bools, Bools]:
    """Pictures `[N]` of another class, and of the given one, by all readings and most neighbours."""
    other = table["new_label.candidate"] & (table["new_label.votes_for_proposed"] >= BACKED)
    given = table["new_label.agreed"] & (table["new_label.votes_for_given"] >= BACKED)
    return judged & other, judged & given


def agreed_on(table: Table, judged: Bools) -> float:
    """Share of the judged pictures on whose class the readings and most neighbours agree."""
    other, given = backed(table, judged)
    return float((other | given).sum() / max(judged.sum(), 1))


def suspicion(
    confidence: Reals, votes: Reals, p_distance: Reals, p_neighbours: Reals, foreign: Bools, classes: int
) -> Floats:
    """The score `[N]`: -ln p - ln(v + .05) / 4 + f - w (ln P1 + ln P2).

    Distances say nothing of labels, and hard pictures are far from their class. So w is 1/10 only if a hundredth of the
    pictures or more are likely foreign, in proportion below that, and 0 if none is.

    Args:
        confidence: p, out-of-sample probability `[N]` of the given label; NaN is not judged, and 0 means that the head
            doesn't know the class, so that 1 / K is taken.
        votes: v, the given label's share `[N]` of the neighbours; NaN adds nothing.
        p_distance: P1, conformal p-values `[N]` of the distance from the classes; NaN adds nothing.
        p_neighbours: P2, those of the distance from the neighbours; NaN adds nothing.
        foreign: f, whether each `[N]` is likely foreign.
        classes: K.
    """
    judged = ~np.isnan(confidence)
    p = np.where(confidence == 0, 1 / max(classes, 1), np.maximum(confidence, LEAST)).astype(np.float64)
    unsupported = np.where(np.isnan(votes), 0.0, np.log(np.nan_to_num(votes) + 0.05))
    weight = FAR * min(1.0, float((foreign & judged).sum()) / max(MANY * judged.sum(), 1e-9))
    far = sum(np.log(np.clip(np.nan_to_num(one, nan=1.0), LEAST, 1)) for one in (p_distance, p_neighbours))
    return np.asarray(-np.log(p) - unsupported / 4 + foreign - weight * far)


def wrong_labels(resemblance: Reals, counted: float) -> float:
    """Expected number of wrong labels, from the candidates' resemblance to their given class.

    If m of them have wrong labels, m times the level are expected up to any level, besides hard pictures. So the count
    divided by the level is too high at each, and the least over the `LEVELS` is taken (after Storey, J. R. Stat. Soc. B
    64, 2002). Pictures without a class that the readings and neighbours agree on aren't counted, and are presumed to
    have wrong labels as often as others.

    Args:
        resemblance: `[M]` of the candidates, in (0, 1].
        counted: share of the pictures with such a class, the given one or another.
    """
    if not len(resemblance):
        return 0.0
    found = min(float((resemblance <= level).sum()) / level for level in LEVELS)
    return found / max(counted, LEAST_COUNTED)


def chances(score: Reals, expected: float) -> Floats:
    """Chances `[N]` of a fault, logistic in the score, that add up to the expected number; NaN where not judged.

    Args:
        score: `[N]`; NaN is not judged.
        expected: number of faults, kept within a quarter of none and all.
    """
    from scipy.optimize import brentq
    from scipy.special import expit

    chance = np.full(len(score), np.nan)
    known = np.sort(score[~np.isnan(score)])
    if len(known):
        total = float(np.clip(expected, 0.25, len(known) - 0.25))
        even = np.log(total / (len(known) - total))  # the shift if all scores were 0
        ends = even - SLOPE * known[-1] - 1, even - SLOPE * known[0] + 1
        shift = brentq(lambda b: float(expit(SLOPE * known + b).sum()) - total, *ends)
        chance[~np.isnan(score)] = expit(SLOPE * score[~np.isnan(score)] + shift)
    return chance


def highest(score: Reals, count: int, ties: Ints) -> Bools:
    """Mask `[N]` of the `count` highest scores; NaN comes last and is never taken.

    Args:
        score: `[N]`.
        count: how many.
        ties: `[N]`, distinct; of equal scores the one with the lower number comes first.
    """
    chosen = np.zeros(len(score), dtype=bool)
    chosen[np.lexsort((ties, -np.nan_to_num(score, nan=-np.inf)))[:count]] = True
    return chosen & ~np.isnan(score)


def findings(expected: int, flagged: int, judged: int, counted: float) -> list[Json]:
    """Plain sentences about what was found."""
    if judged and counted < LEAST_COUNTED:
        return [
            f"The detectors agree on the class of only {100 * counted:.0f} % of the {judged:,} labelled pictures, too "
            f"few to tell how many are at fault. The order holds: set curate.review.budget to look at the most suspect."
        ]
    if not flagged:
        return []
    found = (
        f"About {expected:,} of {judged:,} labelled pictures are expected to be at fault"
        if expected
        else "No fault stands out"
    )
    asked = (
        f"the {flagged:,} most suspect are worth a question" if flagged > 1 else "the most suspect is worth a question"
    )
    return [f"{found}; {asked}."]
