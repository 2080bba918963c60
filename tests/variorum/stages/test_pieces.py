"""Evaluations that choose their pictures: what they see, what is measured again, and what isn't even read."""

from pathlib import Path

import numpy as np
import pytest
from bright_editions import judged, recipe

from variorum.edition.store import Store
from variorum.pipeline import Job, Threads, build, evaluate, release
from variorum.schemas.errors import RecipeError
from variorum.schemas.recipe import Recipe
from variorum.stages.measure import BATCH
from variorum.stages.pieces import edition_pieces

pytestmark = pytest.mark.usefixtures("own_cache")

PICKY = """
from typing import ClassVar

import numpy as np

from variorum.schemas.component import Evaluation


class Picky(Evaluation):
    late: ClassVar[frozenset[str]] = frozenset({"labels", "mask"})
    log: ClassVar[list[tuple[str, int]]] = []

    labels: tuple[str, ...] | None = None
    mask: bool = False

    def chosen(self, table, ctx):
        if self.labels is None:
            return None
        number = np.array([1 + self.labels.index(one.id) if one.id in self.labels else 0 for one in ctx.classes])
        numbers = number[table["label"]]
        return numbers > 0 if self.mask else numbers

    def measure(self, samples, ctx):
        for sample in samples:
            number = ctx.chosen.get(sample.id, -1)
            self.log.append((sample.labels[0], number))
            yield {"id": sample.id, "number": number, "of": len(samples)}

    def figures(self, table, ctx):
        return {"rows": len(table), "batches": sorted(set(table["of"].tolist())) if len(table) else []}
"""


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


@pytest.fixture
def picky(photos, tmp_path):
    """A function: the recipe with copies of the evaluation by name, each with its fields."""

    def of(copies=0, size=4, **evaluations) -> Recipe:
        for name in evaluations:
            (tmp_path / f"{name}.py").write_text(PICKY)
        generate = [{"name": "probe", "copies": copies}] if copies else []
        listed = [{"name": str(tmp_path / f"{name}.py"), **fields} for name, fields in evaluations.items()]
        data = {**recipe(photos).dump(), "curate": [], "generate": generate, "samples_per_shard": size}
        return Recipe.parse({**data, "evaluate": listed})

    return of


def evaluated(what: Recipe, store: Store, workers=1):
    """Figures by evaluation, and by evaluation what it saw: labels with the numbers in `ctx.chosen`."""
    job = Job(what, store)
    manifest = build(job)
    logs = {one.component_name(): one.log for one in what.evaluate}
    for log in logs.values():
        log.clear()
    return evaluate(job, manifest, Threads(workers)), {name: sorted(log) for name, log in logs.items()}


def test_each_sees_what_it_chose_with_its_numbers(picky, store):
    coffee = {"labels": ["coffee", "chelsea"]}
    figures, seen = evaluated(picky(one=coffee, other={"labels": ["chelsea"], "mask": True}, all={}), store, 3)
    assert seen["one"] == [("chelsea", 2)] * 4 + [("coffee", 1)] * 4
    assert seen["other"] == [("chelsea", 1)] * 4
    assert seen["all"] == [(name, -1) for name in ("astronaut", "chelsea", "coffee") for _ in range(4)]
    assert {name: found["rows"] for name, found in figures.items()} == {"one": 8, "other": 4, "all": 12}


def test_company_changes_no_batch(picky, store):
    coffee = {"labels": ["coffee"]}
    together, _ = evaluated(picky(copies=9, size=12, one=coffee, all={}), store)
    assert together["one"] == {"rows": 40, "batches": [40 - BATCH, BATCH]}
    assert together["all"] == {"rows": 120, "batches": [120 % BATCH, BATCH]}
    for name, fields in (("one", coffee), ("all", {})):
        alone, _ = evaluated(picky(copies=9, size=12, **{name: fields}), Store(f"{store.root}-{name}"))
        assert alone[name] == together[name]


