"""Flags pictures whose label differs from the head's early prediction, made before it could memorise the label.

Early-learning regularisation (Liu et al., NeurIPS 2020, arXiv 2007.00151) keeps a running mean t of each picture's
predictions, formed while the network still follows the majority. If its largest entry isn't the given label, the label
is likely wrong, and that entry is the proposal. No threshold or stopping time has to be chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from variorum.kit.labels.classes import flag_figures
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Detector, column_kinds
from variorum.schemas.errors import RecipeError
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Array, Ints, Reals

JUDGED = 1 << 16
"""Pictures that are judged at a time."""


class EarlyLearning(Detector):
    """A flag, a score and a proposal from the targets that `training_dynamics` stores."""

    gives: ClassVar[Mapping[str, str]] = column_kinds(numbers="score proposed confidence", flags="flag")

    def needs(self) -> tuple[str, ...]:
        """`training_dynamics`, for the targets."""
        return ("training_dynamics",)

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """Columns `flag`, `score` (1 − t of the given label), `proposed`, `confidence` (largest t); t sums to 1.

        Raises:
            RecipeError: `training_dynamics` stored no targets.
        """
        y, classes = table.labels()
        if not len(table):
            target = np.zeros((0, 1))
        elif "training_dynamics.elr_target" in table:
            target = table["training_dynamics.elr_target"]
        else:
            raise RecipeError(
                f"curate.{self.component_name()}: training_dynamics stored no elr_target; set its elr above 0, "
                "for example to 7.0"
            )
        found = against_targets(y, target)
        proposed = np.where(found["proposed"] < 0, -1, classes[found["proposed"]] if len(classes) else -1)
        return {**found, "proposed": proposed}

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Counts, the flagged share as an estimate of the noise rate, and the most flagged classes."""
        judged = ~np.isnan(table["score"])
        if not judged.any():
            return {"judged": 0}
        return flag_figures(table, judged)


def against_targets(y: Ints, target: Reals) -> dict[str, Array]:
    """Compare labels `[N]` in 0..K-1 with early-learning targets `[N, K]`.

    Returns:
        `flag`, `score` in [0, 1], `proposed` in 0..K-1, `confidence` in [1/K, 1]; False, NaN, -1 and NaN for a sample
        with label -1, or with a target that is zero or NaN.
    """
    found: dict[str, Array] = {
        "flag": np.zeros(len(y), dtype=bool),
        "score": np.full(len(y), np.nan),
        "proposed": np.full(len(y), -1, dtype=np.int64),
        "confidence": np.full(len(y), np.nan),
    }
    for start in range(0, len(y), JUDGED):
        rows = slice(start, start + JUDGED)
        t, given = np.asarray(target[rows], dtype=np.float64), y[rows]
        total = t.sum(axis=1, keepdims=True)
        judged = (given >= 0) & (total[:, 0] > 0)
        share = np.full_like(t, np.nan)
        share[judged] = t[judged] / total[judged]
        likeliest = np.where(judged, t.argmax(axis=1), -1)
        found["flag"][rows] = judged & (likeliest != given)
        found["score"][rows] = 1 - share[np.arange(len(given)), np.maximum(given, 0)]
        found["proposed"][rows] = likeliest
        found["confidence"][rows] = share.max(axis=1)
    return found
