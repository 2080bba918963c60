"""What is wrong with a recipe is said before a picture is made, by `plan` as well as by `run`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from variorum.edition.store import Store
from variorum.pipeline import Job, check, run
from variorum.schemas.errors import RecipeError, SourceError
from variorum.schemas.recipe import Recipe
from variorum.stages.build import Build

RULE = {"action": "review", "reason": "odd"}


@pytest.fixture(autouse=True)
def _no_work(monkeypatch, own_cache):
    monkeypatch.setattr(Build, "make", lambda *_: pytest.fail("began"))


@pytest.fixture
def flat(photos, tmp_path) -> Path:
    """Pictures without classes."""
    (tmp_path / "flat").mkdir()
    for number, path in enumerate(sorted(photos.rglob("*.jpg"))):
        shutil.copy(path, tmp_path / "flat" / f"{number}.jpg")
    return tmp_path / "flat"


def refused(tmp_path, source: Path, kind=RecipeError, **fields) -> str:
    """The message with which both a check and a run refuse a recipe, after which the store has no files."""
    data = {"dataset": "d", "version": "1.0.0", "source": {"name": "image_folder", "path": str(source)}}
    said = set()
    for work in (check, run):
        with pytest.raises(kind) as error:
            work(Job(Recipe.parse({**data, **fields}), Store(str(tmp_path / "store"))))
        said.add(str(error.value))
    assert (
        not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
        if (tmp_path / "store").exists()
        else True
    )
    (message,) = said
    assert "\n" not in message
    return message


def test_a_card_template(photos, tmp_path):
    assert "card.template: no 'x'" in refused(tmp_path, photos, card={"template": "x"})


def test_steps_that_need_labels_of_a_source_without_classes(flat, tmp_path):
    steps = [{"name": "features"}, {"name": "duplicates"}, {"name": "probabilities"}, {"name": "training_dynamics"}]
    said = refused(tmp_path, flat, curate=steps)
    assert said == (
        "source image_folder has no labels, which probabilities, training_dynamics need; leave them out with "
        "everything that needs them: --set curate.probabilities=null --set curate.training_dynamics=null"
    )


def test_a_column_that_no_edition_has(photos, tmp_path):
    rules = [{**RULE, "when": [{"column": "brightness", "above": 1}]}]
    said = refused(tmp_path, photos, curate=[{"name": "policy", "rules": rules}])
    assert "curate.policy.rules.0: an edition has no column 'brightness'" in said


def test_a_column_that_no_step_gives(photos, tmp_path):
    rules = [{**RULE, "when": [{"column": "quality.scor", "above": 1}]}]
    said = refused(tmp_path, photos, curate=[{"name": "quality"}, {"name": "policy", "rules": rules}])
    assert said == "curate.policy.rules.0: quality gives no column 'scor'; did you mean quality.score?"


def test_answers_that_are_missing_or_no_answers(photos, tmp_path):
    path = tmp_path / "answers.csv"
    curate = [{"name": "audit", "answers": str(path)}]
    assert "no such file" in refused(tmp_path, photos, SourceError, curate=curate)
    path.write_text("id,wrong\n1,0\n")
    assert "has no column sha256" in refused(tmp_path, photos, SourceError, curate=curate)
    path.write_text("id,sha256,wrong\n1,2,maybe\n")
    assert "wrong is 'maybe'; write 0, 1 or nothing" in refused(tmp_path, photos, SourceError, curate=curate)
    path.write_bytes(b"\xff\xfe\0")
    assert "can't be read" in refused(tmp_path, photos, SourceError, curate=curate)


def test_lists_that_are_missing_or_no_lists(photos, tmp_path):
    path = tmp_path / "list.parquet"
    leakage = {"name": "leakage", "embedding": False, "against": [str(path)]}
    curate = [{"name": "duplicates", "embedding": False}, leakage]
    assert "list.parquet" in refused(tmp_path, photos, SourceError, curate=curate)
    path.write_bytes(b"PAR1 no parquet PAR1")
    assert "can't be read as parquet" in refused(tmp_path, photos, SourceError, curate=curate)
    pq.write_table(pa.table({"x": [1]}), path)
    assert "has none of the columns sha256" in refused(tmp_path, photos, SourceError, curate=curate)


def test_a_reference_that_is_missing(photos, tmp_path):
    real = {"name": "image_folder", "path": str(photos)}
    missing = {"name": "fashion_mnist", "path": str(tmp_path / "nowhere")}
    entry = {"name": "generated_set", "encoder": "judge_encoder", "judge": None, "train": missing, "test": real}
    assert "nowhere" in refused(tmp_path, photos, SourceError, evaluate=[entry])


def test_a_judge_that_nobody_knows(photos, tmp_path):
    said = refused(tmp_path, photos, RecipeError, evaluate=[{"name": "accuracy_drop", "classifiers": ["nobody"]}])
    assert "nobody" in said
