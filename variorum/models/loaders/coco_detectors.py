"""Loaders `nanodet` and `centernet`: detectors of COCO's 80 categories on ONNX Runtime.

NanoDet-g (Lyu, github.com/RangiLyu/nanodet) has the head of Generalized Focal Loss (Li et al., NeurIPS 2020, arXiv
2006.04388). CenterNet (Zhou et al., arXiv 1904.07850) has a MobileNetV3 here. Both read a picture scaled to fit a
black square, as in their own evaluation. The weights are those of TensorFlow.js; `models/graphs/` has the graphs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import cv2
import numpy as np
from pydantic import Field

from variorum.models.coco import CATEGORIES
from variorum.models.loaders.loader import Loader, no_obstacle
from variorum.models.onnx import graph_with_weights, open_session
from variorum.models.roles import Detected
from variorum.models.table_entries import Entry, StrictModel

if TYPE_CHECKING:
    from variorum.arrays import Bools, Ints, Pixels, Singles

MOST = 100
"""Boxes per picture, as COCO counts them."""
NANODET_SIDE, CENTERNET_SIDE = 416, 512
"""Of the networks' input, pixels."""
MEAN, STD = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
"""Of blue, green and red, with which NanoDet was trained."""
LEVELS = (np.arange(256, dtype=np.float32) - np.asarray(MEAN, np.float32)[:, None]) / np.asarray(STD, np.float32)[
    :, None
]
"""What it reads for each level of the three."""
HEADS = {8: ("Identity", "Identity_3"), 16: ("Identity_1", "Identity_4"), 32: ("Identity_2", "Identity_5")}
"""NanoDet's outputs, scores and distances, by the size of their cells in pixels."""
BINS = 11
"""Of the distribution of a distance, from 0 to 10 cells."""
OVERLAP = 0.6
"""IoU above which NanoDet keeps only the surest of two boxes of a category."""
LEAST = 0.05
"""Score below which NanoDet's authors drop boxes before they compare them."""
DETECTIONS = "tower_0/detections"
SYNONYMS = {
    "aeroplane": "airplane",
    "bike": "bicycle",
    "cellphone": "cell phone",
    "doughnut": "donut",
    "fridge": "refrigerator",
    "hair dryer": "hair drier",
    "mobile phone": "cell phone",
    "motorbike": "motorcycle",
    "plane": "airplane",
    "remote control": "remote",
    "sofa": "couch",
    "television": "tv",
    "tv monitor": "tv",
}
"""Other names of the categories."""
_NUMBERS = {category.name: number for number, category in enumerate(CATEGORIES)}


class CocoOptions(StrictModel):
    """Options of `nanodet` and `centernet`."""

    threshold: float = Field(default=0.05, ge=0, lt=1)
    """Boxes with a higher score are kept. It is low because an average precision needs the unsure boxes too."""
    threads: int = Field(default=1, ge=1)
    """Of one session; pictures are spread over processes instead."""


def category_of(text: str) -> int | None:
    """Return which of the 80 categories a text names, from 0; None for any other text.

    Capitals, underscores and an article don't matter.
    """
    return _NUMBERS.get(plain(text))


def plain(text: str) -> str:
    """A category's name in small letters, without underscores and article; COCO's own one for its other names."""
    words = text.casefold().replace("_", " ").split()
    if len(words) > 1 and words[0] in ("a", "an", "the"):
        words = words[1:]
    name = " ".join(words)
    return SYNONYMS.get(name, name)


class Boxes(NamedTuple):
    """A network's findings: boxes `[n, 4]` in pixels of its input, scores and categories `[n]`, by falling score."""

    boxes: Singles
    scores: Singles
    categories: Ints


class Network(Protocol):
    """From the square input to at most a hundred boxes."""

    side: int

    def __call__(self, square: Pixels) -> Boxes:
        """The boxes in an RGB picture `[side, side, 3]`."""


class CocoDetector:
    """A `roles.Detector` that knows the 80 categories of COCO.

    Of the hundred surest boxes of all categories, those of the texts are kept. So what is found of a text doesn't
    depend on the other texts. Pictures go through one by one, so it doesn't depend on other pictures either.
    """

    def __init__(self, network: Network, threshold: float) -> None:
        self._network, self._threshold = network, threshold

    def knows(self, texts: Sequence[str]) -> list[bool]:
        """Return whether each text names one of the 80 categories."""
        return [category_of(text) is not None for text in texts]

    def __call__(self, images: Sequence[Pixels], texts: Sequence[str]) -> list[Detected]:
        """Find the texts in each picture; nothing of texts that aren't known."""
        if blank := [number for number, text in enumerate(texts) if not text.strip()]:
            raise ValueError(f"text {blank[0]} of {len(texts)} is empty; a detector looks for what a text names")
        asked = np.full(len(CATEGORIES), -1, np.int64)
        for number, text in reversed(list(enumerate(texts))):  # the first of several names of a category
            if (category := category_of(text)) is not None:
                asked[category] = number
        return [self._detect(image, asked) for image in images]

    def _detect(self, image: Pixels, asked: Ints) -> Detected:
        height, width = image.shape[:2]
        square, to_picture = fitted(image, self._network.side)
        boxes, scores, categories = self._network(square)
        inside = to_picture(boxes).clip(0, np.asarray([width, height, width, height])).astype(np.float32)
        texts = asked[categories]
        kept = (texts >= 0) & (scores > self._threshold) & (inside[:, :2] < inside[:, 2:]).all(axis=1)
        return Detected(inside[kept], scores[kept].astype(np.float32), texts[kept])


