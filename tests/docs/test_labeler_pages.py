"""The files and commands of docs/guides/labelers.md work as they stand, section by section."""

import contextlib
import io
import json
import os
import re
import shlex
import shutil
from pathlib import Path

import datasets
import pytest
from warm_command import run_command

import variorum as va
from variorum.edition.tables import read_table
from variorum.people.votes.files import write_votes
from variorum.people.votes.tables import of_votes
from variorum.schemas.vote import Vote

PAGE = (Path(__file__).parents[2] / "docs" / "guides" / "labelers.md").read_text()
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(section):
    return FENCED.findall(PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0])


def written(section, folder):
    """The section's files in a folder, and its commands."""
    for _, code in blocks(section):
        if match := re.match(r"# ([\w.]+)\n", code):
            (folder / match[1]).write_text(code)
    return [line for language, code in blocks(section) if language == "bash" for line in code.splitlines()]


def call(command, folder):
    own = {"COLUMNS": "200", "NO_COLOR": "1", "PYTHONPATH": ""}
    return run_command(shlex.split(command, comments=True)[1:], folder, {**os.environ, **own})


def ran(folder, name, monkeypatch):
    """What a Python file of a page prints, and the names that it leaves."""
    monkeypatch.chdir(folder)
    names = {}
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec((folder / name).read_text(), names)
    return out.getvalue(), names


def test_add_a_labeler(tmp_path, monkeypatch):
    (command,) = written("Write a labeler", tmp_path)
    done = call(command, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Nobody looked for these 9 categories" in done.stdout
    (printed,) = [code for language, code in blocks("Write a labeler") if language == "text"]
    said, names = ran(tmp_path, "look.py", monkeypatch)
    assert said == printed
    assert names["table"]["safety.much_red.spam"].between(0, 1).all()
    assert "much_red | classifier | one prompt | ok 12" in (
        tmp_path / "store/editions/red_posters/1.0.0-dev-r1/README.md"
    ).read_text(encoding="utf-8")


@pytest.mark.slow
def test_label_a_folder(photos, tmp_path, monkeypatch):
    first, ask, second = written("Label a folder", tmp_path)
    shutil.copytree(photos, tmp_path / "photos")
    done = call(first, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Nobody looked for these 10 categories" in done.stdout
    asked = call(f"{ask.partition('#')[0]} --publish-only", tmp_path)
    assert asked.returncode == 1
    assert "there is nothing to ask about unsafe" in asked.stderr
    edition = va.open("checked@1.0.0", store=str(tmp_path / "store"))
    row = read_table(edition.store, edition.manifest.rows, ["id", "sha256"]).to_pylist()[0]
    votes = [Vote(who, "unsafe", row["id"], row["sha256"], "sexual", who, "yes") for who in ("ann", "ben")]
    write_votes(of_votes(votes), tmp_path / "votes.parquet")
    done = call(second, tmp_path)
    assert done.returncode == 0, done.stderr
    release = va.open("checked@1.0.0-r2", store=str(tmp_path / "store"))
    status = {one["id"]: one["status"] for one in release.table(["id", "status"]).to_pylist()}
    assert [name for name, state in status.items() if state == "withheld"] == [row["id"]]
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf"))
    rows = datasets.load_dataset(str(tmp_path / "store/editions/checked/1.0.0-r2"), split="test")
    assert len(rows) == len(status) - 1
    for one in rows["safety.json"]:
        assert one["state"].count("unscored") == one["p"].count(None) == len(one["unscored"]) == 10
    _, names = ran(tmp_path, "read.py", monkeypatch)
    assert len(names["unscored"]) == 10
    assert json.loads(names["table"].set_index("id").loc[row["id"], "safety.unsafe"]) == ["sexual"]
