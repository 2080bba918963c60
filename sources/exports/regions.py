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
from variorum.pixels import UndecodableImage, upright_size

LARGEST = 1 << 28
"""Bytes of an unpacked mask, and pixels of a picture."""
UNREADABLE = "unreadable"
"""A segmentation that is refused where objects are checked."""


class Packed(NamedTuple):
    """A mask as it stands in the file.

    Attributes:
        data: of the array, in base 64.
        size: height and width of the picture, if the file says them.
    """

    data: str
    size: tuple[int, int] | None


def packed(value: Any, metadata: Any) -> Packed | str | None:
    """The mask of a Detection; None for none, `UNREADABLE` for what is no mask.

    Args:
        value: its field `mask`: base 64, or MongoDB's form of bytes.
        metadata: of the sample, which may have the picture's size.
    """
    if value is None:
        return None
    binary = value.get("$binary") if isinstance(value, Mapping) else None
    data = binary.get("base64") if isinstance(binary, Mapping) else value
    if not isinstance(data, str):
        return UNREADABLE
    sides = [metadata.get(name) if isinstance(metadata, Mapping) else None for name in ("height", "width")]
    height, width = (side if isinstance(side, int) and side > 0 else 0 for side in sides)
    return Packed(data, (height, width) if height and width else None)


def with_region(item: Mapping[str, Any], picture: bytes) -> Mapping[str, Any]:
    """An object with its mask as an RLE of the whole picture, if it is still packed. `bbox` is relative."""
    mask = item.get("segmentation")
    if not isinstance(mask, Packed):
        return item
    try:
        return {**item, "segmentation": _region(mask.data, mask.size or upright_size(picture), item.get("bbox"))}
    except UndecodableImage:  # of the picture, which is a row with this reason
        return item


def _region(data: str, size: tuple[int, int], box: Any) -> Any:
    height, width = size
    try:
        pixels = _array(data)
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
    whole[down:bottom, across:right] = pixels[np.ix_(rows, columns)]
    return runs_of(whole)


def runs_of(whole: Any) -> dict[str, Any]:
    """A region `[H, W]` as an uncompressed COCO RLE: run lengths by column, the first of what isn't in it."""
    return {"size": list(whole.shape), "counts": run_lengths(whole.ravel(order="F") > 0)}


def _array(data: str) -> Any:
    """The array `[h, w]` bool, unpacked only as far as allowed. Raises ValueError, zlib.error or binascii.Error."""
    opened = zlib.decompressobj()
    raw = opened.decompress(base64.b64decode(data, validate=True), LARGEST)
    if not opened.eof:
        raise ValueError("too large, or cut off")
    file = io.BytesIO(raw)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("no mask")
    shape, turned, dtype = np.lib.format.read_array_header_1_0(file)
    if len(shape) != 2 or dtype.kind not in "bu" or not 0 < dtype.itemsize * shape[0] * shape[1] <= len(raw):
        raise ValueError("no mask")
    found = np.frombuffer(raw, dtype, shape[0] * shape[1], file.tell())
    return found.reshape(shape, order="F" if turned else "C") > 0
