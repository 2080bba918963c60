"""Geometry of annotations: objects that follow the pixels of their picture, and masks as arrays.

A position is measured in pixels from the picture's corner: the first pixel spans 0 to 1, and its centre is at 0.5.
OpenCV counts from that centre instead; `from_centres` converts its matrices.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from variorum.schemas.annotations import Annotations, Box, Object

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints, Singles

DIGITS = 3
"""Decimals of a moved box and area. Fewer than a float has, so that they are the same on every processor."""
LONGEST = 7
"""Characters of one number in the counts of an RLE; a longer number is more than any picture's pixels."""


def moved(annotations: Annotations, matrix: Floats, before: tuple[int, int], after: tuple[int, int]) -> Annotations:
    """The annotations of a picture whose pixels an affine map has moved. Texts and labels stay.

    An object with a mask gets the warped mask, in which each pixel has the value at the place that its centre comes
    from; its box and area are those of this mask. An object without one gets the box around the four mapped corners of
    its box, cut at the frame, and its area is multiplied by the map's and by the share of the box that is left. An
    object of which nothing is left in the frame is dropped.

    Args:
        annotations: of the picture before.
        matrix: `[2, 3]`, from (x, y) in the picture before to (x, y) in the picture after.
        before: height and width of the picture before.
        after: height and width of the picture after.

    Raises:
        ValueError: the matrix can't be inverted, or a mask isn't one of the picture before.
    """
    if not annotations.objects or (before == after and np.array_equal(matrix, np.eye(2, 3))):
        return annotations
    stretch = float(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0])
    if not np.isfinite(matrix).all() or stretch == 0:
        raise ValueError(f"no picture can be moved by the matrix {matrix.tolist()}")
    objects = []
    for item in annotations.objects:
        if item.mask:
            found = with_mask(item, _warped(decode_mask(item, *before), matrix, after))
        else:
            found = _with_moved_box(item, matrix, abs(stretch), after)
        if found is not None:
            objects.append(found)
    return replace(annotations, objects=tuple(objects))


def resampled(annotations: Annotations, origins: Singles, before: tuple[int, int]) -> Annotations:
    """The annotations of a picture whose pixels were moved by a map that isn't affine. Texts and labels stay.

    An object with a mask gets the mask's value at each pixel's origin; its box and area are those of this mask. An
    object without one gets the box around all pixels whose origin lies in its box, in whole pixels, and its area is
    multiplied by how many more or fewer these are. An object of which nothing is left is dropped.

    Args:
        annotations: of the picture before.
        origins: where each pixel of the picture after comes from: (x, y) in the picture before, in pixels from the
            first pixel's centre, as `cv2.remap` takes them, `[H, W, 2]`. What comes from outside belongs to no object.
        before: height and width of the picture before.

    Raises:
        ValueError: a mask isn't one of the picture before.
    """
    height, width = before
    if not annotations.objects or (origins.shape[:2] == before and np.array_equal(origins, _places(height, width))):
        return annotations
    objects = []
    for item in annotations.objects:
        if item.mask:
            found = with_mask(item, resampled_mask(decode_mask(item, height, width), origins))
        else:
            found = _with_resampled_box(item, origins, before)
        if found is not None:
            objects.append(found)
    return replace(annotations, objects=tuple(objects))


def resampled_mask(mask: Array, origins: Singles) -> Array:
    """A mask `[h, w]` at the origins of pixels `[H, W, 2]`, as in `resampled`; 0 or False for those from outside."""
    columns, rows = (np.floor(origins[..., axis] + 0.5).astype(np.int64) for axis in (0, 1))
    inside = (columns >= 0) & (columns < mask.shape[1]) & (rows >= 0) & (rows < mask.shape[0])
    found = mask[rows.clip(0, mask.shape[0] - 1), columns.clip(0, mask.shape[1] - 1)]
    return np.where(inside, found, np.zeros((), mask.dtype))


