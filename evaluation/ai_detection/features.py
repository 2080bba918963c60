"""Features of a picture for detectors of generated pictures: its spectrum, its sharpness, its middle."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Floats, Ints, Pixels, Singles

BINS = 24
"""Rings of equal width between frequency 0 and half a cycle per pixel."""
SIDE = 128
"""Pixels of the middle that a network is trained on."""


def spectrum(image: Pixels) -> Singles:
    """Log of the mean power of the luma in each of 24 rings of frequency, `[24]`.

    Upsampling inside a generator leaves too little or too much power at high frequencies (Durall et al., CVPR 2020,
    arXiv 2003.01826).
    """
    return ring_power(power(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64)), image.shape[1], BINS)


def power(channel: Floats) -> Floats:
    """Power of a channel `[H, W]` by frequency, as `rfft2` orders it, under a Hann window."""
    window = np.outer(np.hanning(channel.shape[0] + 2)[1:-1], np.hanning(channel.shape[1] + 2)[1:-1])
    return np.asarray(np.abs(np.fft.rfft2((channel - channel.mean()) * window)) ** 2 / channel.size)


def ring_power(power: Floats, width: int, rings: int) -> Singles:
    """Log of the mean power in each of some rings of equal width up to half a cycle per pixel, `[rings]`."""
    ring, counts = _rings(len(power), width, rings)
    sums = np.bincount(ring, power.ravel(), rings + 1)[:rings]
    return np.asarray(np.log(sums / np.maximum(counts, 1) + 1e-3), np.float32)


def sharpness(image: Pixels) -> float:
    """Log of the variance of the Laplacian of the luma; low in blurred pictures."""
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return float(np.log(cv2.Laplacian(luma, cv2.CV_64F).var() + 1e-3))


def middle(image: Pixels) -> Pixels:
    """The middle of the picture, at most 128 pixels a side; it starts at a multiple of 8, where JPEG's blocks do."""
    height, width = image.shape[:2]
    top, left = (max(side - SIDE, 0) // 2 // 8 * 8 for side in (height, width))
    return np.ascontiguousarray(image[top : top + SIDE, left : left + SIDE])


@lru_cache(maxsize=16)
def _rings(height: int, width: int, number: int) -> tuple[Ints, Ints]:
    """The ring of each frequency of `rfft2`, flat, and how many each has; the last one is beyond all rings."""
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    rings = np.minimum((radius * 2 * number).astype(np.int64), number).ravel()
    return rings, np.bincount(rings, minlength=number + 1)[:number]
