"""Two hashes of a picture's content: an exact one of the pixels, and PDQ, which survives re-encoding.

PDQ (Facebook 2019, github.com/facebook/ThreatExchange) thresholds the 16×16 lowest frequencies of a 64×64 luminance
thumbnail at their median, which gives 256 bits. About half of them differ between two unrelated pictures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from variorum.kit.pictures.thumbnails import averaged, luma

if TYPE_CHECKING:
    from variorum.arrays import Pixels

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
    import pdqhash

    flat, quality = pdqhash.compute_float(np.repeat(thumbnail(pixels)[..., None], 3, axis=2))
    frequencies = np.asarray(flat)[PLACES] * SIGNS
    bits = frequencies > np.partition(frequencies, MEDIAN, axis=1)[:, MEDIAN, None]
    return np.packbits(bits, axis=1), int(quality) if np.count_nonzero(bits[0]) >= FLAT else 0


def thumbnail(pixels: Pixels) -> Pixels:
    """Grey levels of a picture averaged to `[64, 64]`."""
    return averaged(luma(pixels), THUMBNAIL)
