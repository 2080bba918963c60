"""A gateway in front of the S3 server that misbehaves as networks and servers do: busy, cut off, changed bytes, stale.

A fault is a function of a request and of a way to pass it on; it returns the answer, or None to hang up without one.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from s3_server import Server


@dataclass
class Asked:
    """A request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def conditional(self) -> bool:
        """Whether it writes only what isn't there."""
        return any(name.lower() == "if-none-match" for name in self.headers)

    @property
    def listing(self) -> bool:
        """Whether it asks for names."""
        return self.method == "GET" and "list-type=2" in self.path


@dataclass
class Answer:
    """An answer; `cut` hangs up after so many bytes of the body."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None


Pass = Callable[[Asked], Answer]
Fault = Callable[[Asked, Pass], Answer | None]


@dataclass
class Gateway:
    """The server behind it, its address, the fault, and what was asked."""

    server: Server
    fault: Fault | None = None
    asked: list[Asked] = field(default_factory=list)


def refused(status: int, code: str) -> Answer:
    """An error as S3 words it."""
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}, said by a test</Message></Error>"
    return Answer(status, text.encode(), {"Content-Type": "application/xml"})


def times(number: int, fault: Fault, where: Callable[[Asked], bool] = lambda _: True) -> Fault:
    """The fault for the first so many of those requests; afterwards all is well."""
    left, lock = [number], threading.Lock()

    def meet(asked: Asked, forward: Pass) -> Answer | None:
        with lock:
            hit = where(asked) and left[0] > 0
            left[0] -= hit
        return fault(asked, forward) if hit else forward(asked)

    return meet


@contextmanager
def gateway(server: Server) -> Iterator[Gateway]:
    """A gateway on a port of loopback."""
    host, port = urlsplit(server.endpoint).hostname, urlsplit(server.endpoint).port

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked = Asked(self.command, self.path, dict(self.headers.items()), body)
            found.asked.append(asked)
            answer = found.fault(asked, forward) if found.fault else forward(asked)
            if answer is None:
                self.close_connection = True
                self.connection.close()
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if "Content-Length" not in answer.headers:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body[: answer.cut])
            if answer.cut is not None:
                self.close_connection = True
                self.wfile.flush()
                self.connection.close()

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_one  # noqa: N815 - so the base class calls them

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that hangs up is no error."""

    def forward(asked: Asked) -> Answer:
        connection = http.client.HTTPConnection(str(host), port, timeout=60)
        try:
            connection.putrequest(asked.method, asked.path, skip_host=True, skip_accept_encoding=True)
            for name, value in asked.headers.items():
                if name.lower() not in ("connection", "expect"):
                    connection.putheader(name, value)
            connection.endheaders(asked.body)
            reply = connection.getresponse()
            kept = {
                name: value
                for name, value in reply.getheaders()
                if name.lower() not in ("connection", "transfer-encoding", "date", "server")
            }
            return Answer(reply.status, reply.read(), kept)
        finally:
            connection.close()

    running = Quiet(("127.0.0.1", 0), Handler)
    found = Gateway(server.at(f"http://127.0.0.1:{running.server_port}"))
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        running.shutdown()
        running.server_close()
        thread.join()
