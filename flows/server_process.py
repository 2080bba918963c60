"""Prefect's server as a process of its own that ends soon after its parent, even if the parent is killed.

`own_server` starts this file with the number of a listening socket and the parent's process id, and `whole` for a
server with web pages, schedules and all other services.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time

GRACE = 3.0
"""Seconds that the server gets to end by itself."""


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

    app = create_app(ephemeral=not whole, final=True)
    settings = uvicorn.Config(app, log_level="error", lifespan="on", timeout_graceful_shutdown=1)
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
