"""Loader `text_reading`: the lines of text in a picture, by PaddleOCR's recognition network (PP-OCRv4, SVTR-LCNet).

The alias in `uses` finds where text is. Each line is turned upright and read alone, so what is read depends on the
picture alone. Du et al., SVTR: Scene Text Recognition with a Single Visual Model, IJCAI 2022, arXiv 2205.00159; decoded
greedily after Graves et al., Connectionist Temporal Classification, ICML 2006.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from pydantic import Field

from variorum.models.loaders.loader import Loader, no_obstacle
from variorum.models.onnx import open_session
from variorum.models.roles import Line, TextDetector
from variorum.models.table_entries import Entry, StrictModel
from variorum.schemas.errors import ModelUnavailable

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

HEIGHT = 48
"""Of the network's input in pixels."""
NARROWEST, WIDEST = 320, 3200
"""Widths of its input in pixels; a shorter line is followed by grey."""
LIKELY, SURE = 0.3, 0.5
"""Probability of text from which a pixel may belong to a line, and mean of a line's pixels, as in PaddleOCR."""
SPACE = 0.03
"""Probability of a space from which there is one. In rendered lines nearly all spaces have it and few other gaps."""
THINNEST = 3
"""Pixels of a line's height."""
GROWN = 1.6
"""The detector finds the core of a line; it grows by this times its area over its perimeter on each side."""
UPRIGHT = 1.5
"""A line that is more than this many times as high as wide runs from top to bottom."""


class TextReadingOptions(StrictModel):
    """Options of `text_reading`."""

    least: float = Field(default=0.5, ge=0, le=1)
    """Mean probability of a line's characters from which it counts as read."""
    most: int = Field(default=100, ge=1)
    """Lines of one picture at most, the largest ones."""
    threads: int = Field(default=1, ge=1)
    """Of one session; pictures are spread over processes instead."""


def load_text_reading(entry: Entry, file: Path, options: TextReadingOptions, used: Mapping[str, Any]) -> TextReading:
    """The network of an `.onnx` file with the detector that the entry uses. Raises ModelUnavailable if it isn't one."""
    if len(used) != 1:
        raise ModelUnavailable(f"{entry.name}: loader text_reading uses one model, a text detector; name it in `uses`")
    session = open_session(file, options.threads, entry.name)
    known = session.get_modelmeta().custom_metadata_map.get("character", "").splitlines()
    outputs = [output.shape for output in session.get_outputs()]
    characters = ("", *known, " ")  # the first class says that there is no character
    if len(outputs) != 1 or outputs[0][-1] != len(characters):
        raise ModelUnavailable(f"{file} doesn't read text: its outputs are {outputs} for {len(characters)} characters")
    (detector,) = used.values()
    return TextReading(session, detector, characters, options)


class TextReading:
    """A `roles.TextReader`."""

    def __init__(
        self, session: Any, detector: TextDetector, characters: tuple[str, ...], options: TextReadingOptions
    ) -> None:
        self._session = session
        self._detector = detector
        self._characters = characters
        self._options = options
        self._input = session.get_inputs()[0].name

    def __call__(self, images: Sequence[Pixels]) -> list[list[Line]]:
        """The lines of each picture, from top to bottom."""
        return [self._lines(image) for image in images]

    def _lines(self, image: Pixels) -> list[Line]:
        (probabilities,) = self._detector([image])
        boxes = sorted(text_boxes(probabilities), key=lambda box: -cv2.contourArea(box))[: self._options.most]
        found = [self._read(upright(image, box), box) for box in boxes]
        kept = [line for line in found if line.text and line.score >= self._options.least]
        return sorted(kept, key=lambda line: (float(line.box[:, 1].mean()), float(line.box[:, 0].mean())))

    def _read(self, line: Pixels, box: Singles) -> Line:
        classes = self._session.run(None, {self._input: network_input(line)[None]})[0][0]
        text, score = decoded(classes, self._characters)
        return Line(text, score, box)


def decoded(classes: Singles, characters: Sequence[str]) -> tuple[str, float]:
    """The text of the network's probabilities `[steps, characters]`, and the mean probability of its letters.

    The first character stands for none, the last for a space. The network was trained on Chinese and is seldom sure of
    spaces, so a little probability of one between two letters is enough.
    """
    best, surest = classes.argmax(-1), classes.max(-1)
    fresh = (best != np.roll(best, 1)) | (np.arange(len(best)) == 0)
    places = np.flatnonzero(fresh & (best != 0) & (best != len(characters) - 1)).tolist()
    text, before = "", -1
    for place in places:
        if before >= 0 and classes[before : place + 1, -1].max() >= SPACE:
            text += " "
        text, before = text + characters[best[place]], place
    return text, float(surest[places].mean(dtype=np.float64)) if places else 0.0


def text_boxes(probabilities: Singles) -> list[Singles]:
    """The lines in a map of text `[H, W]`: the corners `[4, 2]` of each rectangle, clockwise from the upper left."""
    contours, _ = cv2.findContours((probabilities > LIKELY).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    found = []
    for contour in contours:
        middle, (width, height), angle = cv2.minAreaRect(contour)
        if min(width, height) < THINNEST or _mean_inside(probabilities, contour) < SURE:
            continue
        grown = GROWN * width * height / (width + height)  # a perimeter has twice the sides, and two sides grow
        found.append(_clockwise(cv2.boxPoints((middle, (width + grown, height + grown), angle))))
    return found


def _mean_inside(probabilities: Singles, contour: Any) -> float:
    left, top, width, height = cv2.boundingRect(contour)
    inside = np.zeros((height, width), np.uint8)
    cv2.fillPoly(inside, [contour - np.array([left, top])], 1)
    return float(probabilities[top : top + height, left : left + width][inside > 0].mean(dtype=np.float64))


def _clockwise(corners: Any) -> Singles:
    """Corners in the order upper left, upper right, lower right, lower left."""
    across = corners[np.argsort(corners[:, 0], kind="stable")]
    left, right = (pair[np.argsort(pair[:, 1], kind="stable")] for pair in (across[:2], across[2:]))
    return np.array([left[0], right[0], right[1], left[1]], np.float32)


def upright(image: Pixels, box: Singles) -> Pixels:
    """Cut out a rectangle as a picture in which the line runs from left to right."""
    width = max(1, round(float(np.linalg.norm(box[1] - box[0]))))
    height = max(1, round(float(np.linalg.norm(box[3] - box[0]))))
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(np.ascontiguousarray(box), corners)
    seen: Pixels = cv2.warpPerspective(
        image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.ascontiguousarray(np.rot90(seen)) if height > UPRIGHT * width else seen


def network_input(line: Pixels) -> Singles:
    """`[3, 48, W]`, blue first, in [-1, 1]."""
    height, width = line.shape[:2]
    wide = min(max(1, math.ceil(HEIGHT * width / height)), WIDEST)
    kind = cv2.INTER_AREA if height > HEIGHT else cv2.INTER_LINEAR
    seen = cv2.resize(line, (wide, HEIGHT), interpolation=kind)[..., ::-1]
    x = np.zeros((3, HEIGHT, max(wide, NARROWEST)), np.float32)
    x[..., :wide] = seen.transpose(2, 0, 1).astype(np.float32) / np.float32(127.5) - np.float32(1)
    return x


TEXT_READING = Loader(
    revision=1,
    make=load_text_reading,
    options=TextReadingOptions,
    packages=("onnxruntime",),
    obstacle=no_obstacle,
)
