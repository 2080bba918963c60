"""Blocks of 8 x 8 pixels, seen as 4 x 4 values of Haar's low band, and the cosine transform of these.

Means of 2 x 2 pixels, times 2, are the low band of an orthonormal Haar transform. What is added to it is added to the
pixels without steps between them, halved.
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


def levels_of(change: Singles) -> Singles:
    """The change of luminance `[2h, 2w]` in levels, without steps, for a change of the low band `[h, w]`."""
    high, wide = change.shape
    return np.asarray(cv2.resize(change * HALF, (wide * 2, high * 2), interpolation=cv2.INTER_LINEAR), np.float32)


def low_band_of(levels: Singles) -> Singles:
    """The low band `[h, w]` of a change of luminance `[2h, 2w]`."""
    rows = levels[0::2] + levels[1::2]
    return np.asarray((rows[:, 0::2] + rows[:, 1::2]) * HALF, np.float32)


def added(image: Pixels, levels: Singles) -> Pixels:
    """A picture whose luminance has this change `[h, w]`, from its first pixel on.

    Red, green and blue move alike, so luminance moves by just as much and colours stay. Values end at 0 and 255.
    """
    high, wide = levels.shape
    whole = np.rint(levels).astype(np.int16)
    out = image.copy()
    out[:high, :wide] = cv2.add(image[:high, :wide], cv2.merge([whole] * 3), dtype=cv2.CV_8U)
    return out
