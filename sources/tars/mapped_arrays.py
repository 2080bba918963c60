"""Arrays in a file of the cache, read by memory map: a table of a million rows costs no memory until it is looked at.

The file is an `.npz` without compression. It can be deleted at any time.
"""

from __future__ import annotations

import io
import logging
import os
import struct
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Texts(Sequence[str]):
    """A column of texts: their UTF-8 bytes one after the other, and where each of them ends `[N]`."""

    data: NDArray[np.uint8]
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Iterable[str]) -> Texts:
        """The texts as a column. They must hold no lone surrogates."""
        data, ends = bytearray(), []
        for text in texts:
            data += text.encode()
            ends.append(len(data))
        return cls(np.frombuffer(bytes(data), np.uint8), np.array(ends, np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, number: Any) -> Any:
        return self.part(number, number + 1)[0]

    def part(self, start: int, stop: int) -> list[str]:
        """The texts `start` to `stop - 1`."""
        if start >= stop:
            return []
        ends = self.ends[start:stop].tolist()
        first = int(self.ends[start - 1]) if start else 0
        data = self.data[first : ends[-1]].tobytes()
        return [data[a - first : b - first].decode() for a, b in zip([first, *ends], ends, strict=False)]


def save_arrays(path: Path, arrays: Arrays) -> None:
    """Write the arrays, all or nothing. A full or read-only disk costs only time later."""
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **arrays)
    save_bytes(path, stream.getbuffer())


def save_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write a file of the cache, as `save_arrays` does."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            Path(part).replace(path)
        finally:
            Path(part).unlink(missing_ok=True)
    except OSError as error:
        log.warning("%s can't be written (%s); the tar is read again when it is needed", path, error)


def map_arrays(path: Path) -> Arrays | None:
    """The arrays in the file, read-only and still on disk; None if there is no such file or it is damaged."""
    try:
        data = np.memmap(path, mode="r")
        with zipfile.ZipFile(path) as archive:
            return {info.filename.removesuffix(".npy"): _array(data, archive, info) for info in archive.infolist()}
    except FileNotFoundError:
        return None
    except Exception as error:  # damage raises errors of zipfile, struct, ast or NumPy
        log.warning("%s can't be read (%s) and is made again", path, error)
        return None


def _array(data: NDArray[np.uint8], archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    """A member of the file: after the zip's local header and NumPy's own header, the array's bytes lie as they are."""
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{info.filename} is compressed")
    with archive.open(info) as member:
        if np.lib.format.read_magic(member) != (1, 0):
            raise ValueError(f"{info.filename} has another format")
        (length,), _, dtype = np.lib.format.read_array_header_1_0(member)
        header = member.tell()
    name, extra = struct.unpack("<HH", data[info.header_offset + 26 : info.header_offset + 30].tobytes())
    start = info.header_offset + 30 + name + extra + header
    return data[start : start + length * dtype.itemsize].view(dtype)
