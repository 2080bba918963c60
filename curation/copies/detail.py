"""Measure how much detail a picture shows, to tell the original from its copies. Neither size nor sharpness is enough.

An enlargement has more pixels than its original, and a reduced copy has more contrast between neighbouring pixels.
Neither adds frequencies, counted in waves per picture.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.pictures.thumbnails import luma

if TYPE_CHECKING:
    from variorum.arrays import Array, Pixels, Singles

LINES = 16
"""Rows, and columns, whose frequencies are measured."""
FLOOR = 0.3
"""Power of a frequency, in squared grey levels, that counts as noise: rounding and most JPEG noise lie below it."""
ROWS = 16_384
"""Pixels whose differences are measured, in whole rows."""


def detail(pixels: Pixels) -> float:
    """(1 + a)(1 + b)√h, with the bits a of the rows' frequencies, b of the columns', and h bits per pixel.

    a and b are Σ log₂(1 + P(f)/FLOOR) over frequencies f in waves per picture, so enlarging adds at most a few percent
    to them. h, the entropy of the differences between neighbours, decides between pictures that show about as much: it
    falls with enlargement, blur and compression. A soft picture may have a lower h than its own reduced copy, which
    then shows as much in fewer pixels.

    Args:
        pixels: RGB `[H, W, 3]` uint8.

    Returns:
        At least 0 (a picture of one level), to four significant digits, because mirroring changes the later ones.
    """
    grey = luma(pixels)
    found = (1 + line_bits(grey)) * (1 + line_bits(grey.T)) * entropy(pixels) ** 0.5
    return float(f"{found:.4g}")


def line_bits(grey: Array) -> float:
    """Mean of Σ log₂(1 + P(f)/FLOOR) over `LINES` rows of the levels `[H, W]`, placed symmetrically from top to bottom.

    P(f) = |Σ w(x) g(x) exp(−2πifx/W)|²/W². The Hann window w removes the step between opposite borders.
    """
    from scipy.fft import rfft

    height, width = grey.shape
    upper = np.arange(LINES // 2) * height // LINES
    lines = grey[np.unique(np.concatenate([upper, height - 1 - upper]))].astype(np.float32)
    lines -= lines.mean(axis=1, keepdims=True)
    waves = rfft(lines * window(width), axis=1)
    power = (waves.real**2 + waves.imag**2) / (width * width * FLOOR)
    return float(np.log1p(power).sum(axis=1).mean() / np.log(2))


@lru_cache(maxsize=256)
def window(width: int) -> Singles:
    """A Hann window `[width]` without the zeros at its ends."""
    return np.hanning(width + 2)[1:-1].astype(np.float32)


def entropy(pixels: Pixels) -> float:
    """Bits per pixel of a simple lossless coder: the entropy of differences between neighbours in green, in [0, 8].

    In a large picture it is measured on evenly spaced rows.
    """
    import cv2

    height, width = pixels.shape[:2]
    green = pixels[:: -(-height * width // ROWS), :, 1]
    differences = green[:, 1:] - green[:, :-1]
    if not differences.size:
        return 0.0
    counts = cv2.calcHist([differences], [0], None, [256], [0, 256]).ravel()
    shares = counts[counts > 0].astype(np.float64) / differences.size
    return abs(float((shares * np.log2(shares)).sum()))
