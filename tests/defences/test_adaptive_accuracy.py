"""Attacks on models as they are defended: what they must find, what each picture depends on, who can't be attacked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from variorum.api.report_work import about
from variorum.evaluation.defences.adaptive_accuracy import SHARES, AdaptiveAccuracy
from variorum.evaluation.defences.certified_accuracy import CertifiedAccuracy
from variorum.models import ModelTable
from variorum.models.brought import from_function
from variorum.reports.card import _render
from variorum.schemas.component import ClassInfo, Context
from variorum.schemas.sample import CAPTURED, Sample, source_id
from variorum.schemas.table import Table
from variorum.sources.fashion_mnist import DEBIAN, FashionMnist

CROSSED = "judge + crossmax with=judge_gate"
needs_fashion = pytest.mark.skipif(not DEBIAN.exists(), reason="needs the package dataset-fashion-mnist")
LEVELS = 4
CLASSES = ("dark", "light")


def linear(bias):
    """Light if the mean level is above `-bias`; its gradient is the same everywhere."""
    import torch

    made = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 28 * 28, 2))
    with torch.no_grad():
        for weights in made.parameters():
            weights.zero_()
        made[1].weight[1] = 255 / (3 * 784)
        made[1].bias[1] = bias
    return from_function(made.eval(), name=f"linear{bias:g}", classes=CLASSES, revision="1", preprocess="none")


@pytest.fixture(scope="module")
def ctx():
    models = ModelTable("embedded").with_models(
        {
            "near": linear(-103.5),  # of a picture at 100, three levels and a half away
            "far": linear(-104.5),
            "function": from_function(lambda images: [[1.0, 0.0]] * len(images), name="function", classes=CLASSES),
        }
    )
    return Context(3, models, lambda _, compute: compute(), classes=tuple(ClassInfo(one, one) for one in CLASSES))


def picture(name="a", label="dark", level=100):
    image = np.full((28, 28, 3), level, np.uint8)
    return Sample(source_id("test", name), image, (label,), digital_source_type=CAPTURED, photograph=name)


def measured(ctx, names, samples, **fields):
    asked = AdaptiveAccuracy(**{"epsilon": LEVELS, **fields}).model_copy(update={"classifiers": names})
    return asked, Table(pa.Table.from_pylist(list(asked.measure(samples, ctx))))


def test_a_linear_model_falls_exactly_within_its_margin(ctx):
    asked, table = measured(ctx, ("near", "far"), [picture(), picture("b", "light")])
    rows = table.arrow.to_pylist()
    assert [[row[name] for name in SHARES] for row in rows[::2]] == [[True, True, False], [True, True, True]]
    assert not any(row["clean"] or row["withstood"] for row in rows[1::2])  # wrong already, so it isn't attacked
    figures = asked.figures(table, ctx)
    assert figures["classifiers"]["near"]["withstood"]["value"] == 0
    assert figures["classifiers"]["far"]["routes"]["its own gradient"]["value"] == 50
    shown = _render("_adaptive_accuracy", figures=figures, models={}, order=[], plots={})
    assert "within 4 of 255 grey levels" in shown
    assert "| far | 2 |" in shown


def test_what_cannot_be_attacked_is_told_and_not_measured(ctx):
    asked, table = measured(ctx, ("function", "near"), [picture()])
    found = {(one.model, one.figure): one for one in asked.rows(table, ctx)}
    assert found["function", "withstood"].why_not == "the model 'function' gives no gradients"
    assert found["near", "withstood"].top.tolist() == [[0]]
    assert list(asked.figures(table, ctx)["why_not"]) == ["function"]


def test_reports_name_no_folder(ctx):
    place = "module:/home/somebody/mine.py:load"
    asks = from_function(lambda images: [[1.0, 0.0]] * len(images), name=place, classes=CLASSES, revision="1")
    own = replace(ctx, models=ctx.models.with_models({place: asks}))
    smoothed = f"{place} + smoothed votes=10"
    asked, table = measured(own, (place, smoothed), [picture()])
    assert {one.why_not for one in asked.rows(table, own)} == {"the model 'module:mine.py:load' gives no gradients"}
    certified = CertifiedAccuracy(classifiers=(smoothed,), n0=10, n=100)
    rows = Table(pa.Table.from_pylist(list(certified.measure([picture()], own))))
    assert list(certified.rows(rows, own))[-1].note.startswith("module:mine.py:load + smoothed votes=10: ")


def test_a_picture_without_a_known_label_is_unscored(ctx):
    _, table = measured(ctx, ("near",), [replace(picture(), labels=())])
    (one,) = {one.why_not for one in AdaptiveAccuracy(classifiers=("near",)).rows(table, ctx)}
    assert "no original has a label" in one


@needs_fashion
def test_a_defence_that_hides_its_gradient_falls_along_another_route():
    source = FashionMnist(part="test")
    ctx = Context(1, ModelTable("embedded"), lambda _, compute: compute(), source, source.classes(None))
    samples = [replace(one, photograph=one.id) for one in source.read(0, 10, ctx)]
    asked, table = measured(ctx, ("judge", CROSSED), samples, steps=5, epsilon=25)
    found = asked.figures(table, ctx)["classifiers"]
    own, around = (found[CROSSED]["routes"][one]["value"] for one in ("its own gradient", "the mean of the logits"))
    assert around < own  # CrossMax masks gradients
    assert found[CROSSED]["withstood"]["value"] <= around < found[CROSSED]["clean"]["value"]
    assert found["judge"]["withstood"]["value"] < found["judge"]["control"]["value"]
    alone = list(asked.measure(samples[5:6], ctx))
    assert [row for row in table.arrow.to_pylist() if row["id"] == samples[5].id] == alone
    note = list(asked.rows(table, ctx))[-1].note
    assert note == "PGD, ℓ∞, ε = 25 of 255, 5 steps, along every route of a model"


def test_a_report_asks_about_a_defended_model_alone():
    assert AdaptiveAccuracy(classifiers=(CROSSED,)).classifiers == ("judge", CROSSED)
    assert about("adaptive_accuracy", CROSSED).classifiers == (CROSSED,)


def test_pictures_are_drawn_by_the_seed_as_many_of_each_class(ctx):
    table = Table(pa.table({"id": [str(n) for n in range(60)], "variant": ["original"] * 50 + ["edit"] * 10,
                            "label": [0] * 40 + [1] * 10 + [0] * 10}))  # fmt: skip
    drawn = AdaptiveAccuracy(most=20).chosen(table, ctx)
    assert (drawn[:40].sum(), drawn[40:50].sum(), drawn[50:].sum()) == (10, 10, 0)
    assert (AdaptiveAccuracy(most=20).chosen(table, replace(ctx, seed=4)) != drawn).any()


@pytest.mark.parametrize("fields", [{"epsilon": 0}, {"epsilon": 2.5}, {"steps": 1}, {"most": 3}, {"classifiers": ()}])
def test_bad_fields_are_refused(fields):
    with pytest.raises(ValidationError):
        AdaptiveAccuracy(**fields)
