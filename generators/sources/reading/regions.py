"""Regions as run lengths, and the masks of FiftyOne's Detections: a packed array that covers the box."""

from __future__ import annotations

import base64
import binascii
import io
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from variorum.annotations import run_lengths

LARGEST = 1 << 28
"""Bytes of an unpacked mask, and pixels of a picture."""
UNREADABLE = "unreadable"
"""A segmentation that is refused where objects are checked."""


class Packed(NamedTuple):
    """A mask as it stands in the file.

    Attributes:
        data: of the array, in base 64.
        size: height and width of the picture.
    """

    data: str
    size: tuple[int, int]


def packed(value: Any, metadata: Any) -> Packed | None:
    """The mask of a Detection; None for none, or without the picture's size.

    Args:
        value: its field `mask`: base 64, or MongoDB's form of bytes.
        metadata: of the sample, which has the picture's size.
    """
    binary = value.get("$binary") if isinstance(value, Mapping) else None
    data = binary.get("base64") if isinstance(binary, Mapping) else value
    if not isinstance(data, str) or not isinstance(metadata, Mapping):
        return None
    height, width = metadata.get("height"), metadata.get("width")
    if not isinstance(height, int) or not isinstance(width, int) or height < 1 or width < 1:
        return None
    return Packed(data, (height, width))


def with_region(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """An object with its mask as an RLE of the whole picture, if it is still packed. `bbox` is relative."""
    mask = item.get("segmentation")
    return {**item, "segmentation": _region(mask, item.get("bbox"))} if isinstance(mask, Packed) else item


def _region(mask: Packed, box: Any) -> Any:
    height, width = mask.size
    try:
        pixels = _array(mask.data)
        left, top, wide, high = (float(side) for side in box)
        across, down = round(left * width), round(top * height)
        right, bottom = round((left + wide) * width), round((top + high) * height)
    except (ValueError, TypeError, OverflowError, zlib.error, binascii.Error, EOFError):
        return UNREADABLE
    if not (0 <= across < right <= width and 0 <= down < bottom <= height) or height * width > LARGEST:
        return UNREADABLE
    rows = np.arange(bottom - down) * pixels.shape[0] // (bottom - down)
    columns = np.arange(right - across) * pixels.shape[1] // (right - across)
    whole = np.zeros((height, width), bool)
    whole[down:bottom, across:right] = pixels[rows][:, columns]
    return runs_of(whole)


def runs_of(whole: Any) -> dict[str, Any]:
    """A region `[H, W]` as an uncompressed COCO RLE: run lengths by column, the first of what isn't in it."""
    return {"size": list(whole.shape), "counts": run_lengths(whole.ravel(order="F") > 0)}


def _array(data: str) -> Any:
    """The array `[h, w]` bool, unpacked only as far as allowed. Raises ValueError, zlib.error or binascii.Error."""
    opened = zlib.decompressobj()
    raw = opened.decompress(base64.b64decode(data, validate=True), LARGEST)
    if opened.unconsumed_tail:
        raise ValueError("too large")
    file = io.BytesIO(raw)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("no mask")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if len(shape) != 2 or dtype.kind not in "bu" or not 0 < dtype.itemsize * shape[0] * shape[1] <= len(raw):
        raise ValueError("no mask")
    return np.lib.format.read_array(io.BytesIO(raw), allow_pickle=False) > 0
