"""Processes as workers: the same edition as on threads, with one model a worker, whole errors and no lost line."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from variorum.machine.progress import Progress
from variorum.pipeline import Job, build
from variorum.runners.chosen import chosen
from variorum.runners.processes import DEVICES, Processes, devices
from variorum.runners.settings import setup
from variorum.schemas.recipe import Recipe

TALLIED = str(Path(__file__).parents[2] / "plugins" / "tallied.py")


class Counts(Progress):
    def __init__(self) -> None:
        self.done, self.total = Counter(), Counter()

    def start(self, what, total, done=0):
        self.what = what
        self.total[what] += total

    def advance(self, steps):
        self.done[self.what] += steps


def recipe(photos, **fields) -> Recipe:
    return Recipe.parse(
        {
            "dataset": "d",
            "version": "1.0.0",
            "samples_per_shard": 2,
            "source": {"name": "image_folder", "path": str(photos)},
            "generate": [{"name": TALLIED, **fields}],
        }
    )


def made(folder: Path) -> list[list[str]]:
    """Process, model and picture of each picture that was made."""
    return [line.split() for line in (folder / "made").read_text().splitlines()]


@pytest.fixture
def tally(tmp_path, monkeypatch):
    monkeypatch.setenv("TALLY", str(tmp_path))
    return tmp_path


def test_errors_keep_their_kind_their_text_their_place_and_their_cause_and_no_line_is_lost(photos, tally, caplog):
    progress = Counts()
    with chosen("processes", 1) as runner, pytest.raises(ZeroDivisionError) as found:
        build(Job(recipe(photos, explode="astronaut"), str(tally / "store")), runner, progress)
    assert repr(found.value) == "ZeroDivisionError('exploded at astronaut/0.jpg')"
    assert Path(found.value.frames_there[-1].filename).name == "tallied.py"
    assert "in process" in found.value.__notes__[0]
    assert "_explode" in found.value.__notes__[0]

    rows = made(tally)  # all units were tried; two have failed at their first picture
    assert [picture for _, _, picture in rows] == [
        *("astronaut/0.jpg", "astronaut/2.jpg"),
        *(f"{name}/{number}.jpg" for name in ("chelsea", "coffee") for number in range(4)),
    ]
    assert len({(process, model) for process, model, _ in rows}) == 1  # one model for all units
    assert rows[0][0] != str(os.getpid())
    assert not Path(f"/proc/{rows[0][0]}").exists()
    assert [message for message in caplog.messages if "looked" in message] == [f"looked at {row[2]}" for row in rows]
    (other,) = [message for message in caplog.messages if "looked" not in message]
    assert other == "explode: refused astronaut/2.jpg"
    assert progress.total == {"making pictures": 12}
    assert progress.done["making pictures"] == 8


def test_each_lane_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setenv(DEVICES, "GPU-a, 1")
    engine = Processes(setup(threads=3), devices())
    assert [engine.variables(lane)[DEVICES] for lane in range(5)] == ["GPU-a", "1", "GPU-a", "1", "GPU-a"]
    assert engine.variables(0)["OMP_NUM_THREADS"] == "3"
    for none in ("", "-1"):
        monkeypatch.setenv(DEVICES, none)
        assert devices() == ()
        assert DEVICES not in Processes(setup(threads=1), devices()).variables(0)
    monkeypatch.setenv(DEVICES, "0,-1,1")
    assert devices() == ("0",)
