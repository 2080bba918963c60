"""The loop of all engines: each worker has a lane, a thread that gives it one part after another.

A lost worker, one that was killed or whose machine went away, costs only the part that it was making: a new worker
makes that part again, and the others go on. Finished work is in the store, so nothing else is repeated.
"""

from __future__ import annotations

import logging
import pickle
import threading
import uuid
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol

from variorum.machine.progress import Progress
from variorum.runners.worker import Message, Outcome, Sent, loaded, unpacked
from variorum.schemas.errors import TemporaryError
from variorum.stages.stage import STOPS, P, R, Runner, Stage, Threads

log = logging.getLogger(__name__)

Heard = Callable[[Message], None]
"""Called with each message of a worker about the part that it makes."""
MOST_LOSSES = 3
"""Lost workers after which a part, or the start of a worker, is given up."""
READY = 0.2
"""Seconds that a lane waits at a time for its worker to start."""


class WorkerLost(Exception):
    """A worker has ended before its part was made. The text says how, as far as known."""


class Worker(Protocol):
    """One worker, used by one thread at a time."""

    def ready(self, seconds: float) -> bool:
        """Return whether it can take a part; waits up to `seconds` for that. Raises WorkerLost if it has ended."""

    def make(self, sent: Sent, part: bytes, heard: Heard) -> bytes:
        """Have a part made: what `worker.attempt` returns. Raises WorkerLost if the worker ends before."""

    def end(self) -> None:
        """Kill it, also while another thread waits for it."""


class Engine(Protocol):
    """Starts workers."""

    def start(self, lanes: Sequence[int]) -> Sequence[Worker]:
        """A new worker for each of these lanes. Raises VariorumError if the engine can't be used."""

    def stop(self) -> None:
        """Give back everything that was started."""


class Queue:
    """The parts of one `map` that wait for a worker, and what became of the others.

    Args:
        name: of a part.
        parts: all of them.
    """

    def __init__(self, name: str, parts: Sequence[Any]) -> None:
        self.name = name
        self.parts = parts
        self.results: dict[int, Any] = {}
        self.errors: list[Exception] = []
        self._waiting = deque(range(len(parts)))
        self._losses: Counter[int] = Counter()
        self._taken, self._stopped = 0, False
        self._changed = threading.Condition()

    def take(self) -> int | None:
        """The place of the next part, or None at the end. Waits while other parts are made, as one may come back."""
        with self._changed:
            while not (self._waiting or self.finished()):
                self._changed.wait()
            if self.finished():
                return None
            self._taken += 1
            return self._waiting.popleft()

    def finished(self) -> bool:
        """Return whether no further part will be given out."""
        return self._stopped or not (self._waiting or self._taken)

    def done(self, place: int, outcome: Outcome) -> None:
        """Take a part's result or error. After an error of `STOPS` no other part begins."""
        with self._changed:
            self._taken -= 1
            if outcome.errors:
                self._fail(unpacked(outcome.errors))
            else:
                self.results[place] = outcome.result
            self._changed.notify_all()

    def again(self, place: int, how: object) -> bool:
        """Queue a part again whose worker was lost. Returns whether the lane goes on, with a new worker."""
        with self._changed:
            self._taken -= 1
            if self._stopped:
                return False
            self._losses[place] += 1
            lost = f"{self.name} {self.parts[place]}: its worker {how}"
            if self._losses[place] == MOST_LOSSES:
                self._fail(
                    TemporaryError(
                        f"{lost}, for the {MOST_LOSSES}rd time; if the machine is short of memory, use fewer "
                        f"--workers; then run the same command again"
                    )
                )
            else:
                log.warning("%s; another makes it again", lost)
                self._waiting.appendleft(place)
            self._changed.notify_all()
            return not self._stopped

    def broken(self, error: Exception) -> None:
        """Stop because a lane can't go on; the other lanes finish their parts."""
        with self._changed:
            if not self._stopped:
                self._fail(error)
            self.stop()

    def stop(self) -> None:
        """Give out no further part."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _fail(self, error: Exception) -> None:
        if self.errors:  # the first is raised
            log.error("%s", error)
        self.errors.append(error)
        self._stopped = self._stopped or isinstance(error, STOPS)


class Counted:
    """The messages of one part: logs each line once, counts the progress, and takes it back if the worker is lost."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._heard: set[int] = set()
        self._steps = 0
        self._lock = threading.Lock()  # an engine may pass messages on from a thread of its own

    def hear(self, message: Message) -> None:
        """Pass a message on unless it was heard before."""
        number, kind, content = message
        with self._lock:
            if number in self._heard:
                return
            self._heard.add(number)
            if kind == "steps":
                self._steps += content
                self.progress.advance(content)
                return
        name, level, text = content
        logger = logging.getLogger(name)
        if logger.isEnabledFor(level):
            logger.handle(logger.makeRecord(name, level, "", 0, text, (), None))

    def finish(self, outcome: Outcome) -> Outcome:
        """Pass on the messages of an outcome, and correct the progress: an engine may have made the part twice."""
        for message in outcome.messages:
            self.hear(message)
        self._come_to(sum(content for _, kind, content in outcome.messages if kind == "steps"))
        return outcome

    def undo(self) -> None:
        """Take the progress back."""
        self._come_to(0)

    def _come_to(self, steps: int) -> None:
        with self._lock:
            if steps != self._steps:
                self.progress.advance(steps - self._steps)
                self._steps = steps


