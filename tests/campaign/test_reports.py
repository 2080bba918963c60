"""Reports and evaluations that are killed, or whose disk is full: the same command then gives the same bytes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from scene import Scene, copy, differs, take_photographs
from test_faults import mounted, remount

RNG = random.Random(40)
KILLS = int(os.environ.get("FIRE_KILLS", "6"))
"""Of each command."""
NAMES = {"chelsea": "tabby cat", "coffee": "espresso", "rocket": "missile"}
"""Classes of ImageNet, for an evaluation with true figures."""
SUITE = """\
suite: small
version: 1.0.0
summary: What little light changes.
most: 36
seed: 1
editions:
  dark:
    recipe: low_light
    set: {generate.low_light.exposures: [3], generate.low_light.noiseless: false, generate.low_light.enhancers: [],
      generate.low_light.enhanced: []}
    pictures: 2
    seconds: 0.02
rows:
  - {id: originals, title: Originals, section: As they are, edition: dark, of: accuracy_drop.originals, chance: classes}
  - {id: low_light, title: Low light, section: One thing changes, edition: dark, of: accuracy_drop.edits,
    chance: classes}
"""
RECIPE = """\
dataset: e
version: 1.0.0
samples_per_shard: 4
source: {name: image_folder, path: PHOTOS, licence: CC0-1.0}
generate: [{name: low_light, exposures: [3], noiseless: false, enhancers: [], enhanced: []}]
evaluate: [{name: accuracy_drop, classifiers: [classifier_small]}]
"""


@dataclass
class Work:
    """The commands that measure, what they need, and what they leave when nobody disturbs them."""

    scene: Scene
    folder: Path

    def __post_init__(self) -> None:
        photos, taken = self.folder / "photos", self.folder / "taken"
        take_photographs(taken, 48, 128)
        photos.mkdir()
        for name, label in NAMES.items():
            (taken / name).rename(photos / label)
        (self.folder / "small.yaml").write_text(SUITE)
        (self.folder / "e.yaml").write_text(RECIPE.replace("PHOTOS", str(photos)))
        self.built = self.folder / "built"
        for step in ("build", "curate", "release"):
            asked = [step, str(self.folder / "e.yaml"), "--store", str(self.built), "--runner", "threads"]
            assert not (ended := self.scene.run(asked)).wrong(), ended.output
        self.took: dict[str, float] = {}
        for command in ("report", "evaluate"):
            self.before(command, self.folder / f"whole-{command}")
            began = time.monotonic()
            ended = self.scene.run(self.words(command, self.folder / f"whole-{command}"))
            assert not ended.wrong(), ended.output
            self.took[command] = time.monotonic() - began
        assert (self.whole("report") / "page.html").stat().st_size > 10_000

    def before(self, command: str, place: Path) -> None:
        """Make the folder as it is before a command: with an edition to evaluate, or empty."""
        place.mkdir(parents=True, exist_ok=True)
        if command == "evaluate":
            copy(self.built, place / "store")

    def words(self, command: str, place: Path) -> list[str]:
        """The words of a command that writes into this folder alone."""
        store = ["--store", str(place / "store")]
        if command == "evaluate":
            return ["evaluate", str(self.folder / "e.yaml"), "--runner", "threads", *store]
        asked = ["--suite", str(self.folder / "small.yaml"), "--source", str(self.folder / "photos")]
        written = ["--to", str(place / "page.html"), "--json", str(place / "report.json"), "--no-open"]
        return ["report", *asked, "--model", "classifier_small", *written, *store]

    def whole(self, command: str) -> Path:
        """What an undisturbed command leaves."""
        return self.folder / f"whole-{command}"

    def again(self, command: str, place: Path) -> str:
        """Run a command again; what differs then from an undisturbed one."""
        return self.scene.run(self.words(command, place)).wrong() or differs(place, self.whole(command))


@pytest.fixture(scope="module")
def work(scene, tmp_path_factory) -> Work:
    return Work(scene, tmp_path_factory.mktemp("reports"))


@dataclass(frozen=True)
class Kill:
    """A kill of a command after some seconds."""

    command: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.command} after {self.seconds:.2f} s"


@pytest.mark.fire
def test_killed_reports_and_evaluations(work, trials, tmp_path):
    """A report or an evaluation that is killed is completed by the same command, to the byte.

    `kill -9` at random moments of `report`, which builds its edition first, and of `evaluate`; then the same command,
    and the hash of the page, the Markdown, the JSON, the figures and the store.
    """

    def attack(kill: Kill) -> str:
        place = tmp_path / "killed"
        work.before(kill.command, place)
        try:
            run = work.scene.start(work.words(kill.command, place))
            time.sleep(kill.seconds)
            run.send(signal.SIGKILL)
            run.ended()
            return work.again(kill.command, place)
        finally:
            shutil.rmtree(place)

    kills = [(command, (place + RNG.random()) / KILLS) for command in work.took for place in range(KILLS)]
    trials(attack, [Kill(command, share * work.took[command]) for command, share in kills])


@pytest.mark.fire
def test_reports_and_evaluations_on_a_full_disk(work, trials, tmp_path):
    """On a full disk a report or an evaluation stops with one line, and goes on when there is space again.

    Disks of different sizes, some too small for the store and some for the page, enlarged afterwards.
    """

    def attack(case: tuple[str, int]) -> str:
        command, kilobytes = case
        with mounted(tmp_path / "disk", "size=100m") as disk:
            place = disk / "place"
            work.before(command, place)
            used = sum(path.stat().st_blocks for path in disk.rglob("*")) // 2
            remount(disk, f"size={used + kilobytes}k")
            ended = work.scene.run(work.words(command, place))
            if wrong := ended.wrong(0, 1, 75) or ("" if not ended.code or "space" in ended.output else "no word of it"):
                return wrong
            remount(disk, "size=100m")
            return work.again(command, place)

    sizes = {"report": (16, 64, 150, 250, 350, 400, 450, 500, 550, 600), "evaluate": (4, 8, 16, 32)}
    trials(attack, [(command, size) for command in sizes for size in sizes[command]])
