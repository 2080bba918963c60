"""Files of web servers, opened with as little trust as possible.

A token goes to the host that it is for and follows no redirect to another. Redirects lead to web servers only, never
to files of this machine, and never from an encrypted connection to an open one. Packed answers are refused.
"""

from __future__ import annotations

import base64
import netrc
import re
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, InvalidURL
from typing import Any
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit, urlunsplit

from variorum.hub.pull_fetch import Body, Open
from variorum.schemas.errors import SourceError
from variorum.schemas.secrets import shown

PATIENCE = 60.0
"""Seconds without any byte, or without the end of the headers, after which a host counts as gone."""
SLOWEST = 100
"""Bytes a second; a host that sends fewer over more than `PATIENCE` seconds counts as gone, too."""
RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)")
IDENTITY = ("", "identity")
STEPS = 10
"""Redirects that are followed for a file."""
OWN = ("authorization", "cookie", "host")
"""Headers that are for one host only."""
SIGNS = "%/:?#[]@!$&'()*+,;=-._~"
"""Characters of URLs that mean themselves."""


def web_file(url: str, headers: Mapping[str, str] | None = None, way: str = "") -> Open:
    """How a file at a web server is opened.

    Args:
        url: a user and a password in it are sent as such to its host only, as are those of `~/.netrc`.
        headers: to send; `Authorization` goes to no other host.
        way: what to do if the host refuses, for the message.
    """
    parts = urlsplit(url)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))
    sent = {"User-Agent": "variorum", **(headers or _login(parts)), "Accept-Encoding": "identity"}
    return partial(_open_web, bare, sent, way)


def _open_web(url: str, headers: Mapping[str, str], way: str, start: int) -> Body:
    asked = request.Request(url, headers={**headers, **({"Range": f"bytes={start}-"} if start else {})})  # noqa: S310
    try:
        with _Clock() as clock:
            answer: HTTPResponse = _opener(clock).open(asked, timeout=PATIENCE)
    except HTTPError as error:
        error.close()
        raise _refusal(error, url, way) from None
    except URLError as error:
        raise (error.reason if isinstance(error.reason, OSError) else ConnectionError(str(error.reason))) from None
    except InvalidURL:
        raise SourceError(f"{shown(url)!a}: it is no URL; write %20 for a space, and other signs likewise") from None
    except HTTPException as error:
        raise ConnectionError(f"{type(error).__name__}: {error}") from None
    try:
        return _answered(answer, url, start)
    except BaseException:
        answer.close()
        raise


def _answered(answer: HTTPResponse, url: str, start: int) -> Body:
    coded = (answer.headers.get("Content-Encoding") or "").strip().lower()
    if coded not in IDENTITY:
        raise SourceError(f"{shown(url)}: the answer is in the encoding {coded[:40]!a}, which wasn't asked for")
    first, size = 0, answer.length
    if answer.status == 206:
        found = RANGE.fullmatch((answer.headers.get("Content-Range") or "").strip())
        if not found:
            raise ConnectionError("a part was sent that doesn't say which one")
        first, size = int(found[1]), None if found[2] == "*" else int(found[2])
    elif answer.status != 200:
        raise ConnectionError(f"the answer has the status {answer.status}")

    left, got, began = answer.length, 0, time.monotonic()

    def read(count: int) -> bytes:
        nonlocal left, got
        if left == 0:  # a host may keep the connection open
            return b""
        try:
            piece = answer.read1(count if left is None else min(count, left))
        except HTTPException as error:
            raise ConnectionError(f"{type(error).__name__}: {error}") from None
        left = None if left is None else left - len(piece)
        got, seconds = got + len(piece), time.monotonic() - began
        if piece and seconds > PATIENCE and got < SLOWEST * seconds:
            raise TimeoutError(f"it sent {got} bytes in {seconds:.0f} seconds")
        return piece

    return Body(read, answer.close, first, size, answer.headers.get("ETag") or "")