class OnWorkers:
    """A runner whose parts are made by workers of an engine. They start with the first part and stay until the end.

    Args:
        engine: starts them.
        number: of workers at most.
    """

    def __init__(self, engine: Engine, number: int) -> None:
        self.engine = engine
        self.number = number
        self._workers: dict[int, Worker] = {}
        self._lock = threading.Lock()

    def map(self, stage: Stage[P, R], parts: Sequence[P], progress: Progress) -> list[R]:
        """See `Runner.map`. A single part that needs no model is made here, where its tables are open already."""
        if len(parts) == 1 and not stage.uses_models:
            return Threads().map(stage, parts, progress)
        if not parts:
            return []
        lanes = range(min(self.number, len(parts)))
        sent, queue = Sent(uuid.uuid4().hex, pickle.dumps(stage)), Queue(stage.name, parts)
        self._fill([lane for lane in lanes if lane not in self._workers])
        threads = [
            threading.Thread(target=self._lane, args=(lane, sent, queue, progress), daemon=True) for lane in lanes
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException:  # Ctrl-C
            queue.stop()
            self._end_workers()
            raise
        if queue.errors:
            raise queue.errors[0]
        return [queue.results[place] for place in range(len(parts))]

    def _lane(self, lane: int, sent: Sent, queue: Queue, progress: Progress) -> None:
        """Give the worker of a lane parts until there are no more."""
        try:
            while self._wait_for(lane, queue) and (place := queue.take()) is not None:
                counted = Counted(progress)
                try:
                    outcome = loaded(self._workers[lane].make(sent, pickle.dumps(queue.parts[place]), counted.hear))
                except WorkerLost as error:
                    counted.undo()
                    if not queue.again(place, error):
                        return
                    self._replace(lane)
                    continue
                queue.done(place, counted.finish(outcome))
        except Exception as error:
            queue.broken(error)

    def _wait_for(self, lane: int, queue: Queue) -> bool:
        """Wait until the lane's worker can take a part; False if there is nothing left for it."""
        losses = 0
        while not queue.finished():
            try:
                if self._workers[lane].ready(READY):
                    return True
            except WorkerLost as error:
                losses += 1
                if queue.finished():
                    return False
                if losses == MOST_LOSSES:
                    raise TemporaryError(f"no worker can be started: it {error}; run the same command again") from None
                self._replace(lane)
        return False

    def _replace(self, lane: int) -> None:
        self._workers[lane].end()
        self._fill([lane])

    def _fill(self, lanes: Sequence[int]) -> None:
        with self._lock:
            if lanes:
                self._workers.update(zip(lanes, self.engine.start(lanes), strict=True))

    def _end_workers(self) -> None:
        with self._lock:
            for worker in self._workers.values():
                with suppress(Exception):  # each of them, whatever happens
                    worker.end()
            self._workers.clear()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end_workers()
        self.engine.stop()
