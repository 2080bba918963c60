"""Ten thousand workers that die, straggle and lose contact, through the real planner, units, parts and receipts.

Only time is simulated: when a worker ends a part, it is made by `Build.write` in a store in memory, whose requests are
counted with the simulated time, and a unit is joined by `Join`. The whole run is killed once and begun again. In the
end the edition must be the one of an undisturbed run, and every unit's receipt of before the kill must be there to the
byte. The pictures are 8 × 8 pixels, because the subject is everything around them.

`--curves` makes ever larger runs of units in a hundred parts through real receipts, and runs in which receipts are
simulated too, and draws them.

Peer: static ranges, as in scripts under `torchrun` that give each process its share of the list, with the same workers,
durations and failures; finished units are kept there too, and only the dead worker starts again. Limit: the time of
the attempts that counted, divided by the workers. Efficiency: that time over all time of workers, also of those that
have lost contact.
"""

from __future__ import annotations

import argparse
import copy
import heapq
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from timing import Timing, measure, peak_mb

from variorum.arrays import Floats
from variorum.edition.records import parse, to_json
from variorum.edition.store import Store
from variorum.machine.progress import Progress
from variorum.schemas.canonical import digest, short_digest
from variorum.schemas.component import ClassInfo, Context, Source
from variorum.schemas.manifest import Manifest, Receipt, Shard, ShardInfo
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import Sample
from variorum.stages import plan as planner
from variorum.stages.build import AGAIN, Build, seal_edition
from variorum.stages.job import Job
from variorum.stages.join import drop
from variorum.stages.plan import Unit
from variorum.stages.stage import P, R, Stage, Threads, complete

PLANNED = (100_000, 1_000_000)
"""Units that are planned, and described by a manifest, in processes of their own."""
CLASSES = 1000
SHARES = (2, 10, 50)
"""Units for each worker, for the comparison of ways to share them."""
PAGE = 1000
"""Names that one request lists."""
MEASURED = ((1, 1), (1, 3), (1, 10), (3, 30))
"""Workers and units of a hundred parts, through real receipts, for the curves; each fails every ten hours."""
SHARED = (10, 30, 100, 300, 1000)
"""Workers that share 1,000 units of a hundred parts, for the curves."""
RATES = (1.0, 0.1)
"""Failures of a worker in an hour, for the curves."""
PICTURE_S = 2.0
"""Seconds that a picture takes, for the curves; a part has a hundred."""
SLOW = 2.0
"""A unit that takes this many times the usual duration is begun a second time, where there are backups."""
PICTURE = cv2.imencode(".png", np.full((8, 8, 3), 120, np.uint8))[1].tobytes()


class Dots(Source):
    """Small grey pictures that differ in their ids alone."""

    number: int
    of: int = 0
    """Number of classes."""

    def pin(self, ctx: Context) -> str:
        """Pin the pictures."""
        return digest(["dots", self.number])

    def size(self, ctx: Context) -> int:
        """Their number."""
        return self.number

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample]:
        """The pictures."""
        for place in range(start, stop):
            yield Sample(short_digest(["dot", place]), PICTURE, origin=f"dot {place}", photograph=f"{place}")

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """Their names."""
        return tuple(ClassInfo(f"n{place:08d}", f"class {place}") for place in range(self.of))


@dataclass(frozen=True)
class World:
    """The simulated world. Durations are in seconds.

    Attributes:
        workers: their number, each with one unit at a time.
        units: their number.
        parts: of a unit, which are made one after the other.
        unit_s: median duration of a unit.
        spread: standard deviation of the logarithm of units' durations.
        tail: exponent of the Pareto distribution of the factor by which a part is slow; at most 20.
        failures: how often a worker fails in an hour.
        strays: share of the failures in which a worker isn't dead: it has lost contact, and ends its unit.
        notice_s: until a failure is noticed, and the unit given to another worker.
        replace_s: until there is a new worker.
        dispatch_s: time of the one dispatcher for each unit.
        kill: the share of the ideal time after which the whole run is killed.
        seed: of all draws.
    """

    workers: int
    units: int
    parts: int = 1
    unit_s: float = 60.0
    spread: float = 0.2
    tail: float = 4.0
    failures: float = 1.0
    strays: float = 0.2
    notice_s: float = 30.0
    replace_s: float = 120.0
    dispatch_s: float = 0.001
    kill: float = 1.0
    seed: int = 0

    @cached_property
    def durations(self) -> Floats:
        """Of the units `[U]`, at the usual speed."""
        rng = np.random.default_rng([self.seed, 0])
        return self.unit_s * np.exp(rng.normal(0, self.spread, self.units))

    @property
    def ideal_s(self) -> float:
        """Duration of all units at the usual speed, divided by the workers."""
        return float(self.durations.sum()) / self.workers


