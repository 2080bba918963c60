"""Measures this machine's GPU: its driver, and the memory, time and utilisation of a call."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

PATIENCE = 10
"""Seconds to wait for the driver's program."""


def measured(call: Callable[[], object]) -> dict[str, Any]:
    """Seconds, peak GiB and mean utilisation in percent of a call, after one call to warm up."""
    import torch

    call()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    seen: list[int] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.2):
            seen.extend(int(one) for one in ask_driver("utilization.gpu")[:1] if one.isdigit())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        began = time.perf_counter()
        call()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - began
    finally:
        stop.set()
        thread.join()
    found = {"seconds": round(seconds, 4), "gib": round(torch.cuda.max_memory_allocated() / 2**30, 3)}
    return {**found, "utilisation": round(sum(seen) / len(seen)) if seen else None}


def ask_driver(what: str) -> list[str]:
    """What `nvidia-smi` says of each GPU, such as `driver_version`; empty without it."""
    command = ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader,nounits"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in found.stdout.splitlines()] if found.returncode == 0 else []
