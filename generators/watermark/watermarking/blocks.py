"""Blocks of 8 x 8 pixels, seen as 4 x 4 values of Haar's low band, and the cosine transform of these.

Means of 2 x 2 pixels, times 2, are the low band of an orthonormal Haar transform. What is added to it is added to all
four pixels alike, halved.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

HALF = np.float32(0.5)


@lru_cache(maxsize=1)
def cosines() -> Singles:
    """The orthonormal cosine basis `[4, 4]`: one row per frequency."""
    u, i = np.mgrid[:4, :4]
    return np.asarray(np.sqrt(np.where(u == 0, 1, 2) / 4) * np.cos((2 * i + 1) * u * np.pi / 8), np.float32)


def low_band(image: Pixels, side: int) -> Singles:
    """Haar's low band of a picture's luminance, `[H/2, W/2]`, of the whole squares of `side` pixels that it has."""
    high, wide = (length // side * side for length in image.shape[:2])
    luminance = cv2.cvtColor(image[:high, :wide], cv2.COLOR_RGB2GRAY).astype(np.uint16)
    rows = luminance[0::2] + luminance[1::2]
    return np.asarray((rows[:, 0::2] + rows[:, 1::2]) * HALF, np.float32)


def add_low_band(image: Pixels, change: Singles) -> Pixels:
    """A picture whose luminance has this change `[h, w]` of its low band, from its first pixel on.

    Red, green and blue move alike, so luminance moves by just as much and colours stay. Values end at 0 and 255.
    """
    high, wide = change.shape[0] * 2, change.shape[1] * 2
    levels = cv2.resize(np.rint(change * HALF).astype(np.int16), (wide, high), interpolation=cv2.INTER_NEAREST)
    out = image.copy()
    out[:high, :wide] = cv2.add(image[:high, :wide], cv2.merge([levels] * 3), dtype=cv2.CV_8U)
    return out
