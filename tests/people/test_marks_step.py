"""The step `marks`: people's marks beside the records, and a rule that asks people."""

import json

import numpy as np
import pyarrow as pa
import pytest

from variorum.curation.people.marks import Marks
from variorum.schemas.component import Context
from variorum.schemas.errors import SourceError
from variorum.schemas.recipe import Recipe
from variorum.schemas.table import Table
from variorum.stages.marked import RULE, with_marks

CONTEXT = Context(0, None, None)
TABLE = Table(pa.table({"id": ["a", "b", "c"]}), "marks")


@pytest.fixture
def file(tmp_path):
    lines = [{"marks": 1, "edition": "d@1.0.0", "digest": ""}, {"id": "c", "ask": True, "tags": ["z", "a b"]}]
    lines += [{"id": "a", "note": "odd"}]
    path = tmp_path / "m.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_marks_become_columns(file):
    step = Marks(file=file)
    step.check(CONTEXT)
    found = step.score(TABLE, CONTEXT)
    assert np.array_equal(found["ask"], [False, False, True])
    assert (found["tags"], found["note"]) == (["", "", "a b, z"], ["odd", "", ""])
    figures = step.figures(TABLE, CONTEXT)
    assert (figures["ask"], figures["tags"]) == (1, {"a b": 1, "z": 1})
    with pytest.raises(SourceError, match=r"curate\.marks\.file: 1 of 2 marked pictures aren't in this edition: c"):
        step.score(Table(pa.table({"id": ["a", "b"]}), "marks"), CONTEXT)


def test_without_a_file_there_is_nothing():
    found = Marks().score(TABLE, CONTEXT)
    assert not found["ask"].any()
    assert found["tags"] == found["note"] == ["", "", ""]
    assert Marks().figures(TABLE, CONTEXT) == {}


@pytest.mark.parametrize("steps", [[], [{"name": "policy", "rules": [RULE | {"reason": "own"}]}]])
def test_a_recipe_gets_the_step_and_its_rule(file, steps):
    marks = [{"name": "marks"}] if steps else []
    source = {"name": "samples"}
    recipe = Recipe.parse({"dataset": "d", "version": "1.0.0", "source": source, "curate": [*marks, *steps]})
    first = with_marks(recipe, file).dump()["curate"]
    assert first[0] == {"name": "marks", "file": str(file)}
    reasons = [rule["reason"] for rule in first[-1]["rules"]]
    assert reasons == (["own"] if marks else ["marked"])  # a recipe with the step has rules of its own
    assert with_marks(with_marks(recipe, file), file).dump()["curate"] == first


def test_the_rule_comes_before_those_that_drop(file):
    drop = {"when": [{"column": "variant", "equals": "x"}], "action": "drop", "reason": "own"}
    recipe = Recipe.parse(
        {
            "dataset": "d",
            "version": "1.0.0",
            "source": {"name": "samples"},
            "curate": [{"name": "policy", "rules": [drop]}],
        }
    )
    (_, policy) = with_marks(recipe, file).curate
    assert [rule.reason for rule in policy.rules] == ["marked", "own"]
