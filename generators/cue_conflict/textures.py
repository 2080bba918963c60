"""Textures: a square from inside an object, without its shading, and a surface covered with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Pixels

SLOW = 0.25
"""Sigma of the blur that tells light from texture, as a share of the patch's side."""


def evened(patch: Pixels) -> Pixels:
    """A patch `[H, W, 3]` without the slow change of light over it, such as the shading of a round body.

    It is divided by its blurred luminance, whose sigma is a quarter of the side; no pixel gets more than twice as light
    or less than half as light.
    """
    slow = cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY).astype(np.float32) + 1
    slow = cv2.GaussianBlur(slow, (0, 0), min(patch.shape[:2]) * SLOW, borderType=cv2.BORDER_REFLECT)
    gain = np.clip(slow.mean() / slow, 0.5, 2)
    return np.asarray(cv2.multiply(patch, cv2.merge([gain] * 3), dtype=cv2.CV_8U))


def covered(patch: Pixels, height: int, width: int, offset: tuple[int, int] = (0, 0)) -> Pixels:
    """A surface `[height, width, 3]` covered with a patch and its mirror images, so that no seam shows.

    Args:
        patch: RGB `[h, w, 3]`.
        height: of the surface.
        width: of the surface.
        offset: rows and columns by which the tiles are shifted.
    """
    block = np.concatenate([patch, patch[:, ::-1]], axis=1)
    block = np.roll(np.concatenate([block, block[::-1]], axis=0), offset, axis=(0, 1))
    rows, columns = -(-height // block.shape[0]), -(-width // block.shape[1])
    return np.ascontiguousarray(np.tile(block, (rows, columns, 1))[:height, :width])
