"""Regions as compressed COCO RLE, from polygons and from other RLE.

pycocotools draws and encodes. Its C code trusts what it is given: counts that end too early make it read past their
end, and a far coordinate takes all memory. So everything is checked before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco

from variorum.annotations import decode_mask
from variorum.schemas.annotations import Object

LONGEST_OUTLINE = 2_000_000
"""Pixels. pycocotools takes 80 bytes for each to draw a polygon."""


class BadRegion(ValueError):
    """A region can't be read; the message is a sentence."""


def encoded(segmentation: Any, size: tuple[int, int]) -> str:
    """A region as the `counts` of a compressed RLE over a picture of this height and width; `""` for none.

    Args:
        segmentation: polygons `[[x, y, x, y, ...], ...]`, an RLE `{"counts": [...] or "...", "size": [height, width]}`,
            or the counts of a compressed RLE alone; None or empty for none.
        size: height and width of the picture that the region refers to.

    Raises:
        BadRegion: anything else.
    """
    height, width = size
    if segmentation is None or (isinstance(segmentation, str | bytes | Sequence | Mapping) and not segmentation):
        return ""
    counts: Any
    if isinstance(segmentation, Mapping):
        given, counts = segmentation.get("size"), segmentation.get("counts")
        if not isinstance(given, Sequence) or list(given) != [height, width]:
            raise BadRegion(f"an RLE has the size {short(given)}, its picture {height} x {width}")
    elif isinstance(segmentation, str | bytes):
        counts = segmentation
    elif isinstance(segmentation, Sequence):
        polygons = [_polygon(points, size) for points in segmentation]
        return str(coco.merge(coco.frPyObjects(polygons, height, width))["counts"], "ascii")
    else:
        raise BadRegion(f"a segmentation is {short(segmentation)}, neither polygons nor an RLE")
    if isinstance(counts, str | bytes):
        text = counts if isinstance(counts, str) else counts.decode("ascii", "replace")
        try:
            decode_mask(Object((0, 0, 0, 0), mask=text), height, width)
        except ValueError:
            raise BadRegion(f"the counts {short(text)} are no compressed RLE of {height} x {width} pixels") from None
        return text
    numbers = isinstance(counts, Sequence) and all(type(count) is int and count >= 0 for count in counts)
    if not numbers or sum(counts) != height * width:
        raise BadRegion(f"the counts {short(counts)} don't add up to the {height} x {width} pixels of the picture")
    return str(coco.frPyObjects({"counts": list(counts), "size": [height, width]}, height, width)["counts"], "ascii")


def short(value: Any) -> str:
    """A value for a message, at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _polygon(points: Any, size: tuple[int, int]) -> list[float]:
    """A polygon that pycocotools can draw. It may leave the picture, but not by more than the longer side."""
    if not isinstance(points, Sequence) or isinstance(points, str | bytes) or len(points) < 6 or len(points) % 2:
        raise BadRegion(f"a polygon is {short(points)}; it must be x, y of three points or more")
    far = max(size)
    for position, value in enumerate(points):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadRegion(f"a polygon has the coordinate {short(value)}, which is no number")
        if not -far <= value <= size[1 - position % 2] + far:
            raise BadRegion(f"a polygon has the coordinate {value}, which lies far outside of the picture")
    corners = np.array(points, float).reshape(-1, 2)
    if abs(corners - np.roll(corners, 1, axis=0)).max(axis=1).sum() > LONGEST_OUTLINE:
        raise BadRegion(f"a polygon has an outline of more than {LONGEST_OUTLINE} pixels")
    return list(map(float, points))
