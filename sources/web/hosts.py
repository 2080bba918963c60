"""Repeats requests to hosts on a network, which may be busy or away for a while, and words their errors."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies

from variorum.machine.retrying import changed, may_pass, passing
from variorum.schemas.errors import SourceError, TemporaryError, VariorumError, causes
from variorum.schemas.extras import needs
from variorum.schemas.secrets import shown
from variorum.sources.web.urls import one_line

T = TypeVar("T")

WAITS = (1.0, 4.0)
"""Seconds between attempts."""
ENOUGH = 1 << 16
"""Bytes."""
BUSY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
"""Answers below 500 that may be another one later."""
CLIENTS = {"aiohttp", "httpx", "httpcore", "httpx2", "httpcore2", "requests", "urllib3", "botocore"}
"""Packages whose errors without an answer of the host come from the connection, but for those that name these:"""
TEXTS = tuple(os.strerror(number) for number in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE))
"""How libraries in C++ name errors of this machine in errors of their own."""
LASTING = ("InvalidURL", "InvalidUrl", "UnsupportedProtocol", "InvalidSchema", "MissingSchema", "NoCredential")
OFFLINE = "OfflineModeIsEnabled"
"""How errors of the Hub's client say that somebody set its offline mode."""
PACKAGES = {"s3": "s3fs", "http": "aiohttp", "https": "aiohttp", "gs": "gcsfs", "gcs": "gcsfs"}
"""Packages that fsspec needs for a kind of URL."""


def ask(attempt: Callable[[], T], place: str, *, pinned: bool = False, again: Callable[[], object] | None = None) -> T:
    """Ask a host, up to three times.

    Args:
        attempt: asks the host.
        place: the URL.
        pinned: whether the file was there when the run began.
        again: called before each further attempt.

    Raises:
        SourceError: it can't be had.
        SourceChanged: it can't be had any more.
        TemporaryError: the host or the network failed.
    """
    try:
        return patiently(attempt, again)
    except VariorumError:
        raise
    except Exception as error:  # hosts' errors have no common base
        raise refused(error, place, pinned=pinned) from None


def resolved(url: str, place: str) -> None:
    """Look up the name of a URL's host, since clients take half a minute to say that there is no network.

    Behind a proxy nothing is looked up here. Raises TemporaryError that names `place`.
    """
    host = urlsplit(url).hostname
    if host is None or {"all", "http", "https"} & set(getproxies()):
        return
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        raise TemporaryError(
            f"{place}: no address is known for {host} ({error.strerror}); is there a network?"
        ) from None


def patiently(
    attempt: Callable[[], T],
    again: Callable[[], object] | None = None,
    waits: Sequence[float] | None = None,
    arrived: Callable[[], int] = lambda: 0,
) -> T:
    """The result of `attempt`, which is called again after an error that may pass. Raises the error that stays.

    Args:
        attempt: asks the host.
        again: called before each further attempt.
        waits: seconds between attempts; `WAITS` by default.
        arrived: bytes that have come; after an attempt that brought `ENOUGH` the waits begin anew.
    """
    waits = WAITS if waits is None else waits
    pauses, most = list(waits), arrived()
    while True:
        try:
            return attempt()
        except Exception as error:  # hosts' errors have no common base
            if isinstance(error, VariorumError) or not host_may_pass(error):
                raise
            if arrived() >= most + ENOUGH:
                pauses, most = list(waits), arrived()
            if not pauses:
                raise
        time.sleep(pauses.pop(0))
        if again:
            again()


def host_may_pass(error: BaseException) -> bool:
    """Return whether an error of a file system, on a network or here, may be gone at the next attempt."""
    chain = list(causes(error))
    if any(mark in type(one).__name__ or OFFLINE in str(one) for one in chain for mark in LASTING):
        return False
    for one in chain:
        status = _status(one)
        if status is not None:
            return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in BUSY
    return any(map(_passes, chain))


def refused(error: BaseException, place: str, *, pinned: bool = False) -> VariorumError:
    """The error, in one line without secrets, for something at a URL that can't be had; arguments as for `ask`."""
    if host_may_pass(error):
        return passing(shown(place), RuntimeError(one_line(_first_of(error))))
    if isinstance(error, ImportError):
        return SourceError(needs(shown(place), PACKAGES.get(urlsplit(place).scheme, error.name or "of its protocol")))
    missing = isinstance(error, FileNotFoundError) and (error.__cause__ is None or _status(error.__cause__) == 404)
    why = "there is no such file" if missing else f"can't be read: {one_line(_first_of(error))}"
    return changed(shown(place), why) if pinned else SourceError(f"{shown(place)}: {why}")


def _passes(error: BaseException) -> bool:
    named = isinstance(error, RuntimeError | OSError) and any(text in str(error) for text in TEXTS)
    return named or may_pass(error) or type(error).__module__.partition(".")[0] in CLIENTS


def _first_of(error: BaseException) -> BaseException:
    """Find the first cause of an error; fsspec raises FileNotFoundError for any answer of an HTTP host, or none."""
    return error.__cause__ if isinstance(error, FileNotFoundError) and error.__cause__ else error


def _status(error: BaseException) -> int | None:
    """The number with which an HTTP host answered."""
    response = getattr(error, "response", None)
    status = getattr(error, "status", None) or getattr(response, "status_code", None)
    if isinstance(response, dict):  # botocore
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status if isinstance(status, int) and status >= HTTPStatus.BAD_REQUEST else None
