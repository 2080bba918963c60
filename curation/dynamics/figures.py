"""Figures for the card that detectors of wrong labels have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from variorum.columns import given_labels

if TYPE_CHECKING:
    import pyarrow as pa

MOST = 10
"""Classes that are named."""


def most_flagged(table: pa.Table, flag: NDArray[np.bool_], judged: NDArray[np.bool_]) -> dict[str, float]:
    """The ten classes with the largest flagged share of their judged pictures, by class id, largest first."""
    y, classes = given_labels(table)
    share = np.bincount(y[flag], minlength=len(classes)) / np.maximum(np.bincount(y[judged], minlength=len(classes)), 1)
    first, row = np.unique(y, return_index=True)
    row_of = dict(zip(first.tolist(), row.tolist(), strict=True))
    return {
        table.column("labels")[row_of[k]].as_py()[0]: round(float(share[k]), 4)
        for k in np.argsort(-share, kind="stable")[:MOST].tolist()
        if share[k] > 0
    }
