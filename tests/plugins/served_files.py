"""A web server on loopback that gives out a folder, continues files, and misbehaves where a test asks for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

Fault = Callable[["Handler", bytes], bool]
"""Answers a request in its own way, given the file's content; returns False to have it answered as usual."""


@dataclass
class Served:
    """A running server.

    Attributes:
        url: without a slash at its end.
        folder: which it gives out.
        faults: by the end of a path, what happens there.
        asked: the path and the headers of every request.
        ranges: whether parts of files are sent.
    """

    url: str
    folder: Path
    faults: dict[str, Fault] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    ranges: bool = True

    def paths(self) -> list[str]:
        """The paths that were asked for."""
        return [path for path, _ in self.asked]


class Handler(BaseHTTPRequestHandler):
    """Answers GET."""

    protocol_version = "HTTP/1.1"
    served: Served

    def do_GET(self) -> None:
        """Give out a file."""
        path = unquote(urlsplit(self.path).path)
        self.served.asked.append((path, dict(self.headers)))
        file = self.served.folder / path.lstrip("/")
        data = file.read_bytes() if file.is_file() else b""
        fault = next((one for end, one in self.served.faults.items() if path.endswith(end)), None)
        if fault and fault(self, data):
            return
        if not file.is_file():
            self.answer(404, b"no such file")
            return
        asked = self.headers.get("Range", "")
        if self.served.ranges and asked.startswith("bytes=") and asked.endswith("-"):
            start = int(asked[6:-1])
            self.answer(206, data[start:], {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"})
        else:
            self.answer(200, data)

    def answer(self, status: int, data: bytes = b"", headers: dict[str, str] | None = None) -> None:
        """Send an answer with its length."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that don't wait for the end."""


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """Give out a folder for as long as the `with` block lasts."""
    handler = type("Own", (Handler,), {})
    server = _Server(("127.0.0.1", 0), handler)
    served = Served(f"http://127.0.0.1:{server.server_address[1]}", folder)
    handler.served = served  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
