"""Regions as compressed COCO RLE: from polygons and other RLE, and turned along with their picture.

pycocotools draws and encodes. Its C code trusts what it is given: counts that end too early make it read past their
end, and a far coordinate takes all memory. So everything is checked before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco

LONGEST_OUTLINE = 2_000_000
"""Pixels. pycocotools takes 80 bytes for each to draw a polygon."""
ZERO, MORE, SIGN, BITS = 48, 0x20, 0x10, 5
"""A compressed RLE has six bits a character, from `0` on: five of the number, and whether more follow."""
LONGEST_COUNT = 35
"""Bits. The largest picture needs fewer."""


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
    counts = _unpacked(counts) if isinstance(counts, str | bytes) else counts
    numbers = isinstance(counts, Sequence) and all(type(count) is int and count >= 0 for count in counts)
    if not numbers or sum(counts) != height * width:
        raise BadRegion(f"the counts of an RLE don't add up to the {height} x {width} pixels of its picture")
    return str(coco.frPyObjects({"counts": list(counts), "size": [height, width]}, height, width)["counts"], "ascii")


def turned(counts: str, size: tuple[int, int], orientation: int) -> str:
    """A region of the stored picture as one of the upright picture.

    Args:
        counts: of a compressed RLE that `encoded` has made.
        size: height and width of the stored picture.
        orientation: EXIF's number from 5 to 8, with which the sides change places.
    """
    mask = coco.decode({"size": list(size), "counts": counts})
    upright = {5: mask.T, 6: np.rot90(mask, -1), 7: np.rot90(mask, 2).T, 8: np.rot90(mask)}[orientation]
    return str(coco.encode(np.asfortranarray(upright))["counts"], "ascii")


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


def _unpacked(counts: str | bytes) -> list[int]:
    """The counts of a compressed RLE: from the fourth on, each is stored as its difference from the one before last."""
    found: list[int] = []
    value = shift = 0
    for code in counts.encode() if isinstance(counts, str) else counts:
        part = code - ZERO
        if not 0 <= part < 64 or shift >= LONGEST_COUNT:
            raise BadRegion(f"the counts {short(counts)} are no compressed RLE")
        value |= (part & 0x1F) << shift
        shift += BITS
        if not part & MORE:
            value -= (1 << shift) if part & SIGN else 0
            found.append(value + (found[-2] if len(found) > 2 else 0))
            value = shift = 0
    if shift:
        raise BadRegion(f"the counts {short(counts)} are cut short")
    return found
