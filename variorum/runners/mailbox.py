"""The files in which a command and its jobs write to each other, in a folder that both see.

Each job has a folder of its own, its box. The command writes `part-3`; the job appends lines to `said-3` and writes its
answer to `outcome-3`. Both sides touch a file now and then, and each takes the other for dead when that stops.
"""

from __future__ import annotations

import json
import os
import pickle
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from variorum.runners.lanes import Heard
from variorum.runners.worker import Message, Report, Sent, Setup, attempt, loaded, packed, prepare

LOOK = 0.2
"""Seconds between two looks at a folder."""
PULSE = 5.0
"""Seconds between two touches."""
SILENCE = 120.0
"""Seconds without a touch after which the other side is taken for dead."""


@dataclass(slots=True)
class Pulse:
    """Whether the other side still touches a file. Only this machine's clock counts, as clocks may differ."""

    file: Path
    _last: int = -1
    _at: float = field(default_factory=time.monotonic)

    def silent(self, seconds: float) -> bool:
        """Return whether the file hasn't been touched for so long."""
        with suppress(OSError):
            if (now := self.file.stat().st_mtime_ns) != self._last:
                self._last, self._at = now, time.monotonic()
        return time.monotonic() - self._at > seconds


def serve(setup: Setup, place: str) -> None:
    """The job: make parts until the command ends it, or is dead.

    Args:
        setup: of the worker.
        place: the job's box.
    """
    box = Path(place)
    touch_often(box / "job", threading.Event().wait)
    threading.Thread(target=_end_with_command, args=(box,), daemon=True).start()
    try:
        prepare(setup)
    except Exception as error:
        put(box / "ready", pickle.dumps(packed(error)))
        return
    put(box / "ready", pickle.dumps(()))
    number = 0
    while True:
        part, outcome = box / f"part-{number}", box / f"outcome-{number}"
        if outcome.exists():  # made just now, or before Slurm started this job again
            number += 1
            continue
        if not part.exists():
            time.sleep(LOOK)
            continue
        token, content = loaded(part.read_bytes())
        sent = Sent(token, (box.parent / f"stage-{token}").read_bytes())
        with (box / f"said-{number}").open("a", encoding="utf-8") as said:

            def send(message: Message, said: Any = said) -> None:
                said.write(json.dumps(message) + "\n")
                said.flush()

            answer = attempt(sent, content, Report(send))
        put(outcome, answer)


def put(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    partial.write_bytes(content)
    partial.rename(path)


def read_said(path: Path, offset: int, heard: Heard) -> int:
    """Pass on the complete lines after an offset. Returns the offset of what is left."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            lines = file.read()
    except OSError:
        return offset
    whole = lines[: lines.rfind(b"\n") + 1]
    for line in whole.splitlines():
        number, kind, content = json.loads(line)
        heard((number, kind, content))
    return offset + len(whole)


def touch_often(file: Path, wait: Callable[[float], bool]) -> None:
    """Touch a file in the background until `wait`, called with the seconds of a pause, returns True."""

    def touch() -> None:
        while True:
            with suppress(OSError):
                file.touch()
            if wait(PULSE):
                return

    threading.Thread(target=touch, daemon=True).start()


def _end_with_command(box: Path) -> None:
    """End this process when the command says so, or is dead."""
    command = Pulse(box.parent / "command")
    while box.exists() and not ((box / "stop").exists() or command.silent(SILENCE)):
        time.sleep(1.0)
    os._exit(0)
