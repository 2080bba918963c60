"""Reports that are killed, or whose disk is full: the same command gives the same bytes, and leaves nothing."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from scene import Scene, contents, copy
from test_faults import mounted, remount

RNG = random.Random(41)
KILLS = int(os.environ.get("FIRE_KILLS", "12"))
"""How often each command is killed."""
MODEL = """import torch


def load():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(48, 4)).eval()
"""
BROUGHT = ["--model", "module:mine.py:load", "--classes", "classes.txt", "--preprocess", "none"]
COMMANDS = {"report": ["report", "q@1.0.0", *BROUGHT, "--no-open"], "evaluate": ["evaluate", "q@1.0.0", *BROUGHT]}


class Asked:
    """A command on an edition of 40 photographs: its store before, and what it makes undisturbed."""

    def __init__(self, scene: Scene, command: str) -> None:
        self.scene, self.command, self.before = scene, command, scene.after("q", "run")
        store = copy(self.before, scene.folder / f"whole-{command}")
        began = time.monotonic()
        assert not (ended := scene.run(self.words(store))).wrong(), ended.output
        self.took, self.whole, self.size = time.monotonic() - began, outcome(store), size(store)

    def words(self, store: Path) -> list[str]:
        """The command; a report also writes its page and JSON beside the store."""
        to = ["--to", f"{store}.html", "--json", f"{store}.json"] if self.command == "report" else []
        return [*COMMANDS[self.command], *to, "--store", str(store)]

    def then_same(self, store: Path) -> str:
        """Run it again; what differs, and what `gc` would remove and leave."""
        if wrong := self.scene.run(self.words(store)).wrong():
            return wrong
        gone = self.scene.run(["gc", "--delete", "--older", "0", "--unfinished", "--store", str(store)]).wrong()
        found = outcome(store)
        odd = sorted(found.items() ^ self.whole.items())
        return gone or (f"{len(odd)} files differ ({odd[0][0]})" if odd else "")


def outcome(store: Path) -> dict[str, str]:
    """Hashes of the store's files, and of what was written beside it."""
    beside = {path.suffix: path.read_bytes().hex() for path in store.parent.glob(f"{store.name}.*")}
    return contents(store) | beside


def size(store: Path) -> int:
    """Kilobytes of a store."""
    return sum(path.stat().st_size for path in store.rglob("*") if path.is_file()) // 1024


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """The commands, on a scene with enough photographs for a report."""
    scene = Scene(tmp_path_factory.mktemp("reports"), (40, 96))
    scene.recipe("q")
    (scene.folder / "mine.py").write_text(MODEL)
    (scene.folder / "classes.txt").write_text("astronaut\nchelsea\ncoffee\nrocket\n")
    return {command: Asked(scene, command) for command in COMMANDS}


@pytest.mark.fire
def test_killed_reports_and_answers(asked, trials, tmp_path):
    """A report or an evaluation of a model that is killed is completed by the same command, with the same bytes.

    `kill -9` at random moments of `report` and `evaluate --model`; then the same command, `gc`, and the hash of every
    file of the store and of the page, Markdown and JSON beside it. `FIRE_KILLS=40` kills each forty times.
    """

    def attack(case: tuple[str, int]) -> str:
        one, place = asked[case[0]], tmp_path / "place"
        place.mkdir()
        try:
            store = copy(one.before, place / "store")
            run = one.scene.start(one.words(store))
            time.sleep(one.took * (case[1] + RNG.random()) / KILLS)
            run.send(signal.SIGKILL)
            run.ended()
            return one.then_same(store)
        finally:
            shutil.rmtree(place)

    trials(attack, [(command, number) for command in COMMANDS for number in range(KILLS)])


@pytest.mark.fire
def test_the_disk_is_full_under_a_report(asked, trials, tmp_path):
    """On a full disk a report or an evaluation stops with one line, and completes when there is space again.

    Disks with 0 to 90 % of the space that the results take, enlarged afterwards; then the hash of every file.
    """

    def attack(case: tuple[str, int]) -> str:
        one = asked[case[0]]
        with mounted(tmp_path / "disk", "size=100m") as disk:
            store = copy(one.before, disk / "store")
            free = os.statvfs(disk)
            used = (free.f_blocks - free.f_bfree) * free.f_frsize // 1024
            remount(disk, f"size={used + max(4, (one.size - size(one.before)) * case[1] // 100)}k")
            ended = one.scene.run(one.words(store))
            if wrong := ended.wrong(1, 75) or ("" if "space" in ended.output else "the error doesn't speak of space"):
                return wrong
            remount(disk, "size=100m")
            return one.then_same(store)

    trials(attack, [(command, share) for command in COMMANDS for share in (0, 15, 30, 50, 70, 90)])
