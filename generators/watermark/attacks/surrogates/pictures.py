"""Photographs in the size of an attacked picture, and what a watermark leaves in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Floats, Pixels, Singles

SIGMA = 4.0
"""Of the Gaussian in pixels that is taken for the picture without its watermark."""


def fitted(image: Pixels, height: int, width: int) -> Pixels:
    """The middle of a picture at this size; it is enlarged or reduced as little as possible, never stretched."""
    scale = max(height / image.shape[0], width / image.shape[1])
    if image.shape[:2] == (height, width):
        return image
    high, wide = (max(round(side * scale), least) for side, least in zip(image.shape, (height, width), strict=False))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized = cv2.resize(image, (wide, high), interpolation=how)
    top, left = (high - height) // 2, (wide - width) // 2
    return np.ascontiguousarray(resized[top : top + height, left : left + width])


def residual(image: Pixels) -> Singles:
    """A picture minus its blurred version, `[H, W, 3]`: its details, and most of its watermark."""
    exact = image.astype(np.float32)
    return np.asarray(exact - cv2.GaussianBlur(exact, (0, 0), SIGMA, borderType=cv2.BORDER_REFLECT_101), np.float32)


def difference(marked: Pixels, before: Pixels) -> Singles:
    """Return what marking has added, `[H, W, 3]`."""
    return np.asarray(marked.astype(np.float32) - before, np.float32)


def common_energy(total: Floats, energy: float, number: int) -> float:
    """The share of some residuals' energy that is in all of them alike, from 0 to 1.

    It is what averaging over many pictures keeps: 1 if the mark is the same in each, 0 if it depends on the picture or
    its key. Without the limits the estimate is unbiased.

    Args:
        total: sum of the residuals.
        energy: sum of their squares, over all values and residuals.
        number: how many there are, two or more.
    """
    if not energy:
        return 0.0
    return float(np.clip((float((total**2).sum()) - energy) / ((number - 1) * energy), 0, 1))


def at_rms(pattern: Singles, levels: float) -> Singles:
    """A pattern at this root mean square in grey levels; a pattern of zeros stays."""
    size = float(np.sqrt(np.square(pattern, dtype=np.float64).mean()))
    return np.asarray(pattern * (levels / size if size else 0.0), np.float32)


def added(image: Pixels, change: Singles) -> Pixels:
    """A picture plus a change, in whole levels of 0 to 255."""
    return np.asarray(np.clip(np.rint(image + change), 0, 255), np.uint8)
