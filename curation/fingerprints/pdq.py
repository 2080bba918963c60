"""PDQ's 256-bit picture hash and those of the picture turned and flipped, from two matrix products.

PDQ smooths luminance twice with a box, picks 64 × 64 values and keeps the low frequencies' signs about their median
(Facebook, "The TMK+PDQF video-hashing algorithm and the PDQ image-hashing algorithm", 2019). Smoothing and picking
are linear and separable, so one matrix a side does both: the same bits as the reference in a fifth of its time.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 64
"""PDQ reduces every picture to this many values a side."""
KEPT = 16
"""Frequencies kept a side, without the constant."""

_frequency, _place = np.arange(1, KEPT + 1)[:, None], np.arange(SIDE)[None]
COSINES = ((2 / SIDE) ** 0.5 * np.cos(np.pi / 2 / SIDE * _frequency * (2 * _place + 1))).astype(np.float32)
SIGNS = np.where(np.arange(KEPT) % 2 == 0, np.float32(-1), np.float32(1))
"""What mirroring a side does to its frequencies: odd ones change sign."""


def pdq(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
    """Hash and quality of RGB pixels `[H, W, 3]`.

    Luminance is rounded to whole grey levels first, which moves 0.2 of the reference's 256 bits on average.

    Returns:
        Bits packed into `[32]` bytes in the reference's order, and its quality, 0 (no structure) to 100; below 50
        the hash says little.
    """
    spectrum, quality = frequencies(image)
    return hash_bits(spectrum[None])[0], quality


def pdq_dihedral(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
    """Hashes `[8, 32]` as `pdq` gives them, and the quality.

    In the reference's order: as it is, turned by 90, 180 and 270 degrees counter-clockwise, upside down, left to
    right, across the main diagonal, across the other.
    """
    spectrum, quality = frequencies(image)
    rows, columns, turned = SIGNS[:, None], SIGNS[None], spectrum.T
    every = np.stack(
        [
            spectrum,
            turned * rows,
            spectrum * rows * columns,
            turned * columns,
            spectrum * rows,
            spectrum * columns,
            turned,
            turned * rows * columns,
        ]
    )
    return hash_bits(every), quality


def frequencies(image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], int]:
    """Low frequencies `[16, 16]` of the smoothed luminance of RGB pixels, constant left out, and PDQ's quality."""
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    height, width = grey.shape
    small = smooth_and_pick(height) @ grey @ smooth_and_pick(width).T
    steps = (np.trunc(np.diff(small, axis=axis) * 100 / 255) for axis in (0, 1))
    quality = int(sum(float(np.abs(step).sum()) for step in steps) / 90)
    return COSINES @ small @ COSINES.T, min(quality, 100)


@lru_cache(maxsize=512)
def smooth_and_pick(length: int) -> NDArray[np.float32]:
    """The matrix `[64, length]` that smooths a side twice with PDQ's box and picks 64 places.

    The box is `ceil(length / 128)` wide, one longer to the right when even, and cut off at the ends.
    """
    full = -(-length // (2 * SIDE))
    ahead = (full + 2) // 2 - 1
    offset = np.arange(length)[None] - np.arange(length)[:, None]
    box = ((offset >= ahead + 1 - full) & (offset <= ahead)).astype(np.float64)
    box /= box.sum(axis=1, keepdims=True)
    picked = ((np.arange(SIDE) + 0.5) * length / SIDE).astype(int)
    matrix = (box[picked] @ box).astype(np.float32)
    matrix.flags.writeable = False
    return np.asarray(matrix)


def hash_bits(spectra: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Packed bits `[n, 32]` of spectra `[n, 16, 16]`: what lies above the median, last frequency first."""
    flat = spectra.reshape(len(spectra), -1)
    return np.packbits((flat > np.median(flat, axis=1, keepdims=True))[:, ::-1], axis=1)
