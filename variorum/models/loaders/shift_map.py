"""Fills holes with pieces of the same picture (OpenCV's xphoto SHIFTMAP), or smoothly where there is too little of it.

Shift-map finds, for every hole pixel, a shift to a place outside that fits its neighbours, which keeps texture; it
needs enough picture to copy from, so large holes go to a push-pull pyramid, an honest out-of-focus backdrop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from variorum.models.entries import Entry
from variorum.models.roles import Filled, Pixels

REVISION = 1


class Options(BaseModel):
    """Settings of a table's entry.

    Attributes:
        side: longer pictures are filled at this side and the fill is enlarged; the cost grows with the hole's area.
        largest: share of the picture above which a hole goes straight to the pyramid.
        unfilled: share of the hole that shift-map may leave open before its result is given up.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    side: int = 256
    largest: float = 0.5
    unfilled: float = 0.02


def problem(entry: Entry) -> str:
    """What keeps it from running here."""
    return "" if hasattr(cv2, "xphoto") else "needs opencv-contrib-python-headless in place of opencv-python(-headless)"


def load(entry: Entry, weights: Path | None, used: Mapping[str, Any]) -> ShiftMap:
    """The inpainter; there is nothing to load."""
    return ShiftMap(Options.model_validate(entry.options))


class ShiftMap:
    """An `Inpainter`. It draws no random number and reads no text, so seeds and negatives change nothing."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def __call__(
        self,
        images: Sequence[Pixels],
        holes: Sequence[NDArray[Any]],
        seeds: Sequence[int],
        negatives: Sequence[str] = (),
    ) -> list[Filled]:
        """Each picture filled where its hole is true.

        `method` is `none` for an empty hole, `shift_map`, `shift_map+telea` when it left a few pixels open, or
        `push_pull`.
        """
        return [self._fill(image, hole.astype(bool)) for image, hole in zip(images, holes, strict=True)]

    def _fill(self, image: Pixels, hole: NDArray[np.bool_]) -> Filled:
        if not hole.any():
            return Filled(image.copy(), "none")
        height, width = image.shape[:2]
        scale = min(1.0, self._options.side / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
        # Any touch of the hole makes a small pixel part of it, or the object would bleed into the fill.
        small_hole = cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0 if scale < 1 else hole
        filled, method = self._fill_small(small, small_hole)
        if scale < 1:
            filled = cv2.resize(filled, (width, height), interpolation=cv2.INTER_CUBIC)
        return Filled(np.where(hole[..., None], filled, image).astype(np.uint8), method)

    def _fill_small(self, image: Pixels, hole: NDArray[np.bool_]) -> tuple[Pixels, str]:
        if hole.mean() > self._options.largest:
            return push_pull(image, hole), "push_pull"
        filled, unfilled = shift_map(image, hole)
        if unfilled.sum() > self._options.unfilled * hole.sum():
            return push_pull(image, hole), "push_pull"
        if unfilled.any():
            return cv2.inpaint(filled, unfilled.astype(np.uint8), 3, cv2.INPAINT_TELEA), "shift_map+telea"
        return filled, "shift_map"


def shift_map(image: Pixels, hole: NDArray[np.bool_]) -> tuple[Pixels, NDArray[np.bool_]]:
    """The picture filled by shift-map, and where it left the hole open.

    Pixels outside the hole are the picture's own; OpenCV would change those along the rim.
    """
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2Lab)
    out = np.zeros_like(lab)
    cv2.xphoto.inpaint(lab, np.where(hole, 0, 255).astype(np.uint8), out, cv2.xphoto.INPAINT_SHIFTMAP)
    # What it can't fill stays at Lab (0, 0, 0), a blue that no RGB picture can hold.
    unfilled = (out == 0).all(axis=-1) & hole
    filled = np.where(hole[..., None], cv2.cvtColor(out, cv2.COLOR_Lab2RGB), image)
    return filled.astype(np.uint8), unfilled


def push_pull(image: Pixels, hole: NDArray[np.bool_]) -> Pixels:
    """Fill a hole smoothly: average what is known down a pyramid, then up again into what isn't.

    A hole that is the whole picture becomes black.

    After Gortler et al., The Lumigraph, SIGGRAPH 1996.
    """
    known = np.where(hole, 0, 1).astype(np.float32)
    return np.clip(np.rint(_push_pull(image.astype(np.float32), known)), 0, 255).astype(np.uint8)


def _push_pull(values: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    if max(weight.shape) <= 1 or weight.all():
        return values
    size = (weight.shape[1] + 1) // 2, (weight.shape[0] + 1) // 2
    total = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    summed = cv2.resize(values * weight[..., None], size, interpolation=cv2.INTER_AREA)
    coarse = summed / np.maximum(total, 1e-6)[..., None]
    coarse = _push_pull(coarse.astype(np.float32), np.minimum(total * 4, 1))
    smooth = cv2.resize(coarse, weight.shape[::-1], interpolation=cv2.INTER_CUBIC)
    share = weight[..., None]
    blended: NDArray[np.float32] = (share * values + (1 - share) * smooth).astype(np.float32)
    return blended
