"""Running the server: a socket, uvicorn on it, and an orderly end."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

import uvicorn
from starlette.applications import Starlette

from variorum.people.server.connections import AT_ONCE, limited, most_connections
from variorum.schemas.errors import StoreError, TemporaryError
from variorum.schemas.lookup import cut

KEEP_ALIVE = 60
"""Seconds that a connection of a browser stays open without a request."""
WAITING = 512
"""Connections that wait to be accepted."""
LAST_ANSWERS = 5
"""Seconds that requests have to end in, when the server is stopped."""


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens on an address; port 0 takes any that is free.

    A server that starts again gets its port back, though connections of the one before aren't quite closed.

    Raises:
        TemporaryError: the port is taken.
        StoreError: it can't be had, or the address isn't one of this machine.
    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise StoreError(f"host {cut(ascii(host))}: no address of this machine ({error})") from None
    with closing(socket.socket(family, kind, protocol)) as found:
        if os.name == "posix" and sys.platform != "cygwin":
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind(where)
            found.listen(WAITING)  # who asks meanwhile waits
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise TemporaryError(
                    f"port {port} of {host} is taken, perhaps by another `variorum review`; stop that one, or choose "
                    f"another with --port, such as --port {port + 1 if port < 65535 else port - 1}"
                ) from None
            if error.errno == errno.EADDRNOTAVAIL:
                raise StoreError(
                    f"host {cut(ascii(host))}: no address of this machine; 0.0.0.0 stands for all"
                ) from None
            raise StoreError(f"port {port} of {host}: {error.strerror}; choose another with --port") from None
        found.setblocking(False)
        yield found


def serve(app: Starlette, on: socket.socket, *, proxied: bool = False) -> None:
    """Answer requests until the process is told to stop (Ctrl-C, SIGTERM); returns or raises KeyboardInterrupt then.

    Requests aren't logged: an address may hold a key.

    Args:
        app: the application.
        on: a socket that listens.
        proxied: whether all connections may come from one address, that of a proxy. Otherwise, one address has half of
            them at most.
    """
    most = most_connections()
    config = uvicorn.Config(
        app,
        http=limited(most, most if proxied else most // 2),
        access_log=False,
        log_config=None,
        log_level="warning",
        lifespan="off",
        ws="none",
        server_header=False,
        proxy_headers=False,
        backlog=AT_ONCE,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=LAST_ANSWERS,
    )
    _Server(config).run(sockets=[on])


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for one in sockets or ():  # asyncio has one number for those that wait and those that it accepts at once
            one.listen(WAITING)
