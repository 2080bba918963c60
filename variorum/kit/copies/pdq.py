"""Two hashes of a picture's content: an exact one of the pixels, and PDQ, which survives re-encoding.

PDQ (Facebook 2019, github.com/facebook/ThreatExchange) thresholds the 16×16 lowest frequencies of a 64×64 luminance
thumbnail at their median, which gives 256 bits. About half of them differ between two unrelated pictures.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from variorum.kit.pictures.thumbnails import averaged, luma

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

THUMBNAIL = 64
"""Side of the thumbnail that PDQ's own filter makes."""
TURNS = 8
"""Orientations of a picture: upright, three quarter turns, and the mirror image of each."""
DOWN, ACROSS = np.meshgrid((-1.0) ** np.arange(16), (-1.0) ** np.arange(16), indexing="ij")
"""Signs of the frequencies of a picture flipped upside down, and of one flipped left to right."""
SIGNS = np.stack([DOWN * 0 + 1, DOWN, DOWN * ACROSS, ACROSS, DOWN, ACROSS, DOWN * 0 + 1, DOWN * ACROSS]).reshape(
    TURNS, -1
)
"""Factors of the frequencies in each orientation `[8, 256]`."""
PLACES = np.arange(256).reshape(16, 16)
PLACES = np.stack([PLACES, PLACES.T, PLACES, PLACES.T, PLACES, PLACES, PLACES.T, PLACES.T]).reshape(TURNS, -1)
"""Which frequency each orientation takes `[8, 256]`: a quarter turn swaps the axes."""
MEDIAN = 127
"""Rank of the frequency that thresholds the bits: the lower of the middle two."""
LEAST_QUALITY = 50
"""Below this quality a picture shows too little for its hash to be meaningful (PDQ's README)."""
FLAT = 96
"""Least number of set bits of a meaningful hash. The median sets 128 of 256; ties at the median reduce that."""


def pixel_digest(pixels: Pixels) -> NDArray[np.uint8]:
    """XXH3 of shape and pixels, 16 bytes, independent of the file format.

    Accidental collisions are practically impossible, but a forger can make one.
    """
    import xxhash

    hasher = xxhash.xxh3_128(repr(pixels.shape).encode())
    hasher.update(np.ascontiguousarray(pixels).data)
    return np.frombuffer(hasher.digest(), np.uint8)


def pdq(pixels: Pixels) -> tuple[NDArray[np.uint8], int]:
    """PDQ of a picture in its 8 orientations, and its quality.

    The picture is first averaged to 64×64. PDQ's own filter uses windows of whole pixels instead, which makes the hash
    depend on the size: by up to 42 bits between a photograph and its copy at 256 pixels. Turning a picture changes the
    signs of its frequencies and swaps their axes, so one transform serves all orientations.

    Args:
        pixels: RGB `[H, W, 3]` uint8.

    Returns:
        `[8, 32]` uint8, the upright hash first, and the quality from 0 to 100, 0 for a picture without structure.
    """
    level = thumbnail(pixels).astype(np.float64)
    grey = (level * 0.299 + level * 0.587 + level * 0.114).astype(np.float32)  # as of a colour picture
    frequencies = _lowest_frequencies(grey).ravel()[::-1][PLACES] * SIGNS
    quality = _quality(grey)
    bits = frequencies > np.partition(frequencies, MEDIAN, axis=1)[:, MEDIAN, None]
    return np.packbits(bits, axis=1), quality if np.count_nonzero(bits[0]) >= FLAT else 0


def _lowest_frequencies(grey: Singles) -> Singles:
    """The lowest frequencies `[16, 16]` of a picture `[64, 64]`, without the constant ones.

    Sums run in the order of Facebook's C++, whose rounding decides bits near the median.
    """
    waves = _waves()
    across = np.add.accumulate(waves[:, :, None] * grey[None], axis=1)[:, -1]
    return np.asarray(np.add.accumulate(across[:, None] * waves[None], axis=2)[..., -1], np.float32)


@cache
def _waves() -> Singles:
    """Rows 1 to 16 of the discrete cosine transform of 64 points."""
    angle, scale = math.pi / 2 / THUMBNAIL, float(np.float32(math.sqrt(2 / THUMBNAIL)))
    rows = [[scale * math.cos(angle * i * (2 * j + 1)) for j in range(THUMBNAIL)] for i in range(1, 17)]
    return np.array(rows, np.float32)


def _quality(grey: Singles) -> int:
    """From 0 to 100: the sum of the differences between neighbours, each rounded down to percents."""
    steps = (np.diff(grey, axis=axis) * np.float32(100) / np.float32(255) for axis in (0, 1))
    return min(100, sum(int(np.abs(step.astype(np.int64)).sum()) for step in steps) // 90)


def thumbnail(pixels: Pixels) -> Pixels:
    """Grey levels of a picture averaged to `[64, 64]`."""
    return averaged(luma(pixels), THUMBNAIL)
