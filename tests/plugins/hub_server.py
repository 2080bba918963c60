"""Starts and ends the double of the Hub: olah in its own environment, and the front in a thread of this process."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvicorn
from hub_front import TOKEN, Hub, app

PLACES = (os.environ.get("VARIORUM_OLAH", ""), str(Path(__file__).parents[2] / ".cache/olah/bin/olah-cli"))
"""Where olah's command may be; `make olah` installs it in the second place."""
SECONDS = 60


def olah() -> str | None:
    """olah's command, or None where it isn't installed."""
    return next((place for place in PLACES if place and Path(place).is_file()), shutil.which("olah-cli"))


def free_port() -> int:
    """A port of the loopback interface that is free now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def serving(folder: Path, command: str) -> Iterator[Hub]:
    """A hub whose repositories lie in a folder, until the `with` block ends."""
    root, port = folder / "hub", free_port()
    (root / "datasets").mkdir(parents=True)
    config = folder / "olah.toml"
    config.write_text(
        f'[basic]\nhost = "127.0.0.1"\nport = {port}\nrepos-path = "{folder}/cache"\nmirrors-path = ["{root}"]\n'
        "metadata-cache-ttl = 0\n[accessibility]\noffline = true\n"
    )
    hub = Hub(root, f"http://127.0.0.1:{port}")
    with (folder / "olah.log").open("wb") as log:
        process = subprocess.Popen(
            [command, "-c", str(config), "--log-path", str(folder / "logs")],
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
        )
    server = uvicorn.Server(uvicorn.Config(app(hub), host="127.0.0.1", port=free_port(), log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    try:
        _wait(hub.olah, process, folder / "olah.log")
        thread.start()
        hub.url = f"http://127.0.0.1:{server.config.port}"
        _wait(f"{hub.url}/api/datasets/none/none", process, folder / "olah.log")
        yield hub
    finally:
        server.should_exit = True
        if thread.is_alive():
            thread.join(10)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def environment(hub: Hub, home: Path | None = None, *, token: str = TOKEN) -> dict[str, str]:
    """Variables of a process that talks to the hub and to nothing else; without a token it is logged out.

    Commands that have the same home, which is one beside the hub by default, are forked from the same process.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING", "DATASETS_"))}
    own = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home or hub.root.parent / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "WARM_LIBRARIES": "torch scipy.io variorum.hub.publish",
    }
    return kept | own | ({"HF_TOKEN": token} if token else {})


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            httpx.get(url, timeout=5)
            return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise RuntimeError(f"no answer from {url}: {log.read_text()[-2000:]}")
