"""Ten thousand workers that die, straggle and lose contact, through the real planner, units and receipts.

Only time is simulated: when a worker ends a unit, the unit is made by `Build.make` in a store in memory, whose requests
are counted with the simulated time. The whole run is killed once and begun again. In the end the edition must have the
digest of an undisturbed run, and every receipt of before the kill must be there to the byte. The pictures are 8 × 8
pixels, because the subject is everything around them.

Peer: static ranges, as in scripts under `torchrun` that give each process its share of the list, with the same workers,
durations and failures; finished units are kept there too, and only the dead worker starts again. Limit: the time of
the attempts that counted, divided by the workers.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from variorum.stages.build import Build, seal_edition
from variorum.stages.job import Job
from variorum.stages.stage import P, R, Stage, Threads, complete

PLANNED = (100_000, 1_000_000)
"""Units that are planned, and described by a manifest, in processes of their own."""
CLASSES = 1000
SHARES = (2, 10, 50)
"""Units for each worker, for the comparison of ways to share them."""
PAGE = 1000
"""Names that one request lists."""
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
        unit_s: median duration of a unit.
        spread: standard deviation of the logarithm of units' durations.
        tail: exponent of the Pareto distribution of the factor by which an attempt is slow; at most 20.
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
    """An object store in memory, as far as `Store` uses one. Each call counts as the request that it would be."""

    protocol = "objects"

    def __init__(self, clock: Clock) -> None:
        self.files: dict[str, bytes] = {}
        self._clock = clock

    def pipe_file(self, path: str, data: bytes, mode: str = "overwrite") -> None:
        """PUT, under the condition that there is no such file if `mode` is `create`."""
        self._clock.count("PUT")
        if mode == "create" and path in self.files:
            raise FileExistsError(path)
        self.files[path] = bytes(data)

    def put_file(self, local: str, path: str) -> None:
        """PUT of a local file."""
        self.pipe_file(path, Path(local).read_bytes())

    def cat_file(self, path: str) -> bytes:
        """GET."""
        self._clock.count("GET")
        if path not in self.files:
            raise FileNotFoundError(path)
        return self.files[path]

    def get_file(self, path: str, local: str) -> None:
        """GET to a local file."""
        Path(local).write_bytes(self.cat_file(path))

    def exists(self, path: str) -> bool:
        """HEAD."""
        self._clock.count("HEAD")
        return path in self.files

    def size(self, path: str) -> int:
        """HEAD."""
        if not self.exists(path):
            raise FileNotFoundError(path)
        return len(self.files[path])

    def cp_file(self, path: str, target: str) -> None:
        """COPY."""
        self._clock.count("COPY")
        self.files[target] = self.files[path]

    def find(self, folder: str, detail: bool = False) -> Any:
        """LIST, a request for each thousand names."""
        found = {path: {"size": len(data)} for path, data in self.files.items() if path.startswith(f"{folder}/")}
        self._clock.count("LIST", max(1, -(-len(found) // PAGE)))
        return found if detail else list(found)

    def makedirs(self, folder: str, exist_ok: bool = False) -> None:
        """Nothing: there are no folders."""


class Seen(Store):
    """A store in which a worker that ends a unit sees the receipt as it was when the worker began.

    A worker looks for it first. The simulation makes a unit when the worker ends, so it hides what has come since.
    """

    def __init__(self, name: str, clock: Clock) -> None:
        super().__init__(f"memory://{name}", trust=True)
        self.fs = Objects(clock)
        self.hidden: set[str] = set()

    def receipt(self, unit: str) -> Receipt | None:
        """As it was when the worker began."""
        if unit in self.hidden:
            self.hidden.discard(unit)
            return None
        return super().receipt(unit)


@dataclass
class Count:
    """Use of the workers' time, in seconds, and numbers of events."""

    useful: float = 0.0
    repeated: float = 0.0
    lost: float = 0.0
    """In attempts that were cut off."""
    attempts: int = 0
    deaths: int = 0
    strays: int = 0
    twice: int = 0
    """Attempts that ended after another one had finished the unit."""
    found: int = 0
    """Attempts that ended at once, because the unit was finished."""


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
        self._rng = np.random.default_rng([world.seed, 1])
        self._events: list[tuple[float, int, str, int, int, float]] = []
        self._order = itertools.count()

    def map(self, stage: Stage[P, R], parts: Sequence[P], progress: Progress) -> list[R]:
        """See `Runner.map`. Raises Killed at the time of the kill."""
        store, receipts = stage.job.store, dict[str, R]()
        assert isinstance(store, Seen)

        def look(unit: int) -> bool:
            return store.receipt(parts[unit].key) is not None

        def make(unit: int, seen: bool) -> None:
            if not seen:
                store.hidden.add(parts[unit].key)
            receipts[parts[unit].key] = stage.make(parts[unit], progress.advance)
            assert not store.hidden

        places = {part.key: place for place, part in enumerate(stage.parts())}
        self.work([places[part.key] for part in parts], look, make)
        return [receipts[part.key] for part in parts]

    def work(
        self,
        units: Sequence[int],
        look: Callable[[int], bool] = lambda _: False,
        make: Callable[[int, bool], None] = lambda *_: None,
    ) -> None:
        """Work until all units are finished.

        Args:
            units: places in the world's list.
            look: whether a unit of `units`, by its place there, is finished.
            make: makes it; gets also whether it was finished when the worker began.
        """
        self._units, self._look, self._make = units, look, make
        self._events = []
        self._done: set[int] = set()
        self._running: dict[int, int] = {}
        self._began: deque[tuple[float, int]] = deque()
        self._free = self.clock.now
        ranges = np.array_split(np.arange(len(units)), self.world.workers if self.static else 1)
        self._queues = [deque(part.tolist()) for part in ranges]
        self._idle = list(range(self.world.workers))
        self.clock.working = True
        try:
            self._give()
            if self.backups:
                self._push(self.clock.now + self.world.unit_s, "tick", 0, 0)
            while len(self._done) < len(units):
                self._next()
        finally:
            self.clock.working = False

    def rest(self) -> None:
        """Let those workers end that have lost contact, after the run."""
        while self._events:
            if self._events[0][2] == "stray":
                self._next()
            else:
                heapq.heappop(self._events)

    def _push(self, at: float, what: str, worker: int, unit: int, took: float = 0.0) -> None:
        heapq.heappush(self._events, (at, next(self._order), what, worker, unit, took))

    def _next(self) -> None:
        at, _, what, worker, unit, took = heapq.heappop(self._events)
        if at > self.kill_at:
            self.clock.now, self.kill_at = self.kill_at, float("inf")
            raise Killed
        self.clock.now = at
        if what in ("end", "stray", "found"):
            self._ended(unit, took, seen=what == "found")
        elif what == "lost":
            self._running[unit] -= 1
            if unit not in self._done and not self._running[unit]:
                self._queues[worker if self.static else 0].appendleft(unit)
        elif what == "tick":
            self._push(at + self.world.unit_s / 4, "tick", 0, 0)
        if what in ("end", "found", "join"):
            self._idle.append(worker)
        self._give()

    def _ended(self, unit: int, took: float, *, seen: bool) -> None:
        if seen:
            self.count.found += 1
        elif unit in self._done:
            self.count.twice += 1
            self.count.repeated += took
        else:
            self.count.useful += took
        self._make(unit, seen)
        self._done.add(unit)

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
        now, self.clock.now = self.clock.now, begin
        seen = self._look(unit)
        self.clock.now = now
        if seen:
            self._push(begin + world.dispatch_s, "found", worker, unit)
            return
        slower = min(20.0, 1 + rng.pareto(world.tail))
        took = float(world.durations[self._units[unit]] * slower)
        fails, stray = begin + rng.exponential(3600 / world.failures), rng.random() < world.strays
        if fails > begin + took:
            self._push(begin + took, "end", worker, unit, took)
            return
        self._push(fails + world.notice_s, "lost", worker, unit)
        self._push(fails + world.notice_s + world.replace_s, "join", worker, unit)
        if stray:
            self.count.strays += 1
            self._push(begin + took, "stray", worker, unit, took)
        else:
            self.count.deaths += 1
            self.count.lost += fails - begin


