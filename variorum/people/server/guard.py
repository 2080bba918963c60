"""Guard every request: the right host, and headers that keep browsers from doing more than the pages need."""

from __future__ import annotations

import logging

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from variorum.people.server.access import Place

log = logging.getLogger(__name__)

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
"""Of each answer, unless it has its own."""
ENCODED = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
ELSEWHERE = "this isn't the server's address; open the one that it printed when it was started"
FAILED = "the server failed at this request; it may succeed when you try again"


class Guard:
    """Middleware around the whole application."""

    def __init__(self, app: ASGIApp, place: Place) -> None:
        self.app, self.place = app, place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or refuses it for its host."""
        if scope["type"] != "http":  # there is nothing else here, such as web sockets
            return

        began = False

        async def answer(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                own = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(line for line in ENCODED if line[0] not in own)]
            await send(message)

        hosts = Headers(scope=scope).getlist("host")
        if len(hosts) != 1 or self.place.origin(hosts[0]) is None:
            await JSONResponse({"error": ELSEWHERE}, 421)(scope, receive, answer)
            return
        try:
            await self.app(scope, receive, answer)
        except Exception as error:
            # the path alone: a query may hold a key
            log.error("a request for %s failed", ascii(scope["path"]), exc_info=error)
            if not began:
                await JSONResponse({"error": FAILED}, 500)(scope, receive, answer)
