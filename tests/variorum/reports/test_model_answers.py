"""Models' answers on the page of an edition: found beside it, matched to classes, checked."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from answering import CLASSES, by_warmth, constant, edition, forged

import variorum as va
from variorum.api.edition import Edition
from variorum.edition.store import Store
from variorum.machine.progress import QUIET
from variorum.pipeline import Job, evaluate
from variorum.reports.answers import Labels
from variorum.reports.page.edition_page import edition_page
from variorum.schemas.component import ClassInfo
from variorum.schemas.recipe import Recipe

MODULE = """
import numpy as np

def load():
    def always(images):
        return np.tile([[0.1, 0.2, 0.7]], (len(images), 1))
    always.classes = ["astronaut", "chelsea", "coffee"]
    return always
"""


@pytest.fixture
def shots(photos, tmp_path, own_cache) -> Edition:
    store = str(tmp_path / "store")
    return Edition(edition(photos, store), Store(store))


def page_of(shots: Edition, *, alone: bool = False):
    """The page's facts about models and, by column, its values as they are shown."""
    parts = edition_page(shots.manifest, shots.store, QUIET, most=1000, with_map=False, blur=False, alone=alone)
    found = {}
    for one in parts.table["columns"]:
        values = one["values"]
        if one["kind"] == "text":
            values = [None if code < 0 else values[code] for code in one["codes"]]
        found[one["name"]] = values
    return parts.facts.get("models"), found


def test_each_picture_has_what_each_model_answered(shots):
    results = va.evaluate(shots, {"warm": by_warmth, "cup": constant(2)}, progress=False)
    models, columns = page_of(shots)
    # files of results come by name
    assert models == [
        {"name": name, "right": f"answer of {name}", "says": f"{name} says", "p": f"p(label) of {name}"}
        for name in ("cup", "warm")
    ]
    rows = {name: row for row, name in enumerate(columns["id"])}
    answers = results.answers().to_pylist()
    assert len(answers) == 2 * 36
    for one in answers:
        row, model = rows[one["id"]], one["model"]
        assert columns[f"answer of {model}"][row] == ("right" if one["correct"] else "wrong")
        assert columns[f"{model} says"][row] == CLASSES[one["top1"]]
        assert 0 <= columns[f"p(label) of {model}"][row] <= 1
    assert columns["answer of cup"].count("right") == columns["class"].count("coffee") == 12
    assert not [name for name in page_of(shots, alone=True)[1] if "cup" in name]  # a published page has no figures


def test_of_a_result_from_elsewhere_right_and_wrong_are_known(shots):
    va.evaluate(shots, {"cup": constant(2)}, progress=False)
    (file,) = (shots.path / "results").iterdir()
    (shots.path / "results" / "theirs.json").write_bytes(forged(file.read_bytes(), model__name="their cup"))
    other = forged(file.read_bytes(), model__name="another edition's", edition__digest="0" * 64)
    (shots.path / "results" / "other.json").write_bytes(other)
    models, columns = page_of(shots)
    assert [model["name"] for model in models] == ["cup", "their cup"]
    assert models[1] == {"name": "their cup", "right": "answer of their cup"}
    assert columns["answer of their cup"] == columns["answer of cup"]


@pytest.mark.parametrize("damage", ["file", "table"])
def test_damaged_answers_leave_right_and_wrong(shots, damage, caplog):
    va.evaluate(shots, {"cup": constant(2)}, progress=False)
    (file,) = shots.path.glob("answers-*.json")
    if damage == "file":
        file.write_bytes(file.read_bytes().replace(b'"cup"', b'"cat"'))
    else:
        (table,) = json.loads(file.read_bytes())["tables"]
        Path(shots.store.root, "objects", f"{table['sha256']}.parquet").unlink()
    with caplog.at_level(logging.WARNING):
        models, columns = page_of(shots)
    assert models == [{"name": "cup", "right": "answer of cup"}]
    assert columns["answer of cup"].count("right") == 12
    assert "answers" in caplog.text


def test_the_answers_of_a_recipe_s_evaluation_are_shown(shots, photos, tmp_path):
    path = tmp_path / "cups.py"
    path.write_text(MODULE)
    model = f"module:{path}:load"
    recipe = Recipe.parse({**shots.manifest.recipe, "source": {"name": "image_folder", "path": str(photos)}})
    recipe = Recipe.parse({**recipe.dump(), "evaluate": [{"name": "accuracy_drop", "classifiers": [model]}]})
    evaluate(Job(recipe, shots.store), shots.manifest)
    va.evaluate(shots, model, progress=False)  # a result of the same model is no second one
    (one,), columns = page_of(shots)
    assert one["name"] == "module:cups.py:load"
    assert set(columns[one["says"]]) == {"coffee"}
    assert columns[one["right"]].count("right") == 12
    coffee = [p for name, p in zip(columns["class"], columns[one["p"]], strict=True) if name == "coffee"]
    assert coffee == pytest.approx([coffee[0]] * 12)


def test_outputs_are_named_by_the_edition_or_by_classes_that_fit():
    known = [ClassInfo(f"n{number}", name) for number, name in enumerate(("tench", "Robin", "chow", "zebra"))]
    own = Labels(["bird", "dog", ""], [("bird", "robin"), ("dog", "chow")], known)
    assert own.of_outputs(np.array([1, 2, -1]), 4) == {0: "tench", 1: "bird", 2: "dog", 3: "zebra"}
    assert own.of_outputs(np.array([2, 1, -1]), 4) == {1: "dog", 2: "bird"}  # in another order: nothing else is known
    assert own.of_outputs(np.array([0, 1, -1]), 2) == {0: "bird", 1: "dog"}
    assert own.of_outputs(np.array([0, 2, -1]), 3) == {0: "bird", 2: "dog"}
    wnids = Labels(["n1"], [("n1", "n1")], known)
    assert wnids.of_outputs(np.array([1]), 4)[3] == "zebra"