def job_of(units: int, store: Store | str, classes: int = 0) -> Job:
    """A recipe of one small picture in each unit."""
    source = Dots(number=units, of=classes)
    recipe = Recipe(dataset="dots", version="1.0.0", source=source, samples_per_shard=1, masters="original")
    return Job(recipe, store)


def real(world: World) -> dict[str, Any]:
    """Kill a run on the cluster, begin it again, seal it; compare with a run that nothing disturbs."""
    plain = job_of(world.units, Seen("undisturbed", Clock()))
    whole = seal_edition(plain, complete(Build(plain), Threads(1)))

    clock = Clock()
    cluster = Cluster(world, clock)
    cluster.kill_at = world.kill * world.ideal_s
    store = Seen("cluster", clock)
    try:
        complete(Build(job_of(world.units, store)), cluster)
    except Killed:
        pass
    else:
        raise AssertionError("the run ended before it was killed")
    killed_at, before = clock.now, receipts(store)
    attempts = cluster.count.attempts
    clock.now += world.replace_s
    job = job_of(world.units, store)
    made = complete(Build(job), cluster)
    ended, planned = clock.now, clock.alone()
    shutil.rmtree(store.scratch.parent / "objects", ignore_errors=True)  # copies of the workers' machines
    manifest = seal_edition(job, made)
    sealed = clock.alone() - planned
    cluster.rest()

    after = receipts(store)
    assert manifest.digest() == whole.digest(), "another edition than without failures"
    assert all(after[name] == data for name, data in before.items()), "a finished unit was lost or made again"
    assert len(after) == world.units
    assert store.whole(file for receipt in made for file in receipt.files())
    working = ended - world.replace_s
    return {
        "digest": manifest.digest(),
        "same_digest_as_undisturbed": True,
        "killed_at_s": round(killed_at),
        "finished_before_the_kill": len(before),
        "of_these_made_again": 0,
        "attempts_before_and_after": [attempts, cluster.count.attempts - attempts],
        **cost(world, cluster.count, working),
        "requests": dict(sorted(clock.by_kind.items())),
        "requests_a_unit": round(clock.by_kind.total() / world.units, 2),
        "requests_of_one_process": {"looking twice": planned, "sealing": sealed},
        "workers_requests_a_second": {
            "mean": round(clock.by_second.total() / working, 1),
            "peak": max(clock.by_second.values()),
        },
        "manifest_bytes": len(to_json(manifest)),
        "receipt_bytes": sum(map(len, after.values())),
    }


def receipts(store: Store) -> dict[str, bytes]:
    """The content of all receipts by name, uncounted."""
    return {path: data for path, data in store.fs.files.items() if path.startswith(f"{store.root}/units/")}


def cost(world: World, count: Count, makespan: float) -> dict[str, Any]:
    """Measure how well the workers' time was used."""
    limit = count.useful / world.workers
    return {
        "makespan_s": round(makespan),
        "limit_s": round(limit),
        "efficiency": round(limit / makespan, 3),
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


def planning(units: int) -> dict[str, Any]:
    """Plan this number of units of an edition of a thousand classes, in this process."""
    job, before = job_of(units, "memory://plan", CLASSES), peak_mb()
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
    parser.add_argument("--only", choices=["planning", "describing"])
    options = parser.parse_args()
    if options.only:
        print(json.dumps({"planning": planning, "describing": describing}[options.only](options.units)))
        return
    world = World(options.workers, options.workers * options.per_worker)
    took: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as cache:
        os.environ["VARIORUM_CACHE"] = cache  # files of a remote store are written there first
        cpu: Timing = measure(lambda: took.update(real(world)))
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
