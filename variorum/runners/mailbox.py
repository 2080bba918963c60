"""Exchanges calls and answers between a command and its jobs by files, in a folder that both see.

Each job has a folder of its own, its box. The command writes `call-3`, and the job writes the answer to `answer-3`.
Both sides touch a file now and then, and each takes the other for dead when that stops.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from variorum.runners.worker import loaded

LOOK = 0.2
"""Seconds between two looks at a folder."""
PULSE = 5.0
"""Seconds between two touches."""
SILENCE = 120.0
"""Seconds without a touch after which the other side is taken for dead."""


@dataclass(slots=True)
class Pulse:
    """Watches whether the other side still touches a file. Only this machine's clock counts, as clocks may differ."""

    file: Path
    _last: int = -1
    _at: float = field(default_factory=time.monotonic)

    def silent(self, seconds: float) -> bool:
        """Return whether the file hasn't been touched for so long."""
        with suppress(OSError):
            if (now := self.file.stat().st_mtime_ns) != self._last:
                self._last, self._at = now, time.monotonic()
        return time.monotonic() - self._at > seconds


def serve(place: str) -> None:
    """Answer calls until the command ends this job, or is dead."""
    box = Path(place)
    if (box / "answer-0").exists():  # Slurm has started this job again; the command submits another
        return
    touch_often(box / "job", threading.Event().wait)
    threading.Thread(target=_end_with_command, args=(box,), daemon=True).start()
    for number in count():
        while not (box / f"call-{number}").exists():
            time.sleep(LOOK)
        function, args, kwargs = loaded((box / f"call-{number}").read_bytes())
        put(box / f"answer-{number}", function(*args, **kwargs))


def put(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    partial.write_bytes(content)
    partial.rename(path)


def touch_often(file: Path, wait: Callable[[float], bool]) -> threading.Thread:
    """Touch a file in a thread, which is returned, until `wait`, called with the seconds of a pause, returns True."""

    def touch() -> None:
        while True:
            with suppress(OSError):
                file.touch()
            if wait(PULSE):
                return

    thread = threading.Thread(target=touch, daemon=True)
    thread.start()
    return thread


def _end_with_command(box: Path) -> None:
    """End this process when the command says so, or is dead."""
    command = Pulse(box.parent / "command")
    while box.exists() and not ((box / "stop").exists() or command.silent(SILENCE)):
        time.sleep(1.0)
    os._exit(0)
