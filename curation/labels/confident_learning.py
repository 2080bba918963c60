"""Finds wrong labels by confident learning, and flags only those that two rankings of the probabilities agree on.

The default rule is our own code (`curation.labels.pruning`: cleanlab's samples at a fraction of its time and memory);
the margins are cleanlab's. On long tails every plain rule flags a tenth to a half of a rare class's right labels.
Subtracting each class's mean confidence repairs that when wrong labels follow the class sizes, and does harm when they
don't. Which holds isn't known beforehand, so labels that only one ranking suspects go to people.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from variorum.curation.labels.pruning import check_probabilities, confident_thresholds, margins, prune_by_noise_rate
from variorum.kit.embeddings.rows import taken
from variorum.kit.labels.classes import id_ranks, most_flagged, places, spread
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Detector, column_kinds
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Ints, Reals


class ConfidentLearning(Detector):
    """Flags labels that both rankings suspect, and marks those that only one suspects for review."""

    gives: ClassVar[Mapping[str, str]] = column_kinds(
        numbers="score margin margin_adjusted proposed", flags="flag review default_flag"
    )
    min_class_size: int = Field(default=30, ge=1)
    """In a class with fewer labels nothing is flagged; suspects go to review."""
    max_share_per_class: float = Field(default=0.5, gt=0, le=1)
    """At most this share of a class's samples is flagged, the most suspect ones; other suspects go to review."""

    def needs(self) -> tuple[str, ...]:
        """`probabilities`, for out-of-sample predictions."""
        return ("probabilities",)

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """Columns `score`, `flag`, `review`, `default_flag`, `margin`, `margin_adjusted`, `proposed`.

        `score` is one minus the mean of the two margins. Unlabelled pictures get NaN, False and -1.

        Raises:
            RecipeError: probabilities for another number of classes, or that don't sum to one.
        """
        y, classes = table.labels()
        p = table["probabilities.p"]
        judged = np.flatnonzero((y >= 0) & ~np.isnan(p[:, 0]))  # without a usable embedding a row of p is NaN
        if len(judged) < len(y):
            y, p = y[judged], taken(p, judged, ctx.store)
        found = suspects(y, p, id_ranks(table)[judged], self.min_class_size, self.max_share_per_class)
        found["proposed"] = classes[found["proposed"]]
        return {name: spread(values, judged, len(table)) for name, values in found.items()}

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """The estimated share of wrong labels, counts, and the most flagged classes."""
        judged = ~np.isnan(table["score"])
        total = int(judged.sum())
        if not total:
            return {"judged": 0}
        flag = table["flag"]
        return {
            "judged": total,
            "estimated_noise_rate": round(float(table["default_flag"].sum() / total), 4),
            "flagged": int(flag.sum()),
            "for_review": int(table["review"].sum()),
            "most_flagged_classes": most_flagged(table, flag, judged=judged),
        }


def suspects(
    y: Ints, p: Reals, ties: Ints, min_class_size: int = 30, max_share_per_class: float = 0.5
) -> dict[str, Array]:
    """Find labels that are likely wrong, by two rankings of out-of-sample probabilities.

    One ranking takes the k samples with the lowest margin, the other the k with the lowest adjusted margin, where k is
    the number that cleanlab's default rule finds. Samples in both are flagged, samples in one are for review.

    Args:
        y: labels `[N]` in 0..K-1.
        p: out-of-sample probabilities `[N, K]`.
        ties: `[N]`, distinct; among equally suspect samples the one with the lower number comes first.
        min_class_size: in a class with fewer labels nothing is flagged; suspects go to review.
        max_share_per_class: largest flagged share of a class; other suspects go to review.

    Returns:
        Arrays `[N]`: `score` (higher is more suspect), `flag`, `review`, `default_flag` (cleanlab's default rule),
        `margin` in [0, 1] and `margin_adjusted`, roughly so (lower is more suspect), `proposed` (likeliest class).

    Raises:
        RecipeError: a label out of range, a row that isn't a probability distribution.
    """
    check_probabilities(y, p)
    default, _ = prune_by_noise_rate(y, p)
    plain, adjusted, likeliest = margins(y, p, confident_thresholds(y, p))
    score = 1 - (plain + adjusted) / 2
    k = int(default.sum())
    one, other = lowest(plain, k, ties), lowest(adjusted, k, ties)
    flag = guarded(one & other, score, y, ties, min_class_size, max_share_per_class)
    return {
        "score": score,
        "flag": flag,
        "review": (one | other) & ~flag,
        "default_flag": default,
        "margin": plain,
        "margin_adjusted": adjusted,
        "proposed": likeliest,
    }


def lowest(values: Reals, k: int, ties: Ints) -> Bools:
    """Mask `[N]` of the k smallest values."""
    chosen = np.zeros(len(values), dtype=bool)
    chosen[np.lexsort((ties, values))[:k]] = True
    return chosen


def guarded(flag: Bools, score: Reals, y: Ints, ties: Ints, min_class_size: int, max_share_per_class: float) -> Bools:
    """The flags without those in classes that are too small, and without the least suspect beyond a class's share."""
    kept = np.zeros_like(flag)
    if not len(y):
        return kept
    counts = np.bincount(y)
    most = np.where(counts < min_class_size, 0, np.floor(max_share_per_class * counts)).astype(int)
    rows = np.flatnonzero(flag)
    rows = rows[np.lexsort((ties[rows], -score[rows]))]
    kept[rows[places(y[rows], len(counts)) < most[y[rows]]]] = True
    return kept