def _refusal(error: HTTPError, url: str, way: str) -> Exception:
    """What to raise for an answer that is an error; one that may pass is raised as it is."""
    if error.code in (404, 410):
        return FileNotFoundError(shown(url))
    if error.code in (401, 403):
        what = "login needed" if error.code == 401 else "no access"
        return SourceError(f"{shown(url)}: {what} (HTTP {error.code}){'; ' if way else ''}{way}")
    if error.code == 416:
        return ConnectionError("the host has fewer bytes than have arrived")
    return error


class _Redirects(request.BaseHandler):
    """Follows redirects from one web server to another, without what belongs to the first.

    The usual handler reads the whole of an answer that redirects, which may have no end.
    """

    def http_error_302(self, req: request.Request, fp: Any, code: int, msg: str, headers: Any) -> Any:
        """The answer of the next place, or an error for one that may not be read."""
        fp.close()
        steps = getattr(req, "steps", 0) + 1
        place = urljoin(req.full_url, headers.get("Location") or "")
        old, new = urlsplit(req.full_url), urlsplit(place)
        if new.scheme not in ("http", "https") or (old.scheme, new.scheme) == ("https", "http"):
            raise SourceError(f"{shown(req.full_url)}: it redirects to {new.scheme[:20]!a}, where nothing is read")
        if steps > STEPS:
            raise SourceError(f"{shown(req.full_url)}: it redirects more than {STEPS} times")
        kept = {name: value for name, value in req.header_items() if name.lower() not in OWN}
        if _origin(old) == _origin(new):
            kept = dict(req.header_items())
        following = request.Request(quote(place, safe=SIGNS), headers=kept)  # noqa: S310 - the scheme is checked
        following.steps = steps  # type: ignore[attr-defined]
        return self.parent.open(following, timeout=req.timeout)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _origin(parts: SplitResult) -> tuple[str, str | None, int]:
    return parts.scheme, parts.hostname, parts.port or {"https": 443}.get(parts.scheme, 80)


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

    def connect(self, *arguments: Any) -> socket.socket:
        """A new connection that ends in time."""
        found = socket.create_connection(*arguments)
        self._sockets.append(found.dup())  # TLS takes over the other one
        return found

    def _end(self) -> None:
        self.late = True
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class _Web(request.HTTPHandler, request.HTTPSHandler):
    """Connects to web servers under a clock."""

    def __init__(self, clock: _Clock) -> None:
        super().__init__()
        self.clock = clock

    def http_open(self, req: request.Request) -> HTTPResponse:
        """The answer of an open connection."""
        return self.do_open(partial(self._connection, HTTPConnection), req)

    def https_open(self, req: request.Request) -> HTTPResponse:
        """The answer of an encrypted connection."""
        return self.do_open(partial(self._connection, HTTPSConnection), req)

    def _connection(self, kind: type[HTTPConnection], host: str, **options: Any) -> HTTPConnection:
        found = kind(host, **options)
        found._create_connection = self.clock.connect  # type: ignore[attr-defined]  # the hook of `http.client`
        return found


def _opener(clock: _Clock) -> request.OpenerDirector:
    """Opens addresses of web servers and nothing else: the usual one also opens files and FTP."""
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler,
        request.UnknownHandler,
        partial(_Web, clock),
        request.HTTPDefaultErrorHandler,
        _Redirects,
        request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


def _login(parts: SplitResult) -> dict[str, str]:
    """The header with user and password of a URL, or of `~/.netrc` for its host."""
    user, password = parts.username, parts.password
    if user is None:
        with suppress(OSError, netrc.NetrcParseError):
            found = netrc.netrc().authenticators(parts.hostname or "")
            user, password = (found[0], found[2]) if found else (None, None)
    if user is None:
        return {}
    both = f"{unquote(user)}:{unquote(password or '')}"
    return {"Authorization": f"Basic {base64.b64encode(both.encode()).decode()}"}
