"""Several processes at once on one store: each ends well or in one line, and the store is as one would have made it."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from faults import slowed_at
from scene import COMMAND, PATIENCE, Ended, Scene, copy, differs, stopped, words

RNG = random.Random(12)


def together(scene: Scene, *asked: list[str], apart: float = 0.3) -> list[Ended]:
    """Start commands within a moment and wait for all of them."""
    runs = []
    for one in asked:
        runs.append(scene.start(one))
        time.sleep(RNG.uniform(0, apart))
    with stopped(runs):
        return [run.ended() for run in runs]


def first_wrong(ended: Sequence[Ended], *codes: int) -> str:
    """What is wrong with the first run that ended badly, or ""."""
    return next(filter(None, (one.wrong(*codes) for one in ended)), "")


def manifest(store: Path, edition: str) -> dict[str, Any]:
    """An edition's manifest."""
    return json.loads((store / "editions" / edition / "manifest.json").read_bytes())


def removed(store: Path) -> None:
    """Remove a store after its trial."""
    shutil.rmtree(store, ignore_errors=True)


def same_run(scene: Scene, store: Path, case: tuple[str, str, int]) -> str:
    """Run one command several times at once."""
    recipe, command, number = case
    scene.before(recipe, command, store)
    ended = together(scene, *[words(command, scene.recipe(recipe), store)] * 3, apart=0.1 * number)
    wrong = first_wrong(ended) or differs(store, scene.whole(recipe, command))
    removed(store)
    return wrong


def test_the_same_run_three_times_at_once(scene, trials, store):
    trials(partial(same_run, scene, store), [("q", "run", 0)])


@pytest.mark.fire
def test_one_command_three_times_at_once(scene, trials, store):
    """Processes that do the same work at the same time share it, and each ends well.

    The same command three times at once, started within 0 to 0.4 s: run, build, curate, release, evaluate.
    """
    commands = ["run"] * 2 + ["build", "curate", "release", "evaluate"]
    trials(partial(same_run, scene, store), [("k", one, number % 5) for number, one in enumerate(commands)])


@pytest.mark.fire
def test_one_of_three_is_killed(scene, trials, store):
    """A process that is killed doesn't harm others at work on the same store.

    The same run three times at once; one is killed with `kill -9` at a random moment.
    """

    def attack(seconds: float) -> str:
        runs = [scene.start(words("run", scene.recipe("q"), store)) for _ in range(3)]
        with stopped(runs):
            time.sleep(seconds)
            runs[1].send(signal.SIGKILL)
            wrong = first_wrong([runs[0].ended(), runs[2].ended()])
            left = ("tmp/*",)  # by the killed one, if the others had nothing more to write
            wrong = wrong or differs(store, scene.after("q", "run"), but=left)
        removed(store)
        return wrong

    scene.after("q", "run")
    trials(attack, [0.3 * number for number in range(1, 7)])


@pytest.mark.fire
def test_two_versions_at_once(scene, trials, store, tmp_path):
    """Versions of a dataset that are made at the same time don't disturb each other.

    Two versions of one recipe are run at once, in one store.
    """
    asked = {
        recipe: [
            words("run", scene.recipe(recipe), store, "--set", f"version={version}") for version in ("1.0.0", "1.1.0")
        ]
        for recipe in ("q", "k")
    }
    wholes = {}
    for recipe, both in asked.items():
        assert not first_wrong([scene.run(one) for one in both])
        wholes[recipe] = Path(shutil.move(store, tmp_path / f"whole-{recipe}"))

    def attack(case: tuple[str, int]) -> str:
        wrong = first_wrong(together(scene, *asked[case[0]])) or differs(store, wholes[case[0]])
        removed(store)
        return wrong

    trials(attack, [("q", 1), ("q", 2), ("q", 3), ("k", 1)])


@pytest.mark.fire
def test_two_recipes_want_one_version(scene, trials, store):
    """A sealed version never changes: of two recipes that want it, one gets it and the other an error in one line.

    Two recipes that differ in a field build the same version at once.
    """
    recipe = scene.recipe("q")
    asked = [
        words("build", recipe, store, "--set", f"masters={form}", "--set", "version=2.0.0")
        for form in ("png", "original")
    ]

    def attack(number: int) -> str:
        ended = together(scene, *(asked if number % 2 else asked[::-1]))
        wrong = first_wrong(ended, 0, 1)
        if not wrong and sorted(one.code for one in ended) != [0, 1]:
            wrong = f"both ended with {ended[0].code}"
        if not wrong and not any("2.0.0 is sealed" in one.output for one in ended):
            wrong = "the loser's error doesn't say that the version is sealed"
        wrong = wrong or scene.run(["verify", "q@2.0.0", "--store", str(store)]).wrong()
        removed(store)
        return wrong

    trials(attack, range(5))


@pytest.mark.fire
def test_curated_while_it_is_released(scene, trials, store):
    """Curation and release of one edition can go on at the same time.

    The same curation three times during a release, with and without its ledger there already.
    """
    recipe, whole = scene.recipe("q"), scene.whole("q", "release")

    def attack(number: int) -> str:
        scene.before("q", "release", store)
        if number % 2:
            for record in (store / "curations").iterdir():
                record.unlink()
        ended = together(
            scene, words("release", recipe, store, "--ledger", "1"), *[words("curate", recipe, store)] * 3, apart=0.2
        )
        wrong = first_wrong(ended) or differs(store, whole)
        removed(store)
        return wrong

    trials(attack, range(8))


