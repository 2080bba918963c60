"""IDX, the format of MNIST's files: a magic number with type and number of dimensions, the sizes, the values."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from variorum.schemas.errors import SourceError

if TYPE_CHECKING:
    from variorum.arrays import Pixels

UNSIGNED_BYTE = 8
LARGEST = 1 << 29
"""Bytes of an unpacked file."""


def read_idx(path: Path) -> Pixels:
    """The writable uint8 array in an IDX file, which is gzipped if its name ends in `.gz`.

    Raises:
        FileNotFoundError: the file is missing.
        SourceError: it is truncated, or not an IDX file of unsigned bytes.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SourceError(f"{path} can't be unpacked: {error}; download it again") from None
    if len(data) > LARGEST:
        raise SourceError(f"{path} has more than {LARGEST >> 20} MiB; use the files as published")
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] != UNSIGNED_BYTE:
        raise SourceError(f"{path} is not an IDX file of unsigned bytes; use the files as published")
    start = 4 + 4 * data[3]
    shape = struct.unpack(f">{data[3]}I", data[4:start]) if len(data) >= start else ()
    if len(data) < start or len(data) - start != math.prod(shape) or 0 in shape:
        raise SourceError(f"{path} has {len(data)} bytes, which doesn't match its header; download it again")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy()
