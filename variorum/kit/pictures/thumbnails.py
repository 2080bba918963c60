"""Grey thumbnails: by halving, which is by far the fastest, or by averaging over areas of any size."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Pixels

LARGE = 2**31 // 255
"""From this many pixels on, their sum may not fit in 32 bits."""


_last = threading.local()


def luma(pixels: Pixels) -> Pixels:
    """Grey levels `[H, W]` of RGB pixels `[H, W, 3]`; neither array may be written to.

    Several measures in a row need them, so each thread keeps those of its last picture.
    """
    import cv2

    kept, grey = getattr(_last, "pair", (lambda: None, None))
    if kept() is not pixels or grey is None:
        grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        _last.pair = weakref.ref(pixels), grey
    return grey


def halved(grey: Pixels) -> Pixels:
    """Means of 2 × 2 pixels; an odd last row or column is dropped, or else every pixel would be a weighted mean."""
    import cv2

    height, width = (side // 2 for side in grey.shape)
    even = grey[: 2 * height, : 2 * width]
    return np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def averaged(grey: Pixels, side: int) -> Pixels:
    """Grey levels `[side, side]` of a picture of any size, each the exact mean over its area, fractions included.

    The means come from the integral image (Crow, SIGGRAPH 1984), interpolated linearly between pixels, so they don't
    depend on where pixel borders fall.
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
