"""Fair timing on a shared machine: interleaved rounds, CPU time first, medians of ratios within a round."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

Work = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """One run of a variant: its CPU and wall seconds, and the number of cores used by other processes meanwhile."""

    cpu: float
    wall: float
    others: float


def measure(work: Work) -> Timing:
    """Run the work once. CPU time counts all threads of this process, in user and kernel mode."""
    busy, cpu, wall = _busy(), time.process_time(), time.perf_counter()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Timing(cpu, wall, max(0.0, (_busy() - busy - cpu) / wall))


def rounds(variants: dict[str, Work], number: int) -> list[dict[str, Timing]]:
    """Run every variant once per round, after an uncounted warm-up; the order rotates with the round."""
    names = list(variants)
    for name in names:
        variants[name]()
    result = []
    for turn in range(number):
        order = names[turn % len(names) :] + names[: turn % len(names)]
        timed = {name: measure(variants[name]) for name in order}
        result.append(timed)
    return result


def ratio(timed: list[dict[str, Timing]], one: str, other: str, what: str = "cpu") -> float:
    """Median over the rounds of one variant's seconds divided by another's."""
    return round(statistics.median(getattr(t[one], what) / getattr(t[other], what) for t in timed), 3)


def median(timed: list[dict[str, Timing]], name: str, what: str = "cpu") -> float:
    """Median seconds of a variant."""
    return statistics.median(getattr(t[name], what) for t in timed)


def peak_mb() -> float:
    """Peak resident memory of this process in MB. Unlike `ru_maxrss` it doesn't count the parent process."""
    return _kib("VmHWM") / 1024


@contextmanager
def anonymous_peak() -> Iterator[list[int]]:
    """Most bytes of this process that no file backs, in a list; the system can drop what a file backs."""
    peak, done = [1024 * _kib("RssAnon")], threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            peak[0] = max(peak[0], 1024 * _kib("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def _kib(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _busy() -> float:
    """CPU seconds used by all processes since the machine started."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _wait, irq, softirq, *_ = map(int, file.readline().split()[1:])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
