"""Pictures without colour, without their fine or their coarse detail, or cut into tiles and shuffled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Pixels

MIDDLE = 127.5
"""Grey level that a high-pass picture varies about."""


def grey(image: Pixels) -> Pixels:
    """The luminance of `[H, W, 3]` in all three channels."""
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))


def low_pass(image: Pixels, sigma: float) -> Pixels:
    """A picture blurred by a Gaussian with this sigma in pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma))


def high_pass(image: Pixels, sigma: float) -> Pixels:
    """Return what a Gaussian blur with this sigma in pixels takes away, about middle grey."""
    values = image.astype(np.float32)
    detail = values - cv2.GaussianBlur(values, (0, 0), sigma)
    return np.asarray(cv2.add(detail, (MIDDLE,) * 4, dtype=cv2.CV_8U))


def scrambled(image: Pixels, order: Sequence[int]) -> Pixels:
    """A picture cut into square tiles that are put back in another order.

    Args:
        image: `[H, W, 3]` or a mask `[H, W]`; both sides are multiples of the number of tiles along them.
        order: for each place, row by row, the number of the tile that is to lie there; there are n² places.
    """
    grid = math.isqrt(len(order))
    height, width = (side // grid for side in image.shape[:2])
    more = image.shape[2:]
    tiles = image.reshape(grid, height, grid, width, *more).swapaxes(1, 2).reshape(grid * grid, height, width, *more)
    shuffled = tiles[list(order)].reshape(grid, grid, height, width, *more).swapaxes(1, 2)
    return np.ascontiguousarray(shuffled.reshape(image.shape))
