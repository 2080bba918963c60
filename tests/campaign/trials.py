"""Counting trials: what was tried in a test, what held, and what fell with the reason."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import TypeVar

Case = TypeVar("Case")
RESULTS = Path(os.environ.get("FIRE_RESULTS", Path(__file__).parents[2] / ".cache" / "fire"))
"""Where each marked test leaves its figures, in a file of its own."""
LONGEST = 300
"""Seconds after which a trial counts as hanging."""


class Hangs(Exception):
    """A trial takes too long."""


@contextlib.contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Raise `Hangs` in the block after so many seconds, wherever it waits."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Hangs(f"it takes longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Trials:
    """The trials of one test."""

    def __init__(self, test: Callable[..., object]) -> None:
        self.test = test
        self.found: list[dict[str, str]] = []
        self.began = time.time()

    def __call__(self, attack: Callable[[Case], str], cases: Iterable[Case], longest: int = LONGEST) -> None:
        """Attack once for each case. `attack` returns what fell in a few words, or ""; a trial that raises fell too.

        All cases are tried, but no more after two that hang; then the test fails if any fell.
        """
        hanging = 0
        for case in cases:
            try:
                with at_most(longest):
                    why = attack(case)
            except Exception as error:
                why = f"{type(error).__name__}: {error}"
                hanging += isinstance(error, Hangs)
            self.found.append({"trial": named(case), "fell": why})
            if hanging == 2:
                break
        fallen = [f"{one['trial']}: {one['fell']}" for one in self.found if one["fell"]]
        assert not fallen, f"{len(fallen)} of {len(self.found)} fell:\n" + "\n".join(fallen)

    def save(self) -> None:
        """Write the test's figures."""
        RESULTS.mkdir(parents=True, exist_ok=True)
        figures = {
            "test": f"{Path(inspect.getfile(self.test)).name}::{self.test.__name__}",
            "tried": len(self.found),
            "held": sum(not one["fell"] for one in self.found),
            "began": self.began,
            "seconds": round(time.time() - self.began, 1),
            "trials": self.found,
        }
        (RESULTS / f"{self.test.__name__}.json").write_text(json.dumps(figures, indent=1))


def named(case: object) -> str:
    """A case in words: names of functions, the last parts of paths."""
    if isinstance(case, tuple | list):
        return " ".join(named(one) for one in case)
    return str(getattr(case, "__name__", case)).rpartition("/")[2].replace("_", " ")
