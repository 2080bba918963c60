"""The labels that people are asked about: by hand, and proposed by real classifiers on real photographs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from embedded_edition import edition, scores
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from variorum.curation.labels.candidates import Candidates, best_classes, edition_probabilities
from variorum.edition.editions import resolve
from variorum.edition.verify import verify
from variorum.models import refuse_filters
from variorum.people.panel.panel import newest_ledger, publish, read_questions
from variorum.people.panel.settings import Settings
from variorum.pipeline import Job, build, curate, release
from variorum.schemas.component import ClassInfo, Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.recipe import Recipe
from variorum.stages.decide import only_propose
from variorum.stages.score import curated_table


class Says:
    """A classifier with classes of its own that gives the rows it was made with."""

    def __init__(self, classes, rows):
        self.classes, self.rows = classes, np.array(rows)

    def __call__(self, images):
        return self.rows[: len(images)]


class Both:
    """The models behind two aliases."""

    def __init__(self, **models):
        self.get = models.__getitem__


CLASSES = tuple(ClassInfo(one, one) for one in ("cat", "dog", "fox"))


def context(**models):
    return Context(0, Both(**models), None, classes=CLASSES)


def looked_at(step, labels, ctx):
    """The table after measuring pictures with these labels."""
    from variorum.schemas.sample import Sample

    samples = [
        Sample(f"{k:032x}", np.zeros((2, 2, 3), np.uint8), (one,) if one else ()) for k, one in enumerate(labels)
    ]
    measured = list(step.measure(samples, ctx))
    index = [[info.id for info in CLASSES].index(one) if one else -1 for one in labels]
    columns = {f"candidates.{name}": np.stack([row[name] for row in measured]) for name in measured[0]}
    return edition(np.zeros((len(labels), 2)), index, columns)


def test_cells_by_hand():
    first = Says(("dog", "cat", "wolf"), [[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.05, 0.9, 0.05]])
    second = Says(("cat", "dog", "fox"), [[0.5, 0.1, 0.4], [0.0, 0.3, 0.7], [0.95, 0.05, 0.0]])
    step = Candidates(classifiers=("a", "b"), top=2, columns=("other.proposed",))
    ctx = context(a=first, b=second)
    table = looked_at(step, ["fox", "dog", "cat"], ctx)
    table = table.append_column("other.proposed", [[0, -1, 0]])
    found = scores(step, table, ctx)
    cells = [json.loads(text) for text in found["cells"]]
    # the first model knows no fox, and its wolf isn't in the edition
    assert cells[0] == [["cat", 3, [0.2, 0.5]], ["fox", 2, [None, 0.4]], ["dog", 1, [0.7, 0.0]]]
    assert cells[1] == [["dog", 2, [0.1, 0.3]], ["fox", 1, [None, 0.7]]]
    assert cells[2] == [["cat", 4, [0.9, 0.95]]]
    assert found["top1"].tolist() == [[1, 0], [-1, 2], [0, 0]]
    assert found["agree"].tolist() == [False, False, True]
    said = [
        [[CLASSES[label].id, p] for label, p in zip(labels.tolist(), chances.reshape(8, 2), strict=True) if label >= 0]
        for labels, chances in zip(found["proposals"], found["chances"], strict=True)
    ]
    for numbers, texts in zip(said, cells, strict=True):
        assert [one for one, _ in numbers] == [one for one, _, _ in texts]
        for (_, p), (_, _, q) in zip(numbers, texts, strict=True):
            np.testing.assert_allclose(p, [np.nan if one is None else one for one in q], atol=1e-4)


def test_classes_that_cannot_be_told_apart_are_proposed_together():
    ctx = context(a=Says(("cat", "dog", "fox"), [[0.9, 0.1, 0.0]]))
    step = Candidates(classifiers=("a",), collapsed={"cat": ("fox",)})
    found = scores(step, looked_at(step, ["cat"], ctx), ctx)
    assert [one for one, _, _ in json.loads(found["cells"][0])] == ["cat", "fox"]
    step = Candidates(classifiers=("a",), collapsed={"cat": ("lynx",)})
    with pytest.raises(RecipeError, match="'lynx' is no class of the edition"):
        step.check(ctx)


def test_without_labels_models_propose_and_nobody_agrees():
    ctx = context(a=Says(("cat", "dog", "fox"), [[0.9, 0.1, 0.0]]))
    step = Candidates(classifiers=("a",), zero_shot="")
    found = scores(step, looked_at(step, [""], ctx), ctx)
    assert json.loads(found["cells"][0]) == [["cat", 1, [0.9]]]
    assert found["agree"].tolist() == [False]


@given(
    rows=st.lists(st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4), min_size=1, max_size=6),
    k=st.integers(1, 6),
)
def test_the_best_are_the_best(rows, k):
    p = np.array(rows)
    found, chances = best_classes(p, k)
    assert found.shape == chances.shape == (len(p), k)
    assert (np.diff(chances, axis=1) <= 0).all()
    for row in range(len(p)):
        assert chances[row, : min(k, 4)].tolist() == sorted(p[row], reverse=True)[: min(k, 4)]
        assert not chances[row, 4:].any()
        for one, chance in zip(found[row].tolist(), chances[row].tolist(), strict=True):
            assert (one == -1) or p[row, one] == chance
        there = found[row][found[row] >= 0]
        assert len(set(there.tolist())) == len(there)


def test_a_class_that_the_edition_lacks_is_the_last_column():
    ctx = context(a=Says(("wolf", "fox", "bear"), [[0.5, 0.3, 0.2]]))
    np.testing.assert_array_equal(edition_probabilities("a", [None], ctx), [[np.nan, np.nan, 0.3, 0.5]])
    ctx = context(a=Says(("cat", "dog", "fox"), [[0.5, 0.3, 0.2]]))
    np.testing.assert_array_equal(edition_probabilities("a", [None], ctx), [[0.5, 0.3, 0.2, -np.inf]])


@pytest.mark.parametrize(
    "fields", [{"columns": ("proposed",)}, {"cap": 0}, {"top": 0}, {"least": 2}, {"collapsed": "x"}]
)
def test_invalid_settings_are_refused(fields):
    with pytest.raises(ValidationError):
        Candidates(**fields)


@pytest.mark.parametrize("values", [[7], [0.5]])
def test_a_column_without_class_indices_is_refused(values):
    ctx = context(a=Says(("cat", "dog", "fox"), [[0.9, 0.1, 0.0]]))
    step = Candidates(classifiers=("a",), columns=("other.proposed",))
    table = looked_at(step, ["cat"], ctx).append_column("other.proposed", [values])
    with pytest.raises(RecipeError, match=r"column other\.proposed holds"):
        scores(step, table, ctx)


# ── in a recipe ──────────────────────────────────────────────────────────────────────────────────────────────────────


def recipe(photos, *more, **fields):
    return {
        "dataset": "asked",
        "version": "1.0.0",
        "samples_per_shard": 6,
        "masters": "original",
        "source": {"name": "image_folder", "path": str(photos)},
        "curate": [{"name": "candidates", "top": 3, **fields}, *more],
        "evaluate": [{"name": "accuracy_drop", "classifiers": ["classifier_small", "classifier"]}],
    }


@pytest.fixture(scope="module")
def folder(photos, tmp_path_factory):
    """The photographs in folders with the names of ImageNet's classes, and one wrong label."""
    named = tmp_path_factory.mktemp("named")
    for name, wnid in (("astronaut", "n04552348"), ("chelsea", "n02124075"), ("coffee", "n07920052")):
        for file in (photos / name).iterdir():
            other = "n07920052" if (name, file.name) == ("chelsea", "0.jpg") else wnid
            (named / other).mkdir(exist_ok=True)
            (named / other / f"{name}_{file.name}").write_bytes(file.read_bytes())
    return named


