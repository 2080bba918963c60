"""The crop that a picture is classified by, chosen by its content, so that it moves along when the picture moves.

Robust Inference by Crop Selection of Shifman & Weiss, ECCV 2024 (arXiv 2404.07153): a fixed function of the crop alone
scores each of n x n neighbouring crops, and the best is classified. If the window moves by a pixel, most crops are the
same as before, and so is the best one. Its scores must not change smoothly from crop to crop, or the best one lies at
the edge, where crops leave: so they are sums of the picture's finest structure with random signs. This function is our
own, as the paper's code isn't published.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

SIGMA = 1.5
"""Pixels. A picture minus its blur by a Gaussian of this width is its finest structure."""
REACH = 6
"""Pixels that the Gaussian reads on either side. Signs start this far inside of a crop, so nothing outside counts."""
SEED = 2404


def select(image: Pixels, n: int) -> tuple[int, int]:
    """Left and top of the best of n x n crops, each `n - 1` pixels shorter than the picture.

    Args:
        image: RGB `[H, W, 3]` uint8.
        n: crops in each direction.

    Raises:
        ValueError: the picture is too small for that many crops.
    """
    height, width = image.shape[:2]
    if n < 1 or min(height, width) - n + 1 < 4 * REACH:
        raise ValueError(f"{width} x {height} pixels are too few for {n} x {n} crops")
    best = int(scores(image, n).argmax())
    return best % n, best // n


def scores(image: Pixels, n: int) -> Singles:
    """The score of each crop, `[n, n]`: all at once, as one correlation of the picture with the signs."""
    height, width = image.shape[:2]
    light = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    fine = light - cv2.GaussianBlur(light, (2 * REACH + 1, 2 * REACH + 1), SIGMA)
    inner = fine[REACH : height - REACH, REACH : width - REACH]
    signs = _signs(height - n + 1 - 2 * REACH, width - n + 1 - 2 * REACH)
    return np.asarray(cv2.matchTemplate(np.ascontiguousarray(inner), signs, cv2.TM_CCORR))


@lru_cache(maxsize=8)
def _signs(height: int, width: int) -> Singles:
    """1 or -1 for each pixel, the same ones each time."""
    drawn = np.random.default_rng(SEED).integers(0, 2, (height, width))
    return (2 * drawn - 1).astype(np.float32)
