"""Pack a picture's detections and objects as bytes of one table cell each."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from variorum.reports.coco_objects import Marked
from variorum.schemas.annotations import CHECKS, Check
from variorum.schemas.errors import ModelFailed

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Ints
    from variorum.models.roles import Detected

FOUND = np.dtype([("box", "<f4", 4), ("score", "<f4"), ("category", "<i4")])
"""A detection: left, top, right, bottom in pixels, and the index of its class."""
THERE = np.dtype(
    [("box", "<f8", 4), ("area", "<f8"), ("category", "<i4"), ("crowd", "?"), ("check", "i1"), ("key", "<u8")]
)
"""An object: left, top, width, height in pixels, area in square pixels, index of its class, whether it is a crowd, its
index in `CHECKS`, and a number for its id, 0 without one."""
MOST = 100
"""Detections of a class in a picture that COCO's measure looks at."""


class Picture(NamedTuple):
    """Detections, with dtype `FOUND`, and objects, with dtype `THERE`."""

    found: Array
    there: Array


def pack_found(alias: str, detected: Detected, categories: Ints) -> bytes:
    """A detector's answer; of each class the `MOST` likeliest, in its own order.

    Args:
        alias: of the detector, for messages.
        detected: its answer.
        categories: index of the class that each text names.

    Raises:
        ModelFailed: a box or a score that is no finite number, or arrays that don't fit one another.
    """
    boxes, scores, texts = (np.asarray(part) for part in detected)
    if boxes.shape != (len(scores), 4) or scores.ndim != 1 or texts.shape != scores.shape:
        shapes = ", ".join(str(list(part.shape)) for part in (boxes, scores, texts))
        raise ModelFailed(f"detector {alias!r} gave boxes, scores and texts of shapes {shapes}, not [n, 4], [n], [n]")
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        raise ModelFailed(f"detector {alias!r} gave a box or a score that is no finite number")
    if len(texts) and not (texts.min() >= 0 and texts.max() < len(categories)):
        raise ModelFailed(f"detector {alias!r} found text {texts.max()} of {len(categories)}")
    packed = np.zeros(len(scores), FOUND)
    packed["box"], packed["score"], packed["category"] = boxes, scores, categories[texts]
    likeliest = np.argsort(-packed["score"], kind="stable")
    kept = [likeliest[packed["category"][likeliest] == one][:MOST] for one in np.unique(packed["category"])]
    return packed[np.sort(np.concatenate(kept))].tobytes() if kept else b""


def pack_objects(objects: Sequence[Marked]) -> bytes:
    """Objects that count, for `THERE`."""
    rows = [
        (item.box, item.area, category, item.crowd, CHECKS.index(item.check), _key(item.id))
        for item, category in objects
    ]
    return np.array(rows, THERE).tobytes()


def counted(there: Array, ignore: Collection[Check]) -> Bools:
    """Return whether each object counts: no crowd, and none of these checks."""
    return np.asarray(~there["crowd"] & ~np.isin(there["check"], [CHECKS.index(one) for one in ignore]))


def _key(identity: str) -> int:
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8]) or 1 if identity else 0


def unpacked(found: bytes, there: bytes) -> Picture:
    """The records of a picture."""
    return Picture(np.frombuffer(found, FOUND), np.frombuffer(there, THERE))
