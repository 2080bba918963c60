"""sRGB and linear light: what a sensor counts is linear, what a file holds is curved (IEC 61966-2-1).

Exposure, lamps, shadows and haze multiply and add light, so they are only right before the curve.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Floats, Pixels, Singles

STEPS = 65_535
"""Of linear light in the table back to sRGB. Near black one is a twentieth of a grey level."""
RED, GREEN, BLUE = 0.2126, 0.7152, 0.0722
"""Shares of linear red, green and blue in the luminance."""


def to_linear(image: Pixels) -> Singles:
    """Linear light of sRGB values `[…]` uint8, in [0, 1]."""
    return _linear()[image]


def to_srgb(light: Singles) -> Pixels:
    """Grey levels uint8 of linear light `[H, W]` or `[…, 3]`, rounded to the nearest; light beyond 0 and 1 is cut."""
    return np.asarray(_curved()[cv2.multiply(light, 1.0, scale=STEPS, dtype=cv2.CV_16U)])


def luminance(light: Singles) -> Singles:
    """Luminance `[H, W]` of linear RGB light `[H, W, 3]`."""
    return np.asarray(cv2.transform(light, np.array([[RED, GREEN, BLUE]], np.float32)), np.float32)


def encoded(light: Floats) -> Floats:
    """The curve itself: sRGB values in [0, 1] of linear light in [0, 1]."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)


@lru_cache(maxsize=1)
def _linear() -> Singles:
    values = np.arange(256) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


@lru_cache(maxsize=1)
def _curved() -> Pixels:
    return np.rint(255 * encoded(np.arange(STEPS + 1) / STEPS)).astype(np.uint8)
