"""The bytes of a tar: of a file that is read at any place, and of a stream that is read once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from variorum.machine.retrying import changed, open_file, passing, steady

WINDOW = 4096
"""Bytes that are read from a file at least: headers and small members lie close together."""
STEP = 1 << 20
AT_ONCE = 1 << 16
"""Bytes of a sample that are read at once. Of a longer one each member is read by itself, which saves a copy."""
LARGEST_PICTURE = 1 << 30
"""Bytes of a picture or mask that are read; the largest picture that is decoded takes less, uncompressed."""
LARGEST_VALUE = 1 << 24
"""Bytes of a label, a text or JSON that are read."""


class Readable(Protocol):
    """A file that pictures are read from."""

    name: str
    """For messages."""

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on, fewer at the end."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def read_members(tar: Readable, places: Mapping[str, tuple[int, int]]) -> dict[str, bytes]:
    """The contents of a sample's members.

    Args:
        tar: the tar.
        places: byte offset and size by name.

    Raises:
        SourceChanged: the tar has become shorter.
    """
    if not places:
        return {}
    low, high = min(places.values())[0], sum(max(places.values()))
    if high - low > AT_ONCE:
        found = {name: tar.read(start, size) for name, (start, size) in places.items()}
    else:
        data = tar.read(low, high - low)
        found = {name: data[start - low : start - low + size] for name, (start, size) in places.items()}
    if sum(map(len, found.values())) != sum([size for _, size in places.values()]):
        raise changed(f"webdataset: {tar.name}", "it has become shorter")
    return found


class LocalTar:
    """An open file. One thread may use it at a time.

    Raises:
        OSError: it can't be opened, or is no file.
        TemporaryError: the disk, the network or the machine failed.
    """

    def __init__(self, path: str) -> None:
        self.name = path
        self._file = steady(partial(open_file, Path(path)), path)
        self._descriptor = self._file.fileno()
        self.total = os.fstat(self._descriptor).st_size
        self._first, self._window = 0, b""

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on, fewer at the end."""
        start = offset - self._first
        if start < 0 or start + size > len(self._window):
            if size >= WINDOW:
                return self._at(offset, size)
            self._first, start = offset, 0
            self._window = self._at(offset, WINDOW)
        return self._window[start : start + size]

    def _at(self, offset: int, size: int) -> bytes:
        """As many bytes as there are: a call may return fewer, and takes memory for all that it is asked for."""
        size = max(0, min(size, self.total - offset))
        part = self._some(offset, size)
        if len(part) == size:
            return part
        parts = []
        while part:
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
            part = self._some(offset, size)
        return b"".join(parts)

    def _some(self, offset: int, size: int) -> bytes:
        try:
            return os.pread(self._descriptor, size, offset)
        except OSError:
            pass
        try:
            return steady(partial(os.pread, self._descriptor, size, offset), self.name)
        except OSError as error:  # of a file that is open, so it isn't the file's fault
            raise passing(self.name, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class StreamedTar:
    """A stream that is read forwards, once. Its sha256 is computed on the way.

    Args:
        read: gives up to this many of the next bytes; none at the end.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self.total = 0
        """Bytes that were read; in the end the stream's length."""
        self._read = read
        self._hash = hashlib.sha256()

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on, fewer at the end. `offset` must not lie before what was read."""
        while self.total < offset and self._next(offset - self.total):
            pass
        parts = []
        while size and (part := self._next(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def finish(self) -> str:
        """The sha256 of the whole stream, which is read to its end."""
        while self._next(STEP):
            pass
        return self._hash.hexdigest()

    def _next(self, size: int) -> bytes:
        part = self._read(min(size, STEP))
        self._hash.update(part)
        self.total += len(part)
        return part