def fitted(image: Pixels, side: int) -> tuple[Pixels, Any]:
    """A picture scaled to fit a square, in its middle, on black, and the function that moves boxes back."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    across, down = max(1, round(width * scale)), max(1, round(height * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    left, top = (side - across) // 2, (side - down) // 2
    square = np.zeros((side, side, 3), np.uint8)
    square[top : top + down, left : left + across] = cv2.resize(image, (across, down), interpolation=how)
    start = np.asarray([left, top, left, top], np.float32)
    ratio = np.asarray([width / across, height / down] * 2, np.float32)
    return square, lambda boxes: (boxes - start) * ratio


class NanoDet:
    """NanoDet-g on ONNX Runtime."""

    side = NANODET_SIDE

    def __init__(self, session: Any) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name

    def __call__(self, square: Pixels) -> Boxes:
        """The surest boxes, each apart from the others of its category."""
        channels = zip(cv2.split(square)[::-1], LEVELS, strict=True)
        x = np.stack([cv2.LUT(channel, levels) for channel, levels in channels])[None]
        names = [name for pair in HEADS.values() for name in pair]
        raw = [output[0] for output in self._session.run(names, {self._input: x})]
        likely = [scores.max(axis=1) > LEAST for scores in raw[::2]]
        boxes = [cells(raw[2 * row + 1], cell, likely[row]) for row, cell in enumerate(HEADS)]
        scores = [scores[kept] for scores, kept in zip(raw[::2], likely, strict=True)]
        return apart(np.concatenate(boxes).clip(0, self.side), np.concatenate(scores))


def cells(distances: Singles, cell: int, kept: Bools) -> Singles:
    """Boxes `[n, 4]` of a head's cells, in pixels of the input.

    Args:
        distances: logits `[N, 4 * BINS]` of the distances from each cell's middle to the left, top, right and bottom.
        cell: side of the cells in pixels.
        kept: which cells' boxes are wanted, `[N]`, n of them.
    """
    logits = distances[kept].reshape(-1, 4, BINS)
    share = np.exp(logits - logits.max(axis=2, keepdims=True))
    share /= share.sum(axis=2, keepdims=True)
    far = share @ np.arange(BINS, dtype=np.float32) * cell
    rows, columns = np.divmod(np.flatnonzero(kept), NANODET_SIDE // cell)
    x, y = (columns + 0.5) * cell, (rows + 0.5) * cell
    return np.stack([x - far[:, 0], y - far[:, 1], x + far[:, 2], y + far[:, 3]], axis=1).astype(np.float32)


def apart(boxes: Singles, scores: Singles) -> Boxes:
    """The `MOST` surest boxes of all categories without those that a surer one of their category covers.

    Args:
        boxes: `[n, 4]`.
        scores: `[n, categories]` in [0, 1].
    """
    rows, categories = np.nonzero(scores > LEAST)
    likely, placed = scores[rows, categories], boxes[rows]
    order = np.argsort(-likely, kind="stable")
    likely, placed, categories = likely[order], placed[order], categories[order]
    shapes = np.concatenate([placed[:, :2], placed[:, 2:] - placed[:, :2]], axis=1)
    if not len(order):
        return Boxes(placed, likely, categories)
    found = cv2.dnn.NMSBoxesBatched(shapes.tolist(), likely.tolist(), categories.tolist(), LEAST, OVERLAP)
    kept = np.sort(np.asarray(found, np.int64))[:MOST]
    return Boxes(placed[kept], likely[kept], categories[kept])


class CenterNet:
    """CenterNet with a MobileNetV3 on ONNX Runtime. The graph itself finds the peaks of its score maps."""

    side = CENTERNET_SIDE

    def __init__(self, session: Any) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name

    def __call__(self, square: Pixels) -> Boxes:
        """The boxes of the highest peaks. As in the authors' evaluation, some of them may cover each other."""
        (found,) = self._session.run([DETECTIONS], {self._input: square[None].astype(np.float32)})[0]
        return Boxes(found[:, :4], found[:, 4], found[:, 5].astype(np.int64))


def _load(
    network: type[NanoDet | CenterNet], entry: Entry, folder: Path, options: CocoOptions, _used: Mapping[str, Any]
) -> CocoDetector:
    """The detector with the weights of a folder."""
    model = graph_with_weights(network.__name__.lower(), folder)
    return CocoDetector(network(open_session(model, options.threads, entry.name)), options.threshold)


NANODET = Loader(
    revision=1,
    make=partial(_load, NanoDet),
    options=CocoOptions,
    packages=("onnxruntime", "onnx"),
    obstacle=no_obstacle,
)
CENTERNET = Loader(
    revision=1,
    make=partial(_load, CenterNet),
    options=CocoOptions,
    packages=("onnxruntime", "onnx"),
    obstacle=no_obstacle,
)
