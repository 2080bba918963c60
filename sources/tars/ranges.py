"""Tars at URLs, through fsspec: listing them, reading one from its start, and reading ranges of one."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from types import TracebackType
from typing import Any, Self

from variorum.machine.retrying import changed, passing
from variorum.schemas.secrets import shown
from variorum.sources.tars.bytes import STEP, StreamedTar
from variorum.sources.web.hosts import ask
from variorum.sources.web.urls import version_of

AHEAD = 8 << 20
"""Bytes that are asked of a host at once, if as many are needed."""
PATIENCE = 120.0
"""Seconds without any byte after which an HTTP host counts as gone. A whole shard may take as long as it takes."""


def matching_urls(pattern: str) -> list[str]:
    """The files that a URL with `*` stands for, sorted.

    Raises:
        SourceError: the host refuses.
        TemporaryError: the host or the network failed.
    """

    def listed() -> list[str]:
        fs, path = _filesystem(pattern)
        fs.invalidate_cache()
        return sorted(str(fs.unstrip_protocol(name)) for name in fs.glob(path))

    return ask(listed, pattern)


def describe(place: str, *, pinned: bool = False) -> tuple[int | None, str]:
    """Length of the file at a URL, and a text that changes with its content; None and `""` if the host doesn't say.

    Raises:
        SourceError: there is no such file, or the host refuses.
        SourceChanged: the same, if it is `pinned`, which means that it was there when the run began.
        TemporaryError: the host or the network failed.
    """

    def asked() -> tuple[int | None, str]:
        fs, path = _filesystem(place)
        fs.invalidate_cache()
        info = fs.info(path)
        return info.get("size"), version_of(info)

    return ask(asked, place, pinned=pinned)


def check_remote(place: str, size: int | None, version: str) -> None:
    """Compare a file at a URL with what was noted of it. What the host doesn't say can't be compared.

    Raises:
        SourceChanged: it is another, or gone.
        TemporaryError: the host or the network failed.
    """
    found, now = describe(place, pinned=True)
    if None not in (found, size) and found != size:
        raise changed(shown(place), f"{found} bytes instead of {size}")
    if version and now != version:
        raise changed(shown(place), "another version")


@contextmanager
def streamed(place: str) -> Iterator[StreamedTar]:
    """The file at a URL, to be read once. Raises any error of its file system; for `ask`."""
    fs, path = _filesystem(place)
    # without a block size, HTTP hosts and the Hub send the file in one answer
    once = {"block_size": 0} if fs.protocol == "hf" or _is_http(place) else {}
    with fs.open(path, "rb", **once) as file:
        yield StreamedTar(lambda size: bytes(file.read(size)))


class RangedTar:
    """Ranges of the file at a URL. One thread may use it at a time.

    A host that knows no ranges sends the whole file instead; that is kept in a temporary file, so that it is sent once.

    Args:
        place: the URL.
        total: length of the file.
        sha256: of the file.
        stop: end of the last range that will be read.
    """

    def __init__(self, place: str, total: int, sha256: str, stop: int) -> None:
        self.name = shown(place)
        self._place, self._total, self._sha256, self._stop = place, total, sha256, stop
        self._first, self._window = 0, b""
        self._opened = ExitStack()
        self._file: Any = None
        self._ranges = True

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on, fewer at the end.

        Raises:
            SourceChanged: the file is another, or gone.
            TemporaryError: the host or the network failed three times.
        """
        size = max(0, min(size, self._total - offset))
        start = offset - self._first
        if start < 0 or start + size > len(self._window):
            self._first, start = offset, 0
            self._window = self._ranged(offset, max(size, min(AHEAD, self._stop - offset)))
        return self._window[start : start + size]

    def _ranged(self, offset: int, size: int) -> bytes:
        return ask(lambda: self._asked(offset, size), self._place, pinned=True, again=self._reopen)

    def _reopen(self) -> None:
        self._opened.close()
        self._file = None

    def _asked(self, offset: int, size: int) -> bytes:
        if self._file is None:
            fs, path = _filesystem(self._place)
            known = {"size": self._total} if _is_http(self._place) else {}  # saves asking for it
            self._file = self._opened.enter_context(fs.open(path, "rb", cache_type="none", **known))
        if self._ranges:
            try:
                self._file.seek(offset)
                return bytes(self._file.read(size))
            except ValueError:  # that is how fsspec says that the host knows no ranges
                self._ranges = False
        return _copy(self._place, self._sha256)[offset : offset + size]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()


@lru_cache(maxsize=2)
def _copy(place: str, sha256: str) -> mmap.mmap:
    """The whole file, on disk."""
    with tempfile.TemporaryFile() as file, streamed(place) as stream:
        while part := stream.read(stream.total, STEP):
            _kept(file, part)
        _kept(file, b"")
        if stream.finish() != sha256:
            raise changed(shown(place), "another content")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _kept(file: Any, part: bytes) -> None:
    try:
        file.write(part)
        file.flush()
    except OSError as error:
        raise passing(tempfile.gettempdir(), error) from error


def _filesystem(place: str) -> tuple[Any, str]:
    """The file system behind a URL, and the path in it."""
    from fsspec.core import url_to_fs

    options: dict[str, Any] = {}
    if _is_http(place):
        from aiohttp import ClientTimeout

        options["client_kwargs"] = {"timeout": ClientTimeout(total=None, sock_connect=PATIENCE, sock_read=PATIENCE)}
    found: tuple[Any, str] = url_to_fs(place, **options)
    return found


def _is_http(place: str) -> bool:
    return place.startswith(("http://", "https://"))
