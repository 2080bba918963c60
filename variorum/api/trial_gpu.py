"""Ask the driver of this machine's GPU for its version and its utilisation."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable

PATIENCE = 10
"""Seconds to wait for the driver's program."""
EVERY = 0.2
"""Seconds between two looks at the utilisation."""


class Utilisation:
    """Watch how busy the first GPU is, as its driver says, during calls of several batch sizes."""

    def __init__(self) -> None:
        self._seen: dict[int, list[float]] = {}

    def during(self, batch: int, call: Callable[[], object]) -> None:
        """Make a call, and note how busy the GPU is meanwhile."""
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(EVERY):
                seen = [float(one) for one in ask_driver("utilization.gpu")[:1] if one.isdigit()]
                self._seen.setdefault(batch, []).extend(seen)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            call()
        finally:
            stop.set()
            thread.join()

    def mean(self) -> dict[int, float]:
        """By batch size, the mean utilisation in percent; sizes whose calls were too short to be seen are absent."""
        return {batch: round(sum(seen) / len(seen), 1) for batch, seen in self._seen.items() if seen}


def ask_driver(what: str) -> list[str]:
    """What `nvidia-smi` says of each GPU, such as `driver_version`; empty without it."""
    command = ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader,nounits"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in found.stdout.splitlines()] if found.returncode == 0 else []