def test_a_shard_whose_choice_changed_is_measured_again(picky, store):
    evaluated(picky(one={"labels": ["coffee"]}), store)
    figures, seen = evaluated(picky(one={"labels": ["coffee", "chelsea"]}), store)
    assert (figures["one"]["rows"], seen["one"]) == (8, [("chelsea", 2)] * 4)
    _, seen = evaluated(picky(one={"labels": ["chelsea", "coffee"]}), store)  # other numbers
    assert seen["one"] == [("chelsea", 1)] * 4 + [("coffee", 2)] * 4
    for labels in (["coffee"], ["coffee", "chelsea"], ["coffee", "chelsea"]):
        assert evaluated(picky(one={"labels": labels}), store)[1]["one"] == []  # each is kept


def test_only_a_choice_is_part_of_the_keys(picky, store):
    def keys(**fields):
        what = picky(one=fields)
        return [piece.keys["one"] for piece in edition_pieces(build(Job(what, store)), what.evaluate, Job(what, store))]

    every, coffee = keys(), keys(labels=["coffee"])
    assert keys(mask=True) == every
    assert keys(labels=["coffee"], mask=True) == coffee
    assert not set(every) & set(coffee)


def test_shards_of_which_nothing_is_chosen_are_not_read(picky, store):
    what = picky(one={"labels": ["coffee"]}, none={"labels": []})
    manifest = build(Job(what, store))
    pieces = edition_pieces(manifest, what.evaluate, Job(what, store))
    needed = [piece for piece in pieces if piece.wanted(["one", "none"])]
    assert len(needed) == 1
    for piece in pieces:
        if piece not in needed:
            store.path(piece.shard).unlink()
    figures, seen = evaluated(what, store)
    assert figures == {"one": {"rows": 4, "batches": [4]}, "none": {"rows": 0, "batches": []}}
    assert seen == {"one": [("coffee", 1)] * 4, "none": []}


def test_a_release_is_chosen_from_what_it_has(picky, photos, store):
    what = picky(one={"labels": ["coffee", "chelsea"]})
    assert evaluated(what, store)[0]["one"]["rows"] == 8
    dropping = Recipe.parse({**what.dump(), "curate": recipe(photos, drop=5).dump()["curate"]})
    manifest, number, ledger = judged(dropping, store)
    job = Job(what, store)
    kept = release(job, manifest, number, ledger)
    chosen = [piece.chosen["one"] for piece in edition_pieces(kept, what.evaluate, job)]
    assert sum(map(len, chosen)) == evaluate(job, kept)["one"]["rows"] < 8


def test_a_lost_table_is_measured_again(picky, store):
    what = picky(one={"labels": ["coffee"]}, all={})
    first, _ = evaluated(what, store)
    manifest = build(Job(what, store))
    lost = next(piece for piece in edition_pieces(manifest, what.evaluate, Job(what, store)) if piece.chosen["one"])
    store.path(store.table(lost.keys["one"]), ".parquet").unlink()
    for path in Path(store.root).rglob("evaluation-*.json"):
        path.unlink()
    again, seen = evaluated(what, store)
    assert (again, seen) == (first, {"one": [("coffee", 1)] * 4, "all": []})


@pytest.mark.parametrize(
    "numbers", [[1] * 12, np.ones(11, int), np.ones((12, 1), int), np.full(12, np.nan), np.array(["1"] * 12), {}]
)
def test_a_choice_without_a_whole_number_for_each_picture_is_refused(picky, store, monkeypatch, numbers):
    what = picky(one={"labels": ["coffee"]})
    monkeypatch.setattr(type(what.evaluate[0]), "chosen", lambda self, table, ctx: numbers)
    why = r"^evaluate\.one: chosen must give an array with one whole number for each of 12 pictures$"
    with pytest.raises(RecipeError, match=why):
        evaluated(what, store)
