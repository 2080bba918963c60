"""Loader `text_detection`: where a picture shows text, by PaddleOCR's detector (PP-OCRv4, differentiable binarisation).

Liao et al., Real-Time Scene Text Detection with Differentiable Binarization, AAAI 2020, arXiv 1911.08947. Pictures go
through the network one by one, so the result depends on its picture alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from pydantic import Field

from variorum.models.loaders.loader import Loader, no_obstacle
from variorum.models.onnx import open_session
from variorum.models.table_entries import Entry, StrictModel
from variorum.schemas.errors import ModelUnavailable

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

MULTIPLE = 32
"""Sides of the network's input, as it shrinks by as much."""


class TextDetectionOptions(StrictModel):
    """Options of `text_detection`."""

    shortest: int = Field(default=256, ge=MULTIPLE)
    """Pixels of the shorter side to which smaller pictures are enlarged."""
    longest: int = Field(default=1024, ge=MULTIPLE)
    """Pixels of the longer side to which larger pictures are shrunk."""
    threads: int = Field(default=1, ge=1)
    """Of one session; pictures are spread over processes instead."""


def load_text_detection(
    entry: Entry, file: Path, options: TextDetectionOptions, _used: Mapping[str, Any]
) -> TextDetection:
    """The detector of an `.onnx` file. Raises ModelUnavailable if it isn't one."""
    session = open_session(file, options.threads, entry.name)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1 or len(inputs[0].shape) != 4 or len(outputs[0].shape) != 4:
        raise ModelUnavailable(f"{file} isn't a text detector: it must have one picture as input and one map as output")
    return TextDetection(session, options)


class TextDetection:
    """A `roles.TextDetector`."""

    def __init__(self, session: Any, options: TextDetectionOptions) -> None:
        self._session = session
        self._options = options
        self._input = session.get_inputs()[0].name

    def __call__(self, images: Sequence[Pixels]) -> list[Singles]:
        """The probability of text at each pixel, `[H, W]` float32 at the picture's own size."""
        return [self._found(image) for image in images]

    def _found(self, image: Pixels) -> Singles:
        high, wide = working_size(image.shape[0], image.shape[1], self._options.shortest, self._options.longest)
        shrinks = high * wide < image.shape[0] * image.shape[1]
        seen = cv2.resize(image, (wide, high), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
        x = seen[..., ::-1].astype(np.float32) / np.float32(127.5) - np.float32(1)  # blue first
        found = self._session.run(None, {self._input: np.ascontiguousarray(x.transpose(2, 0, 1)[None])})[0][0, 0]
        return np.asarray(cv2.resize(found, image.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def working_size(height: int, width: int, shortest: int, longest: int) -> tuple[int, int]:
    """Height and width that the network sees: multiples of 32, with the shape of the picture about kept."""
    factor = max(1.0, shortest / min(height, width))
    factor = min(factor, longest / max(height, width))
    high, wide = (max(MULTIPLE, round(side * factor / MULTIPLE) * MULTIPLE) for side in (height, width))
    return high, wide


TEXT_DETECTION = Loader(
    revision=1,
    make=load_text_detection,
    options=TextDetectionOptions,
    packages=("onnxruntime",),
    obstacle=no_obstacle,
)
