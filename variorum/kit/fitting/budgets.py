"""Budgets in whole grey levels, and gradient ascent inside them.

A picture is stored with whole levels, so a limit on its change is a whole number of them: half a level would become a
whole one when the picture is rounded. The ascent is projected gradient descent (Madry et al., ICLR 2018, arXiv
1706.06083). `random_signs` is the control that every such attack is compared with: the same limit without a gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from variorum.schemas.errors import RecipeError

if TYPE_CHECKING:
    from variorum.arrays import Floats, Pixels, Singles

Gradient = Callable[["Singles"], "Singles"]
"""The gradient of what is to grow, at a picture `[H, W, 3]` in grey levels, of the same shape."""


def whole_levels(name: str, epsilon: int, strength: float) -> int:
    """The budget at a relative strength: that share of `epsilon`, rounded down to whole grey levels.

    Raises:
        RecipeError: less than one level is left.
    """
    levels = int(np.floor(epsilon * strength + 1e-9))
    if levels < 1:
        raise RecipeError(
            f"{name}: strength {strength:g} of epsilon {epsilon} is {epsilon * strength:g} grey levels, and a budget "
            f"has at least one; take a strength of at least {1 / epsilon:.3g} or a larger epsilon"
        )
    return levels


def inside(image: Pixels, moved: Singles | Floats, levels: int) -> Pixels:
    """A changed picture, rounded and brought back to within `levels` of each pixel of `image` and to 0 to 255."""
    low, high = np.maximum(image.astype(np.int16) - levels, 0), np.minimum(image.astype(np.int16) + levels, 255)
    return np.asarray(np.clip(np.rint(moved), low, high), np.uint8)


def random_signs(image: Pixels, levels: int, rng: np.random.Generator) -> Pixels:
    """A picture in which every value moves by `levels` up or down at random, as far as 0 and 255 allow."""
    signs = rng.integers(0, 2, image.shape, np.int8) * 2 - 1
    return inside(image, image.astype(np.float32) + levels * signs, levels)


def ascend(
    image: Pixels, levels: int, gradient: Gradient, rng: np.random.Generator, *, steps: int, step: float
) -> Pixels:
    """The picture after some steps along the sign of a gradient, from a random start, within its budget.

    Args:
        image: RGB `[H, W, 3]` uint8.
        levels: most that a value may change.
        gradient: of what is to grow.
        rng: of the start, which is uniform in the budget.
        steps: how many.
        step: length of one, as a share of the budget.
    """
    start = image.astype(np.float32)
    low, high = np.maximum(start - levels, 0), np.minimum(start + levels, 255)
    state = np.clip(start + rng.uniform(-levels, levels, start.shape).astype(np.float32), low, high)
    for _ in range(steps):
        slope = np.sign(gradient(state)).astype(np.float32)
        state = np.clip(state + np.float32(step * levels) * slope, low, high)
    return inside(image, state, levels)
