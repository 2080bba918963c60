"""The bytes of a tar: of a file that is read at any place, and of a stream that is read once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol, Self

from variorum.schemas.errors import SourceError

WINDOW = 4096
"""Bytes that are read from a file at least: headers and small members lie close together."""
STEP = 1 << 20
AT_ONCE = 1 << 16
"""Bytes of a sample that are read at once. Of a longer one each member is read by itself, which saves a copy."""


class Readable(Protocol):
    """What pictures are read from."""

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
        SourceError: the tar has become shorter.
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
        raise SourceError(f"webdataset: {tar.name} has become shorter while it was read; run again")
    return found


class LocalTar:
    """An open file. One thread may use it at a time."""

    def __init__(self, path: str) -> None:
        self.name = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
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
        """As many bytes as there are: a call may return fewer, and gives 2 GiB at most."""
        part = os.pread(self._descriptor, size, offset)
        if len(part) == size or not part:
            return part
        return part + self._at(offset + len(part), size - len(part))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)


class StreamedTar:
    """A stream that is read forwards, once. Its sha256 is computed on the way.

    Args:
        read: gives up to so many of the next bytes; none at the end.
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
