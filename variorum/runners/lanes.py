"""Distributes parts to the workers of any engine: each worker is an executor that gets one part after another.

A lost worker, one that was killed or whose machine went away, costs only the part that it was making: a new worker
makes that part again, and the others go on. Finished work is in the store, so nothing else is repeated.
"""

from __future__ import annotations

import logging
import pickle
import uuid
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol

from variorum.machine.progress import Progress
from variorum.runners.worker import Outcome, Setup, attempt, loaded, unpacked
from variorum.schemas.errors import TemporaryError, VariorumError
from variorum.schemas.lookup import cut
from variorum.stages.stage import STOPS, P, R, Resumes, Runner, Stage, Threads

log = logging.getLogger(__name__)

MOST_LOSSES = 3
"""Lost workers after which a part, or the start of a worker, is given up."""
PATIENCE = 30.0
"""Seconds without any news after which a warning says that workers haven't started."""


class Engine(Protocol):
    """Starts workers."""

    @property
    def setup(self) -> Setup:
        """Of every worker."""

    @property
    def waiting(self) -> str:
        """Why workers may not have started."""

    def start(self, lanes: Sequence[int]) -> Sequence[Executor]:
        """A new executor for each of these lanes; its `shutdown` kills the worker, also at work.

        A future that raises means that the worker is lost. Raises VariorumError if the engine can't be used.
        """

    def stop(self) -> None:
        """Give back everything that was started."""


class OnWorkers:
    """A runner whose parts are made by workers of an engine. They start with the first part and stay until the end."""

    def __init__(self, engine: Engine, number: int) -> None:
        self.engine = engine
        self.number = number
        self._workers: dict[int, Executor] = {}
        self._free: set[int] = set()
        self._asked: dict[Future[bytes], tuple[int, int | None]] = {}
        """By future, the lane and the place of its part; None for the first call, which waits for the worker."""
        self._failed: Counter[int] = Counter()
        """By lane, the workers in a row that have ended before they could take a part."""
        self._warned = False

    def map(self, stage: Stage[P, R], parts: Sequence[P], progress: Progress) -> list[R]:
        """See `Runner.map`. A single part that needs no model is made here, where its tables are open already."""
        if len(parts) == 1 and not stage.uses_models:
            return Threads().map(stage, parts, progress)
        work = Work(stage, parts, progress)
        sent = pickle.dumps((uuid.uuid4().hex, stage))  # workers keep it until another comes
        try:
            if parts:
                self._start([lane for lane in range(min(self.number, len(parts))) if lane not in self._workers])
            while work.waiting or any(place is not None for _, place in self._asked.values()):
                while work.waiting and self._free:
                    place = work.waiting.popleft()
                    self._ask(self._free.pop(), place, sent, pickle.dumps(parts[place]))
                news = wait(self._asked, PATIENCE, FIRST_COMPLETED).done
                if not news:
                    self._warn()
                for future in news:
                    self._take(future, work)
        except BaseException:  # Ctrl-C
            self._end_all()
            raise
        return work.results()

    def _ask(self, lane: int, place: int | None, stage: bytes = b"", part: bytes = b"") -> None:
        """Have the worker of a lane make a part, or without one answer when it is set up."""
        try:
            future = self._workers[lane].submit(attempt, self.engine.setup, stage, part)
        except Exception as error:  # the engine says at once that the worker is lost
            future = Future()
            future.set_exception(error)
        self._asked[future] = lane, place

    def _take(self, future: Future[bytes], work: Work) -> None:
        """Take the answer of a worker, and replace the worker if it is lost."""
        lane, place = self._asked.pop(future)
        try:
            outcome: Outcome = loaded(future.result())
        except Exception as error:  # of the engine: `attempt` returns those of the part
            self._replace(lane, place, cut(str(error) or type(error).__name__), work)
            return
        if place is None and outcome.errors:
            self._end(lane)
            work.stop(unpacked(outcome.errors))
            return
        self._failed[lane] = 0
        self._free.add(lane)
        if place is not None:
            work.done(place, outcome)

    def _replace(self, lane: int, place: int | None, how: str, work: Work) -> None:
        """Put a new worker in place of a lost one."""
        self._end(lane)
        if place is not None:
            work.lost(place, how)
        else:
            self._failed[lane] += 1
        if work.stopped:
            return
        try:
            if self._failed[lane] >= MOST_LOSSES:
                raise TemporaryError(f"no worker can be started ({how}); run the same command again")
            self._start([lane])
        except VariorumError as error:
            work.stop(error)

    def _start(self, lanes: Sequence[int]) -> None:
        if lanes:
            self._workers.update(zip(lanes, self.engine.start(lanes), strict=True))
            for lane in lanes:
                self._ask(lane, None)

    def _warn(self) -> None:
        starting = sum(place is None for _, place in self._asked.values())
        if starting and not self._warned:
            self._warned = True
            log.warning("%d of %d workers haven't started: %s", starting, self.number, self.engine.waiting)

    def _end(self, lane: int) -> None:
        with suppress(Exception):  # it may have ended, and the others are to end whatever happens
            self._workers.pop(lane).shutdown(wait=False)

    def _end_all(self) -> None:
        for lane in list(self._workers):
            self._end(lane)
        self._free.clear()
        self._asked.clear()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end_all()
        self.engine.stop()


