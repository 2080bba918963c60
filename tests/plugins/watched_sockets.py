"""Notes every address that a process and its children connect to, look up or listen on.

`watch` puts a `sitecustomize` into a folder that belongs into PYTHONPATH; Python imports it before anything else.
"""

from __future__ import annotations

from pathlib import Path

HOOK = """
import os, sys

def noted(event, given):
    if event in ("socket.connect", "socket.bind", "socket.sendto"):
        where = given[1]
    elif event == "socket.getaddrinfo":
        where = given[0]
    else:
        return
    host = where[0] if isinstance(where, tuple) else where
    line = f"{event} {host}\\n"
    file = os.open(FOLDER + "/" + str(os.getpid()), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, line.encode())
    os.close(file)

sys.addaudithook(noted)
"""


def watch(folder: Path) -> Path:
    """Make the hook in a new folder, which is given back; it notes addresses in `folder/noted`, a file per process."""
    (folder / "noted").mkdir(parents=True)
    (folder / "sitecustomize.py").write_text(f"FOLDER = {str(folder / 'noted')!r}\n{HOOK}")
    return folder


def addresses(folder: Path) -> dict[str, set[str]]:
    """By event, the hosts that were noted."""
    found: dict[str, set[str]] = {}
    for file in (folder / "noted").iterdir():
        for line in file.read_text().splitlines():
            event, _, host = line.partition(" ")
            found.setdefault(event, set()).add(host)
    return found
