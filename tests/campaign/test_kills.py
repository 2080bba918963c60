"""`kill -9` at any moment: the same command completes the store, to the byte."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from engine_place import Place, until
from faults import counted, killed_at, power_fails, power_fails_at
from scene import STEPS, Scene, cold_cache, differs, stopped, words

COMMANDS = ("run", *STEPS)
RNG = random.Random(11)


@dataclass(frozen=True)
class Kill:
    """A kill of a command after some seconds, or at a step (after it, if it is odd)."""

    recipe: str
    command: str
    seconds: float = 0
    step: int | None = None
    workers: int = 1
    cold: bool = False

    def __str__(self) -> str:
        when = f"after {self.seconds:.2f} s" if self.step is None else f"at step {self.step}"
        return f"{self.command} {self.recipe} {when}, {self.workers} workers{', cold cache' * self.cold}"


def attack(scene: Scene, folder: Path, kill: Kill) -> str:
    """Kill a command and run it again; what differs from the undisturbed store."""
    store = scene.before(kill.recipe, kill.command, folder / "store")
    cache = cold_cache(folder / "cache") if kill.cold else scene.cache
    asked = words(kill.command, scene.recipe(kill.recipe), store, "--workers", str(kill.workers))
    whole = scene.whole(kill.recipe, kill.command)
    try:
        fault = None if kill.step is None else partial(killed_at, kill.step // 2, bool(kill.step % 2))
        run = scene.start(asked, cache=cache, fault=fault)
        if fault is None:
            time.sleep(kill.seconds)
            run.send(signal.SIGKILL)
        ended = run.ended()
        if ended.code != -signal.SIGKILL and (fault or ended.code):  # it may have been done before the kill
            return f"not killed: {ended.code} {ended.output[-200:]}"
        wrong = scene.run(asked, cache=cache).wrong() or differs(store, whole)
        parts = [path.name for path in cache.rglob("*.part")]
        return wrong or (f"left in the cache: {parts[0]}" if parts else "")
    finally:
        shutil.rmtree(store, ignore_errors=True)
        shutil.rmtree(folder / "cache", ignore_errors=True)


def duration(scene: Scene, recipe: str, command: str, folder: Path, *, cold: bool = False) -> float:
    """Seconds that a command takes, undisturbed."""
    store = scene.before(recipe, command, folder / "timed")
    cache = cold_cache(folder / "timed-cache") if cold else scene.cache
    began = time.monotonic()
    assert scene.run(words(command, scene.recipe(recipe), store), cache=cache).code == 0
    took = time.monotonic() - began
    shutil.rmtree(store)
    return took


def steps(scene: Scene, recipe: str, command: str, folder: Path) -> int:
    """How many steps a command takes that a kill can come before or after."""
    store = scene.before(recipe, command, folder / "counted")
    log = folder / f"steps-{command}"
    assert scene.run(words(command, scene.recipe(recipe), store), fault=partial(counted, log)).code == 0
    shutil.rmtree(store)
    return 2 * log.stat().st_size


def spread(total: float, count: int) -> list[float]:
    """So many places in a range, one at random in each of equal pieces."""
    return [total * (place + RNG.random()) / count for place in range(count)]


def test_a_few_kills(scene, trials, tmp_path):
    scene.whole("q", "run")
    trials(partial(attack, scene, tmp_path), [Kill("q", "run", step=step) for step in (60, 251, 422)])


@pytest.mark.fire
def test_killed_at_random_moments(scene, trials, tmp_path):
    """A run that is killed at any moment is completed by the same command, and ends as if nothing had happened.

    `kill -9` at random moments of run, build, curate, release and evaluate, with one worker and with two.
    """
    counts = {"run": 12, "build": 8, "curate": 8, "release": 6, "evaluate": 6}
    kills = []
    for command, count in counts.items():
        scene.whole("k", command)
        took = duration(scene, "k", command, tmp_path)
        for place, seconds in enumerate(spread(took, count)):
            kills.append(Kill("k", command, seconds=seconds, workers=1 + place % 2))
    trials(partial(attack, scene, tmp_path), kills)


@pytest.mark.fire
def test_killed_before_and_after_single_steps(scene, trials, tmp_path):
    """No two steps of writing need each other: a kill between any of them loses nothing.

    `kill -9` before or after the n-th rename, link, sync, removal or new folder, with n over the whole of each command.
    """
    counts = {"run": 8, "build": 8, "curate": 8, "release": 6, "evaluate": 6}
    kills = []
    for command, count in counts.items():
        scene.whole("k", command)
        total = steps(scene, "k", command, tmp_path)
        kills += [Kill("k", command, step=int(step)) for step in spread(total, count)]
    trials(partial(attack, scene, tmp_path), kills)


@pytest.mark.fire
def test_killed_with_a_cold_cache(trials, tmp_path):
    """A kill while caches are filled and models are exported leaves nothing half-made that is used later.

    `kill -9` at random moments of a run that begins with nothing but the fetched weights.
    """
    scene = Scene(tmp_path / "small", sizes=(4, 192))
    scene.whole("k", "run")
    took = duration(scene, "k", "run", tmp_path, cold=True)
    trials(
        partial(attack, scene, tmp_path),
        [Kill("k", "run", seconds=seconds, cold=True) for seconds in spread(took, 3)],
    )


class Disk:
    """An ext4 in a file, mounted so that it keeps as little as it may: no order of data, no flush by rename or time."""

    def __init__(self, folder: Path) -> None:
        self.image, self.place = folder / f"disk-{time.monotonic_ns()}.img", folder / "disk"
        self.place.mkdir(exist_ok=True)
        with self.image.open("wb") as file:
            file.truncate(200 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(self.image)], check=True)

    def plugged_in(self) -> None:
        """Mount it."""
        options = "loop,noauto_da_alloc,data=writeback,commit=300"
        subprocess.run(["mount", "-o", options, str(self.image), str(self.place)], check=True)

    def unplugged(self) -> None:
        """Unmount it."""
        subprocess.run(["umount", str(self.place)], check=True)


@pytest.mark.fire
def test_the_power_fails(scene, trials, tmp_path):
    """A power loss costs nothing that a command had finished, and the same command completes the rest.

    An ext4 that loses all that wasn't synced, at single steps and random moments of a run, and right after its end.
    """
    if os.geteuid() or not shutil.which("mkfs.ext4"):
        pytest.skip("no right to mount a disk")
    cases: list[tuple[str, int | float | None]] = [("q", None), ("k", None)]
    for recipe, at_steps, moments in (("q", 16, 4), ("k", 8, 4)):
        scene.whole(recipe, "run")
        cases += [(recipe, int(step)) for step in spread(steps(scene, recipe, "run", tmp_path), at_steps)]
        cases += [(recipe, seconds) for seconds in spread(duration(scene, recipe, "run", tmp_path), moments)]

    def attack(case: tuple[str, int | float | None]) -> str:
        recipe, when = case
        whole, disk = scene.whole(recipe, "run"), Disk(tmp_path)
        disk.plugged_in()
        store = disk.place / "store"
        asked = words("run", scene.recipe(recipe), store)
        try:
            at_step = isinstance(when, int)
            fault = partial(power_fails_at, when // 2, bool(when % 2), disk.place) if at_step else None
            run = scene.start(asked, fault=fault)
            with stopped([run]):
                if when is None:
                    run.ended()
                if isinstance(when, float):
                    time.sleep(when)
                if not at_step:
                    power_fails(disk.place)
            run.ended()
            disk.unplugged()
            disk.plugged_in()
            if when is None and (lost := differs(store, whole)):
                return f"lost after its end: {lost}"
            return scene.run(asked).wrong() or differs(store, whole)
        finally:
            disk.unplugged()
            disk.image.unlink()

    trials(attack, cases)


@pytest.mark.fire
def test_workers_are_killed_at_work(trials, photos, tmp_path):
    """A worker that is killed costs its part, whatever the engine: the run goes on, to the same digest.

    `kill -9` of the process that makes a picture, at random moments of it: of processes, Ray, Dask and Slurm's jobs.
    """

    def place(name: str) -> Place:
        (tmp_path / name).mkdir()
        return Place(tmp_path / name, photos)

    whole = place("threads")
    whole.start("threads")
    digest = whole.finish()

    def kill(case: tuple[str, int]) -> str:
        runner, number = case
        run = place(f"{runner} {number}")
        run.start(runner, TALLY_SECONDS="0.4")
        try:
            until(lambda: len(run.made()) > number)
            time.sleep(RNG.uniform(0, 0.3))
            worker = run.made()[-1][0]
            os.kill(int(worker), signal.SIGKILL)
            if run.finish() != digest:
                return "another digest"
            times = Counter(picture for _, _, picture in run.made())
            return "" if len(times) == 12 and sum(times.values()) <= 14 else f"made more than once: {times}"
        finally:
            if run.process and run.process.poll() is None:
                run.process.kill()

    trials(kill, [(runner, number) for runner in ("processes", "ray", "dask", "slurm") for number in (1, 5)])
