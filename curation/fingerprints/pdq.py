"""What identifies a picture by its content: an exact hash of the pixels, and PDQ, which survives re-encoding.

PDQ (Facebook, "The TMK+PDQF video-hashing algorithm and the PDQ image-hashing algorithm", 2019) thresholds the 16×16
lowest frequencies of a 64×64 luminance thumbnail at their median: 256 bits, about half of which differ between two
pictures that have nothing to do with each other.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from schemas.sample import Pixels

THUMBNAIL = 64
"""Side that PDQ's own filter reduces a picture to."""
TURNS = 8
"""Orientations of a picture: as it is, the three quarter turns, and the mirror image of each."""
LEAST_QUALITY = 50
"""A picture below shows too little for its hash to mean anything (PDQ's README)."""
FLAT = 96
"""Fewest of 256 bits that a hash has set. The median makes 128 of them, ties at the median make it fewer."""


def pixel_digest(pixels: Pixels) -> NDArray[np.uint8]:
    """16 bytes of the SHA-256 of shape and pixels: the same picture, whatever file it was in."""
    hasher = hashlib.sha256(repr(pixels.shape).encode())
    hasher.update(np.ascontiguousarray(pixels).data)
    return np.frombuffer(hasher.digest()[:16], np.uint8)


def pdq(pixels: Pixels) -> tuple[NDArray[np.uint8], int]:
    """PDQ of a picture in its 8 orientations, and its quality.

    The picture is averaged to 64×64 first. PDQ's own filter does that with windows of whole pixels, which makes the
    hash depend on the picture's size, by up to 42 bits between a photograph and the same at 256 pixels.

    Args:
        pixels: RGB `[H, W, 3]` uint8.

    Returns:
        `[8, 32]` uint8, the picture's own hash first; quality 0 to 100, 0 for a picture without any structure.
    """
    import cv2
    import pdqhash

    size = (THUMBNAIL, THUMBNAIL)
    how = cv2.INTER_AREA if min(pixels.shape[:2]) >= THUMBNAIL else cv2.INTER_LINEAR
    thumbnail: Any = cv2.resize(pixels, size, interpolation=how)
    bits, quality = pdqhash.compute_dihedral(thumbnail)
    packed = np.packbits(np.array(bits, np.uint8), axis=1)
    return packed, int(quality) if np.count_nonzero(bits[0]) >= FLAT else 0


def detail(pixels: Pixels) -> float:
    """Bits a pixel that a simple lossless coder needs: the entropy of neighbours' differences in green, in [0, 8].

    Of two copies of a picture, the one that was compressed harder, blurred or enlarged has less.
    """
    import cv2

    green = pixels[:, :, 1]
    differences = green[:, 1:] - green[:, :-1]
    if not differences.size:
        return 0.0
    counts = cv2.calcHist([differences], [0], None, [256], [0, 256]).ravel()
    shares = counts[counts > 0].astype(np.float64) / differences.size
    # the order of summing, which a mirror image turns round, moves the last bits
    return round(float(-(shares * np.log2(shares)).sum()), 9) + 0.0
