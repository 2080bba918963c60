"""Loaders `centerface` and `face_age`: faces in pictures, and how old the people look.

CenterFace (Xu et al., CenterFace: Joint Face Detection and Alignment Using Face as Point, arXiv 1911.03599) marks the
middle of each face on a map and gives its size and five points. The age network is dlib's `dnn_age_predictor_v1` by
Cydral Technology, a ResNet-10 that gives probabilities of the ages 0 to 80. Pictures go through both networks one by
one, so a result depends on its picture alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from pydantic import Field

from variorum.models.loaders.loader import Loader, no_obstacle
from variorum.models.loaders.text_detection import MULTIPLE, working_size
from variorum.models.onnx import open_session, read_model
from variorum.models.roles import Faces
from variorum.models.table_entries import Entry, StrictModel
from variorum.schemas.errors import ModelUnavailable

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

CELL = 4
"""Pixels of the network's input per cell of its maps."""
OVERLAP = 0.3
"""IoU above which only the surer of two faces is kept, as its authors do."""
MOST = 500
"""Faces per picture; of more, the surest are kept."""
MAPS = {"537": 1, "538": 2, "539": 2, "540": 10}
"""Outputs of CenterFace and their channels: scores, logarithms of height and width, offsets, points."""

SIDE = 64
"""Of the age network's input, pixels."""
MEANS = (122.782, 117.001, 104.298)
"""Of red, green and blue; after subtraction, the age network's input is divided by 256."""
AGES = np.asarray([0.25, *range(1, 81)], np.float32)
"""Years that its outputs stand for."""
PADDING = 0.2
"""Around the face in the network's input, as a share of the face's own side."""
PLACES = np.asarray([[0.24, 0.23], [0.76, 0.23], [0.5, 0.55], [0.28, 0.825], [0.72, 0.825]], np.float64)
"""Where CenterFace's points lie in a face that dlib has aligned, as shares of its side. dlib aligns by other points, so
these are medians over faces that both have found, made symmetric."""


class CenterFaceOptions(StrictModel):
    """Options of `centerface`."""

    threshold: float = Field(default=0.2, ge=0.02, lt=1)
    """Faces with a higher score are kept."""
    shortest: int = Field(default=128, ge=MULTIPLE)
    """Pixels of the shorter side to which smaller pictures are enlarged."""
    longest: int = Field(default=1024, ge=MULTIPLE)
    """Pixels of the longer side to which larger pictures are shrunk."""
    threads: int = Field(default=1, ge=1)
    """Of one session; pictures are spread over processes instead."""


def load_centerface(entry: Entry, file: Path, options: CenterFaceOptions, _used: Mapping[str, Any]) -> CenterFace:
    """The detector of CenterFace's `.onnx` file. Raises ModelUnavailable if it isn't that."""
    session = open_session(of_any_size(file), options.threads, entry.name)
    there = {output.name for output in session.get_outputs()}
    if len(session.get_inputs()) != 1 or there != set(MAPS):
        raise ModelUnavailable(f"{file} isn't CenterFace: its outputs are {', '.join(sorted(there))}")
    return CenterFace(session, options)


def of_any_size(file: Path) -> bytes:
    """The network for one picture of any size; the file declares a size, though nothing in it depends on one.

    Raises:
        ModelUnavailable: the file can't be read as ONNX.
    """
    model = read_model(file, file)
    kept = {item.name for item in model.graph.initializer}
    for item in [*model.graph.input, *model.graph.output]:
        if item.name not in kept:
            for axis, side in enumerate(item.type.tensor_type.shape.dim):
                if axis != 1:
                    side.dim_param = f"{item.name}_{axis}"
    content: bytes = model.SerializeToString()
    return content


class CenterFace:
    """A `roles.FaceDetector`."""

    def __init__(self, session: Any, options: CenterFaceOptions) -> None:
        self._session = session
        self._options = options
        self._input = session.get_inputs()[0].name

    def __call__(self, images: Sequence[Pixels]) -> list[Faces]:
        """The faces of each picture, by falling score."""
        return [self._found(image) for image in images]

    def _found(self, image: Pixels) -> Faces:
        height, width = image.shape[:2]
        high, wide = working_size(height, width, self._options.shortest, self._options.longest)
        how = cv2.INTER_AREA if high * wide < height * width else cv2.INTER_LINEAR
        x = cv2.resize(image, (wide, high), interpolation=how).astype(np.float32).transpose(2, 0, 1)[None]
        maps = self._session.run(list(MAPS), {self._input: np.ascontiguousarray(x)})
        heat, scale, offset, places = (one[0] for one in maps)
        boxes, scores, points = decoded(heat, scale, offset, places, self._options.threshold)
        ratio = np.asarray([width / wide, height / high], np.float32)
        boxes = (boxes * np.tile(ratio, 2)).clip(0, np.asarray([width, height, width, height], np.float32))
        kept = (boxes[:, :2] < boxes[:, 2:]).all(axis=1)
        return Faces(boxes[kept], scores[kept], (points * ratio)[kept])


