"""The objects of a picture in forms that several tools use: lists by field, and boxes relative to the picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from variorum.annotations import with_mask
from variorum.pixels import UndecodableImage, decode_mask
from variorum.schemas.annotations import Object
from variorum.schemas.sample import Sample

MASK = "mask.png"
"""Member of a picture of one object, with the object white."""
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


def masked_object(sample: Sample, size: tuple[int, int]) -> Object | None:
    """The object of a picture that has a mask and no annotations: its region, with box and area, and the first label.

    None without a mask, or if nothing of it is white.

    Raises:
        ValueError: the mask can't be read, or is of another size.
    """
    data = sample.extras.get(MASK)
    if not isinstance(data, bytes):
        return None
    try:
        mask = decode_mask(data)
    except UndecodableImage as error:
        raise ValueError(str(error)) from None
    if mask.shape != size:
        raise ValueError(f"a mask of {mask.shape[1]} x {mask.shape[0]} pixels")
    label = sample.labels[0] if sample.labels else ""
    return with_mask(Object((0.0, 0.0, 0.0, 0.0), label), mask > 127)


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
