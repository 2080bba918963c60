"""Measure runners: seconds that each adds to a part, and the gain of two processes over one.

The peer and the limit of `processes` is `ProcessPoolExecutor.map` on the same parts, which sends no stage, no progress
and no log lines. Workers are warm: their start isn't counted. Rounds alternate, because other programs share the cores.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from timing import median, ratio, rounds

from variorum.machine.progress import QUIET
from variorum.pipeline import Threads
from variorum.runners.chosen import chosen
from variorum.schemas.errors import VariorumError

STEPS = 3_000_000
PARTS, EMPTY, ROUNDS = 8, 100, 5


@dataclass(frozen=True)
class Part:
    """So many additions in Python."""

    steps: int
    samples: int = 1
    key: str = ""


class Adding:
    """A stage that keeps nothing and only uses a core."""

    name, doing, uses_models, job = "part", "adding", True, None

    def make(self, part: Part, advance: Callable[[int], None]) -> int:
        """The sum of the numbers below `steps`."""
        advance(1)
        return added(part.steps)


def added(steps: int) -> int:
    total = 0
    for number in range(steps):
        total += number
    return total


def main() -> None:
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        print(json.dumps({**speed(stack), **overhead(stack, folder)}, indent=1))


def speed(stack: ExitStack) -> dict[str, object]:
    """Wall time of CPU-bound parts on one and two processes, ours and those of a plain pool."""
    busy = [Part(int(sys.argv[1]) if len(sys.argv) > 1 else STEPS)] * PARTS
    pools = {n: stack.enter_context(pool(n)) for n in (1, 2)}
    ours = {n: stack.enter_context(chosen("processes", n)) for n in (1, 2)}
    variants: dict[str, Callable[[], object]] = {}
    for n in (1, 2):
        variants[f"pool {n}"] = lambda n=n: list(pools[n].map(added, [part.steps for part in busy]))
        variants[f"ours {n}"] = lambda n=n: ours[n].map(Adding(), busy, QUIET)
    before = round(os.getloadavg()[0], 1)
    timed = rounds(variants, ROUNDS)
    return {
        "parts": PARTS,
        "seconds_of_a_part": round(median(timed, "pool 1", "wall") / PARTS, 3),
        "cores": os.cpu_count(),
        "load_before": before,
        "two_processes_over_one": ratio(timed, "ours 1", "ours 2", "wall"),
        "limit": "ProcessPoolExecutor.map on the same parts",
        "two_of_the_pool_over_one": ratio(timed, "pool 1", "pool 2", "wall"),
        "goal": ">= 1.8 where two cores are free",
        "ours_over_the_pool": ratio(timed, "ours 2", "pool 2", "wall"),
    }


def overhead(stack: ExitStack, folder: str) -> dict[str, object]:
    """Milliseconds that each runner adds to a part, with one worker."""
    parts = [Part(0)] * EMPTY
    settings: dict[str, Sequence[str]] = {
        **{"processes": (), "ray": (), "dask": ()},
        "slurm": ("cluster=local", f"folder={folder}"),
    }
    found: dict[str, Any] = {"threads": Threads()}
    for name, given in settings.items():
        try:
            found[name] = stack.enter_context(chosen(name, 1, given))
        except VariorumError as error:
            found[name] = str(error)
    plain = stack.enter_context(pool(1))
    variants: dict[str, Callable[[], object]] = {"pool": lambda: list(plain.map(added, [0] * EMPTY))}
    for name, runner in found.items():
        if not isinstance(runner, str):
            few = parts[:10] if name == "slurm" else parts
            variants[name] = lambda runner=runner, few=few: runner.map(Adding(), few, QUIET)
    timed = rounds(variants, ROUNDS)
    cost = {name: 1e3 * median(timed, name, "wall") / (10 if name == "slurm" else EMPTY) for name in variants}
    absent = {name: runner for name, runner in found.items() if isinstance(runner, str)}
    return {"ms_a_part": {name: round(one, 2) for name, one in cost.items()} | absent}


def pool(number: int) -> ProcessPoolExecutor:
    """The peer. Each of its processes is a session, as ours are: Linux shares cores among sessions."""
    return ProcessPoolExecutor(number, get_context("spawn"), initializer=os.setsid)


if __name__ == "__main__":
    from runners import main as importable  # workers can't import what is defined in __main__

    importable()
