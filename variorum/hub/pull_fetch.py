"""Fetching a file that somebody else serves: hashed as it arrives, never too long, continued where it broke off.

What comes is compared with what was promised before it gets a name. Nothing is unpacked on the way: an answer in
another encoding is refused, so a small answer can't become a large file.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from variorum.machine.progress import Advance
from variorum.machine.workplace import SUFFIX
from variorum.schemas.errors import SourceError, VariorumError
from variorum.sources.web.hosts import patiently, refused

WAITS = (1.0, 2.0, 4.0, 8.0)
"""Seconds between attempts that brought little."""
PIECE = 1 << 20
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""Errors of the disk that a file is written to."""


@dataclass(frozen=True, slots=True)
class Body:
    """An opened file of another machine.

    Attributes:
        pieces: its bytes, as they come.
        close: ends it.
        start: the first byte that comes.
        size: of the whole file in bytes; None if the host doesn't say.
        version: a text that changes with the file, such as its ETag; `""` if the host has none.
    """

    pieces: Iterator[bytes]
    close: Callable[[], object]
    start: int = 0
    size: int | None = None
    version: str = ""


Open = Callable[[int], Body]
"""Opens a file from a byte on. A host that can't do that gives it from its beginning, and says so in `start`."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The size and hash that a file must have.

    Attributes:
        name: for messages.
        most: bytes that are accepted at most.
        size: bytes; None if that isn't known.
        sha256: of its content; `""` if that isn't known.
    """

    name: str
    most: int
    size: int | None = None
    sha256: str = ""


def fetch_small(open_at: Open, wanted: Wanted) -> bytes:
    """The content of a small file.

    Raises:
        FileNotFoundError: there is none.
        SourceError: the host refuses, or sends more than it may.
        TemporaryError: the host or the network failed.
    """
    received = bytearray()

    def attempt() -> None:
        received.clear()
        with _opened(open_at, 0) as body:
            _check_size(body, wanted)
            for piece in body.pieces:
                received.extend(piece)
                _check_room(len(received), wanted)
            _check_end(len(received), body, wanted)

    _patiently(attempt, lambda: 0, wanted.name)
    return bytes(received)


def fetch(open_at: Open, file: IO[bytes], wanted: Wanted, advance: Advance = lambda _: None) -> str:
    """Fetch a file into an open one, which may hold its beginning already; returns the sha256 of the whole.

    Args:
        open_at: opens the file.
        file: from `held`. With an error it keeps what has arrived, unless that can't be right.
        wanted: what the file must be.
        advance: gets the number of bytes as they arrive; negative ones if the file begins anew.

    Raises:
        FileNotFoundError: there is none.
        SourceError: the host refuses, or sends another file than the wanted one.
        TemporaryError: the host or the network failed again and again.
    """
    arrived = _Arrived(file, wanted, advance)
    old = arrived.count
    while True:
        _patiently(lambda: arrived.go_on(open_at), lambda: arrived.count, wanted.name)
        found = arrived.digest.hexdigest()
        if wanted.sha256 in ("", found):
            file.flush()
            os.fsync(file.fileno())
            return found
        arrived.begin_anew()
        if not old:  # with a beginning of an earlier attempt, that may have been wrong
            raise SourceError(
                f"{wanted.name}: another file was sent, with the sha256 {found[:12]}… where {wanted.sha256[:12]}… "
                f"should be; nothing of it was kept: try again later, or from another place"
            )
        old = 0


