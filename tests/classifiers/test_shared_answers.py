"""The table of answers that evaluations share: a model sees each picture once, and figures are those of `figures`."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from answering import CLASSES, by_warmth, edition

import variorum as va
from variorum.api.edition import Edition
from variorum.api.model_choice import chosen_models
from variorum.edition.shards import read_shard
from variorum.edition.store import Store
from variorum.edition.tables import read_part
from variorum.evaluation.classifiers.accuracy_drop import AccuracyDrop
from variorum.evaluation.classifiers.evaluator import Evaluator, job_on, known_models
from variorum.kit.predicted.answers import distributions
from variorum.kit.predicted.offered import axes_of
from variorum.kit.predicted.pairing import photographs
from variorum.machine.progress import Progress
from variorum.schemas.component import Context, Evaluation
from variorum.schemas.table import Table
from variorum.stages import measure
from variorum.stages.stage import Threads


@pytest.fixture
def own(photos, tmp_path, own_cache) -> Edition:
    store = str(tmp_path / "store")
    return Edition(edition(photos, store), Store(store, writable=False))


def counting(asked: list[int]):
    def warm(images):
        asked.append(len(images))
        return by_warmth(images)

    warm.classes = CLASSES
    return warm


class Brightness(Evaluation):
    """An evaluation with a table of its own, about the originals."""

    def chosen(self, table, ctx):
        return table["variant"] == "original"

    def measure(self, samples, ctx):
        return [{"id": sample.id, "mean": float(sample.image.mean())} for sample in samples]

    def figures(self, table, ctx):
        return {}


def evaluator(found: Edition, model, own=None, **options) -> Evaluator:
    chosen = chosen_models(model, **options)
    store = Store(found.store.url)
    job = job_on(found.manifest, found.store, chosen.names, store, known_models("embedded", chosen.brought))
    return Evaluator(job, found.manifest, found.store, chosen.names, own)


def values(answers):
    """Value of each figure, as `Answers` defines it."""
    return {
        one.figure: float((one.top.sum(axis=0) / one.bottom.sum(axis=0)).mean())
        if one.whole is None
        else one.whole(np.ones(len(one.photographs)))
        for one in answers
    }


@pytest.mark.parametrize("first", ["evaluate", "ask"])
def test_whoever_asks_second_asks_nothing(own, first):
    asked: list[int] = []
    model = counting(asked)

    def ask():
        return evaluator(own, model, revision="1").ask(Threads(1), Progress())["warm"]

    def evaluate():
        return va.evaluate(own, model, revision="1", progress=False)

    tables = [ask(), evaluate()] if first == "ask" else [evaluate(), ask()][::-1]
    assert sum(asked) == 36
    assert evaluator(own, model, revision="1").new() == []
    assert evaluator(own, model, revision="2").missing("table_0") == 36
    answers = tables[1].answers()
    assert answers["correct"].to_pylist() == tables[0]["correct"].to_pylist()
    group = evaluator(own, model, revision="1")
    key = group.stage.pieces[0].keys["table_0"]
    kept = Table(read_part(group.stage.job.store, group.stage.job.store.table(key), lambda schema: schema.names))
    assert np.exp(kept["logp"]).max(axis=1) == pytest.approx(kept["confidence"], rel=1e-3)  # float16


def test_evaluations_with_a_table_of_their_own_are_measured_in_the_same_pass(own, monkeypatch):
    read: list[str] = []
    monkeypatch.setattr(measure, "read_shard", lambda path: read.append(path) or read_shard(path))
    group = evaluator(own, by_warmth, {"bright": Brightness()})
    assert [group.missing(label) for label in group.labels] == [36, 12]
    tables = group.ask(Threads(1), Progress())
    assert {name: len(table) for name, table in tables.items()} == {"by_warmth": 36, "bright": 12}
    assert len(read) == 3
    assert evaluator(own, by_warmth, {"bright": Brightness()}).new() == ["by_warmth"]  # a function without a revision


def test_rows_have_the_values_of_the_figures(own):
    other = lambda images: by_warmth(images)[:, ::-1] / 7  # noqa: E731
    other.classes = CLASSES
    results = va.evaluate(own, {"warm": by_warmth, "other": other}, progress=False, save=False)
    group = evaluator(own, {"warm": by_warmth, "other": other})
    tables = group.ask(Threads(1), Progress())
    table = Table(pa.concat_tables([tables["warm"], tables["other"]], promote_options="default"))
    found = list(AccuracyDrop().rows(table, group.stage.job.judging))
    assert [one.figure for one in found] == [*AccuracyDrop.offers, *AccuracyDrop.offers]
    for model in ("warm", "other"):
        mine = [one for one in found if one.model == model]
        figures, of = results.figures["classifiers"][model], values(mine)
        assert 100 * of["originals"] == pytest.approx(figures["original_accuracy"], abs=0.006)
        assert 100 * of["edits"] == pytest.approx(figures["average_accuracy"]["value"], abs=0.006)
    originals, edits, calibration = found[:3]
    assert len(originals.photographs) == 12
    assert originals.floor == pytest.approx(1 / 3)
    assert edits.axes["variant"] == edits.columns == ("negative_0", "negative_1")
    lent = ["plate" if variant == "negative_1" else "" for variant in table["variant"]]
    borrowed = table.arrow.set_column(table.arrow.column_names.index("lender"), "lender", pa.array(lent))
    alone, shared = list(AccuracyDrop().rows(Table(borrowed), group.stage.job.judging))[:2]
    assert (edits.lender, alone.lender) == (None, None)
    assert (shared.lender[:, 0] == -1).all()
    assert len({*shared.lender[:, 1].tolist()} - {-1}) == 1
    shown = edits.pictures
    assert shown.right.sum() == edits.top.sum()
    assert set(shown.said) <= set(CLASSES)
    assert 0 < calibration.floor < calibration.whole(np.ones(12)) < 1
    rows = Table(tables["warm"])
    kept = np.isin(rows["variant"], ["original", "negative_0", "negative_1"])
    bins = np.ceil(rows["confidence"] * 15).clip(1)
    gap = rows["correct"] - rows["confidence"]
    assert kept.all()
    assert calibration.whole(np.ones(12)) == pytest.approx(
        sum(abs(gap[bins == one].sum()) for one in range(1, 16)) / len(gap)
    )


def test_a_photograph_counts_as_often_as_told(own):
    table = evaluator(own, by_warmth).ask(Threads(1), Progress())["by_warmth"]
    *_, calibration = AccuracyDrop().rows(Table(table), Context(1, None, None))
    one = np.zeros(12)
    one[3] = 1
    mine = Table(table.filter(pa.array(photographs(Table(table)).of_row == 3)))
    *_, alone = AccuracyDrop().rows(mine, Context(1, None, None))
    assert calibration.whole(3 * one) == pytest.approx(alone.whole(np.ones(1)))
    assert np.isnan(calibration.whole(0 * one))


def test_of_many_outputs_the_likeliest_are_kept():
    p = np.random.default_rng(0).dirichlet(np.full(150, 0.1), 4).astype(np.float32)
    found = distributions(p)
    top = np.sort(p, axis=1)[:, ::-1][:, :20]
    assert found["logp"].shape == (4, 20)
    assert np.allclose(np.exp(found["logp"].astype(float)), top, rtol=0.01, atol=1e-6)
    assert np.allclose(np.exp(found["log_rest"]), 1 - top.sum(axis=1), atol=1e-6)
    assert np.take_along_axis(p, found["logp_of"], axis=1).tolist() == top.tolist()
    few = distributions(p[:, :5])
    assert few["logp_of"].tolist() == [[0, 1, 2, 3, 4]] * 4


def test_copies_are_one_photograph():
    rows = {"id": list("abcdef"), "parent": ["", "", "", "a", "b", "x"], "photograph": ["1", "1", "", "1", "1", ""]}
    found = photographs(Table(pa.table(rows)))
    assert found.ids == ("a", "c", "x")
    assert found.of_row.tolist() == [0, 0, 1, 0, 0, 2]


def test_edits_stand_in_the_order_of_what_was_asked():
    sizes = {"size_full": [{"rate": "full"}], "size_0.1": [{"rate": 0.1}], "background_random": [{"plates": 64}]}
    axes = axes_of(list(sizes), sizes)
    assert axes["requested"] == ("full", "0.1", None)
    assert axes["kind"] == ("size", "size", "background_random")
    dark = {f"low_light_{stops}": [{"exposure": float(stops), "bits": 8}] for stops in (1, 4)}
    turned = {"direction": [{"angle": 15.0}, {"angle": 90.0}]}
    axes = axes_of([*dark, *turned], {**dark, **turned})
    assert axes["requested"] == axes["exposure"] == (1, 4, None)
    assert axes["kind"] == ("low_light", "low_light", "direction")
    assert "bits" not in axes
    assert "angle" not in axes
    warm = {f"warmer_{s}": [{"attribute": "white_balance", "strength": s, "kelvin": k}] for s, k in ((0.5, 9), (1, 3))}
    assert axes_of(list(warm), warm)["requested"] == (0.5, 1)
