"""Looking for a mark in noise that moved with its picture: a moved picture comes from moved noise, about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Singles


def offsets(most: int) -> list[tuple[int, int]]:
    """All shifts by up to `most` cells down and right, no shift first."""
    found = [(down, right) for down in range(-most, most + 1) for right in range(-most, most + 1)]
    return sorted(found, key=lambda one: (abs(one[0]) + abs(one[1]), one))


def moved_back(noise: Singles, most: int) -> Iterator[tuple[tuple[int, int], Singles]]:
    """Noise `[c, h, w]` as it was before each shift; cells that left the frame come back from the other side."""
    for down, right in offsets(most):
        yield (down, right), np.roll(noise, (-down, -right), axis=(-2, -1))


def corrected(p_value: float, tries: int) -> float:
    """The p-value of the best of several tries (Bonferroni)."""
    return min(1.0, p_value * tries)
