"""Finds wrong labels by confident learning, and condemns only what two readings of the probabilities agree on.

The default rule is our own (`curation.labels.pruning`: cleanlab's samples at a fraction of its time and memory), the
margins are cleanlab's. On long tails every plain rule condemns a tenth to a half of a rare class's right labels.
Subtracting each class's mean confidence repairs that when wrong labels follow the classes' sizes, and does harm when
they don't. Which holds isn't known beforehand, so what only one reading suspects goes to people.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from curation.labels.classes import id_ranks, most_flagged, places, spread
from curation.labels.pruning import check_probabilities, confident_thresholds, margins, prune_by_noise_rate
from schemas.canonical import Json
from schemas.component import Context, CurationStep
from variorum.columns import given_labels, matrix, vector

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


class ConfidentLearning(CurationStep):
    """Flags the likely wrong labels, and puts up for review those that are wrong in one reading only."""

    scored_by: ClassVar[frozenset[str]] = frozenset({"min_class_size", "max_share_per_class"})

    min_class_size: int = Field(default=30, ge=1)
    """A class with fewer labels is never flagged: what would be is put up for review."""
    max_share_per_class: float = Field(default=0.5, gt=0, le=1)
    """Of the samples with one label, at most this share is flagged, the most suspect; the others go to review."""

    def needs(self) -> tuple[str, ...]:
        """The step with the out-of-sample probabilities."""
        return ("probabilities",)

    def score(self, table: pa.Table, ctx: Context) -> Mapping[str, Any]:
        """Columns `score`, `flag`, `review`, `default_flag`, `margin`, `margin_adjusted`, `proposed`.

        `score` is one minus the mean of the two margins. Unlabelled pictures get NaN, False and -1.

        Raises:
            RecipeError: probabilities that are of another number of classes, or don't sum to one.
        """
        y, classes = given_labels(table)
        p = matrix(table, "probabilities.p")
        judged = np.flatnonzero((y >= 0) & ~np.isnan(p).any(axis=1))  # a broken embedding has no probabilities
        if len(judged) < len(y):
            y, p = y[judged], p[judged]
        found = suspects(y, p, id_ranks(table)[judged], self.min_class_size, self.max_share_per_class)
        found["proposed"] = classes[found["proposed"]]
        return {name: spread(values, judged, table.num_rows) for name, values in found.items()}

    def summarise(self, table: pa.Table) -> Mapping[str, Json]:
        """The estimated share of wrong labels, counts, and the classes that are flagged most."""
        name = self.component_name()
        judged = ~np.isnan(vector(table, f"{name}.score"))
        total = int(judged.sum())
        if not total:
            return {"judged": 0}
        flag = vector(table, f"{name}.flag")
        return {
            "judged": total,
            "estimated_noise_rate": round(float(vector(table, f"{name}.default_flag").sum() / total), 4),
            "flagged": int(flag.sum()),
            "for_review": int(vector(table, f"{name}.review").sum()),
            "most_flagged_classes": most_flagged(table, flag, judged=judged),
        }


def suspects(
    y: Ints, p: Floats, ties: Ints, min_class_size: int = 30, max_share_per_class: float = 0.5
) -> dict[str, NDArray[Any]]:
    """Which labels are likely wrong, by two readings of out-of-sample probabilities.

    k is the number that cleanlab's default rule finds. Of the k samples with the lowest margin and the k with the
    lowest adjusted margin, those in both are flagged and those in one are for review.

    Args:
        y: labels `[N]` in 0..K-1.
        p: out-of-sample probabilities `[N, K]`.
        ties: `[N]`, distinct; of equally suspect samples the one with the lower number comes first.
        min_class_size: no flag on a class with fewer labels; those go to review.
        max_share_per_class: of each label's samples; what is beyond goes to review.

    Returns:
        Arrays `[N]`: `score` (higher is more suspect), `flag`, `review`, `default_flag` (cleanlab's default rule),
        `margin` and `margin_adjusted` (in [0, 1] and about, lower is more suspect), `proposed` (likeliest class).

    Raises:
        RecipeError: a label out of range, a row that isn't a distribution.
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


def lowest(values: Floats, k: int, ties: Ints) -> Flags:
    """The k smallest values, `[N]`."""
    chosen = np.zeros(len(values), dtype=bool)
    chosen[np.lexsort((ties, values))[:k]] = True
    return chosen


def guarded(flag: Flags, score: Floats, y: Ints, ties: Ints, min_class_size: int, max_share_per_class: float) -> Flags:
    """The flags less those on classes that are too small, and less the least suspect ones beyond a class's share."""
    kept = np.zeros_like(flag)
    if not len(y):
        return kept
    counts = np.bincount(y)
    most = np.where(counts < min_class_size, 0, np.floor(max_share_per_class * counts)).astype(int)
    rows = np.flatnonzero(flag)
    rows = rows[np.lexsort((ties[rows], -score[rows]))]
    kept[rows[places(y[rows], len(counts)) < most[y[rows]]]] = True
    return kept
