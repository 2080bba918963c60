"""`variorum votes` and the page docs/people/votes.md, on a real small edition with a panel."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from served_panel import make_edition
from warm_command import run_command, run_fresh

from variorum.edition.store import Store
from variorum.flows.cli import main
from variorum.people.panel.panel import open_panel, publish
from variorum.people.panel.settings import Settings
from variorum.people.votes.ballots import pause, recount

PAGE = (Path(__file__).parents[3] / "docs" / "people" / "votes.md").read_text()
COMMANDS = re.findall(r"^variorum votes .*$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def edition(tmp_path_factory):
    folder = tmp_path_factory.mktemp("edition")
    manifest, store = make_edition(folder, each=3)
    publish(manifest, store, Settings(votes=2, gold=0.0, agreed=0.0, collapsed={"chelsea": ("coffee",)}))
    return folder, manifest, store


@pytest.fixture
def say(edition, monkeypatch, capsys):
    """Runs the command beside the store; returns the exit code and what was said."""
    folder, *_ = edition
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["votes", "served", *words])
        return (ended.value.code or 0, *capsys.readouterr())

    return call


def write_project(path: Path) -> None:
    """A project of one's own: one tag with both classes, by name and by id."""
    choices = {"from_name": "what", "to_name": "img", "type": "choices", "value": {"choices": ["coffee"]}}
    task = {"id": 1, "data": {"image": "https://host/data/chelsea/002.png"}}
    annotations = [
        {
            "id": number,
            "completed_by": {"email": who},
            "created_at": "2026-03-09T22:16:00Z",
            "lead_time": 6,
            "result": [choices],
        }
        for number, who in enumerate(("=eve@host", "fay@host"))
    ]
    path.write_text(json.dumps([{**task, "annotations": annotations}]))


def test_the_page_in_its_order(edition, say):
    folder, manifest, store = edition
    (folder / "answers.csv").write_text(re.search(r"^```csv\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[1])
    write_project(folder / "project.json")
    said = [say(*shlex.split(line)[3:]) for line in COMMANDS]
    assert [code for code, *_ in said] == [0] * len(COMMANDS), said
    shown, parquet, table, csv, project, tasks, again = (out for _, out, _ in said)
    assert "panel served@1.0.0/main: 0 of 9 questions are complete, 18 answers are missing" in shown
    assert parquet == "votes.parquet: 0 votes\n"
    assert table == "votes.csv: 0 votes\n"
    assert csv == "answers.csv: 3 votes are new, 0 were there already, 0 are refused\n"
    assert project == "project.json: 4 votes are new, 0 were there already, 0 are refused\n"
    assert tasks == "tasks.json: 6 tasks; set up the project with tasks.xml\n"
    assert "2 of 10 questions are complete" in again
    assert "agreement on 2 questions: alpha 1.00, AC1 1.00" in again
    assert re.search(r"ann +│ 3 ", again)
    assert re.search(r"=eve@host +│ 2 +│ 3\.0 +│ 1\.00 +│", again)
    _, out, _ = say("--from", "tasks.json", "--json")
    assert json.loads(out) == {"kept": 0, "known": 7, "refused": {}, "examples": []}
    for name in ("moved.csv", "moved.parquet"):
        assert say("--to", name, "--json")[1] == f'{{"file": "{name}", "votes": 7}}\n'
        code, out, _ = say("--from", name, "--database", f"{name}.sqlite")
        assert (code, out) == (0, f"{name}: 7 votes are new, 0 were there already, 0 are refused\n")
        panel = open_panel(manifest, store, database=str(folder / f"{name}.sqlite"))
        assert recount(panel.engine, panel.key) == []
        panel.engine.dispose()


def test_what_is_refused_is_said(edition, say):
    folder, manifest, store = edition
    (folder / "odd.csv").write_text(
        "origin,label,answer,reviewer\ncoffee/000.png,coffee,no,gus\ncoffee/000.png,coffee,yes,gus\nnone.png,coffee,yes,gus\n"
    )
    code, out, _ = say("--from", "odd.csv", "--database", "odd.sqlite")
    assert (code, out.splitlines()[0]) == (0, "odd.csv: 1 votes are new, 0 were there already, 2 are refused")
    assert "  1 refused: second" in out
    assert "  vote 3: picture none.png isn't in this panel" in out
    (folder / "none.csv").write_text("origin,label,answer,reviewer\nnone.png,coffee,yes,gus\n")
    assert say("--from", "none.csv", "--database", "odd.sqlite")[0] == 1
    panel = open_panel(manifest, store, database=str(folder / "odd.sqlite"))
    assert not pause(panel.engine, panel.key, "gus", True)  # has only votes, and never joined
    panel.engine.dispose()
    _, out, _ = say("--json", "--database", "odd.sqlite")
    found = json.loads(out)
    assert found["panel"] == "served@1.0.0/main"
    assert (found["coverage"]["questions"], found["coverage"]["complete"], found["coverage"]["answers"]) == (9, 0, 17)
    assert [(one["reviewer"], one["answers"]) for one in found["raters"]] == [("gus", 1)]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--to", "a.csv", "--from", "b.csv"], 2, "--to or --from, not both"),
        (["--to", "a.json"], 2, "give --images"),
        (["--to", "a.json", "--images", "https://host"], 1, "has no {id} in it"),
        (["--to", "a.csv", "--images", "https://host/{id}"], 2, "goes with --to FILE.json"),
        (["--to", "a.txt"], 1, "ends in '.txt'"),
        (["--from", "nothing.csv"], 1, "no such file"),
        (["--name", "other"], 1, "has no panel other"),
        (["--database", "postgresql://me:hidden@127.0.0.1:1/x"], 75, "try again"),
    ],
)
def test_wrong_use_ends_in_one_line(say, words, code, said):
    found, _, err = say(*words)
    assert found == code
    assert said in " ".join(err.split())
    assert "hidden" not in err


