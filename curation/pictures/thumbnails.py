"""Small grey copies of pictures: halved, which is by far the fastest way, or averaged over areas of any size."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from schemas.sample import Pixels

LARGE = 2**31 // 255
"""Pixels whose sum doesn't fit 32 bits any more."""


_last = threading.local()


def luma(pixels: Pixels) -> Pixels:
    """Grey levels `[H, W]` of RGB pixels `[H, W, 3]`, both never to be written to.

    Several measures of one picture ask for them, one after the other, so each thread keeps those of its last picture.
    """
    import cv2

    kept, grey = getattr(_last, "pair", (lambda: None, None))
    if kept() is not pixels or grey is None:
        grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        _last.pair = weakref.ref(pixels), grey
    return grey


def halved(grey: Pixels) -> Pixels:
    """Means of 2 × 2 levels; an odd last row or column is left out, as it would make every pixel a weighted mean."""
    import cv2

    height, width = (side // 2 for side in grey.shape)
    even = grey[: 2 * height, : 2 * width]
    return np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def averaged(grey: Pixels, side: int) -> Pixels:
    """Levels `[side, side]` of a picture of any size, each the mean over its share of the pixels and parts of pixels.

    It is read off the integral image (Crow, SIGGRAPH 1984), between whose pixels sums are linear: exact, so that the
    mean doesn't depend on where the pixels' borders fall.
    """
    import cv2

    sums = cv2.integral(grey, sdepth=cv2.CV_32S if grey.size < LARGE else cv2.CV_64F)
    for axis, number in enumerate(grey.shape):
        borders = np.arange(side + 1) * (number / side)
        pixel = np.minimum(borders.astype(np.int64), number - 1)
        before, after = sums.take(pixel, axis), sums.take(pixel + 1, axis)
        part = borders - pixel
        sums = np.diff(before + (after - before) * (part if axis else part[:, None]), axis=axis)
    return np.asarray(np.rint(sums * (side * side / grey.size)), dtype=np.uint8)
