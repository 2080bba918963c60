"""What the page docs/start/report.md says of suites, commands and Python is so."""

import re
import shlex
import sys
from pathlib import Path

import pytest
import typer
import yaml
from answering import CLASSES, edition

from variorum.flows.cli import app
from variorum.stages.suite_files import load_suite, rows_of

pytestmark = pytest.mark.usefixtures("a_dozen_will_do")

PAGE = (Path(__file__).parents[2] / "docs" / "start" / "report.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
WORKFLOW, SUITE = (code for language, code in BLOCKS if language == "yaml")
MINE = f"""
import numpy as np

def load(order=(0, 1, 2)):
    def scores(images):
        return np.array([[image[..., channel].mean() for channel in order] for image in images])
    scores.classes = {CLASSES!r}
    return scores
"""


def test_the_table_has_the_rows_of_the_suite():
    table = PAGE.partition("## The rows")[2].partition("## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [row.id for row in rows_of(load_suite("robustness"))]


def test_the_suite_is_one(tmp_path):
    (tmp_path / "mine.yaml").write_text(SUITE)
    assert [row.id for row in load_suite(str(tmp_path / "mine.yaml")).rows] == ["originals", "tiny", "dark"]


def test_commands_and_the_workflow_have_options_that_there_are():
    steps = yaml.safe_load(WORKFLOW)["jobs"]["report"]["steps"]
    shell = "\n".join(
        [*(step.get("run", "") for step in steps), *(code for language, code in BLOCKS if language == "bash")]
    )
    lines = [line for line in shell.replace("\\\n", " ").splitlines() if line.startswith("variorum report")]
    command = typer.main.get_command(app).commands["report"]
    rows = {row.id for row in rows_of(load_suite("quick"))}
    for line in lines:
        given = command.make_context("report", shlex.split(line, comments=True)[2:]).params
        assert given["models"]
        limits = [*(given["fail_below"] or ()), *(given["fail_worse"] or ())]
        assert {limit.partition("=")[0] for limit in limits} <= rows
    assert len(lines) > 5


def test_the_python_code_works(photos, tmp_path, monkeypatch, capsys):
    (code,) = (code for language, code in BLOCKS if language == "python")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path / "cache"))
    edition(photos, "store")
    Path("mine.py").write_text(MINE)
    names: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(sys.modules, "mine", raising=False)
        exec(
            code.replace('"classifier"', "load((2, 0, 1))").replace('suite="quick", source="photos"', '"shots"'), names
        )
    sys.modules.pop("mine")
    assert "Originals" in capsys.readouterr().out
    assert Path("report.html").is_file()
    assert "originals" in names["report"].rows["row"].to_pylist()
