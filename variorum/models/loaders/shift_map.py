"""Loader `shift_map`: fills holes with pieces of the same picture, or smoothly if there is too little to copy from.

Shift-map (OpenCV's xphoto INPAINT_SHIFTMAP) finds for each hole pixel a shift to a place outside that fits its
neighbours, which keeps texture. Large holes are filled by a push-pull pyramid instead: an out-of-focus backdrop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from variorum.models.loaders.loader import Loader
from variorum.models.roles import Filled
from variorum.models.table_entries import Entry, StrictModel

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Pixels, Singles


class ShiftMapOptions(StrictModel):
    """Options of `shift_map`.

    Attributes:
        side: longer pictures are shrunk to this side and the fill is enlarged; the cost grows with the hole's area.
        largest: holes with a larger share of the picture go straight to the pyramid.
        unfilled: if shift-map leaves a larger share of the hole open, the pyramid fills it.
    """

    side: int = 256
    largest: float = 0.5
    unfilled: float = 0.02


def xphoto_missing(_entry: Entry, _options: StrictModel) -> str:
    """A line if OpenCV comes without its contributed modules."""
    return "" if hasattr(cv2, "xphoto") else "needs opencv-contrib-python-headless in place of opencv-python(-headless)"


def load_shift_map(_entry: Entry, _weights: None, options: ShiftMapOptions, _used: Mapping[str, Any]) -> ShiftMap:
    """The inpainter; it has no weights."""
    return ShiftMap(options)


class ShiftMap:
    """A `roles.Inpainter`. It draws no random numbers and reads no text, so seeds and negatives have no effect."""

    def __init__(self, options: ShiftMapOptions) -> None:
        self._options = options

    def __call__(
        self,
        images: Sequence[Pixels],
        holes: Sequence[Array],
        seeds: Sequence[int],
        negatives: Sequence[str] = (),
    ) -> list[Filled]:
        """Each picture filled where its hole is true.

        `method` is `none` for an empty hole, `shift_map`, `shift_map+telea` if it left a few pixels open, or
        `push_pull`.
        """
        return [self._fill(image, hole.astype(bool)) for image, hole in zip(images, holes, strict=True)]

    def _fill(self, image: Pixels, hole: Bools) -> Filled:
        if not hole.any():
            return Filled(image.copy(), "none")
        height, width = image.shape[:2]
        scale = min(1.0, self._options.side / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
        # A small pixel that overlaps the hole at all belongs to it, or the object would bleed into the fill.
        small_hole = cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0 if scale < 1 else hole
        filled, method = self._fill_small(small, small_hole)
        if scale < 1:
            filled = cv2.resize(filled, (width, height), interpolation=cv2.INTER_CUBIC)
        return Filled(np.where(hole[..., None], filled, image).astype(np.uint8), method)

    def _fill_small(self, image: Pixels, hole: Bools) -> tuple[Pixels, str]:
        if hole.mean() > self._options.largest:
            return push_pull(image, hole), "push_pull"
        filled, unfilled = shift_map(image, hole)
        if unfilled.sum() > self._options.unfilled * hole.sum():
            return push_pull(image, hole), "push_pull"
        if unfilled.any():
            return cv2.inpaint(filled, unfilled.astype(np.uint8), 3, cv2.INPAINT_TELEA), "shift_map+telea"
        return filled, "shift_map"


def shift_map(image: Pixels, hole: Bools) -> tuple[Pixels, Bools]:
    """The picture filled by shift-map, and where the hole is still open.

    Pixels outside the hole are the picture's own; OpenCV would change those along its rim.
    """
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2Lab)
    out = np.zeros_like(lab)
    cv2.xphoto.inpaint(lab, np.where(hole, 0, 255).astype(np.uint8), out, cv2.xphoto.INPAINT_SHIFTMAP)
    # OpenCV leaves open pixels at Lab (0, 0, 0), a blue that no RGB picture contains.
    unfilled = (out == 0).all(axis=-1) & hole
    filled = np.where(hole[..., None], cv2.cvtColor(out, cv2.COLOR_Lab2RGB), image)
    return filled.astype(np.uint8), unfilled


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


SHIFT_MAP = Loader(revision=1, make=load_shift_map, options=ShiftMapOptions, obstacle=xphoto_missing, has_weights=False)