def two_releases(scene: Scene, store: Path) -> Path:
    """A store with releases 1 and 2 of an edition."""
    copy(scene.whole("q", "release"), store)
    for command in ("curate", "release"):
        ended = scene.run(words(command, second_recipe(scene), store))
        assert not ended.wrong(), ended.output
    return store


def second_recipe(scene: Scene) -> Path:
    """Recipe `q` with another rule: its second ledger."""
    path = scene.folder / "q2.yaml"
    path.write_text(scene.recipe("q").read_text().replace("below: 0.3", "below: 0.7"))
    return path


def rolled_back(scene: Scene, store: Path, whole: Path, case: tuple[int, str]) -> str:
    """Roll back twice while a release is made, shown and verified."""
    number, gone = case
    copy(whole, store)
    for path in store.glob(gone) if gone else ():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    asked = [
        words("release", second_recipe(scene), store, "--ledger", "2"),
        ["rollback", "q@1.0.0", "--to", "1", "--store", str(store)],
        ["rollback", "q@1.0.0", "--to", "2", "--store", str(store)],
        ["show", "q", "--store", str(store)],
        ["verify", "q@1.0.0", "--store", str(store)],
    ]
    ended = together(scene, *asked[number % 5 :], *asked[: number % 5], apart=0.1)
    wrong = first_wrong(ended)
    if not wrong and json.loads((store / "editions/q/1.0.0/current.json").read_bytes())["release"] not in (1, 2):
        wrong = "current.json names neither release"
    if gone and not wrong:
        wrong = scene.run(["rollback", "q@1.0.0", "--to", "1", "--store", str(store)]).wrong()
    wrong = wrong or differs(store, whole, but=("*/current.json", "*/contact_sheet.png"))
    removed(store)
    return wrong


@pytest.mark.fire
def test_rolled_back_while_it_is_released(scene, trials, store, tmp_path):
    """Releases can be changed, shown and verified at the same time.

    Two rollbacks, a release, `show` and `verify` at once, on an edition with two releases.
    """
    whole = two_releases(scene, tmp_path / "whole")
    trials(partial(rolled_back, scene, store, whole), [(number, "") for number in range(12)])


@pytest.mark.fire
def test_rolled_back_after_files_were_removed(scene, trials, store, tmp_path):
    """A release whose readable names or shards were removed comes back from its ledger, also under way.

    The same, after `data/` or a shard of a release was removed.
    """
    whole = two_releases(scene, tmp_path / "whole")
    shards = [
        {shard["sha256"] for shards in manifest(whole, edition)["shards"].values() for shard in shards}
        for edition in ("q/1.0.0", "q/1.0.0-r1")
    ]
    own = min(shards[1] - shards[0])
    gone = ("editions/q/1.0.0-r1/data", f"objects/{own}.tar", "editions/q/1.0.0-r2/data")
    trials(partial(rolled_back, scene, store, whole), list(zip(range(6), itertools.cycle(gone))))


@pytest.mark.fire
def test_a_moving_version_from_three_limits_at_once(scene, trials, store):
    """A -dev version that several processes move at once is one of theirs, whole: manifest and files belong together.

    Three limits build or run one -dev version at once; in some trials a process sleeps at one of its last steps.
    """
    recipe = scene.recipe("q")

    def attack(case: tuple[str, int | None]) -> str:
        command, slow = case
        runs = []
        for limit in (4, 6, 8):
            asked = words(command, recipe, store, "--limit", str(limit), "--set", "version=1.0.0-dev")
            runs.append(scene.start(asked, fault=None if slow is None else partial(slowed_at, slow + limit, 1.0)))
        with stopped(runs):
            wrong = first_wrong([run.ended() for run in runs])
        edition = "q@1.0.0-dev" if command == "build" else "q"
        wrong = wrong or scene.run(["verify", edition, "--store", str(store)]).wrong()
        removed(store)
        return wrong

    plain: list[tuple[str, int | None]] = [*[("build", None)] * 4, *[("run", None)] * 3]
    trials(attack, plain + [("build", number) for number in range(20, 90, 10)])


def may_unshare() -> bool:
    """Whether this user may make a PID namespace."""
    tried = subprocess.run(
        ["unshare", "-pf", "--mount-proc", "true"], capture_output=True, check=False, timeout=PATIENCE
    )
    return tried.returncode == 0


@pytest.mark.fire
def test_readers_in_another_container(scene, trials, store):
    """A reader in another container on the same host doesn't touch what a run is writing.

    `show`, `plan`, `verify` and a second run in a PID namespace of their own, several times during a run.
    """
    if not may_unshare():
        pytest.skip("no right to make a PID namespace")
    recipe, whole = scene.recipe("q"), scene.after("q", "run")
    environment = {**os.environ, "VARIORUM_CACHE": str(scene.cache), "OMP_NUM_THREADS": "1"}

    def attack(asked: list[str]) -> str:
        run = scene.start(words("run", recipe, store), fault=partial(slowed_at, 12, 5.0))
        with stopped([run]):
            time.sleep(0.8)
            for _ in range(2):
                subprocess.run(
                    ["unshare", "-pf", "--mount-proc", *COMMAND, *asked],
                    cwd=scene.folder,
                    env=environment,
                    capture_output=True,
                    check=False,
                    timeout=PATIENCE,
                )
            wrong = run.ended().wrong() or differs(store, whole)
        removed(store)
        return wrong

    place = ["--store", str(store)]
    trials(
        attack, [["show", *place], ["verify", "q", *place], ["plan", str(recipe), *place], words("run", recipe, store)]
    )
