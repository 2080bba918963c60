"""Tars at URLs, through fsspec: listing them, reading one from its start, and reading ranges of one."""

from __future__ import annotations

import mmap
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from variorum.generators.sources.reading.tars.bytes import STEP, StreamedTar
from variorum.generators.sources.reading.urls import one_line, shown, version_of
from variorum.schemas.errors import SourceError

AHEAD = 8 << 20
"""Bytes that are asked of a host at once, if as many are needed."""
WAITS = (1.0, 4.0)
"""Seconds between attempts to read a range."""
PATIENCE = 120.0
"""Seconds without any byte after which an HTTP host counts as gone. A whole shard may take as long as it takes."""
EXTRAS = {"s3": "s3fs", "http": "aiohttp", "https": "aiohttp", "gs": "gcsfs", "gcs": "gcsfs"}
"""Packages that fsspec needs for a kind of URL."""


def matching_urls(pattern: str) -> list[str]:
    """The files that a URL with `*` stands for, sorted.

    Raises:
        SourceError: the host can't be asked.
    """
    with _named(pattern):
        fs, path = _filesystem(pattern)
        return sorted(str(fs.unstrip_protocol(name)) for name in fs.glob(path))


def describe(place: str) -> tuple[int | None, str]:
    """Length of the file at a URL, and a text that changes with its content; None and `""` if the host doesn't say.

    Raises:
        SourceError: there is no such file, or the host can't be asked.
    """
    with _named(place):
        fs, path = _filesystem(place)
        fs.invalidate_cache()
        info = fs.info(path)
    return info.get("size"), version_of(info)


@contextmanager
def streamed(place: str) -> Iterator[StreamedTar]:
    """The file at a URL, to be read once. Raises SourceError."""
    with ExitStack() as opened:
        with _named(place):
            fs, path = _filesystem(place)
            # without a block size, HTTP hosts and the Hub send the file in one answer
            once = {"block_size": 0} if fs.protocol == "hf" or _is_http(place) else {}
            file = opened.enter_context(fs.open(path, "rb", **once))

        def read(size: int) -> bytes:
            with _named(place):
                return bytes(file.read(size))

        yield StreamedTar(read)


class RangedTar:
    """Ranges of the file at a URL. One thread may use it at a time.

    A host that knows no ranges sends the whole file instead; that is kept in a temporary file, so that it is sent once.

    Args:
        place: the URL.
        total: length of the file.
        stop: end of the last range that will be read.
    """

    def __init__(self, place: str, total: int, stop: int) -> None:
        self.name = shown(place)
        self._place, self._total, self._stop = place, total, stop
        self._first, self._window = 0, b""
        self._opened = ExitStack()
        self._file: Any = None
        self._ranges = True

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on, fewer at the end. Raises SourceError if the host fails three times."""
        start = offset - self._first
        if start < 0 or start + size > len(self._window):
            self._first, start = offset, 0
            self._window = self._ranged(offset, max(size, min(AHEAD, self._stop - offset)))
        return self._window[start : start + size]

    def _ranged(self, offset: int, size: int) -> bytes:
        for wait in WAITS:
            try:
                return self._asked(offset, size)
            except FileNotFoundError:
                break
            except Exception:  # hosts' errors have no common base
                self._opened.close()
                self._file = None
                time.sleep(wait)
        with _named(self._place):
            return self._asked(offset, size)

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
        return _copy(self._place, self._total)[offset : offset + size]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()


@lru_cache(maxsize=2)
def _copy(place: str, total: int) -> mmap.mmap:
    """The whole file, on disk."""
    with tempfile.TemporaryFile() as file, streamed(place) as stream:
        while part := stream.read(stream.total, STEP):
            file.write(part)
        file.flush()
        if stream.total != total:
            raise OSError(f"{stream.total} bytes arrived instead of {total}")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


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


@contextmanager
def _named(place: str) -> Iterator[None]:
    """Turn whatever goes wrong with a URL into one line that names it."""
    try:
        yield
    except SourceError:
        raise
    except FileNotFoundError as error:
        # fsspec raises this for whatever an HTTP host answers, and if there is no host
        why = error.__cause__
        missing = why is None or getattr(why, "status", 0) == HTTPStatus.NOT_FOUND
        said = "there is no such file" if missing else f"can't be read: {one_line(why)}"
        raise SourceError(f"{shown(place)}: {said}") from None
    except ImportError:
        package = EXTRAS.get(urlsplit(place).scheme, "a package")
        raise SourceError(f"{shown(place)}: {package} is needed to read it: pip install {package}") from None
    except Exception as error:  # hosts' errors have no common base
        raise SourceError(f"{shown(place)}: can't be read: {one_line(error)}") from error
