"""A store in a bucket: kills and races, on a real S3 server."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from buckets import Bucket, killed_at_request, requests_counted
from s3_server import Server
from scene import STEPS, Ended, Scene, stopped, words
from test_kills import Kill, spread
from test_races import first_wrong

RNG = random.Random(13)
Make = Callable[[], Bucket]


@pytest.fixture
def bucket(s3_server: Server, tmp_path: Path) -> Make:
    """Makes a store of its own in the bucket."""
    return lambda: Bucket(s3_server, tmp_path)


def prepared(scene: Scene, bucket: Bucket, recipe: str, command: str) -> Bucket:
    """The store as it is before this command, undisturbed."""
    if done := STEPS[: STEPS.index(command)] if command in STEPS else ():
        bucket.fill(scene.after(recipe, *done))
    return bucket


def attack(scene: Scene, make: Make, kill: Kill) -> str:
    """Kill a command and run it again; what differs from an undisturbed store on disk, or what was made twice."""
    bucket = prepared(scene, make(), kill.recipe, kill.command)
    asked = words(kill.command, scene.recipe(kill.recipe), bucket.url, "--workers", str(kill.workers))
    fault = None if kill.step is None else partial(killed_at_request, kill.step // 2, bool(kill.step % 2))
    try:
        run = scene.start(asked, fault=fault, **bucket.server.environment)
        if fault is None:
            time.sleep(kill.seconds)
            run.send(signal.SIGKILL)
        ended = run.ended()
        if ended.code != -signal.SIGKILL and (fault or ended.code):
            return f"not killed: {ended.code} {ended.output[-200:]}"
        before = bucket.finished()
        wrong = scene.start(asked, **bucket.server.environment).ended().wrong()
        wrong = wrong or bucket.differs(scene.whole(kill.recipe, kill.command))
        after = bucket.finished()
        twice = [name for name in before if before[name] != after.get(name)]
        return wrong or (f"{len(twice)} of {len(before)} finished parts were made again" if twice else "")
    finally:
        bucket.remove(scene)


def requests(scene: Scene, make: Make, recipe: str, command: str, folder: Path) -> int:
    """How many requests a command sends, times two for before and after."""
    bucket, log = prepared(scene, make(), recipe, command), folder / f"requests-{recipe}-{command}"
    asked = words(command, scene.recipe(recipe), bucket.url)
    ended = scene.start(asked, fault=partial(requests_counted, log), **bucket.server.environment).ended()
    assert not ended.wrong(), ended.output
    bucket.remove(scene)
    return 2 * log.stat().st_size


@pytest.mark.fire
def test_killed_with_the_store_in_a_bucket(scene, trials, bucket, tmp_path):
    """A run that is killed is completed by the same command, as on a disk, and no part that was finished is made twice.

    `kill -9` before or after single requests to S3, in run, build, curate and release, with one worker and with two.
    The files are compared with those of a folder; receipts from before the kill must stay to the byte.
    """
    kills = []
    for recipe, command, count in (("q", "run", 8), ("k", "build", 5), ("k", "curate", 4), ("k", "release", 3)):
        scene.whole(recipe, command)
        total = requests(scene, bucket, recipe, command, tmp_path)
        for place, step in enumerate(spread(total, count)):
            kills.append(Kill(recipe, command, step=int(step), workers=1 if recipe == "k" else 1 + place % 2))
    trials(partial(attack, scene, bucket), kills)


# ── races ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def from_machines(
    scene: Scene, bucket: Bucket, folder: Path, *asked: list[str], killed: float | None = None
) -> list[Ended]:
    """Run commands at once, each with a cache of its own, as on machines of their own; kill the last after a while."""
    runs = []
    for number, one in enumerate(asked):
        cache = folder / f"machine-{number}"
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir()
        runs.append(scene.start(one, cache=cache, **bucket.server.environment))
    with stopped(runs):
        if killed is not None:
            time.sleep(killed)
            runs[-1].send(signal.SIGKILL)
        return [run.ended() for run in (runs if killed is None else runs[:-1])]


@pytest.mark.fire
def test_machines_that_share_a_bucket(scene, trials, bucket, tmp_path):
    """Machines that do the same work on one bucket share it: one receipt for each unit, one edition; each ends well.

    The same run by three processes at once, which have nothing in common but the bucket; in half of the trials one of
    them is killed with `kill -9`.
    """
    recipe, whole = scene.recipe("q"), scene.after("q", "run")

    def share(killed: float | None) -> str:
        store = bucket()
        asked = words("run", recipe, store.url)
        wrong = first_wrong(from_machines(scene, store, tmp_path, asked, asked, asked, killed=killed))
        wrong = wrong or store.differs(whole)
        store.remove(scene)
        return wrong

    trials(share, [None, None, None, 1.0, 2.5, 4.0])


@pytest.mark.fire
def test_machines_that_want_one_version(scene, trials, bucket, tmp_path):
    """A sealed version never changes: of two recipes on two machines one gets it, and the other an error in one line.

    Two recipes that differ in a field build the same version in one bucket at once.
    """
    recipe = scene.recipe("q")

    def want(number: int) -> str:
        store = bucket()
        asked = [
            words("build", recipe, store.url, "--set", f"masters={form}", "--set", "version=2.0.0")
            for form in ("png", "original")[:: 1 if number % 2 else -1]
        ]
        ended = from_machines(scene, store, tmp_path, *asked)
        wrong = first_wrong(ended, 0, 1)
        if not wrong and sorted(one.code for one in ended) != [0, 1]:
            wrong = f"both ended with {ended[0].code}"
        if not wrong and not any("2.0.0 is sealed" in one.output for one in ended):
            wrong = "the loser's error doesn't say that the version is sealed"
        verify = ["verify", "q@2.0.0", "--store", store.url]
        wrong = wrong or scene.start(verify, **store.server.environment).ended().wrong()
        store.remove(scene)
        return wrong

    trials(want, range(4))
