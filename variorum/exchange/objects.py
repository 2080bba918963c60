"""The objects of a picture in forms that several tools use: lists by field, and boxes relative to the picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from variorum.schemas.annotations import Object

PARTS = ("bbox", "category", "area", "iscrowd", "id", "score", "segmentation", "origin", "check")
"""The lists of `object_lists`."""


def object_lists(objects: Sequence[Object], category: Callable[[str], Any]) -> dict[str, list[Any]]:
    """Objects as lists by field, the form of object detection sets for `datasets`.

    `bbox` is left, top, width and height in pixels, `segmentation` the counts of a compressed COCO RLE or `""`.

    Args:
        objects: of one picture.
        category: what stands for a class, by its id; `""` is the id of an object without one.
    """
    return {
        "bbox": [list(map(float, one.box)) for one in objects],
        "category": [category(one.label) for one in objects],
        "area": [float(one.box[2] * one.box[3] if one.area is None else one.area) for one in objects],
        "iscrowd": [bool(one.crowd) for one in objects],
        "id": [one.id for one in objects],
        "score": [None if one.score is None else float(one.score) for one in objects],
        "segmentation": [one.mask for one in objects],
        "origin": [one.origin for one in objects],
        "check": [one.check for one in objects],
    }


def relative_box(item: Object, size: tuple[int, int]) -> list[float]:
    """Left, top, width and height relative to the picture's width and height.

    Args:
        item: with its box in pixels.
        size: height and width of the picture.
    """
    height, width = size
    left, top, wide, high = item.box
    return [left / width, top / height, wide / width, high / height]


def further(item: Object) -> dict[str, Any]:
    """Return what an object has besides box and class, as JSON values; only those that are set."""
    found = {
        "id": item.id,
        "area": item.area,
        "iscrowd": item.crowd or None,
        "segmentation": item.mask,
        "origin": item.origin,
        "check": item.check,
    }
    return {name: value for name, value in found.items() if value not in ("", None)}