def from_centres(matrix: Floats) -> Floats:
    """A matrix for `moved` from one of OpenCV, whose positions are measured from the first pixel's centre.

    `p' = A p + t` there is `p' - ½ = A (p - ½) + t` here.
    """
    out = np.array(matrix, dtype=np.float64)
    out[:, 2] += 0.5 - 0.5 * out[:, :2].sum(axis=1)
    return out


def decode_mask(item: Object, height: int, width: int) -> Bools:
    """The object's mask, `[height, width]`. Anybody's counts may be given: pycocotools would trust them blindly.

    Raises:
        ValueError: its counts aren't a compressed RLE of that many pixels.
    """
    runs = _runs(item.mask)
    if runs is None or runs.sum() != height * width:
        raise ValueError(f"the mask of object {item.id!r} is no compressed RLE of {height} x {width} pixels")
    return np.ascontiguousarray(np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T)


def check_masks(annotations: Annotations, height: int, width: int) -> None:
    """Raise ValueError for a mask that isn't one of a picture of this size."""
    for item in annotations.objects:
        if item.mask:
            decode_mask(item, height, width)


def run_lengths(flat: Bools) -> list[int]:
    """The lengths of runs of equal values in a flat mask, the first of them of background."""
    changes = np.flatnonzero(np.diff(flat)) + 1
    runs: list[int] = np.diff(np.concatenate([[0], changes, [len(flat)]])).tolist()
    return ([0] if flat[0] else []) + runs


def encode_mask(mask: Bools) -> str:
    """The counts of a mask `[H, W]` as a compressed COCO RLE, which runs down the columns."""
    from pycocotools import mask as rle

    return str(rle.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"], "ascii")


def box_of(mask: Bools) -> Box | None:
    """The box around a mask's pixels; None for an empty mask."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(columns):
        return None
    left, top = float(columns[0]), float(rows[0])
    return left, top, float(columns[-1]) + 1 - left, float(rows[-1]) + 1 - top


def with_mask(item: Object, mask: Bools) -> Object | None:
    """The object with this mask, and with box and area of it; None for an empty mask."""
    box = box_of(mask)
    if box is None:
        return None
    return replace(item, box=box, area=float(np.count_nonzero(mask)), mask=encode_mask(mask))


def region(item: Object, height: int, width: int) -> Bools:
    """The object's mask, or for an object without one the pixels of its box, at least one; `[height, width]`."""
    if item.mask:
        return decode_mask(item, height, width)
    left, top, wide, high = item.box
    x, y = min(max(round(left), 0), width - 1), min(max(round(top), 0), height - 1)
    inside = np.zeros((height, width), bool)
    inside[y : max(round(top + high), y + 1), x : max(round(left + wide), x + 1)] = True
    return inside


def cut_box(box: Box, within: Box) -> Box | None:
    """Return the overlap of two boxes, in DIGITS decimals; None for nothing."""
    left, top = (round(max(box[axis], within[axis]), DIGITS) for axis in (0, 1))
    right, bottom = (round(min(box[axis] + box[axis + 2], within[axis] + within[axis + 2]), DIGITS) for axis in (0, 1))
    if right <= left or bottom <= top:
        return None
    return left, top, round(right - left, DIGITS), round(bottom - top, DIGITS)


def box_iou(first: Box, second: Box) -> float:
    """Intersection over union of two boxes."""
    common = cut_box(first, second)
    if common is None:
        return 0.0
    shared = common[2] * common[3]
    return shared / (first[2] * first[3] + second[2] * second[3] - shared)


def _with_resampled_box(item: Object, origins: Singles, before: tuple[int, int]) -> Object | None:
    """The object with the box around the pixels whose origin lies in its box; None if there are none."""
    inside = _within(item.box, origins)
    box = box_of(inside)
    if box is None:
        return None
    area = item.area
    if area is not None:
        pixels = int(np.count_nonzero(_within(item.box, _places(*before)))) or 1
        area = round(area * int(np.count_nonzero(inside)) / pixels, DIGITS)
    return replace(item, box=box, area=area)


def _within(box: Box, places: Singles) -> Bools:
    """Return which of the places `[H, W, 2]`, measured from the first pixel's centre, lie in a box."""
    left, top, wide, high = box
    x, y = places[..., 0] + 0.5, places[..., 1] + 0.5
    return np.asarray((x >= left) & (x < left + wide) & (y >= top) & (y < top + high))


def _places(height: int, width: int) -> Singles:
    """(x, y) of each pixel, `[height, width, 2]`."""
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)


