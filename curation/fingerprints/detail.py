"""How much a picture shows, to tell which of its copies is the original: neither size nor sharpness says it alone.

An enlargement has more pixels than the picture that it was made of, a reduced one has more contrast between
neighbouring pixels. What both can't change is which frequencies, counted in waves per picture, the picture holds.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curation.pictures.thumbnails import luma

if TYPE_CHECKING:
    from schemas.sample import Pixels

LINES = 16
"""Rows and columns whose frequencies are looked at."""
FLOOR = 0.3
"""Power of a frequency that counts as none, in squared grey levels: rounding and most of a JPEG's noise lie below."""
ROWS = 16_384
"""Pixels whose differences are looked at, in whole rows."""


def detail(pixels: Pixels) -> float:
    """(1 + a)(1 + b)√h: bits a of the frequencies of rows, b of columns, and h a pixel of neighbours' differences.

    a and b are Σ log₂(1 + P(f)/FLOOR) over frequencies f in waves per picture, so that enlarging adds nothing. As that
    holds but for some percent, h decides between pictures that show about as much: it falls with every enlargement,
    with blur and with compression. A soft picture may have less of it than its own reduced copy, which then shows as
    much in fewer pixels.

    Args:
        pixels: RGB `[H, W, 3]` uint8.

    Returns:
        At least 0, for a picture of one level; four significant digits, as a mirror image moves the later ones.
    """
    grey = luma(pixels)
    found = (1 + line_bits(grey)) * (1 + line_bits(grey.T)) * entropy(pixels) ** 0.5
    return float(f"{found:.4g}")


def line_bits(grey: NDArray[Any]) -> float:
    """Σ log₂(1 + P(f)/FLOOR) of a row, on average over `LINES` of the levels `[H, W]`, the same from above and below.

    P(f) = |Σ w(x) g(x) exp(−2πifx/W)|²/W² with a Hann window w, as opposite borders have nothing to do with each other.
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
def window(width: int) -> NDArray[np.float32]:
    """Hann's, without the zeros at its ends `[width]`."""
    return np.hanning(width + 2)[1:-1].astype(np.float32)


def entropy(pixels: Pixels) -> float:
    """Bits a pixel that a simple lossless coder needs: the entropy of neighbours' differences in green, in [0, 8].

    Of a large picture, rows at even distances are looked at.
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
