"""The loop of the pipeline: a stage is work in parts, and each part is either in the store or made now.

Building, measuring, scoring and releasing are stages. `complete` looks once at what the store has, and a runner makes
the rest: `Threads` here, Prefect in `flows/`, a cluster in a class of your own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar, runtime_checkable

from variorum.machine.progress import QUIET, Advance, Progress
from variorum.schemas.errors import StoreError, TemporaryError
from variorum.schemas.manifest import Receipt, Tables
from variorum.stages.job import Job

log = logging.getLogger(__name__)

STOPS = (StoreError, TemporaryError)
"""Errors after which further parts would fail alike."""


class Part(Protocol):
    """A piece of a stage's work; `str(part)` names it for people."""

    @property
    def key(self) -> str:
        """Digest of everything that decides the result."""

    @property
    def samples(self) -> int:
        """Its size in the progress report."""


P = TypeVar("P", bound=Part)
R = TypeVar("R", bound=Receipt | Tables)
R_co = TypeVar("R_co", bound=Receipt | Tables, covariant=True)


class Stage(Protocol[P, R_co]):
    """Work in parts. It pickles as plain values with its job, so `make` can be called in any process."""

    name: str
    """One word for a part: `unit`."""
    doing: str
    """Text of the progress report: `making pictures`."""
    uses_models: bool
    """Whether `make` may want a GPU."""
    job: Job

    def parts(self) -> Sequence[P]:
        """All of the work, in order."""

    def kept(self, parts: Sequence[P]) -> Sequence[R_co | None]:
        """The store's record of each part, or None, with few requests. Doesn't check that the files exist."""

    def check(self) -> None:
        """Raise ModelUnavailable when a model is missing; called only if there is something to make."""

    def make(self, part: P, advance: Advance) -> R_co:
        """Do the work, store the result and return it; if another process was first, return its result."""


@runtime_checkable
class Resumes(Protocol):
    """A stage that keeps what is finished of a part, so that a lost worker's part is made from there on."""

    def reached(self, part: Any) -> int:
        """How much of a part is kept."""


class Runner(Protocol):
    """Decides where parts are made, and how many at a time."""

    def map(self, stage: Stage[P, R], parts: Sequence[P], progress: Progress) -> list[R]:
        """Make the parts; results in their order.

        A part that fails doesn't stop the others. The first error is raised after all parts have been tried.
        """


def complete(stage: Stage[P, R], runner: Runner, progress: Progress = QUIET) -> list[R]:
    """The results of all parts, in order: those in the store, and the others made by the runner.

    A part whose files are damaged is made again.
    """
    parts, store = stage.parts(), stage.job.store
    looked = zip(parts, stage.kept(parts), strict=True)
    kept_parts = {part.key: result for part, result in looked if result is not None}
    sound = store.sound((file for result in kept_parts.values() for file in result.files()), progress)
    found = {
        key: result
        for key, result in kept_parts.items()
        if all(info.sha256 + suffix in sound for info, suffix in result.files())
    }
    todo = [part for part in parts if part.key not in found]
    kept = sum(part.samples for part in parts if part.key in found)
    progress.start(stage.doing, sum(part.samples for part in parts), kept)
    if todo:
        stage.check()
        found |= {part.key: result for part, result in zip(todo, runner.map(stage, todo, progress), strict=True)}
    return [found[part.key] for part in parts]


def check_next(stage: Stage[Any, Any]) -> None:
    """Check a stage before a runner starts, if its last part is to be made."""
    parts = stage.parts()
    if parts and stage.kept(parts[-1:]) == [None]:
        stage.check()


@dataclass(frozen=True, slots=True)
class Threads:
    """Makes parts in this process: one after the other, or several at a time on threads.

    Attributes:
        workers: number of parts at a time.
        stops: errors after which parts that haven't begun are skipped.
    """

    workers: int = 1
    stops: tuple[type[Exception], ...] = STOPS

    def map(self, stage: Stage[P, R], parts: Sequence[P], progress: Progress) -> list[R]:
        """See `Runner.map`. When the store or the machine fails (a full disk), parts that haven't begun are skipped."""
        results: dict[int, R] = {}
        errors: list[Exception] = []
        with closing(self._attempts(stage, parts, progress)) as attempts:
            for place, attempt in attempts:
                try:
                    results[place] = attempt()
                except Exception as error:
                    if errors:  # the first is raised
                        log.error("%s", error)
                    errors.append(error)
                    if isinstance(error, self.stops):
                        break
        if errors:
            raise errors[0]
        return [results[place] for place in range(len(parts))]

    def _attempts(
        self, stage: Stage[P, R], parts: Sequence[P], progress: Progress
    ) -> Generator[tuple[int, Callable[[], R]], None, None]:
        """The place of each part with a function that gives its result, in the order in which they are finished."""
        if self.workers == 1:  # no thread: it would need memory that there may not be
            for place, part in enumerate(parts):
                yield place, partial(stage.make, part, progress.advance)
            return
        with ThreadPoolExecutor(self.workers) as pool:
            places = {pool.submit(stage.make, part, progress.advance): place for place, part in enumerate(parts)}
            try:
                for future in as_completed(places):
                    yield places[future], future.result
            finally:
                pool.shutdown(cancel_futures=True)
