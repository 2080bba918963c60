"""Brightness and saturation of ImageNet-C (Hendrycks & Dietterich, ICLR 2019, arXiv 1903.12261).

Both change one coordinate of HSV. Value is the largest channel, and saturation the distance to the smallest as a share
of it, so that the channels follow without a way through HSV.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from variorum.kit.corrupt.outcome import Corrupted, Strength

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles


def brightness(image: Pixels, strength: Strength, rng: np.random.Generator, scale: float) -> Corrupted:
    """`strength`: what is added to the value, as a share of its range."""
    (more,) = strength
    channels = cv2.split(image)
    value = cv2.max(cv2.max(channels[0], channels[1]), channels[2])
    levels = np.arange(256, dtype=np.float64)
    levels[0] = 1  # black has no colour to keep
    gains = (np.minimum(levels + 255 * more, 255) / levels).astype(np.float32)
    gain = cv2.LUT(value, gains)
    pixels = cv2.merge([cv2.multiply(channel, gain, dtype=cv2.CV_8U) for channel in channels])
    if not value.all():
        pixels[value == 0] = round(255 * more)
    return Corrupted(np.asarray(pixels))


def saturate(image: Pixels, strength: Strength, rng: np.random.Generator, scale: float) -> Corrupted:
    """`strength`: the factor of the saturation, and what is added to it as a share of its range.

    Grey has no hue. As published, what is added makes it red.
    """
    factor, more = strength
    red, green, blue = cv2.split(image)
    high, low = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    place = high.astype(np.intp)
    place <<= 8
    place |= low
    stretch = np.take(_stretches(factor, more), place)
    pixels = [
        cv2.subtract(high, cv2.multiply(cv2.subtract(high, channel), stretch, dtype=cv2.CV_8U))
        for channel in (red, green, blue)
    ]
    if more:
        grey = cv2.compare(high, low, cv2.CMP_EQ)
        if grey.any():
            paler = cv2.LUT(high, np.rint(np.arange(256) * (1 - min(more, 1))).astype(np.uint8))
            for channel in pixels[1:]:
                cv2.copyTo(paler, grey, channel)
    return Corrupted(np.asarray(cv2.merge(pixels)))


@lru_cache(maxsize=16)
def _stretches(factor: float, more: float) -> Singles:
    """New saturation divided by the old, by the largest and the smallest channel, `[256 * 256]`; 0 for grey."""
    high, low = np.meshgrid(np.arange(256.0), np.arange(256.0), indexing="ij")
    span = high - low
    old = np.divide(span, high, out=np.zeros_like(span), where=span > 0)
    new = np.minimum(old * factor + more, 1)
    found = np.divide(new, old, out=np.zeros_like(span), where=span > 0)
    return np.asarray(found.reshape(-1), np.float32)
