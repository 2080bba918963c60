"""Report the progress of work, whoever listens, and estimate the time left by one formula."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import TypeAlias

Advance: TypeAlias = Callable[[int], None]
"""Called from any thread with the number of steps just finished; a negative one if work is lost and done again."""

BURST = 0.25
"""Reports that come within this share of the shortest time between rounds are one round: of workers that began
together."""
ENOUGH = 5
"""Rounds from which on the older half doesn't count any more, as the machine may be busier or freer now."""
LEAST_SECONDS = 1.0
"""Shortest time of a round, and shortest time that a rate is measured over."""


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


class Named(Progress):
    """Names what the phases are about, where the same work is done for several things: `evaluating (low_light)`."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress, self._name = progress, name

    def start(self, what: str, total: int, done: int = 0) -> None:
        """See `Progress.start`."""
        self._progress.start(f"{what} ({self._name})", total, done)

    def start_unlike(self, what: str, total: int) -> None:
        """See `Progress.start_unlike`."""
        self._progress.start_unlike(f"{what} ({self._name})", total)

    def advance(self, steps: int) -> None:
        """See `Progress.advance`."""
        self._progress.advance(steps)


@contextmanager
def counted(total: int, advance: Advance) -> Iterator[Advance]:
    """Give a function that is told how many steps of a part are done. The last step waits for the part's end.

    An error takes them all back, as the part may be tried again.
    """
    told = 0

    def reached(done: int) -> None:
        nonlocal told
        if (steps := min(done, total - 1) - told) > 0:
            told += steps
            advance(steps)

    try:
        yield reached
    except BaseException:
        if told:
            advance(-told)
        raise
    advance(total - told)


class Pace:
    """Estimates the rate and the time left of a phase. May be used from several threads.

    The rate is work done divided by its time, counted from the first round of reports if that waited for models to
    load, and later over the newer half of the rounds. Steps that were finished before the run don't count.

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
        self._rounds: list[tuple[float, float, int]] = []
        """Time of the first and of the last report of each round, and steps done at its end."""
        self._shortest = math.inf
        self._largest = 0

    def advance(self, steps: int) -> None:
        """Count `steps` more steps."""
        with self._lock:
            self.done += steps
            self._at = now = self._clock()
            since, before = now, self._rounds[-1][0] if self._rounds else self._began
            if self._rounds:
                self._largest = max(self._largest, steps)
            if self._rounds and now - before <= max(LEAST_SECONDS, BURST * self._shortest):
                since = self._rounds.pop()[0]
            else:
                self._shortest = min(self._shortest, now - before)
            self._rounds.append((since, now, self.done))

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
            if len(self._rounds) < 2 or not self.alike:
                return None
            if len(self._rounds) >= ENOUGH:  # the last round may lack workers
                found = self._speed(self._rounds[len(self._rounds) // 2 - 1], self._rounds[-2])
            else:  # loading makes it too low if counted from the start, half a round of workers from the first round
                start, last = (self._began, self._began, self._kept), self._rounds[-1]
                found = max(self._speed(start, last), self._speed(self._rounds[0], last))
            return found if found > 0 else None

    def _speed(self, first: tuple[float, float, int], last: tuple[float, float, int]) -> float:
        (_, began, before), (_, ended, after) = first, last
        overdue = (self.done - before + self._largest) / (self._clock() - began)
        return min((after - before) / (ended - began), overdue)

    def left(self) -> float | None:
        """Seconds until the phase ends, or None as long as they can't be known. Between reports they pass."""
        rate = self.rate()
        if rate is None or self.ended:
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
        """
        kinds = [kind for kind, total in totals.items() if total]
        if any(kind not in self._first for kind in kinds):
            return min(steps[kind] / totals[kind] for kind in kinds)
        work = sum(self._cost(kind) * totals[kind] for kind in kinds)
        return sum(self._cost(kind) * steps[kind] for kind in kinds) / work if work else 1.0

    def _cost(self, kind: str) -> float:
        seconds, steps = self._later.get(kind, (0.0, 0))
        return seconds / steps if steps else self._first[kind]