def decoded(
    heat: Singles, scale: Singles, offset: Singles, places: Singles, threshold: float
) -> tuple[Singles, Singles, Singles]:
    """Boxes `[n, 4]`, scores `[n]` and points `[n, 5, 2]` in pixels of the input, from the maps of one picture.

    Args:
        heat: scores `[1, h, w]`.
        scale: logarithms of height and width in cells `[2, h, w]`.
        offset: of the middle from the cell's corner, down and across, in cells `[2, h, w]`.
        places: of the points, down and across in turn, as shares of the box `[10, h, w]`.
        threshold: that a score must exceed.
    """
    rows, columns = np.nonzero(heat[0] > threshold)
    scores = heat[0, rows, columns]
    order = np.argsort(-scores, kind="stable")
    rows, columns, scores = rows[order], columns[order], scores[order]
    size = np.exp(scale[:, rows, columns].clip(-8, 8)) * CELL
    middle = (np.stack([rows, columns]) + offset[:, rows, columns] + 0.5) * CELL
    start = middle - size / 2
    boxes = np.stack([start[1], start[0], start[1] + size[1], start[0] + size[0]], axis=1).astype(np.float32)
    shares = places[:, rows, columns].T.reshape(-1, 5, 2)[..., ::-1]
    points = (shares * size[::-1].T[:, None] + boxes[:, None, :2]).astype(np.float32)
    kept = apart(boxes, scores)
    return boxes[kept], scores[kept].astype(np.float32), points[kept]


def apart(boxes: Singles, scores: Singles) -> Any:
    """Rows of at most `MOST` boxes that no surer one covers, surest first."""
    if not len(boxes):
        return np.zeros(0, np.int64)
    shapes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    found = cv2.dnn.NMSBoxes(shapes.tolist(), scores.tolist(), 0.0, OVERLAP)
    return np.sort(np.asarray(found, np.int64).ravel())[:MOST]


class FaceAgeOptions(StrictModel):
    """Options of `face_age`."""

    threads: int = Field(default=1, ge=1)
    """Of one session; pictures are spread over processes instead."""


def load_face_age(entry: Entry, file: Path, options: FaceAgeOptions, _used: Mapping[str, Any]) -> FaceAge:
    """The estimator of an `.onnx` file. Raises ModelUnavailable if it isn't one."""
    session = open_session(file, options.threads, entry.name)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1 or outputs[0].shape[1:] != [len(AGES)]:
        raise ModelUnavailable(f"{file} isn't an age estimator: it must give {len(AGES)} probabilities")
    return FaceAge(session)


class FaceAge:
    """A `roles.AgeEstimator`."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name

    def __call__(self, images: Sequence[Pixels], faces: Sequence[Faces]) -> list[Singles]:
        """The mean of each face's distribution in years; NaN for a face whose points are less than a pixel apart."""
        return [
            np.asarray([self._age(image, points) for points in found.points], np.float32)
            for image, found in zip(images, faces, strict=True)
        ]

    def _age(self, image: Pixels, points: Singles) -> float:
        if not np.ptp(points, axis=0).max() >= 1:
            return float("nan")
        x = (aligned(image, points) - np.asarray(MEANS, np.float32)) / np.float32(256)
        shown = np.ascontiguousarray(x.transpose(2, 0, 1)[None].astype(np.float32))
        return float(self._session.run(None, {self._input: shown})[0][0] @ AGES)


def aligned(image: Pixels, points: Singles) -> Pixels:
    """A face turned upright and scaled as dlib does it, `[64, 64, 3]`.

    Args:
        image: RGB `[H, W, 3]`.
        points: `[5, 2]`: eyes, tip of the nose, corners of the mouth.
    """
    target = (PADDING + PLACES) / (1 + 2 * PADDING) * SIDE
    matrix = similarity(np.asarray(points, np.float64), target)
    shrink = float(np.hypot(matrix[0, 0], matrix[0, 1]))
    if shrink < 0.5:  # averages what one pixel of the result stands for; a plain warp would pick single pixels
        size = (max(1, round(image.shape[1] * shrink)), max(1, round(image.shape[0] * shrink)))
        sides = np.asarray(size) / (image.shape[1], image.shape[0])
        matrix = np.concatenate([matrix[:, :2] / sides, matrix[:, 2:]], axis=1)
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR), np.uint8)


def similarity(places: Any, targets: Any) -> Any:
    """The turn, scale and shift `[2, 3]` that moves points `[n, 2]` closest to others (Umeyama, PAMI 1991)."""
    middle, goal = places.mean(axis=0), targets.mean(axis=0)
    a, b = places - middle, targets - goal
    spread = max(float((a**2).sum()), 1e-9)
    cosine = float((a * b).sum()) / spread
    sine = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / spread
    turn = np.asarray([[cosine, -sine], [sine, cosine]])
    return np.concatenate([turn, (goal - turn @ middle)[:, None]], axis=1)


CENTERFACE = Loader(
    revision=1,
    make=load_centerface,
    options=CenterFaceOptions,
    packages=("onnxruntime", "onnx"),
    obstacle=no_obstacle,
)
FACE_AGE = Loader(
    revision=1,
    make=load_face_age,
    options=FaceAgeOptions,
    packages=("onnxruntime",),
    obstacle=no_obstacle,
)
