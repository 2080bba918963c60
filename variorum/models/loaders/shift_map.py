"""Loader `shift_map`: fills holes with pieces of the same picture, or smoothly if there is too little to copy from.

Shift-map (OpenCV's xphoto INPAINT_SHIFTMAP) finds for each hole pixel a shift to a place outside that fits its
neighbours, which keeps texture. Large holes are filled by a push-pull pyramid instead: an out-of-focus backdrop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from variorum.models.loaders.holes import HoleFiller, push_pull
from variorum.models.loaders.loader import Loader
from variorum.models.roles import Filled
from variorum.models.table_entries import Entry, StrictModel

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels


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


class ShiftMap(HoleFiller):
    """Fills by `shift_map`, `shift_map+telea` if that left a few pixels open, or `push_pull`."""

    def __init__(self, options: ShiftMapOptions) -> None:
        super().__init__(options.side)
        self._options = options

    def fill(self, image: Pixels, hole: Bools) -> Filled:
        """By shift-map, or smoothly."""
        if hole.mean() > self._options.largest:
            return Filled(push_pull(image, hole), "push_pull")
        filled, unfilled = shift_map(image, hole)
        if unfilled.sum() > self._options.unfilled * hole.sum():
            return Filled(push_pull(image, hole), "push_pull")
        if unfilled.any():
            return Filled(cv2.inpaint(filled, unfilled.astype(np.uint8), 3, cv2.INPAINT_TELEA), "shift_map+telea")
        return Filled(filled, "shift_map")


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


SHIFT_MAP = Loader(revision=1, make=load_shift_map, options=ShiftMapOptions, obstacle=xphoto_missing, has_weights=False)
