"""The commands and the Python code of README.md work as they stand, from a folder with `photos` in it."""

import os
import re
import shlex
from pathlib import Path

import pytest
from more_photographs import three_of_each
from warm_command import run_command

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
COMMANDS = next(code for language, code in BLOCKS if language == "bash" and "make demo" in code)
DEMO = re.search(r"^demo:.*\n((?:\t.+\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
CLASSES = {"astronaut": "crash helmet", "chelsea": "tabby cat", "coffee": "espresso"}
"""Folders of the photographs, and names that models of ImageNet know."""
TIMM = "timm:resnet50.a1_in1k"
"""A model of the Hub; the packaged classifier answers in its place."""


def ran(folder: Path, line: str) -> str:
    """What `variorum …` in a line prints, the last of its commands."""
    said = ""
    for command in line.split(" && "):
        words = shlex.split(command.replace(TIMM, "classifier"))
        assert words[0].endswith("variorum")
        done = run_command(words[1:], folder, {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "PYTHONPATH": ""})
        assert done.returncode == 0, done.stderr
        said = done.stdout
    return said


@pytest.fixture(scope="module")
def folder(photos, tmp_path_factory) -> Path:
    found = tmp_path_factory.mktemp("readme")
    for theirs, known in CLASSES.items():
        three_of_each(photos / theirs, found / "photos" / known)
        for more in sorted((found / "photos" / known).iterdir())[10:]:  # thirty are enough for a report
            more.unlink()
    return found


@pytest.mark.slow
def test_the_commands_work(folder):
    demo, *lines = [line for line in COMMANDS.splitlines() if not line.startswith("#")]
    assert demo.startswith("make demo")
    measured, cleaned, viewed = (ran(folder, line) for line in lines)
    assert "report.html" in measured
    assert "curate_folder@" in cleaned
    assert (folder / viewed.partition(":")[0]).is_file()


@pytest.mark.slow
def test_the_demo_works(folder):
    assert DEMO
    line = DEMO[1].strip().splitlines()[-1].strip().replace("$(BIN)/", "").replace("$(WORKERS)", "2 --limit 4")
    said = ran(folder, f"{line} --store demo --runner threads")
    assert "pictures match their hashes" in said
    assert "variorum view imagenet_e --store demo" in said


@pytest.mark.slow
def test_the_python_code_works(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("variorum.api.curate._smaller_encoder", lambda *_: ({"curate.features.encoder": "encoder"}, ""))
    names: dict = {}
    exec(next(code for language, code in BLOCKS if language == "python").replace(TIMM, "classifier"), names)
    assert names["edition"].name == "mine@3.0.0-dev-r1"
    assert {sample.variant for sample in names["small"]} <= {"size_0.05"}
    assert "30 pictures, 30 labels in 3 classes" in capsys.readouterr().out


def test_frost_is_a_generator(tmp_path):
    import numpy as np

    from variorum.schemas.component import Context
    from variorum.schemas.edit import Edit
    from variorum.schemas.lookup import build_component
    from variorum.schemas.sample import Sample

    (code,) = (code for language, code in BLOCKS if language == "python" and "class Frost" in code)
    (tmp_path / "frost.py").write_text(f"from variorum.schemas.component import Generator\n\n\n{code}")
    frost = build_component("generate", {"name": str(tmp_path / "frost.py")}, "here")
    sample = Sample("0" * 32, np.zeros((8, 8, 3), np.uint8))
    original, frosted = frost.edit(sample, Edit(frost, sample, Context(seed=1, models=None, memo=None)))
    assert original is sample
    assert frosted.variant == "frost"
    assert frosted.image.mean() > 30
