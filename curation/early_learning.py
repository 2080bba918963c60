"""Flags the pictures whose label isn't what the head believed before it could memorise.

Early-learning regularisation (Liu et al., NeurIPS 2020, arXiv 2007.00151) keeps a running mean t of each picture's
predictions, formed while the network still follows the majority; where its largest entry isn't the given label, the
label is likely wrong, and the largest entry is a proposal. There is no threshold and no stopping time to choose.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curation.labels.classes import most_flagged
from schemas.canonical import Json
from schemas.component import Context, CurationStep
from schemas.errors import RecipeError
from variorum.columns import given_labels, matrix, vector

if TYPE_CHECKING:
    import pyarrow as pa


class EarlyLearning(CurationStep):
    """A flag, a score and a proposal from the targets that the step `training_dynamics` keeps."""

    def needs(self) -> tuple[str, ...]:
        """The targets."""
        return ("training_dynamics",)

    def score(self, table: pa.Table, ctx: Context) -> Mapping[str, Any]:
        """Columns `flag`, `score` (1 − t of the given label), `proposed`, `confidence` (the largest t); t sums to 1.

        Raises:
            RecipeError: `training_dynamics` kept no targets.
        """
        y, classes = given_labels(table)
        if not table.num_rows:
            target = np.zeros((0, 1))
        elif "training_dynamics.elr_target" in table.column_names:
            target = matrix(table, "training_dynamics.elr_target")
        else:
            raise RecipeError(
                f"curate.{self.component_name()}: training_dynamics kept no elr_target; set its elr above 0 (7.0)"
            )
        found = believed(y, target)
        proposed = np.where(found["proposed"] < 0, -1, classes[found["proposed"]] if len(classes) else -1)
        return {**found, "proposed": proposed}

    def summarise(self, table: pa.Table) -> Mapping[str, Json]:
        """Counts, the share flagged as an estimate of the noise, and the classes that are flagged most."""
        name = self.component_name()
        judged = ~np.isnan(vector(table, f"{name}.score"))
        if not judged.any():
            return {"judged": 0}
        flag = vector(table, f"{name}.flag")
        return {
            "judged": int(judged.sum()),
            "flagged": int(flag.sum()),
            "estimated_noise_rate": round(float(flag[judged].mean()), 4),
            "most_flagged_classes": most_flagged(table, flag, judged=judged),
        }


def believed(y: NDArray[np.int64], target: NDArray[np.floating[Any]]) -> dict[str, NDArray[Any]]:
    """Early learning's opinion of the labels `[N]` in 0..K-1 from its targets `[N, K]`.

    Returns:
        `flag`, `score` in [0, 1], `proposed` in 0..K-1, `confidence` in [1/K, 1]. A sample with label -1, or with a
        target that is zero or NaN, gets False, NaN, -1, NaN.
    """
    t = np.asarray(target, dtype=np.float64)
    total = t.sum(axis=1, keepdims=True)
    judged = (y >= 0) & (total[:, 0] > 0)
    share = np.full_like(t, np.nan)
    share[judged] = t[judged] / total[judged]
    likeliest = np.where(judged, t.argmax(axis=1), -1)
    return {
        "flag": judged & (likeliest != y),
        "score": 1 - share[np.arange(len(y)), np.maximum(y, 0)],
        "proposed": likeliest,
        "confidence": share.max(axis=1),
    }