class Killed(Exception):
    """The whole run has been killed."""


@dataclass
class Clock:
    """The simulated time, and the requests by kind and by second."""

    now: float = 0.0
    working: bool = False
    """Whether the workers are at work. Before and after, one process asks, and simulated time stands still."""
    by_kind: Counter[str] = field(default_factory=Counter)
    by_second: Counter[int] = field(default_factory=Counter)
    """Those of the workers alone."""

    def count(self, kind: str, number: int = 1) -> None:
        """Note requests at the present time."""
        self.by_kind[kind] += number
        if self.working:
            self.by_second[int(self.now)] += number

    def alone(self) -> int:
        """Requests of the one process."""
        return self.by_kind.total() - self.by_second.total()


class Objects:
    """A bucket in memory, as far as `Store` uses one. Each call counts as the request that it would be."""

    protocol = "s3"

    def __init__(self, clock: Clock) -> None:
        self.files: dict[str, bytes] = {}
        self._names: list[str] = []
        self._clock = clock

    def pipe_file(self, path: str, data: bytes, mode: str = "overwrite") -> None:
        """PUT, under the condition that there is no such file if `mode` is `create`."""
        self._clock.count("PUT")
        if path not in self.files:
            insort(self._names, path)
        elif mode == "create":
            raise FileExistsError(path)
        self.files[path] = bytes(data)

    def put_file(self, local: str, path: str, **_: Any) -> None:
        """PUT of a local file."""
        self.pipe_file(path, Path(local).read_bytes())

    def cat_file(self, path: str) -> bytes:
        """GET."""
        self._clock.count("GET")
        if path not in self.files:
            raise FileNotFoundError(path)
        return self.files[path]

    def get_file(self, path: str, local: str, **_: Any) -> None:
        """GET to a local file."""
        Path(local).write_bytes(self.cat_file(path))

    def exists(self, path: str) -> bool:
        """HEAD."""
        self._clock.count("HEAD")
        return path in self.files

    def find(self, folder: str) -> list[str]:
        """LIST of a small folder."""
        self._clock.count("LIST")
        return self._begin(f"{folder}/")

    def call_s3(self, method: str, Bucket: str, **asked: Any) -> dict[str, Any]:  # noqa: N803 - as AWS has it
        """HEAD of a file, LIST of names, a request for each thousand, or DELETE of up to a thousand files."""
        if method == "delete_objects":
            self._clock.count("DELETE")
            for one in asked["Delete"]["Objects"]:
                path = f"{Bucket}/{one['Key']}"
                if self.files.pop(path, None) is not None:
                    del self._names[bisect_left(self._names, path)]
            return {}
        if method == "head_object":
            self._clock.count("HEAD")
            if (path := f"{Bucket}/{asked['Key']}") not in self.files:
                raise FileNotFoundError(path)
            return {"ContentLength": len(self.files[path])}
        found = self._begin(f"{Bucket}/{asked['Prefix']}")
        self._clock.count("LIST", max(1, -(-len(found) // PAGE)))
        return {
            "Contents": [{"Key": path.partition("/")[2], "Size": len(self.files[path])} for path in found],
            "IsTruncated": False,
        }

    def _begin(self, begin: str) -> list[str]:
        start = bisect_left(self._names, begin)
        return self._names[start : bisect_left(self._names, f"{begin}\x7f", start)]


def bucket_in_memory(name: str, clock: Clock) -> Store:
    """A store in a bucket in memory."""
    store = Store(f"memory://{name}", trust=True)
    store.fs = Objects(clock)
    store.root = f"bucket/{name}"
    return store


@dataclass
class Count:
    """Use of the workers' time, in seconds, and numbers of events."""

    useful: float = 0.0
    repeated: float = 0.0
    lost: float = 0.0
    """In attempts that were cut off."""
    beyond: float = 0.0
    """Of workers that have lost contact, after that: they work beside those that took their places."""
    attempts: int = 0
    deaths: int = 0
    strays: int = 0
    twice: int = 0
    """Parts that ended after another worker had finished them."""
    found: int = 0
    """Attempts that ended at once, because the unit was finished."""
    seconds: float = 0.0
    """CPU time of making and joining, where they are real."""


@dataclass
class Attempt:
    """A worker at a unit, part by part.

    Attributes:
        worker: its number.
        unit: place of the unit.
        fails: when the worker fails.
        strays: whether it isn't dead then: it has lost contact.
        made: parts that are finished, as the worker knows.
        left: the parts that it makes.
        lost: whether it has failed.
    """

    worker: int
    unit: int
    fails: float
    strays: bool
    made: dict[Any, Any]
    left: Iterator[Any] = field(default_factory=lambda: iter(()))
    lost: bool = False


class Simulated:
    """Parts without a store, found and shared as `Build.left` does it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._finished: set[int] = set()
        self._parts: dict[int, dict[int, None]] = {}
        self._draw = random.Random(world.seed)

    def left(self, attempt: Attempt) -> Iterator[int]:
        """See `Build.left`."""
        while attempt.unit not in self._finished:
            attempt.made |= self._parts.get(attempt.unit, {})
            left = [part for part in range(self.world.parts) if part not in attempt.made]
            if not left:
                return
            yield from self._draw.sample(left, min(AGAIN, len(left)))

    def write(self, attempt: Attempt, part: int) -> bool:
        """Make a part; returns whether nobody had made it before."""
        attempt.made[part] = None
        there = self._parts.setdefault(attempt.unit, {})
        new = attempt.unit not in self._finished and part not in there
        there[part] = None
        return new

    def join(self, attempt: Attempt) -> None:
        """Finish a unit."""
        self._finished.add(attempt.unit)
        self._parts.pop(attempt.unit, None)


class Real:
    """Parts through the real code. Each worker has a machine, and so copies of files, of its own."""

    def __init__(self, stage: Build, units: Sequence[Unit], count: Count, before: Set[str]) -> None:
        self.stage, self.units, self.count = stage, units, count
        self.receipts: dict[int, Receipt] = {}
        self._before = before
        self._made: set[str] = set()
        self._stages: dict[int, Build] = {}
        assert stage.job.plan  # the workers share it

    def left(self, attempt: Attempt) -> Iterator[Unit]:
        """The parts of a unit, or the unit itself."""
        unit, stage = self.units[attempt.unit], self._on(attempt.worker)
        if parts := stage.job.plan.parts_of(unit):
            yield from stage.left(unit, parts, attempt.made)
        elif done := stage.job.store.receipt(unit.key):
            attempt.made[unit.key] = done
        else:
            yield unit

    def write(self, attempt: Attempt, part: Unit) -> bool:
        """Make a part; returns whether nobody had made it before."""
        stage, store = self._on(attempt.worker), self.stage.job.store
        there = store.fs.files
        joined = f"{store.root}/units/{self.units[attempt.unit].key}.json" in there
        new = not joined and f"{store.root}/units/{part.key}.json" not in there
        assert not (new and part.key in self._made), "a finished part was lost"
        assert part.key not in self._before, "a part that was finished before the kill is made again"
        took = measure(lambda: attempt.made.update({part.key: stage.write(part, lambda _: None, near=True)}))
        self.count.seconds += took.cpu
        self._made.add(part.key)
        return new

    def join(self, attempt: Attempt) -> None:
        """Join a unit, unless it has no parts."""
        unit, stage = self.units[attempt.unit], self._on(attempt.worker)
        made = attempt.made
        if parts := stage.job.plan.parts_of(unit):
            took = measure(lambda: made.update({unit.key: stage.joined(unit, parts, made)}))
            self.count.seconds += took.cpu
        self.receipts[attempt.unit] = made[unit.key]

    def _on(self, worker: int) -> Build:
        """The stage on a worker's machine."""
        if worker not in self._stages:
            job = Job.__new__(Job)
            job.__dict__ |= {**self.stage.job.__dict__, "store": copy.copy(self.stage.job.store)}
            job.store.scratch = job.store.scratch.parent / f"{worker}" / "tmp"
            self._stages[worker] = Build(job)
        return self._stages[worker]


class Cluster:
    """Workers on simulated time. It is a `Runner`: parts go to the next free worker.

    Args:
        world: what is simulated.
        clock: moves on with the events.
        static: give each worker a range of its own instead.
        backups: begin slow units a second time when nothing else is left.
    """

    def __init__(self, world: World, clock: Clock, *, static: bool = False, backups: bool = False) -> None:
        self.world, self.clock, self.static, self.backups = world, clock, static, backups
        self.count = Count()
        self.kill_at = float("inf")
        self.before = frozenset[str]()
        """Keys of what was finished before the kill."""
        self._rng = np.random.default_rng([world.seed, 1])
        self._drawn: list[float] = []
        self._events: list[tuple[float, int, str, Attempt | None, Any, float]] = []
        self._order = itertools.count()

    def map(self, stage: Stage[P, R], parts: Sequence[P], progress: Progress) -> list[R]:
        """See `Runner.map`. Raises Killed at the time of the kill."""
        assert isinstance(stage, Build)
        places = {part.key: place for place, part in enumerate(stage.parts())}
        real = Real(stage, stage.parts(), self.count, self.before)
        self.work([places[part.key] for part in parts], real)
        return [real.receipts[places[part.key]] for part in parts]

    def work(self, units: Sequence[int], making: Real | Simulated | None = None) -> None:
        """Work until all units are finished.

        Args:
            units: places in the world's list.
            making: makes the parts; by default they are simulated too.
        """
        self._making = making or Simulated(self.world)
        self._events = []
        self._done: set[int] = set()
        self._running: dict[int, int] = {}
        self._began: deque[tuple[float, int]] = deque()
        self._free = self.clock.now
        self._durations = self.world.durations / self.world.parts
        ranges = np.array_split(np.array(units), self.world.workers if self.static else 1)
        self._queues = [deque(part.tolist()) for part in ranges]
        self._idle = list(range(self.world.workers))
        self.clock.working = True
        try:
            self._give()
            if self.backups:
                self._push(self.clock.now + self.world.unit_s, "tick")
            while len(self._done) < len(units):
                self._next()
        finally:
            self.clock.working = False

    def rest(self) -> None:
        """Let those workers end that have lost contact, after the run."""
        while self._events:
            what, attempt = self._events[0][2:4]
            if what == "part" and attempt and attempt.lost:
                self._next()
            else:
                heapq.heappop(self._events)

    def _push(self, at: float, what: str, attempt: Attempt | None = None, part: Any = None, took: float = 0.0) -> None:
        heapq.heappush(self._events, (at, next(self._order), what, attempt, part, took))

    def _next(self) -> None:
        at, _, what, attempt, part, took = heapq.heappop(self._events)
        if at > self.kill_at:
            self.clock.now, self.kill_at = self.kill_at, float("inf")
            raise Killed
        self.clock.now = at
        if attempt is None:
            self._push(at + self.world.unit_s / 4, "tick")
        elif what == "part":
            self._ended(attempt, part, took)
        elif what == "lost":
            self._running[attempt.unit] -= 1
            if attempt.unit not in self._done and not self._running[attempt.unit]:
                self._queues[attempt.worker if self.static else 0].appendleft(attempt.unit)
        else:
            self._idle.append(attempt.worker)
        self._give()

    def _ended(self, attempt: Attempt, part: Any, took: float) -> None:
        """A worker ends a part, or none if its unit is finished, and goes on with the next."""
        if part is None:
            self.count.found += 1
        elif self._making.write(attempt, part):
            self.count.useful += took
        else:
            self.count.twice += 1
            self.count.repeated += took
        following = next(attempt.left, None)
        if following is not None:
            self._begin(attempt, self.clock.now, following)
            return
        self._making.join(attempt)
        self._done.add(attempt.unit)
        if not attempt.lost:
            self._idle.append(attempt.worker)

    def _give(self) -> None:
        """Give units to idle workers, as far as there are any. A static worker without any is finished."""
        while self._idle:
            worker = self._idle.pop()
            unit = self._unit_for(worker)
            if unit is not None:
                self._start(worker, unit)
            elif not self.static:
                self._idle.append(worker)
                return

    def _unit_for(self, worker: int) -> int | None:
        queue = self._queues[worker if self.static else 0]
        while queue:
            unit = queue.popleft()
            if unit not in self._done:
                return int(unit)
        slow = self.clock.now - SLOW * self.world.unit_s
        while self.backups and self._began and self._began[0][0] < slow:
            unit = self._began.popleft()[1]
            if unit not in self._done and self._running[unit] == 1:
                return unit
        return None

    def _start(self, worker: int, unit: int) -> None:
        world, rng = self.world, self._rng
        begin = self.clock.now if self.static else max(self.clock.now, self._free)
        self._free = begin + world.dispatch_s
        self.count.attempts += 1
        self._running[unit] = self._running.get(unit, 0) + 1
        self._began.append((begin, unit))
        fails, strays = begin + rng.exponential(3600 / world.failures), rng.random() < world.strays
        attempt = Attempt(worker, unit, fails, strays, {})
        attempt.left = self._making.left(attempt)
        now, self.clock.now = self.clock.now, begin
        part = next(attempt.left, None)
        self.clock.now = now
        if part is None:
            self._push(begin + world.dispatch_s, "part", attempt)
        else:
            self._begin(attempt, begin, part)

    def _begin(self, attempt: Attempt, begin: float, part: Any) -> None:
        """A worker begins a part, and ends it unless it dies before."""
        world = self.world
        took = float(self._durations[attempt.unit] * min(20.0, 1 + self._slower()))
        if not attempt.lost and attempt.fails <= begin + took:
            self._push(attempt.fails + world.notice_s, "lost", attempt)
            self._push(attempt.fails + world.notice_s + world.replace_s, "join", attempt)
            if not attempt.strays:
                self.count.deaths += 1
                self.count.lost += attempt.fails - begin
                return
            self.count.strays += 1
            attempt.lost = True
            self.count.beyond += begin + took - attempt.fails
        elif attempt.lost:
            self.count.beyond += took
        self._push(begin + took, "part", attempt, part, took)

    def _slower(self) -> float:
        if not self._drawn:
            self._drawn = self._rng.pareto(self.world.tail, 10_000).tolist()
        return self._drawn.pop()


def job_of(units: int, store: Store | str, classes: int = 0, parts: int = 1, pictures: int = 1) -> Job:
    """A recipe of small pictures: so many in each of the parts of a unit."""
    source = Dots(number=units * parts * pictures, of=classes)
    more = {"samples_per_part": pictures} if parts > 1 else {}
    fields = {"dataset": "dots", "version": "1.0.0", "samples_per_shard": parts * pictures, "masters": "original"}
    return Job(Recipe(source=source, **fields, **more), store)


def real(world: World) -> dict[str, Any]:
    """Kill a run on the cluster, begin it again, seal it; compare with a run that nothing disturbs.

    That one makes each unit in one go, which is quicker than in parts, and gives the same shards.
    """
    planner.MOST = 0  # units are handed out whole, as those of a large edition
    plain = job_of(world.units, bucket_in_memory("undisturbed", Clock()), pictures=world.parts)
    whole = seal_edition(plain, complete(Build(plain), Threads(1)))
    shutil.rmtree(plain.store.scratch.parent)
    plain.store.fs.files.clear()

    clock = Clock()
    cluster = Cluster(world, clock)
    cluster.kill_at = world.kill * world.ideal_s
    store = bucket_in_memory("cluster", clock)
    try:
        complete(Build(job_of(world.units, store, parts=world.parts)), cluster)
    except Killed:
        pass
    else:
        raise AssertionError("the run ended before it was killed")
    killed_at, before = clock.now, receipts(store)
    attempts, looked = cluster.count.attempts, clock.alone()
    clock.now += world.replace_s
    cluster.before = frozenset(Path(name).stem for name in before)
    job = job_of(world.units, store, parts=world.parts)
    units = {f"{store.root}/units/{unit.key}.json" for unit in job.plan.units}
    made = complete(Build(job), cluster)
    ended, planned = clock.now, clock.alone()
    drop(job.plan.units, store)
    manifest = seal_edition(job, made)
    sealed = clock.alone() - planned
    cluster.rest()
    drop(job.plan.units, store)

    after = receipts(store)
    assert (manifest.shards, manifest.counts) == (whole.shards, whole.counts), "other pictures than without failures"
    assert world.parts > 1 or manifest.digest() == whole.digest(), "another edition than without failures"
    assert all(after[name] == data for name, data in before.items() if name in units), "a finished unit was lost"
    assert after.keys() == units, "receipts of parts are left"
    assert store.whole(file for receipt in made for file in receipt.files())
    working, parts = ended - world.replace_s, world.units * world.parts
    return {
        "digest": manifest.digest(),
        "same_as_undisturbed": True,
        "killed_at_s": round(killed_at),
        "finished_before_the_kill": {"units": len(before.keys() & units), "parts": len(before.keys() - units)},
        "of_these_made_again": 0,
        "attempts_before_and_after": [attempts, cluster.count.attempts - attempts],
        **cost(world, cluster.count, working),
        "requests": dict(sorted(clock.by_kind.items())),
        "workers_requests_a_part": round(clock.by_second.total() / parts, 2),
        "requests_a_part": round(clock.by_kind.total() / parts, 2),
        "requests_of_one_process": {"looking": looked, "looking again": planned - looked, "sealing": sealed},
        "workers_requests_a_second": {
            "mean": round(clock.by_second.total() / working, 1),
            "peak": max(clock.by_second.values()),
        },
        "cpu_ms_a_part": round(1000 * cluster.count.seconds / parts, 2),
        "manifest_bytes": len(to_json(manifest)),
        "receipt_bytes": sum(map(len, after.values())),
    }


def receipts(store: Store) -> dict[str, bytes]:
    """The content of all receipts by name, uncounted."""
    return {path: data for path, data in store.fs.files.items() if path.startswith(f"{store.root}/units/")}


def cost(world: World, count: Count, makespan: float) -> dict[str, Any]:
    """Measure how well the workers' time was used."""
    return {
        "makespan_s": round(makespan),
        "limit_s": round(count.useful / world.workers),
        "efficiency": round(count.useful / (world.workers * makespan + count.beyond), 3),
        "repeated_work": round(count.repeated / count.useful, 4),
        "lost_work": round(count.lost / count.useful, 4),
        "failures": {"died": count.deaths, "lost contact": count.strays},
        "finished_twice": count.twice,
        "skipped_as_finished": count.found,
    }


def policies(world: World) -> dict[str, Any]:
    """The same world without a kill and without a store, for other ways to share the units."""
    found = {}
    ways: dict[str, Mapping[str, bool]] = {
        "queue": {},
        "queue, slow units begun twice": {"backups": True},
        "static ranges (peer)": {"static": True},
    }
    for name, how in ways.items():
        cluster = Cluster(world, Clock(), **how)
        cluster.work(range(world.units))
        found[name] = cost(world, cluster.count, cluster.clock.now)
    return found


def shared(world: World, number: int) -> World:
    """An hour of work for each worker, in this number of units."""
    return replace(world, units=world.workers * number, unit_s=3600 / number)


def large(workers: int, units: int, failures: float = 1.0) -> World:
    """Units of ten thousand pictures, in a hundred parts."""
    return World(workers, units, parts=100, unit_s=10_000 * PICTURE_S, failures=failures)


def sharing(world: World) -> dict[str, Any]:
    """Use of the workers in a world whose receipts are simulated too."""
    cluster = Cluster(world, Clock())
    took = measure(lambda: cluster.work(range(world.units)))
    found = cost(world, cluster.count, cluster.clock.now)
    return {"workers": world.workers, "parts": world.units * world.parts, **found, "cpu_s": round(took.cpu)}


def curves(picture: str) -> dict[str, Any]:
    """Ever larger runs through real receipts, and runs in which receipts are simulated too; draw them."""
    measured = [
        {"parts": 100 * units, "workers": workers, **real(large(workers, units, RATES[1]))}
        for workers, units in MEASURED
    ]
    shared = {f"a failure in {1 / rate:g} h": [sharing(large(one, 1000, rate)) for one in SHARED] for rate in RATES}
    found = {"measured": measured, "shared": shared}
    draw(found, picture)
    return found


def draw(found: Mapping[str, Any], picture: str) -> None:
    """Draw what `curves` found."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8, 3.2), dpi=100, layout="constrained")
    parts = [one["parts"] for one in found["measured"]]
    left.plot(parts, [one["workers_requests_a_part"] for one in found["measured"]], "o-", label="requests of workers")
    left.plot(parts, [one["requests_a_part"] for one in found["measured"]], "s--", label="all requests")
    left.plot(parts, [one["cpu_ms_a_part"] for one in found["measured"]], "^:", label="CPU time, ms")
    left.set(xscale="log", ylim=(0, None), xlabel="parts, through real receipts", title="for each part")
    left.legend(frameon=False)
    for name, shared in found["shared"].items():
        share = [one["parts"] / 100 / one["workers"] for one in shared]
        right.plot(share, [one["efficiency"] for one in shared], "o-", label=name)
    right.set(xscale="log", ylim=(0, 1), xlabel="units of 100 parts for each worker", title="efficiency (simulated)")
    right.legend(frameon=False, loc="lower right")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture)


def planning(units: int) -> dict[str, Any]:
    """Plan this number of units of an edition of a thousand classes, each in a hundred parts, in this process."""
    job, before = job_of(units, "memory://plan", CLASSES, parts=100, pictures=100), peak_mb()
    took = measure(lambda: job.plan)
    return {"cpu_s": round(took.cpu, 2), "peak_gib": round((peak_mb() - before) / 1024, 2)}


def describing(units: int) -> dict[str, Any]:
    """Write and read the manifest of this number of units with one shard each, in this process."""
    keys = [digest(place) for place in range(units)]
    before = peak_mb()
    info = ShardInfo(sha256=digest("table"), size=10_000, samples=100)
    manifest = Manifest(
        dataset="dots",
        version="1.0.0",
        fingerprint=digest("all"),
        recipe={},
        profile="embedded",
        classes=[],
        members=["json", "png"],
        models={},
        filters=[],
        units=keys,
        shards={"test": [Shard(sha256=key, size=10_000_000, samples=100, unit=k) for k, key in enumerate(keys)]},
        rows=[info] * units,
        counts={"original": {"accepted": 100 * units}},
        sources=100 * units,
        sources_edited=0,
        licences={},
    )
    written: list[bytes] = []
    writing = measure(lambda: written.append(to_json(manifest)))
    reading = measure(lambda: parse(written[0], Manifest))
    return {
        "bytes": len(written[0]),
        "write_cpu_s": round(writing.cpu, 2),
        "read_cpu_s": round(reading.cpu, 2),
        "peak_gib": round((peak_mb() - before) / 1024, 2),
    }


def apart(what: str, units: int) -> dict[str, Any]:
    """`planning` or `describing` in a process of its own."""
    command = [sys.executable, __file__, "--only", what, "--units", str(units)]
    return dict(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=10_000)
    parser.add_argument("--per-worker", type=int, default=2, help="units through real receipts, for each worker")
    parser.add_argument("--units", type=int, help="of --only")
    parser.add_argument("--curves", metavar="PICTURE", help="only make and draw the curves")
    parser.add_argument("--only", choices=["planning", "describing"])
    options = parser.parse_args()
    if options.only:
        print(json.dumps({"planning": planning, "describing": describing}[options.only](options.units)))
        return
    world = World(options.workers, options.workers * options.per_worker)
    took: dict[str, Any] = {}
    work = (lambda: curves(options.curves)) if options.curves else (lambda: real(world))
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as cache:
        os.environ["VARIORUM_CACHE"] = cache  # files of a remote store are written there first
        cpu: Timing = measure(lambda: took.update(work()))
    if options.curves:
        print(json.dumps(took, indent=1))
        return
    report = {
        "world": {name: getattr(world, name) for name in World.__dataclass_fields__},
        "limit": "time of the attempts that counted, divided by the workers",
        "peer": "static ranges; finished units are kept, and only the dead worker starts again",
        "through_real_receipts": {**took, "cpu_s": round(cpu.cpu), "peak_gib": round(peak_mb() / 1024, 2)},
        "ways_to_share_an_hour_of_work_for_each_worker": {
            f"{number} units a worker": policies(shared(world, number)) for number in SHARES
        },
        "the_same_without_failures": {
            f"{number} units a worker": policies(replace(shared(world, number), failures=1e-9)) for number in SHARES[:2]
        },
        "planning": {str(units): apart("planning", units) for units in PLANNED},
        "manifest": {str(units): apart("describing", units) for units in PLANNED},
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
