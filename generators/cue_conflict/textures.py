"""Textures: a square from inside an object, without its shading, and a surface covered with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Pixels

SLOW = 0.25
"""Sigma of the blur that tells light from texture, as a share of the patch's side."""


class Square(NamedTuple):
    """A square in a picture, in pixels."""

    left: int
    top: int
    side: int

    def of(self, image: Pixels) -> Pixels:
        """The pixels of the square."""
        return np.ascontiguousarray(image[self.top : self.top + self.side, self.left : self.left + self.side])


def largest_square(alpha: Pixels) -> Square:
    """The largest square of odd side inside an object, `[H, W]` uint8, where it is opaque; side 0 without any."""
    solid = np.pad((alpha >= 250).astype(np.uint8), 1)
    depth = cv2.distanceTransform(solid, cv2.DIST_C, cv2.DIST_MASK_3)
    top, left = np.unravel_index(int(depth.argmax()), depth.shape)
    reach = int(depth[top, left]) - 1  # 1 is a single pixel
    if reach < 0:
        return Square(0, 0, 0)
    return Square(int(left) - 1 - reach, int(top) - 1 - reach, 2 * reach + 1)


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
