"""Regions as compressed COCO RLE, from polygons and from other RLE, and objects that are turned with their picture.

pycocotools draws and encodes. Its C code trusts what it is given: counts that end too early make it read past their
end, and a far coordinate takes all memory. So everything is checked before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools import mask as coco

from variorum.annotations import decode_mask, encode_mask
from variorum.schemas.annotations import Object
from variorum.schemas.errors import BadObjects
from variorum.sources.exports.objects import short

if TYPE_CHECKING:
    from variorum.arrays import Bools

LONGEST_OUTLINE = 2_000_000
"""Pixels. pycocotools takes 80 bytes for each to draw a polygon."""

TURNS: Mapping[int, Callable[[Bools], Bools]] = {
    5: lambda mask: mask.T,
    6: lambda mask: np.rot90(mask, -1),
    7: lambda mask: np.rot90(mask, 2).T,
    8: lambda mask: np.rot90(mask),
}
"""What makes stored pixels upright, for EXIF orientations with which height and width change places."""


def encoded(segmentation: Any, size: tuple[int, int]) -> str:
    """A region as the `counts` of a compressed RLE over a picture of this height and width; `""` for none.

    Args:
        segmentation: polygons `[[x, y, x, y, ...], ...]`, an RLE `{"counts": [...] or "...", "size": [height, width]}`,
            or the counts of a compressed RLE alone; None, empty or empty polygons (`[[]]`) for none.
        size: height and width of the picture that the region refers to.

    Raises:
        BadObjects: `bad_mask` for anything else.
    """
    height, width = size
    if segmentation is None or (isinstance(segmentation, str | bytes | Sequence | Mapping) and not segmentation):
        return ""
    counts: Any
    if isinstance(segmentation, Mapping):
        given, counts = segmentation.get("size"), segmentation.get("counts")
        if not isinstance(given, Sequence) or list(given) != [height, width]:
            raise _bad(f"an RLE has the size {short(given)}, its picture {height} x {width}")
    elif isinstance(segmentation, str | bytes):
        counts = segmentation
    elif isinstance(segmentation, Sequence):
        polygons = [_polygon(points, size) for points in segmentation if points not in ([], ())]
        if not polygons:
            return ""
        return str(coco.merge(coco.frPyObjects(polygons, height, width))["counts"], "ascii")
    else:
        raise _bad(f"a segmentation is {short(segmentation)}, neither polygons nor an RLE")
    if isinstance(counts, str | bytes):
        text = counts if isinstance(counts, str) else counts.decode("ascii", "replace")
        try:
            decode_mask(Object((0, 0, 0, 0), mask=text), height, width)
        except ValueError:
            raise _bad(f"the counts {short(text)} are no compressed RLE of {height} x {width} pixels") from None
        return text
    numbers = isinstance(counts, Sequence) and all(type(count) is int and count >= 0 for count in counts)
    if not numbers or sum(counts) != height * width:
        raise _bad(f"the counts {short(counts)} don't add up to the {height} x {width} pixels of the picture")
    return str(coco.frPyObjects({"counts": list(counts), "size": [height, width]}, height, width)["counts"], "ascii")


def turned(item: Object, size: tuple[int, int], turn: int) -> Object:
    """An object of a stored picture as one of the upright picture.

    Args:
        item: in pixels of the stored picture.
        size: height and width of the stored picture.
        turn: how it is to be turned, as EXIF counts; one of `TURNS`, or 1 for not at all.
    """
    if turn == 1:
        return item
    (height, width), (left, top, wide, high) = size, item.box
    new_left = top if turn in (5, 8) else height - top - high
    new_top = left if turn in (5, 6) else width - left - wide
    mask = encode_mask(TURNS[turn](decode_mask(item, height, width))) if item.mask else ""
    return replace(item, box=(new_left, new_top, high, wide), mask=mask)


def _polygon(points: Any, size: tuple[int, int]) -> Sequence[float]:
    """A polygon that pycocotools can draw. It may leave the picture, but not by more than the longer side."""
    if not isinstance(points, Sequence) or isinstance(points, str | bytes) or len(points) < 6 or len(points) % 2:
        raise _bad(f"a polygon is {short(points)}; it must be x, y of three points or more")
    far = max(size)
    for value in () if set(map(type, points)) <= {int, float} else points:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _bad(f"a polygon has the coordinate {short(value)}, which is no number")
    for along, longest in ((points[::2], size[1] + far), (points[1::2], size[0] + far)):
        if not (-far <= min(along) and max(along) <= longest) or any(map(math.isnan, along)):
            raise _bad(f"a polygon has coordinates far outside of the picture: {short(list(along))}")
    # no side is longer than three times the picture, so few corners need no look
    if len(points) / 2 * 3 * far > LONGEST_OUTLINE:
        corners = np.array(points, float).reshape(-1, 2)
        if abs(corners - np.roll(corners, 1, axis=0)).max(axis=1).sum() > LONGEST_OUTLINE:
            raise _bad(f"a polygon has an outline of more than {LONGEST_OUTLINE} pixels")
    return points


def _bad(detail: str) -> BadObjects:
    return BadObjects("bad_mask", detail)