def test_real_classifiers_propose_and_may_judge_the_release(folder, tmp_path):
    job = Job(Recipe.parse(recipe(folder)), str(tmp_path / "store"))
    manifest = build(job)
    number, ledger = curate(job, manifest)
    assert set(ledger.proposers) == {"classifier_small", "classifier"}
    assert ledger.models == {}
    figures = ledger.figures["candidates"]
    assert (figures["pictures"], figures["models"]) == (12, 2)
    assert figures["cells_a_picture"] >= 1
    released = release(job, manifest, number, ledger)
    assert released.filters == []
    assert verify(resolve("asked@1.0.0-r1", job.store), job.store) == []
    refuse_filters(ledger.proposers, released.filters)  # doesn't raise

    table = curated_table(manifest, ledger, ["candidates"], job.store)
    cells = [json.loads(text) for text in table["candidates.cells"]]
    given = [labels[0] for labels in table.column("labels").to_pylist()]
    assert all(label in {one for one, _, _ in some} for label, some in zip(given, cells, strict=True))
    questions = read_questions(publish(manifest, job.store, Settings()), job.store)
    assert newest_ledger(manifest, job.store)[0] == number
    proposed = {(one, label) for one, some in zip(table["id"], cells, strict=True) for label, _, _ in some}
    asked = [row for row in questions.to_pylist() if row["why"] == "asked"]
    assert asked
    assert {(row["id"], row["subject"]) for row in asked} <= proposed


def test_what_another_step_reads_does_decide(folder):
    rule = {"when": [{"column": "candidates.agree", "equals": False}], "action": "drop", "reason": "odd"}
    fields = recipe(folder, {"name": "policy", "rules": [rule]})
    alone, read = (Recipe.parse(one).curate for one in (recipe(folder), fields))
    assert [step.component_name() for step in only_propose(alone)] == ["candidates"]
    assert only_propose(read) == []
