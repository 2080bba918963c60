"""Mean perceptual distance within groups of pictures, in one pass and without keeping a picture."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Fellows:
    """How far each picture is from those of its group that came before it.

    The distance of two pictures is the squared distance of their embeddings (`variorum.models.roles.Perceptual`), so
    the mean over all earlier ones follows from their number, their sum and the sum of their squares.
    """

    def __init__(self) -> None:
        self._before: dict[Hashable, tuple[int, float, NDArray[np.float32]]] = {}

    def apart(self, group: Hashable, embedding: NDArray[Any]) -> tuple[float, int]:
        """Mean distance of a picture `[d]` from the earlier ones of its group, and their number; NaN for none."""
        square = float(embedding @ embedding)
        if group not in self._before:
            self._before[group] = 1, square, np.array(embedding, np.float32)
            return math.nan, 0
        n, squares, total = self._before[group]
        distance = square + squares / n - 2 * float(embedding @ total) / n
        total += embedding
        self._before[group] = n + 1, squares + square, total
        return max(distance, 0.0), n


def mean_apart(y: NDArray[np.int64], apart: NDArray[Any], fellows: NDArray[Any], classes: int) -> NDArray[np.float64]:
    """Mean over the pairs of each class `[K]` of what `Fellows` said of pictures `[n]`; NaN for a class without one."""
    known = fellows > 0
    pairs = np.bincount(y[known], fellows[known], classes)
    total = np.bincount(y[known], apart[known] * fellows[known], classes)
    return np.asarray(np.where(pairs > 0, total / np.maximum(pairs, 1), np.nan), np.float64)
