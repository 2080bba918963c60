"""Loader `nude_parts`: parts of the body that a picture shows, by NudeNet (a YOLOv8 of 18 categories).

The weights are under AGPL-3.0, so nothing fetches them unless they are named. Pictures go through the network one by
one, so what is found depends on the picture alone.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from pydantic import Field

from variorum.models.loaders.loader import Loader, no_obstacle
from variorum.models.onnx import open_session
from variorum.models.roles import Parts
from variorum.models.table_entries import Entry, StrictModel
from variorum.schemas.errors import ModelUnavailable

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

SIDE = 320
"""Of the network's input in pixels."""
LONGEST = 2048
"""Pixels of the longer side to which a larger picture is shrunk before it is made square, which takes memory."""
OVERLAP = 0.45
"""Of two boxes with more IoU than this, whatever they show, the surer one is kept."""


class NudePartsOptions(StrictModel):
    """Options of `nude_parts`."""

    least: float = Field(default=0.2, ge=0, le=1)
    """Score from which a part is found."""
    threads: int = Field(default=1, ge=1)
    """Of one session; pictures are spread over processes instead."""


def load_nude_parts(entry: Entry, file: Path, options: NudePartsOptions, _used: Mapping[str, Any]) -> NudeParts:
    """The network of an `.onnx` file that Ultralytics exported. Raises ModelUnavailable if it isn't one."""
    session = open_session(file, options.threads, entry.name)
    try:
        names = ast.literal_eval(session.get_modelmeta().custom_metadata_map["names"])
        ordered = tuple(str(names[number]) for number in range(len(names)))
        ((_, channels, _),) = (output.shape for output in session.get_outputs())
        if channels != 4 + len(ordered):
            raise ValueError(f"{channels} values per box for {len(ordered)} names")
    except (LookupError, ValueError, SyntaxError, TypeError) as error:
        raise ModelUnavailable(f"{file} isn't a YOLOv8 detector ({type(error).__name__}: {error})") from error
    return NudeParts(session, ordered, options.least)


class NudeParts:
    """A `roles.PartFinder`."""

    def __init__(self, session: Any, names: tuple[str, ...], least: float) -> None:
        self.names = names
        self._session = session
        self._least = least
        self._input = session.get_inputs()[0].name

    def __call__(self, images: Sequence[Pixels]) -> list[Parts]:
        """The parts found in each picture, in order."""
        return [self._found(image) for image in images]

    def _found(self, image: Pixels) -> Parts:
        height, width = image.shape[:2]
        seen = square(image)
        rows = self._session.run(None, {self._input: seen[None]})[0][0].T
        centre, size, scores = rows[:, :2], rows[:, 2:4], rows[:, 4:]
        boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1) * (max(height, width) / SIDE)
        boxes = np.clip(boxes, 0, [width, height, width, height]).astype(np.float32)
        kept = _apart(boxes, scores.max(axis=1), self._least)
        names = tuple(self.names[number] for number in scores[kept].argmax(axis=1))
        return Parts(boxes[kept], scores[kept].max(axis=1), names)


def square(image: Pixels) -> Singles:
    """`[3, 320, 320]` in [0, 1]: the picture in the upper left, black beside or below it."""
    shrunk = LONGEST / max(image.shape[:2])
    if shrunk < 1:
        height, width = (max(1, round(side * shrunk)) for side in image.shape[:2])
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    height, width = image.shape[:2]
    longest = max(height, width)
    whole = cv2.copyMakeBorder(image, 0, longest - height, 0, longest - width, cv2.BORDER_CONSTANT)
    seen = cv2.resize(whole, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR).astype(np.float32) / np.float32(255)
    return np.ascontiguousarray(seen.transpose(2, 0, 1))


def _apart(boxes: Singles, scores: Singles, least: float) -> list[int]:
    """Rows of boxes from a score on, by falling score, without those that overlap a surer one."""
    sizes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    found = np.asarray(cv2.dnn.NMSBoxes(sizes.tolist(), scores.tolist(), least, OVERLAP), np.int64).ravel()
    return sorted(found.tolist(), key=lambda row: (-float(scores[row]), row))


NUDE_PARTS = Loader(
    revision=1,
    make=load_nude_parts,
    options=NudePartsOptions,
    packages=("onnxruntime",),
    obstacle=no_obstacle,
)
