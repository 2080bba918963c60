"""Prefect's server as a process of its own that ends soon after its parent, even if the parent is killed.

`own_server` starts this file with the number of a listening socket and the parent's process id, and `whole` for a
server with web pages, schedules and all other services. Whoever may use the API can run commands as its user, so
nothing is answered without the password, which comes in the environment.
"""

from __future__ import annotations

import base64
import hmac
import os
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

GRACE = 3.0
"""Seconds that the server gets to end by itself."""
NAMES = ("localhost", "127.0.0.1", "[::1]")
"""Hosts in requests, with any port, as through a tunnel. By another name a stranger's page asks (DNS rebinding)."""
GUARDED = ("/api", "/docs", "/redoc", "/openapi.json")
"""Beginnings of all paths that aren't files of the web pages."""
HEALTH = "/api/health"
"""It answers `true`. The pages ask it without the password, and otherwise say that they can't connect."""

POLICY = "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'none'"
"""Of Prefect's pages, which would send what people do to others."""


class Door:
    """Refuses requests from other origins, and those without the password; its pages send nothing to other hosts.

    Prefect itself leaves some of its API open. The files of its pages hold no data, and ask for the password. Browsers
    can't send it with a WebSocket; Prefect expects it in the first message there.

    Args:
        app: that is guarded.
        password: of its API.
        pages: whether the files of web pages are given to anybody, and `HEALTH`.
    """

    def __init__(self, app: ASGIApp, password: str, *, pages: bool) -> None:
        self.app, self.pages = app, pages
        self.expected = b"Basic " + base64.b64encode(password.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        from starlette.datastructures import MutableHeaders
        from starlette.responses import PlainTextResponse

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Content-Security-Policy"] = POLICY
            await send(message)

        if scope["type"] != "lifespan" and (refused := self.refusal(scope)):
            code, why = refused
            await PlainTextResponse(why, code)(scope, receive, send)
        else:
            await self.app(scope, receive, send_with_policy)

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """The status and the reason with which a request is refused; None for one that may go on."""
        from starlette.datastructures import Headers

        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin is not None and origin.lower().partition("://")[2] != headers["host"].lower():
            return 403, "Another origin"
        method, path = scope.get("method"), scope["path"]
        file = self.pages and method in ("GET", "HEAD") and not path.startswith(GUARDED)
        file = file or (self.pages and method == "GET" and path == HEALTH)
        given = headers.get("authorization", "").encode("latin-1")
        if file or scope["type"] == "websocket" or hmac.compare_digest(given, self.expected):
            return None
        return 401, "The password is missing or wrong"


def serve(descriptor: int, parent: int, *, whole: bool = False) -> None:
    """Serve Prefect's API on a listening socket until the parent ends.

    Args:
        descriptor: of the socket.
        parent: its process id.
        whole: whether to serve the web pages too, and to start runs on schedules.
    """
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import PREFECT_SERVER_API_AUTH_STRING
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    app = create_app(ephemeral=not whole, final=True)
    door = Door(app, str(PREFECT_SERVER_API_AUTH_STRING.value()), pages=whole)
    guarded = TrustedHostMiddleware(door, NAMES, www_redirect=False)
    settings = uvicorn.Config(guarded, log_level="error", lifespan="on", timeout_graceful_shutdown=1)
    uvicorn.Server(settings).run(sockets=[socket.socket(fileno=descriptor)])


def end_with(parent: int) -> None:
    """End this process and its children after the parent: a process that loses its parent gets another one."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]), whole="whole" in sys.argv[3:])
