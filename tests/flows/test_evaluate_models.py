"""`variorum evaluate EDITION --model` and `variorum leaderboard` on the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from answering import CLASSES, edition

from variorum.edition.store import Store
from variorum.flows.cli import main

MINE = f"""
import numpy as np

def load():
    def scores(images):
        return np.array([[image[..., channel].mean() for channel in range(3)] for image in images])
    scores.classes = {CLASSES!r}
    scores.preprocessing = "None: means of the channels."
    return scores

def other(images):
    return np.zeros((len(images), 2))
"""


@pytest.fixture(scope="module")
def workplace(photos, tmp_path_factory) -> Path:
    """A folder with a store and a model of somebody's own."""
    folder = tmp_path_factory.mktemp("evaluating")
    edition(photos, str(folder / "store"))
    (folder / "mine.py").write_text(MINE)
    recipe = {"dataset": "shots", "version": "1.0.0", "source": {"name": "image_folder", "path": str(photos)}}
    (folder / "shots.yaml").write_text(json.dumps(recipe))
    return folder


@pytest.fixture
def say(workplace, monkeypatch, capsys, tmp_path):
    """A function: exit code and both outputs of a command in the folder."""
    monkeypatch.chdir(workplace)
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "120")

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(words)
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return call


def test_a_model_of_ones_own_gets_a_table_and_a_file(say, workplace):
    code, out, err = say("evaluate", "shots", "--model", "module:mine.py:load", "--confidence", "0.9")
    assert code == 0, err
    assert "Leaderboard: shots@1.0.0" in out
    assert "1. module:mine.py:load" in out
    assert "90 % intervals over the photographs" in out
    assert "too few (12)" in out
    assert "distance to the best" not in out  # one model has none
    (file,) = (workplace / "store/editions/shots/1.0.0/results").iterdir()
    assert str(file) in out
    kept = json.loads(file.read_bytes())
    assert kept["model"]["preprocessing"] == "None: means of the channels."
    assert kept["evaluation"]["confidence"] == 0.9
    assert str(workplace) not in file.read_text()

    code, out, _ = say("evaluate", "shots.yaml", "--model", "module:mine.py:load", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["edition"]["name"] == "shots@1.0.0"
    (model,) = found["models"].values()
    assert model["figures"]["n"] == 12
    assert Path(model["file"]).is_file()


def test_results_go_where_somebody_says_and_come_back_as_a_leaderboard(say, workplace, tmp_path):
    theirs = tmp_path / "theirs"
    assert say("evaluate", "shots@1.0.0", "--model", "module:mine.py:load", "--to", str(theirs))[0] == 0
    code, out, err = say("leaderboard", "shots", str(theirs), "--to", str(tmp_path / "board.html"))
    assert code == 0, err
    assert f"page: {tmp_path}/board.html" in out
    assert (tmp_path / "board.md").read_text().startswith("# Leaderboard: shots@1.0.0")
    (theirs / "broken.json").write_text("{")
    code, out, err = say("leaderboard", "shots", str(theirs), "--json")
    assert code == 0
    board = json.loads(out)
    assert [one["model"]["name"] for one in board["entries"]] == ["module:mine.py:load"]
    assert [one["file"] for one in board["left_out"]] == ["broken.json"]
    assert Path(board["page"]).parent == workplace / "store/editions/shots/1.0.0"


def test_an_edition_without_results_says_how_to_get_some(say, photos, tmp_path):
    edition(photos, str(tmp_path / "new"))
    code, out, _ = say("leaderboard", "shots", "--store", str(tmp_path / "new"))
    assert code == 0
    assert "variorum evaluate shots@1.0.0 --model NAME" in out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("evaluate", "shots", "--model", "module:mine.py:other"), 1, "the edition has 3: astronaut, chelsea, coffee"),
        (("evaluate", "shots", "--model", "module:mine.py:none"), 1, "has no 'none'"),
        (("evaluate", "shots", "--model", "classifier", "--model", "classifier"), 1, "given twice"),
        (("evaluate", "shots", "--model", "segmenters"), 1, "no model alias"),
        (("evaluate", "shats", "--model", "classifier"), 1, "did you mean shots"),
        (("evaluate", "shots", "--model", "classifier", "--store", "stor"), 1, "did you mean store"),
        (("evaluate", "shots", "--model", "classifier", "--limit", "3"), 1, "shots"),
        (("evaluate", "imagenet_e", "--to", "out"), 2, "need --model"),
        (("evaluate", "imagenet_e", "--classes", "out"), 2, "need --model"),
        (("evaluate", "imagenet_e", "--confidence", "0.9"), 2, "need --model"),
        (("evaluate", "imagenet_e", "--preprocess", "none"), 2, "need --model"),
        (("evaluate", "shots", "--model", "module:mine.py:load", "--preprocess", "size=3"), 1, "'size=3', which is no"),
        (("evaluate", "shots", "--model", "mine.py:load"), 1, "did you mean module:mine.py:load?"),
        (("evaluate", "shots", "--model", "resnet50"), 1, "did you mean torchvision:resnet50?"),
        (("evaluate", "shots", "--model", "best.pth"), 1, "torchvision:resnet18@best.pth"),
        (("evaluate", "shots", "--model", "module:mine.py:load", "--confidence", "2"), 2, "confidence"),
        (("evaluate", "shots", "--model", "module:mine.py:load", "--classes", "none.txt"), 1, "no file none.txt"),
        (
            ("evaluate", "shots", "--model", "module:mine.py:load", "--to", "mine.py"),
            1,
            "mine.py: can't be written",
        ),
        (("leaderboard", "shots", "nowhere"), 1, "nowhere: no such file"),
        (("leaderboard", "shats"), 1, "did you mean shots"),
        (("leaderboard", "shots", "--to", "mine.py/board.html"), 1, "can't be written"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(say, words, code, said):
    found, _, err = say(*words)
    assert said in err
    assert found == code
    assert len([line for line in err.splitlines() if line.startswith("error:")]) == 1
    assert "Traceback" not in err


def test_a_read_only_store(say, workplace, tmp_path, monkeypatch):
    monkeypatch.setattr(Store, "can_write", lambda self: not self.url.endswith("store"))
    before = sorted((workplace / "store").rglob("*"))
    code, _, err = say("evaluate", "shots", "--model", "module:mine.py:load")
    assert (code, "--to FOLDER" in err) == (1, True)
    assert say("evaluate", "shots", "--model", "module:mine.py:load", "--to", str(tmp_path / "out"))[0] == 0
    code, out, _ = say("leaderboard", "shots", str(tmp_path / "out"))
    assert "--to FILE.html" in out
    assert sorted((workplace / "store").rglob("*")) == before


SLOW = f"""
import time
import numpy as np

def scores(images):
    with open("asked.txt", "a") as file:
        file.write(f"{{len(images)}}\\n")
    time.sleep(2)
    return np.zeros((len(images), 3)) + np.arange(3)

scores.classes = {CLASSES!r}
"""


@pytest.mark.slow
def test_a_killed_command_goes_on_where_it_was(photos, tmp_path):
    edition(photos, str(tmp_path / "store"))
    (tmp_path / "slow.py").write_text(SLOW)
    asked = tmp_path / "asked.txt"
    words = [sys.executable, "-c", "from variorum.flows.cli import main; main()"]
    words += ["evaluate", "shots", "--model", "module:slow.py:scores"]
    own = {**os.environ, "VARIORUM_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen(words, cwd=tmp_path, env=own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (asked.exists() and asked.read_text().count("12") == 2):  # the first shard is done
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert subprocess.run(words, cwd=tmp_path, env=own, capture_output=True).returncode == 0
    assert asked.read_text().count("12") == 4  # three shards, the second one twice
    assert len(list((tmp_path / "store/editions/shots/1.0.0/results").iterdir())) == 1