class _Arrived:
    """The part of a file that has arrived, with its hash so far."""

    def __init__(self, file: IO[bytes], wanted: Wanted, advance: Advance) -> None:
        self.file, self.wanted, self.advance = file, wanted, advance
        self.count, self.digest, self.version = 0, hashlib.sha256(), ""
        if not wanted.sha256:  # nothing would tell whether the beginning belongs to this file
            file.truncate(0)
        while piece := file.read(PIECE):
            self._count(piece)
        if self.count > (wanted.most if wanted.size is None else wanted.size):
            self.begin_anew()

    def begin_anew(self) -> None:
        """Forget all that has arrived."""
        self.file.seek(0)
        self.file.truncate()
        self.advance(-self.count)
        self.count, self.digest = 0, hashlib.sha256()

    def go_on(self, open_at: Open) -> None:
        """Receive the rest. Raises any error of the host; what has arrived stays."""
        if self.count and self.count == self.wanted.size:
            return
        with _opened(open_at, self.count) as body:
            _check_size(body, self.wanted)
            if body.start != self.count or (self.count and self.version not in ("", body.version)):
                self.begin_anew()
            if body.start != self.count:
                raise ConnectionError(f"the answer begins at byte {body.start}")
            self.version = body.version
            for piece in body.pieces:
                _check_room(self.count + len(piece), self.wanted)
                self.file.write(piece)
                self.file.flush()  # what has arrived outlives a killed process
                self._count(piece)
            _check_end(self.count, body, self.wanted)

    def _count(self, piece: bytes) -> None:
        self.digest.update(piece)
        self.count += len(piece)
        self.advance(len(piece))


def in_units(size: int) -> str:
    """Bytes in the largest unit of which there is one: `512 bytes`, `1.5 MB`."""
    for unit, bytes_of in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= bytes_of:
            return f"{size / bytes_of:,.1f} {unit}"
    return f"{size} bytes"


def _patiently(attempt: Callable[[], object], arrived: Callable[[], int], what: str) -> None:
    """Call `attempt` until it succeeds, with pauses that grow as long as little arrives."""
    try:
        patiently(attempt, waits=WAITS, arrived=arrived)
    except (VariorumError, FileNotFoundError):
        raise
    except Exception as error:  # hosts' errors have no common base
        if isinstance(error, OSError) and error.errno in FULL:  # it is this machine's disk
            raise
        raise refused(error, what) from None


@contextmanager
def _opened(open_at: Open, start: int) -> Iterator[Body]:
    body = open_at(start)
    try:
        yield body
    finally:
        with suppress(OSError):
            body.close()


def _check_size(body: Body, wanted: Wanted) -> None:
    if wanted.size is not None and body.size not in (None, wanted.size):
        raise SourceError(f"{wanted.name}: it has {body.size} bytes there, and must have {wanted.size}")
    if body.size is not None:
        _check_room(body.size, wanted)


def _check_room(count: int, wanted: Wanted) -> None:
    most = wanted.most if wanted.size is None else min(wanted.size, wanted.most)
    if count > most:
        raise SourceError(f"{wanted.name}: it is longer than the {most} bytes that it may have; the rest isn't read")


def _check_end(count: int, body: Body, wanted: Wanted) -> None:
    due = body.size if wanted.size is None else wanted.size
    if due is not None and count < due:
        raise ConnectionError(f"the connection ended after {count} of {due} bytes")


def unfinished(folder: Path, name: str) -> Path:
    """Where the beginning of a file lies until the rest has come; swept a week after the last byte."""
    return folder / f"{name}{SUFFIX}"


@contextmanager
def held(path: Path, mode: int = 0o644) -> Iterator[IO[bytes]]:
    """A file to read and continue, made if missing. A process that fetches the same file waits for this one.

    Raises:
        SourceError: there is a link or a device in its place.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    while True:
        try:
            handle = os.open(path, flags, mode)
        except OSError as error:
            if error.errno == errno.ELOOP or path.is_dir():
                raise SourceError(f"{path}: it is no regular file; delete it") from None
            raise
        with os.fdopen(handle, "r+b") as file:
            with suppress(OSError):  # a disk without locks
                fcntl.flock(file, fcntl.LOCK_EX)
            mine = os.fstat(file.fileno())
            if not stat.S_ISREG(mine.st_mode):
                raise SourceError(f"{path}: it is no regular file; delete it")
            with suppress(FileNotFoundError):
                if os.path.samestat(mine, path.lstat()):
                    yield file
                    return
