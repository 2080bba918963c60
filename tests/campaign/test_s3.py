"""A store in a bucket: kills and races, on a real S3 server."""

from __future__ import annotations

import itertools
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from buckets import Bucket, killed_at_request, requests_counted
from s3_faults import Answer, Asked, Pass, gateway
from s3_server import Server, killable
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


KINDS = {
    "lists": lambda asked: asked.listing,
    "looks": lambda asked: asked.method == "HEAD",
    "reads": lambda asked: asked.method == "GET" and not asked.listing,
    "writes": lambda asked: asked.method == "PUT" and not asked.conditional,
    "writes if absent": lambda asked: asked.conditional,
}
"""Requests of a store in a bucket."""


@pytest.mark.fire
def test_the_server_of_the_bucket_is_killed(scene, trials, tmp_path):
    """A server that is killed and comes back loses no finished part: the run goes on, or the same command does.

    `kill -9` of the server at the first and at a later request of each kind, before it is passed on or when it is
    answered and the answer is lost; two seconds later it is started again.
    """
    recipe, whole = scene.recipe("k"), scene.after("k", "run")
    with killable(tmp_path) as running, gateway(running.server) as between:

        def attack(case: tuple[str, int, bool]) -> str:
            kind, number, answered = case
            store, again, asked = Bucket(between.server, tmp_path), threading.Thread(target=back), itertools.count()

            def fault(one: Asked, forward: Pass) -> Answer | None:
                if not KINDS[kind](one) or next(asked) != number:
                    return forward(one) if not down.is_set() else None
                down.set()
                if answered:
                    forward(one)
                running.kill()
                again.start()
                return None

            words_of_run = words("run", recipe, store.url, "--workers", "2")
            between.fault = fault
            first = scene.start(words_of_run, **between.server.environment).ended()
            if again.ident is None:
                return f"it never {kind} so often"
            again.join()
            between.fault = None
            if first.code not in (0, 75):
                return f"it ended with {first.code}: {first.output[-200:]}"
            finished = store.finished()
            wrong = scene.start(words_of_run, **between.server.environment).ended().wrong() or store.differs(whole)
            after = store.finished()
            twice = [name for name in finished if finished[name] != after.get(name)]
            store.remove(scene)
            return wrong or (f"{len(twice)} finished parts were made again" if twice else "")

        down = threading.Event()

        def back() -> None:
            time.sleep(2)
            running.start()
            down.clear()

        cases = [(kind, number, answered) for kind in KINDS for number, answered in ((0, False), (2, True))]
        trials(attack, cases)


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
