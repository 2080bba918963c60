"""What identifies a picture by its content: an exact hash of the pixels, and PDQ, which survives re-encoding.

PDQ (Facebook 2019, github.com/facebook/ThreatExchange) thresholds the 16×16 lowest frequencies of a 64×64 luminance
thumbnail at their median: 256 bits, about half of which differ between two pictures that have nothing to do with each
other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curation.pictures.thumbnails import averaged, luma

if TYPE_CHECKING:
    from schemas.sample import Pixels

THUMBNAIL = 64
"""Side that PDQ's own filter reduces a picture to."""
TURNS = 8
"""Orientations of a picture: as it is, the three quarter turns, and the mirror image of each."""
DOWN, ACROSS = np.meshgrid((-1.0) ** np.arange(16), (-1.0) ** np.arange(16), indexing="ij")
"""Signs of the frequencies of a picture upside down, and of one with left and right swapped."""
SIGNS = np.stack([DOWN * 0 + 1, DOWN, DOWN * ACROSS, ACROSS, DOWN, ACROSS, DOWN * 0 + 1, DOWN * ACROSS]).reshape(
    TURNS, -1
)
"""What the frequencies are to be multiplied by in each orientation, …"""
PLACES = np.arange(256).reshape(16, 16)
PLACES = np.stack([PLACES, PLACES.T, PLACES, PLACES.T, PLACES, PLACES, PLACES.T, PLACES.T]).reshape(TURNS, -1)
"""… and where they come from: a quarter turn swaps the axes."""
MEDIAN = 127
"""Rank of the frequency that the bits are told by: the lower of the middle two."""
LEAST_QUALITY = 50
"""A picture below shows too little for its hash to mean anything (PDQ's README)."""
FLAT = 96
"""Fewest of 256 bits that a hash has set. The median makes 128 of them, ties at the median make it fewer."""


def pixel_digest(pixels: Pixels) -> NDArray[np.uint8]:
    """XXH3 of shape and pixels in 16 bytes: the same picture, whatever file it was in.

    Chance makes no two alike; somebody who wants to can, so it proves nothing against a forger.
    """
    import xxhash

    hasher = xxhash.xxh3_128(repr(pixels.shape).encode())
    hasher.update(np.ascontiguousarray(pixels).data)
    return np.frombuffer(hasher.digest(), np.uint8)


def pdq(pixels: Pixels) -> tuple[NDArray[np.uint8], int]:
    """PDQ of a picture in its 8 orientations, and its quality.

    The picture is averaged to 64×64 first. PDQ's own filter does that with windows of whole pixels, which makes the
    hash depend on the picture's size, by up to 42 bits between a photograph and the same at 256 pixels. Turning a
    picture changes signs of its frequencies and swaps their axes, so that one transform serves all orientations.

    Args:
        pixels: RGB `[H, W, 3]` uint8.

    Returns:
        `[8, 32]` uint8, the picture's own hash first; quality 0 to 100, 0 for a picture without any structure.
    """
    import pdqhash

    flat, quality = pdqhash.compute_float(np.repeat(thumbnail(pixels)[..., None], 3, axis=2))
    frequencies = np.asarray(flat)[PLACES] * SIGNS
    bits = frequencies > np.partition(frequencies, MEDIAN, axis=1)[:, MEDIAN, None]
    return np.packbits(bits, axis=1), int(quality) if np.count_nonzero(bits[0]) >= FLAT else 0


def thumbnail(pixels: Pixels) -> Pixels:
    """Grey levels `[64, 64]` of a picture, averaged."""
    return averaged(luma(pixels), THUMBNAIL)