@pytest.mark.parametrize("state", [pytest.param("closed", marks=pytest.mark.slow), "killed"])
def test_a_read_only_store_shows_and_exports_its_votes(edition, tmp_path, state):
    """After a kill the last votes are in the log beside the database alone."""
    manifest, store = edition[1:]
    live, disk, source = (tmp_path / name for name in ("live", "disk", "new.csv"))
    shutil.copytree(store.local, live, symlinks=True, ignore=shutil.ignore_patterns("votes.sqlite*"))
    panel = open_panel(manifest, Store(str(live)))
    source.write_text(f"id,label,answer,reviewer\n{_one_picture(panel)},chelsea,yes,zoe\n")
    if state == "closed":
        panel.engine.dispose()

    def call(where, *words, run=run_command):
        done = run(["votes", "served", *words, "--store", str(where)], tmp_path, os.environ)
        return done.returncode, done.stdout + done.stderr

    code, said = call(live, "--from", str(source), run=run_fresh)  # which closes the database at its end
    assert code == 0, said
    shutil.copytree(live, disk, symlinks=True)
    panel.engine.dispose()
    assert [path.stat().st_size > 0 for path in disk.rglob("votes.sqlite-wal")] == [True] * (state == "killed")
    if subprocess.run(["mount", "--bind", disk, disk], capture_output=True).returncode:
        pytest.skip("mounting isn't allowed here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", disk], check=True)
        for words, says in (((), "zoe"), (("--to", str(tmp_path / "votes.csv")), "1 votes")):
            code, said = call(disk, *words)
            assert (code, says in said) == (0, True), said
        code, said = call(disk, "--from", str(source))
        assert (code, "can't be written" in said) == (1, True), said
    finally:
        subprocess.run(["umount", disk], check=True)
    assert (tmp_path / "votes.csv").stat().st_mode & 0o777 == 0o600


def _one_picture(panel) -> str:
    from variorum.people.panel.panel import read_questions

    return next(row["id"] for row in read_questions(panel, panel.store).to_pylist() if row["subject"] == "chelsea")