class Work:
    """The parts of one `map`: which of them wait, and what became of the others."""

    def __init__(self, stage: Stage[Any, Any], parts: Sequence[Any], progress: Progress) -> None:
        self.stage, self.parts, self.progress = stage, parts, progress
        self.waiting = deque(range(len(parts)))
        self._results: dict[int, Any] = {}
        self._errors: list[Exception] = []
        self._losses: Counter[int] = Counter()
        self._reached: dict[int, int] = {}
        """By place, how much of a part was kept when its worker was last lost."""
        self.stopped = False

    def done(self, place: int, outcome: Outcome) -> None:
        """Take a part's result or error, and log what its worker logged."""
        for name, level, text in outcome.lines:
            logger = logging.getLogger(name)
            if logger.isEnabledFor(level):
                logger.handle(logger.makeRecord(name, level, "", 0, text, (), None))
        self.progress.advance(outcome.steps)
        if outcome.errors:
            error = unpacked(outcome.errors)
            (self.stop if isinstance(error, STOPS) else self._fail)(error)
        else:
            self._results[place] = outcome.result

    def lost(self, place: int, how: str) -> None:
        """Let a part be made again whose worker was lost, but not forever, unless workers get on with it."""
        if isinstance(self.stage, Resumes):
            before = reached = self._reached.get(place, 0)
            with suppress(VariorumError):  # the next worker will say it, if the store can't be read
                reached = self.stage.reached(self.parts[place])
            if reached > before:
                self._losses[place] = 0
            self._reached[place] = reached
        self._losses[place] += 1
        lost = f"{self.stage.name} {self.parts[place]}: its worker was lost ({how})"
        if self._losses[place] == MOST_LOSSES:
            more = "if the machine is short of memory, use fewer --workers; then run the same command again"
            self.stop(TemporaryError(f"{lost}, for the {MOST_LOSSES}rd time; {more}"))
        elif not self.stopped:
            log.warning("%s; another makes it again", lost)
            self.waiting.appendleft(place)

    def stop(self, error: Exception) -> None:
        """Note an error after which no other part begins."""
        self._fail(error)
        self.stopped = True
        self.waiting.clear()

    def _fail(self, error: Exception) -> None:
        if self._errors:  # the first is raised in the end
            log.error("%s", error)
        self._errors.append(error)

    def results(self) -> list[Any]:
        """All results, in the order of the parts. Raises the first error."""
        if self._errors:
            raise self._errors[0]
        return [self._results[place] for place in range(len(self.parts))]
