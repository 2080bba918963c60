"""Loader `lama`: fills holes by LaMa from an ONNX file (Suvorov et al., WACV 2022, arXiv 2109.07161)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from pydantic import Field

from variorum.models.diffusion.images import resized
from variorum.models.loaders.loader import Loader, no_obstacle
from variorum.models.onnx import Device, open_session
from variorum.models.roles import BLANK, Filled
from variorum.models.table_entries import Entry, StrictModel
from variorum.schemas.errors import ModelUnavailable

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Pixels, Singles

METHOD = "lama"
"""The word for how a hole was filled."""
SIDE = 512
"""Working side of a file that takes any side, pixels."""
MULTIPLE = 8
"""Of the sides that such a file takes."""
CUBIC = 2
"""Pixels around the hole that see it when a picture is enlarged by the cubic filter."""
GREY = 0.25
"""Level of the picture that tells what the network's levels are."""


class LamaOptions(StrictModel):
    """Options of `lama`."""

    threads: int = Field(default=1, ge=1)
    """Of one session on a CPU; pictures are spread over processes instead."""
    device: Device = "cpu"
    """`best`: a CUDA device, with the package onnxruntime-gpu."""


def load_lama(entry: Entry, file: Path, options: LamaOptions, _used: Mapping[str, Any]) -> Lama:
    """The inpainter of an `.onnx` file with the inputs `image` and `mask`.

    Raises:
        ModelUnavailable: the file isn't ONNX, has other inputs, or changes what lies outside the mask.
    """
    session = open_session(file, options.threads, entry.name, options.device)
    shapes = {one.name: one.shape for one in session.get_inputs()}
    if {*shapes} != {"image", "mask"}:
        raise ModelUnavailable(f"{entry.name} has the inputs {', '.join(shapes)}; LaMa's are image and mask")
    sides = {side for shape in shapes.values() for side in shape[2:] if isinstance(side, int)} or {SIDE}
    if len(sides) > 1 or any(len(shape) != 4 for shape in shapes.values()) or min(sides) % MULTIPLE:
        raise ModelUnavailable(f"{entry.name} has inputs of shapes {shapes}; LaMa's are squares")
    return Lama(session, sides.pop(), entry.name)


class Lama:
    """A `roles.Inpainter`: one pass, without random numbers or texts, so seeds and negatives have no effect.

    Pictures are scaled to the network's side, mirrored to a square, filled one by one and scaled back. The network sees
    a slightly larger hole, so nothing of what the hole held is left at its edge; only the hole itself changes.

    Args:
        session: ONNX Runtime's; `image [1, 3, side, side]` in [0, 1], `mask [1, 1, side, side]`, 1 where to fill.
        side: of the network, pixels.
        name: of the model, for errors.
    """

    def __init__(self, session: Any, side: int, name: str) -> None:
        self._session, self._side = session, side
        self._white = self._white_level(name)

    def __call__(
        self, images: Sequence[Pixels], holes: Sequence[Array], seeds: Sequence[int], negatives: Sequence[str] = ()
    ) -> list[Filled]:
        """Each picture with its hole filled; `method` is `lama`, `none` for an empty hole, `blank` without a result."""
        return [self._filled(image, hole.astype(bool)) for image, hole in zip(images, holes, strict=True)]

    def _filled(self, image: Pixels, hole: Bools) -> Filled:
        if not hole.any():
            return Filled(image.copy(), "none")
        height, width = image.shape[:2]
        scale = self._side / max(height, width)
        inner = max(1, round(height * scale)), max(1, round(width * scale))
        missing = cv2.resize(hole.astype(np.float32), inner[::-1], interpolation=_filter(scale)) > 0
        reach = int(np.ceil(CUBIC * max(scale, 1)))
        missing = cv2.dilate(missing.astype(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
        pad = ((0, self._side - inner[0]), (0, self._side - inner[1]))
        small = np.pad(resized(image, inner), (*pad, (0, 0)), mode="symmetric")
        levels: Singles = small.astype(np.float32) / np.float32(255)
        found = self._run(levels, np.pad(missing, pad, mode="symmetric"))
        if not np.isfinite(found).all():
            return Filled(image.copy(), BLANK)
        made = np.rint(found[: inner[0], : inner[1]] * (255 / self._white)).clip(0, 255).astype(np.uint8)
        filled = resized(made, (height, width))
        return Filled(np.where(hole[..., None], filled, image).astype(np.uint8), METHOD)

    def _run(self, image: Singles, missing: Array) -> Singles:
        """The network's output `[side, side, 3]` for a picture in [0, 1], black where it is missing."""
        mask = missing.astype(np.float32)[None, None]
        known = np.ascontiguousarray(image.transpose(2, 0, 1)[None]) * (1 - mask)
        found: Singles = self._session.run(None, {"image": known.astype(np.float32), "mask": mask})[0][0]
        return found.transpose(1, 2, 0)

    def _white_level(self, name: str) -> float:
        """1 or 255: what the network calls white. It returns the known pixels as they are, so an even grey tells.

        Raises:
            ModelUnavailable: the known pixels don't come back, so it is no LaMa.
        """
        missing = np.zeros((self._side, self._side), np.uint8)
        middle = slice(self._side * 3 // 8, self._side * 5 // 8)
        missing[middle, middle] = 1
        found = self._run(np.full((self._side, self._side, 3), GREY, np.float32), missing)
        known = found[missing == 0] / GREY
        for white in (1.0, 255.0):
            if np.allclose(known, white, rtol=0.01):
                return white
        raise ModelUnavailable(
            f"{name} isn't LaMa as ONNX: outside the mask it turns {GREY:g} into {known.min() * GREY:.3g} to "
            f"{known.max() * GREY:.3g}"
        )


def _filter(scale: float) -> int:
    """OpenCV's filter for a hole: nothing that a shrunken pixel overlaps is lost."""
    return cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST


LAMA = Loader(revision=1, make=load_lama, options=LamaOptions, packages=("onnxruntime",), obstacle=no_obstacle)
