"""`variorum report` on the command line: its plan, its files, its exit codes, and what it refuses before any work."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from answering import CLASSES, edition

from variorum.flows.cli import main
from variorum.flows.endings import GUARD
from variorum.pipeline import Job, build
from variorum.schemas.recipe import Recipe

pytestmark = pytest.mark.usefixtures("a_dozen_will_do")

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
    (folder / "bare").mkdir()
    for place, photo in enumerate(sorted(photos.rglob("*.jpg"))):
        shutil.copy(photo, folder / "bare" / f"{place}.jpg")
    fields = {"dataset": "bare", "version": "1.0.0", "source": {"name": "image_folder", "path": str(folder / "bare")}}
    build(Job(Recipe.parse(fields), str(folder / "store")))
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


def test_a_model_below_its_limit_ends_with_a_code_of_its_own_and_the_page_is_there(say, workplace, tmp_path):
    words = ("shots", "--model", WARM, "--model", ALWAYS, "--fail-below", f"{ALWAYS}:originals=90")
    page = tmp_path / "out" / "report.html"
    code, out, err, asked = say(*words, "--to", str(page), "--json", str(tmp_path / "report.json"))
    assert code == GUARD, err
    assert asked == 2 * 36 + 2  # and a trial of each
    assert page.read_text().startswith("<!doctype html>")
    assert page.with_suffix(".md").read_text().startswith("#")
    kept = json.loads((tmp_path / "report.json").read_bytes())
    assert [one["outcome"] for one in kept["guards"]] == ["failed"]
    assert str(workplace) not in json.dumps(kept)
    assert "72" in err  # the plan
    assert "Originals" in out
    assert str(page) in out

    again = say(*words, "--json", "-")
    assert again[0] == GUARD
    assert again[3] == 0
    assert json.loads(again[1]) == kept


def test_an_undecided_limit_fails_only_if_asked_to(say):
    words = ("shots", "--model", WARM, "--fail-below", "originals=60")
    code, _, err, _ = say(*words)
    assert (code, "undecided" in err) == (0, True)
    code, *_, asked = say(*words, "--strict")
    assert (code, asked) == (GUARD, 0)


def test_the_plan_alone_runs_no_file_of_a_model_and_writes_nothing(say, workplace, tmp_path):
    before = sorted((workplace / "store").rglob("*"))
    new = workplace / "new.py"
    new.write_text(MINE)
    code, out, _, asked = say(
        "shots", "--model", "module:new.py:load", "--plan", "--to", str(tmp_path / "no" / "a.html")
    )
    assert (code, asked) == (0, 0)
    assert "36 answers" in out
    assert "module:new.py:load: Python, which a run executes" in out
    plan = json.loads(say("shots", "--model", "module:new.py:load", "--plan", "--json", "-")[1])
    assert plan["passes"] == 36
    assert "originals" in plan["rows"]
    assert plan["runs"] == ["module:new.py:load"]
    assert sorted((workplace / "store").rglob("*")) == before
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("shots",), 2, "--model"),
        (("--model", WARM), 2, "--source FOLDER"),
        (("shots", "--source", "photos", "--model", WARM), 2, "say once which pictures"),
        (("shots", "--model", "classfier"), 2, "no model alias 'classfier'"),
        (("shots", "--model", "tim:resnet50"), 2, "did you mean timm:"),
        (("shots", "--model", WARM, "--reference", ALWAYS), 2, "is none of the models"),
        (("shots", "--model", WARM, "--fail-below", "orignals=3"), 2, "Do you mean originals?"),
        (("shots", "--model", WARM, "--fail-below", "judge:originals=3"), 2, "no model is called 'judge'"),
        (("shots", "--model", WARM, "--fail-worse", "originals=3"), 1, "which isn't compared with itself"),
        (("shots", "--model", WARM, "--fail-worse", "originals=x"), 1, "a number from 0 to 100"),
        (("--suite", "quik", "--source", "photos", "--model", WARM), 2, "did you mean quick?"),
        (("--suite", "none.yaml", "--source", "photos", "--model", WARM), 1, "none.yaml: no such file"),
        (("--source", "nowhere", "--model", WARM), 1, "nowhere"),
        (("shats", "--model", WARM), 1, "did you mean shots"),
        (("lab/shots", "--model", WARM), 1, "lab/shots@1.0.0"),
        (("shots", "--model", "module:mine.py:other"), 1, "astronaut"),
        (("shots", "--model", "classifier_small"), 1, "none of the 3 classes (astronaut, chelsea, coffee)"),
        (("bare", "--model", WARM), 1, "has no labels"),
        (("shots", "--model", WARM, "--to", "report.txt"), 2, ".html"),
        (("shots", "--model", WARM, "--json", "."), 2, "must be a file, or -"),
        (("--source", "", "--model", WARM), 2, "is empty; give a folder"),
        (("--suite", "", "--source", "photos", "--model", WARM), 2, "no suite ''"),
        (("shots", "--model", WARM, "--to", "mine.py/report.html"), 1, "can't be written"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_before_any_work(say, words, code, said):
    found, _, err, asked = say(*words)
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    assert said in line
    assert found == code
    assert asked <= 1  # to learn the number of outputs
    assert "Traceback" not in err
