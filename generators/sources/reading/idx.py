"""IDX, the format of MNIST's files: a magic number that says type and dimensions, the sizes, the bytes."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from variorum.schemas.errors import SourceError

UNSIGNED_BYTE = 8


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The writable array of unsigned bytes that an IDX file holds, gzipped where its name ends in `.gz`.

    Raises:
        FileNotFoundError: there is no such file.
        SourceError: it is cut short, or no IDX file of bytes.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SourceError(f"{path} can't be unpacked: {error}; get it again") from None
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] != UNSIGNED_BYTE:
        raise SourceError(f"{path} is no IDX file of unsigned bytes; give the files as they are published")
    start = 4 + 4 * data[3]
    shape = struct.unpack(f">{data[3]}I", data[4:start]) if len(data) >= start else ()
    if len(data) < start or len(data) - start != math.prod(shape):
        raise SourceError(f"{path} has {len(data)} bytes, which its header doesn't fit; get it again")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy()
