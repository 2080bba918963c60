"""Square Attack: random squares, kept where they help, of a model that only answers.

After Andriushchenko et al., ECCV 2020 (arXiv 1912.00049), for the largest change of a value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.attacks import budget

if TYPE_CHECKING:
    from variorum.arrays import Pixels

SHARE = 0.05
"""Of the pixels that the first squares cover, at 256 pixels a side as at any other."""
HALVED = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
"""Shares of the queries after which squares cover half as many pixels."""


def square(
    image: Pixels, levels: int, gap: Callable[[Pixels], float], rng: np.random.Generator, *, queries: int
) -> tuple[Pixels, int, float]:
    """A picture changed by `levels` in vertical stripes, then in squares, until the model is fooled.

    Args:
        image: RGB `[H, W, 3]` uint8.
        levels: most that a value may change.
        gap: of a picture, above 0 where the model is fooled; the larger, the nearer.
        rng: draws stripes and squares.
        queries: at most.

    Returns:
        The picture, the number of queries, and its gap.
    """
    height, width = image.shape[:2]
    channels = 1 if budget.is_grey(image) else 3

    def signs(high: int, wide: int) -> np.ndarray:
        return levels * (rng.integers(0, 2, (high, wide, channels)).astype(np.float32) * 2 - 1)

    base = image.astype(np.float32)
    change = np.broadcast_to(signs(1, width), (height, width, channels)).copy()
    best = budget.inside(image, base + change, levels)
    nearest, asked = gap(best), 1
    while nearest <= 0 and asked < queries:
        share = SHARE / 2 ** sum(asked > limit * queries for limit in HALVED)
        side = min(max(round((share * height * width) ** 0.5), 1), height, width)
        top, left = int(rng.integers(0, height - side + 1)), int(rng.integers(0, width - side + 1))
        tried = change.copy()
        tried[top : top + side, left : left + side] = signs(1, 1)
        picture = budget.inside(image, base + tried, levels)
        found, asked = gap(picture), asked + 1
        if found > nearest:
            change, best, nearest = tried, picture, found
    return best, asked, nearest
