"""Fill holes for inpainters: at a smaller size, and smoothly."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from variorum.models.roles import Filled

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Pixels, Singles


class HoleFiller(ABC):
    """A `roles.Inpainter`. It draws no random numbers and reads no text, so seeds and negatives have no effect.

    Args:
        side: longer pictures are shrunk to this side, and what is filled is enlarged.
    """

    def __init__(self, side: int) -> None:
        self._side = side

    def __call__(
        self,
        images: Sequence[Pixels],
        holes: Sequence[Array],
        seeds: Sequence[int],
        negatives: Sequence[str] = (),
    ) -> list[Filled]:
        """Each picture filled where its hole is true, and unchanged elsewhere; `method` is `none` for an empty hole."""
        return [self._filled(image, hole.astype(bool)) for image, hole in zip(images, holes, strict=True)]

    @abstractmethod
    def fill(self, image: Pixels, hole: Bools) -> Filled:
        """Fill the hole of one picture; it isn't empty."""

    def _filled(self, image: Pixels, hole: Bools) -> Filled:
        if not hole.any():
            return Filled(image.copy(), "none")
        height, width = image.shape[:2]
        scale = min(1.0, self._side / max(height, width))
        if scale < 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            # A small pixel that overlaps the hole at all belongs to it, or the object would bleed into the fill.
            small_hole = cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
            filled, method = self.fill(small, small_hole)
            filled = cv2.resize(filled, (width, height), interpolation=cv2.INTER_CUBIC)
        else:
            filled, method = self.fill(image, hole)
        return Filled(np.where(hole[..., None], filled, image).astype(np.uint8), method)


def push_pull(image: Pixels, hole: Bools) -> Pixels:
    """Fill a hole smoothly: average the known pixels down a pyramid, then interpolate up into the unknown ones.

    After Gortler et al., The Lumigraph, SIGGRAPH 1996. A picture that is all hole becomes black.
    """
    known = np.where(hole, 0, 1).astype(np.float32)
    return np.clip(np.rint(_push_pull(image.astype(np.float32), known)), 0, 255).astype(np.uint8)


def _push_pull(values: Singles, weight: Singles) -> Singles:
    if max(weight.shape) <= 1 or weight.all():
        return values
    size = (weight.shape[1] + 1) // 2, (weight.shape[0] + 1) // 2
    total = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    summed = cv2.resize(values * weight[..., None], size, interpolation=cv2.INTER_AREA)
    coarse = summed / np.maximum(total, 1e-6)[..., None]
    coarse = _push_pull(coarse.astype(np.float32), np.minimum(total * 4, 1))
    smooth = cv2.resize(coarse, weight.shape[::-1], interpolation=cv2.INTER_CUBIC)
    share = weight[..., None]
    blended: Singles = (share * values + (1 - share) * smooth).astype(np.float32)
    return blended
