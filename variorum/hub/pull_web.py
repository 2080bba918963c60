"""Opens files of web servers over HTTP, with as little trust as possible.

A token goes to the host that it is for and follows no redirect to another. Redirects lead to web servers only, never
to files of this machine, and never from an encrypted connection to an open one. Packed answers are refused.
"""

from __future__ import annotations

import logging
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from netrc import NetrcParseError
from typing import TYPE_CHECKING, Any

from variorum.hub.pull_fetch import Body, Open
from variorum.schemas.errors import SourceError
from variorum.schemas.secrets import shown

if TYPE_CHECKING:
    import httpx2

PATIENCE = 60.0
"""Seconds without any byte, or without the end of the headers, after which a host counts as gone."""
SLOWEST = 100
"""Bytes a second; a host that sends fewer over more than `PATIENCE` seconds counts as gone, too."""
RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)")
IDENTITY = ("", "identity")
STEPS = 10
"""Redirects that are followed for a file."""
OWN = ("Authorization", "Cookie")
"""Headers that are for one host only."""


def web_file(url: str, headers: Mapping[str, str] | None = None, way: str = "") -> Open:
    """Open a file at a web server.

    Args:
        url: a user and a password in it are sent as such to its host only, as are those of `~/.netrc`.
        headers: to send; `Authorization` goes to no other host.
        way: what to do if the host refuses, for the message.
    """
    return partial(_open_web, url, headers or {}, way)


def _open_web(url: str, headers: Mapping[str, str], way: str, start: int) -> Body:
    import httpx2

    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it logs URLs with their signatures
    asked = {"User-Agent": "variorum", **headers, "Accept-Encoding": "identity"}
    asked |= {"Range": f"bytes={start}-"} if start else {}
    try:
        client = httpx2.Client(timeout=PATIENCE)
        request = client.build_request("GET", url, headers=asked)
    except (httpx2.InvalidURL, ImportError, ValueError) as error:  # of the URL, or of a proxy in the environment
        raise SourceError(f"{shown(url)!a} can't be opened: {error}") from None
    try:
        with _Clock() as clock:
            request.extensions["trace"] = clock.follow
            answer = _answer(client, request, None if headers or request.url.userinfo else _netrc())
        return _body(client, answer, url, way)
    except BaseException:
        client.close()
        raise


def _netrc() -> httpx2.Auth | None:
    import httpx2

    with suppress(OSError, NetrcParseError):
        return httpx2.NetRCAuth()
    return None


def _answer(client: httpx2.Client, request: httpx2.Request, login: httpx2.Auth | None) -> httpx2.Response:
    """The answer after all redirects. The client's own way reads all of an answer that redirects, which may not end."""
    for _ in range(STEPS + 1):
        answer = client.send(request, auth=login, stream=True)
        if not answer.has_redirect_location:
            return answer
        answer.close()
        old, following, login = request.url, answer.next_request, None
        place = following.url.scheme if following else answer.headers["Location"].partition(":")[0]
        if following is None or place not in ("http", "https") or (old.scheme, place) == ("https", "http"):
            raise SourceError(f"{shown(str(old))}: it redirects to {place[:20]!a}, where nothing is read")
        if following.url.origin != old.origin:
            for name in OWN:
                following.headers.pop(name, None)
        request = following
    raise SourceError(f"{shown(str(request.url))}: it redirects more than {STEPS} times")


def _body(client: httpx2.Client, answer: httpx2.Response, url: str, way: str) -> Body:
    import httpx2

    status, headers = answer.status_code, answer.headers
    if status in (404, 410):
        raise FileNotFoundError(shown(url))
    if status in (401, 403):
        what = "login needed" if status == 401 else "no access"
        raise SourceError(f"{shown(url)}: {what} (HTTP {status}){'; ' if way else ''}{way}")
    if status == 416:
        raise ConnectionError("the host has fewer bytes than have arrived")
    if status >= 400:
        raise httpx2.HTTPStatusError(
            f"the host answers with the status {status}", request=answer.request, response=answer
        )
    coded = headers.get("Content-Encoding", "").strip().lower()
    if coded not in IDENTITY:
        raise SourceError(f"{shown(url)}: the answer is in the encoding {coded[:40]!a}, which wasn't asked for")
    first, size = 0, None if "Transfer-Encoding" in headers else headers.get("Content-Length")
    if status == 206:
        found = RANGE.fullmatch(headers.get("Content-Range", "").strip())
        if not found:
            raise ConnectionError("a part was sent that doesn't say which one")
        first, size = int(found[1]), None if found[2] == "*" else found[2]
    elif status != 200:
        raise ConnectionError(f"the answer has the status {status}")
    return Body(_pieces(answer), client.close, first, None if size is None else int(size), headers.get("ETag", ""))


def _pieces(answer: httpx2.Response) -> Iterator[bytes]:
    got, began = 0, time.monotonic()
    for piece in answer.iter_raw():
        got, seconds = got + len(piece), time.monotonic() - began
        if seconds > PATIENCE and got < SLOWEST * seconds:
            raise TimeoutError(f"it sent {got} bytes in {seconds:.0f} seconds")
        yield piece


class _Clock:
    """Ends the connections of a request whose headers, redirects included, don't come in `PATIENCE` seconds.

    A time limit of a socket begins anew with each byte, so it doesn't end headers that drip.
    """

    def __init__(self) -> None:
        self.late = False
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(PATIENCE, self._end)
        self._timer.daemon = True

    def __enter__(self) -> _Clock:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        for one in self._sockets:
            one.close()
        if self.late:
            raise TimeoutError(f"its headers didn't come in {PATIENCE:g} seconds") from None

    def follow(self, event: str, info: Mapping[str, Any]) -> None:
        """Note a new connection, which must end in time."""
        if event == "connection.connect_tcp.complete":
            self._sockets.append(info["return_value"].get_extra_info("socket").dup())  # TLS takes over the other one
            if self.late:
                self._end()

    def _end(self) -> None:
        self.late = True
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
