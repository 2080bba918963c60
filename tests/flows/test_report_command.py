"""`variorum report` on the command line: its plan, its files, its exit codes, and what it refuses before any work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from answering import CLASSES, edition

from variorum.flows.cli import main
from variorum.flows.endings import GUARD

MINE = f"""
from pathlib import Path
import numpy as np

def asked(images):
    with Path(__file__).with_name("asked.txt").open("a") as file:
        file.write("x" * len(images))

def load():
    def scores(images):
        asked(images)
        warmth = [float(image[..., 0].mean() - image[..., 2].mean()) for image in images]
        return np.array([[-abs(value - centre) for centre in (10, 40, 90)] for value in warmth])
    scores.classes = {CLASSES!r}
    scores.preprocessing = "None: redder than blue."
    return scores

def always():
    def scores(images):
        asked(images)
        return np.tile([9.0, 0.0, 0.0], (len(images), 1))
    scores.classes = {CLASSES!r}
    scores.preprocessing = "None."
    return scores

def other():
    def scores(images):
        asked(images)
        return np.zeros((len(images), 2))
    scores.classes = ("tench", "goldfish")
    return scores
"""
WARM, ALWAYS = "module:mine.py:load", "module:mine.py:always"


@pytest.fixture(scope="module")
def workplace(photos, tmp_path_factory) -> Path:
    """A folder with a store and models of somebody's own, which write down how many pictures they see."""
    folder = tmp_path_factory.mktemp("reporting")
    edition(photos, str(folder / "store"))
    (folder / "mine.py").write_text(MINE)
    return folder


@pytest.fixture
def say(workplace, monkeypatch, capsys, tmp_path):
    """A function: exit code and both outputs of `variorum report` in the folder, and the number of pictures asked."""
    monkeypatch.chdir(workplace)
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    log = workplace / "asked.txt"

    def call(*words: str) -> tuple[int, str, str, int]:
        log.write_text("")
        with pytest.raises(SystemExit) as ended:
            main(("report", *words))
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err, len(log.read_text())

    return call
