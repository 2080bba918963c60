"""Report the progress of work, whoever listens, and estimate the time left by one formula."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from threading import Lock
from typing import TypeAlias

Advance: TypeAlias = Callable[[int], None]
"""Called from any thread with the number of steps just finished."""

BURST = 1.25
"""Reports that come before this multiple of the time of the first one belong to it: workers that began together."""
LEAST_SECONDS = 1.0
"""Shortest time that a rate is measured over."""


class Progress:
    """Receives reports of phases and steps, and ignores them. The command line has subclasses that show them."""

    def start(self, what: str, total: int, done: int = 0) -> None:
        """A phase of `total` steps begins, of which `done` were finished before."""

    def start_unlike(self, what: str, total: int) -> None:
        """The same where some steps take much longer than others, so that the time left can't be known."""
        self.start(what, total)

    def advance(self, steps: int) -> None:
        """`steps` more steps are done. Called from any thread."""


QUIET = Progress()


class Pace:
    """Estimates the rate and the time left of a phase. May be used from several threads.

    The rate is work done divided by its time, counted from the first report if that waited for models to load. Steps
    that were finished before the run don't count.

    Args:
        total: number of steps.
        done: steps finished before.
        clock: seconds.
        alike: whether steps take about the same time; otherwise there is neither rate nor time left.
    """

    def __init__(
        self, total: int, done: int = 0, clock: Callable[[], float] = time.monotonic, *, alike: bool = True
    ) -> None:
        self.total, self.done, self._kept, self.alike = total, done, done, alike
        self._clock, self._lock = clock, Lock()
        self._began = self._at = clock()
        self._first = 0.0
        self._base: tuple[float, int] | None = None
        self._largest = 0

    def advance(self, steps: int) -> None:
        """Count `steps` more steps."""
        with self._lock:
            self.done += steps
            self._at = now = self._clock()
            if self._base is None:
                self._first = now - self._began
            if now - self._began <= BURST * self._first:
                self._base = now, self.done
            else:
                self._largest = max(self._largest, steps)

    @property
    def ended(self) -> bool:
        """Whether all steps are done."""
        return self.done >= self.total

    def seconds(self) -> float:
        """Seconds since the phase began; if it is over, those that it took."""
        return (self._at if self.ended else self._clock()) - self._began

    def rate(self) -> float | None:
        """Steps per second, or None as long as too little was seen. It falls while the next report is overdue."""
        with self._lock:
            if self._base is None or not self.alike or self._at - self._base[0] < LEAST_SECONDS:
                return None
            # counted from the start, models that load make it too low; from the base, half a wave of workers does
            return max(self._speed(self._began, self._kept), self._speed(*self._base))

    def _speed(self, since: float, before: int) -> float:
        steps = self.done - before
        return min(steps / (self._at - since), (steps + self._largest) / (self._clock() - since))

    def left(self) -> float | None:
        """Seconds until the phase ends, or None as long as they can't be known. Between reports they pass."""
        rate = self.rate()
        if not rate or self.ended:
            return None
        waited = min((self._clock() - self._at) * rate, self._largest)
        return max(self.total - self.done - waited, 0) / rate

    @property
    def fleeting(self) -> bool:
        """Whether this was one step that took no time worth telling."""
        return self.ended and self.total == 1 and self.seconds() < LEAST_SECONDS

    def time(self) -> str:
        """The time left, or until then the time so far; the time that a finished phase took. `3 min 05 s left`."""
        if self.ended:
            return f"in {duration(self.seconds())}"
        left = self.left()
        return f"{duration(self.seconds())} so far" if left is None else f"{duration(left)} left"


def duration(seconds: float) -> str:
    """Seconds in the two largest units: `42 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Costs:
    """Says how much of some work is done where several kinds of it, on the same pictures, take unlike time.

    May be used from several threads. The first batch of each kind also loads models. It counts as long as there is no
    other.
    """

    def __init__(self) -> None:
        self._first: dict[str, float] = {}
        self._later: dict[str, tuple[float, int]] = {}

    def spent(self, kind: str, seconds: float, steps: int, *, ended: bool = True) -> None:
        """Note that a kind of work took `seconds` for `steps`, which are a whole batch or, until it `ended`, a part."""
        if kind in self._later:
            whole, number = self._later[kind]
            self._later[kind] = (whole + seconds, number + steps) if ended else (whole, number)
            return
        self._first[kind] = seconds / steps
        if ended:
            self._later[kind] = 0.0, 0

    def done(self, steps: Mapping[str, int], totals: Mapping[str, int]) -> float:
        """Share of the work that is done, from 0 to 1.

        As long as the cost of one kind is unknown, this is the share of the kind that is furthest behind.

        Args:
            steps: done by kind.
            totals: all steps by kind.
        """
        kinds = [kind for kind, total in totals.items() if total]
        if any(kind not in self._first for kind in kinds):
            return min(steps[kind] / totals[kind] for kind in kinds)
        work = sum(self._cost(kind) * totals[kind] for kind in kinds)
        return sum(self._cost(kind) * steps[kind] for kind in kinds) / work if work else 1.0

    def _cost(self, kind: str) -> float:
        seconds, steps = self._later.get(kind, (0.0, 0))
        return seconds / steps if steps else self._first[kind]