def _with_moved_box(item: Object, matrix: Floats, stretch: float, after: tuple[int, int]) -> Object | None:
    """The object with its box around the mapped corners, cut at the frame; None if it is outside."""
    left, top, wide, high = whole = _around(item.box, matrix)
    box = cut_box(whole, (0.0, 0.0, float(after[1]), float(after[0])))
    if box is None:
        return None
    share = (min(left + wide, after[1]) - max(left, 0)) / wide * (min(top + high, after[0]) - max(top, 0)) / high
    area = None if item.area is None else round(item.area * stretch * share, DIGITS)
    return replace(item, box=box, area=area)


def _around(box: Box, matrix: Floats) -> Box:
    """The box around the mapped corners of a box."""
    left, top, wide, high = box
    corners = np.array([(x, y) for x in (left, left + wide) for y in (top, top + high)])
    points = corners @ matrix[:, :2].T + matrix[:, 2]
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    return float(x0), float(y0), float(x1 - x0), float(y1 - y0)


def _warped(mask: Bools, matrix: Floats, after: tuple[int, int]) -> Bools:
    """The mask in the picture after. In float64, as OpenCV's fixed-point coordinates miss pixels at edges."""
    out = np.zeros(after, bool)
    box = box_of(mask)
    if box is None:
        return out
    left, top, wide, high = _around(box, matrix)
    x0, y0 = max(0, int(np.floor(left))), max(0, int(np.floor(top)))
    x1, y1 = min(after[1], int(np.ceil(left + wide))), min(after[0], int(np.ceil(top + high)))
    if x1 <= x0 or y1 <= y0:
        return out
    (a, b, e), (c, d, f) = matrix.tolist()
    scale = a * d - b * c
    x, y = np.arange(x0, x1) + 0.5 - e, (np.arange(y0, y1) + 0.5 - f)[:, None]
    # a map that keeps the axes has one column for each x and one row for each y
    columns = np.floor((d * x - b * y if b else d * x) / scale).astype(np.int64)
    rows = np.floor((a * y - c * x if c else a * y) / scale).astype(np.int64)
    inside = (columns >= 0) & (columns < mask.shape[1]) & (rows >= 0) & (rows < mask.shape[0])
    out[y0:y1, x0:x1] = inside & mask[rows.clip(0, mask.shape[0] - 1), columns.clip(0, mask.shape[1] - 1)]
    return out


def _runs(counts: str) -> Ints | None:
    """The lengths of a compressed RLE's runs, outside and inside by turns; None if it isn't one.

    A number is written in characters of 5 bits, lowest first, from `0`; 32 says that another follows, and the highest
    bit of the last is the sign. From the fourth number on, each is the difference from the one before the last.
    """
    codes = np.frombuffer(counts.encode("utf-8", "replace"), np.uint8).astype(np.int64) - ord("0")
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        return None
    ends = np.flatnonzero(codes & 32 == 0)
    lengths = np.diff(ends, prepend=-1)
    if lengths.max() > LONGEST:
        return None
    starts = ends - lengths + 1
    digits = np.arange(len(codes)) - np.repeat(starts, lengths)
    runs = np.add.reduceat((codes & 31) << (5 * digits), starts)
    runs -= np.where(codes[ends] & 16, np.int64(1) << (5 * lengths), 0)
    for first in (1, 2):
        runs[first::2] = np.cumsum(runs[first::2])
    return None if runs.min() < 0 else runs
