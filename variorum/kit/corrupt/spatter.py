"""Spatter of ImageNet-C: drops of water or mud (Hendrycks & Dietterich, ICLR 2019, arXiv 1903.12261)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from variorum.kit.corrupt.noise import normal
from variorum.kit.corrupt.outcome import Corrupted, Strength, rounded

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

WATER = 175, 238, 238
MUD = 63, 42, 20
"""RGB."""
RELIEF = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
"""Lights drops from one side."""
DEEP = 20
"""Pixels from a drop's outline, beyond which its depth stays the same."""
OPAQUE = 0.8
"""Mud that covers less isn't drawn."""


def spatter(image: Pixels, strength: Strength, rng: np.random.Generator, scale: float) -> Corrupted:
    """Drops on the lens.

    `strength`: mean and deviation of the noise that drops are cut from, the deviation in pixels of the Gaussian that
    smooths it, the level below which there is no drop, the light of water or the deviation in pixels of the Gaussian
    that softens mud, and 1 for mud. Drops are drawn at scale 1 and enlarged.
    """
    mean, deviation, sigma, cut, mix, mud = strength
    height, width = image.shape[:2]
    size = math.ceil(height / scale), math.ceil(width / scale)
    liquid = _smooth(normal(rng, size, mean, deviation), sigma)
    cover = _mud(liquid, cut, mix) if mud else _water(liquid, cut, mix)
    if size != (height, width):
        cover = cv2.resize(cover, (width, height), interpolation=cv2.INTER_LINEAR)
    layer = cv2.merge([cover * np.float32(level) for level in (MUD if mud else WATER)])
    if mud:
        kept = cv2.merge([1 - cover] * 3)
        return Corrupted(rounded(cv2.add(layer, cv2.multiply(image, kept, dtype=cv2.CV_32F))))
    return Corrupted(np.asarray(cv2.add(image, layer, dtype=cv2.CV_8U)))


def _water(liquid: Singles, cut: float, light: float) -> Singles:
    """Return the light that drops add, `[H, W]`: the most where they are thick and turned to the light."""
    drops = np.where(liquid < cut, np.float32(0), np.minimum(liquid, 1) * 255).astype(np.uint8)
    depth = cv2.distanceTransform(255 - cv2.Canny(drops, 50, 150), cv2.DIST_L2, 5)
    depth = cv2.equalizeHist(cv2.blur(np.minimum(depth, DEEP), (3, 3)).astype(np.uint8))
    relief = cv2.blur(cv2.filter2D(depth, cv2.CV_8U, RELIEF), (3, 3)).astype(np.float32)
    relief *= drops
    return np.asarray(relief * np.float32(light / max(float(relief.max()), 1.0)))


def _mud(liquid: Singles, cut: float, soft: float) -> Singles:
    """The share of the picture that mud covers, `[H, W]`."""
    cover = _smooth((liquid > cut).astype(np.float32), soft)
    return np.asarray(cv2.threshold(cover, OPAQUE, 0, cv2.THRESH_TOZERO)[1])


def _smooth(values: Singles, sigma: float) -> Singles:
    """Through a Gaussian that ends at four deviations."""
    side = 2 * int(4 * sigma + 0.5) + 1
    return np.asarray(cv2.GaussianBlur(values, (side, side), sigma, borderType=cv2.BORDER_REPLICATE))
