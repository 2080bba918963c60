"""Calibration: on answers whose law is known, before and after temperature scaling, and told from other pictures."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from variorum.edition.tables import _column, columns_of
from variorum.evaluation.classifiers.calibration import Calibration
from variorum.kit.predicted.answers import SharedAnswers
from variorum.kit.predicted.calibration import adaptive_calibration_error, errors_by_chance
from variorum.models import ModelTable
from variorum.models.brought.function import from_function
from variorum.reports.card import _render
from variorum.schemas.component import ClassInfo, Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import build_component
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table
from variorum.statistics import at_edge

N = 600


def softmax(z):
    raised = np.exp(z - z.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def drawn(p, seed=0):
    """Labels that follow the probabilities."""
    return (np.random.default_rng(seed).random((len(p), 1)) > p.cumsum(axis=1)).sum(axis=1).clip(max=p.shape[1] - 1)


def logits(k=10, n=N, seed=1):
    return np.random.default_rng(seed).normal(0, 2, (n, k))


def table_of(rows):
    columns = columns_of("calibration", rows)
    return Table(pa.table({name: _column("", name, values) for name, values in columns.items()}), "calibration")


def figures(p, labels, *, others=None, clean=None, **fields):
    """Those of one model, which gives the rows of `p`; pictures carry their row in two pixels."""
    width = max(one.shape[1] for one in [p, others] if one is not None)
    classes = tuple(ClassInfo(f"c{one:04}", f"class {one}") for one in range(width))

    def answer(images):
        rows = np.array([int(image[0, 0, 0]) * 256 + int(image[0, 0, 1]) for image in images])
        return (p if not images[0][0, 0, 2] else others)[rows]

    def sample(row, label, out):
        image = np.zeros((8, 8, 3), np.uint8)
        image[0, 0] = *divmod(row, 256), out
        more = {} if clean is None else {"clean_label": f"c{clean[row]:04}"}
        return Sample(f"{out}/{row}", image, (f"c{label:04}",), photograph=f"{row}", metadata=more)

    table = ModelTable("embedded").with_models({"m": from_function(answer, classes=[one.id for one in classes])})
    ctx = Context(1, table, lambda key, compute: compute(), classes=classes)
    if others is not None:
        fields["outside"] = {"name": "image_folder", "path": "elsewhere"}
    evaluation = Calibration(classifiers=("m",), bootstrap=100, **fields)
    rows = [
        {**row, "set": name}
        for name, pictures in (
            ("", [sample(row, label, 0) for row, label in enumerate(labels)]),
            ("outside", [sample(row, 0, 1) for row in range(0 if others is None else len(others))]),
        )
        for start in range(0, len(pictures), 200)
        for row in evaluation.measure(pictures[start : start + 200], ctx)
    ]
    rng = np.random.default_rng(5)
    mixed = table_of([rows[place] for place in rng.permutation(len(rows))])
    found = evaluation.figures(mixed, ctx)
    read = json.loads(json.dumps(found))
    assert set(evaluation.plots(read)) == {"reliability"}
    text = _render("_calibration", figures=read, models={"m": "model@sha256:0"}, order=["original"], plots={})
    return found["classifiers"]["m"], text


def test_calibrated_answers_are_at_the_floor_and_sharper_ones_above_it():
    z = logits()
    p = softmax(z)
    one, text = figures(p, drawn(p))
    two, _ = figures(softmax(2 * z), drawn(p))
    for name in ("expected_calibration_error", "average_calibration_error", "adaptive_calibration_error"):
        error, wrong = (found["variants"]["original"][name] for found in (one, two))
        assert error["value"] < 1.5 * error["floor"]
        assert wrong["value"] > 2 * wrong["floor"]
    assert np.mean(one["temperatures"]) == pytest.approx(1, abs=0.1)
    np.testing.assert_allclose(two["temperatures"], 2 * np.array(one["temperatures"]), rtol=0.01)
    before, after = two["variants"]["original"], two["variants"]["original"]["tempered"]
    assert after["accuracy"] == before["accuracy"]
    for name in ("negative_log_likelihood", "brier_score"):
        assert after[name]["value"] < before[name]["value"]
        assert after[name]["value"] == pytest.approx(one["variants"]["original"]["tempered"][name]["value"], abs=2e-3)
        assert after[name]["low"] < after[name]["value"] < after[name]["high"]
    half = figures(softmax(2 * z), drawn(p), confidence=0.5)[0]["variants"]["original"]
    ends, narrow = (one["expected_calibration_error"] for one in (before, half))
    assert ends["low"] < narrow["low"] < ends["value"] < narrow["high"] < ends["high"]
    assert (one["edge"], one["dropped"], one["unscored"]) == (False, 0, 0)
    assert "| m, original | 600 | 600 |" in text


def test_always_wrong_and_sure_is_an_error_of_1_and_no_fit():
    """The best temperature of answers that are always wrong is the highest, which makes them even."""
    p = np.full((40, 3), 1e-6)
    p[:, 0] = 1 - 2e-6
    one, text = figures(p, np.ones(40, int))
    assert one["variants"]["original"]["expected_calibration_error"]["value"] == pytest.approx(100, abs=0.01)
    assert one["edge"] is True
    assert "no fit" in text


def test_of_many_outputs_twenty_are_kept():
    """What needs no other output is exact; a model sharpened by 2 gets twice the temperature, and the same errors."""
    z = np.full((N, 300), -4.0)
    z[:, :15] = logits(15) + 1.0
    p, labels = softmax(z), drawn(softmax(z / 1.4))
    one, _ = figures(p, labels)
    two, _ = figures(softmax(2 * z), labels)
    scores, onehot = one["variants"]["original"], np.eye(300)[labels]
    assert scores["negative_log_likelihood"]["value"] == pytest.approx(
        -np.log(p[np.arange(N), labels]).mean(), abs=1e-3
    )
    assert scores["brier_score"]["value"] == pytest.approx(np.square(p - onehot).sum(axis=1).mean(), abs=2e-3)
    assert "adaptive_calibration_error" not in scores
    np.testing.assert_allclose(two["temperatures"], 2 * np.array(one["temperatures"]), rtol=0.01)
    errors = [found["variants"]["original"]["tempered"]["expected_calibration_error"] for found in (one, two)]
    assert errors[0]["value"] == pytest.approx(errors[1]["value"], abs=0.2)
    wide = softmax(logits(300) + 6 * np.eye(300)[np.arange(N) % 300])  # much of what is right is in no row
    found, _ = figures(wide, drawn(wide))
    assert np.mean(found["temperatures"]) == pytest.approx(1, abs=0.15)
    bare, tempered = (
        one["negative_log_likelihood"]
        for one in (found["variants"]["original"], found["variants"]["original"]["tempered"])
    )
    assert tempered["value"] == pytest.approx(bare["value"], rel=0.05)


def test_labels_may_be_those_from_before_they_changed():
    p = softmax(logits(n=200))
    clean = drawn(p)
    given = (clean + 1) % 10
    assert figures(p, given, clean=clean, against="clean")[0]["variants"] == figures(p, clean)[0]["variants"]
    assert figures(p, given, clean=clean)[0]["variants"] == figures(p, given)[0]["variants"]
    with pytest.raises(
        RecipeError, match="a picture has no clean_label in its metadata; take the source label_overlap"
    ):
        figures(p, given, against="clean")


def test_other_pictures_are_told_apart_by_the_largest_probability():
    p, q = softmax(logits(n=200)), softmax(logits(n=200, seed=2) / 3)
    labels = drawn(p)
    apart, text = figures(p, labels, others=q)
    turned, _ = figures(q, labels, others=p)
    same, _ = figures(p, labels, others=p[::-1])
    assert apart["outside"]["auroc"]["value"] > 90
    assert apart["outside"]["fpr_at_95_tpr"] < 50
    assert apart["outside"]["auroc"]["value"] == pytest.approx(100 - turned["outside"]["auroc"]["value"], abs=0.01)
    assert same["outside"]["auroc"]["value"] == pytest.approx(50, abs=3 * 100 * (1 / 12 * 2 / 200) ** 0.5)
    assert same["outside"]["fpr_at_95_tpr"] == pytest.approx(95, abs=1)
    assert "Maximum logit and energy need logits" in text
    assert "outside" not in figures(p, labels)[0]


def test_probabilities_that_do_not_add_up_are_counted_and_left_out():
    p = softmax(logits(n=100))
    told = [
        {**one, "logp": one["logp"] + np.float16(0.1 * (place < 7))} for place, one in enumerate(rows_of(p, drawn(p)))
    ]
    table = table_of(told)
    ctx = Context(1, ModelTable("embedded"), lambda key, compute: compute())
    one = Calibration(classifiers=("m",)).figures(table, ctx)["classifiers"]["m"]
    assert (one["dropped"], one["variants"]["original"]["n"]) == (7, 93)
    even = np.full((100, 100), 0.01)  # rounded to float16, all of them in one direction
    assert (
        Calibration(classifiers=("m",)).figures(table_of(rows_of(even, drawn(even))), ctx)["classifiers"]["m"][
            "dropped"
        ]
        == 0
    )


def test_the_rows_of_a_report_are_the_errors_before_and_after():
    p = softmax(2 * logits(n=200))
    table = table_of(rows_of(p, drawn(softmax(logits(n=200)))))
    ctx = Context(1, ModelTable("embedded"), lambda key, compute: compute())
    found = Calibration(classifiers=("m",)).figures(table, ctx)["classifiers"]["m"]
    ece, tempered = Calibration().rows(table, ctx)
    every, of = np.ones(200), found["variants"]["original"]
    assert 100 * ece.whole(every) == pytest.approx(of["expected_calibration_error"]["value"], abs=0.01)
    assert 100 * tempered.whole(every) == pytest.approx(of["tempered"]["expected_calibration_error"]["value"], abs=0.01)
    assert tempered.whole(every) < ece.whole(every)
    assert tempered.note == ece.note == "15 bins of confidence"  # the same of all models, so it stands once
    (_, alone) = Calibration().rows(Table(table.arrow.slice(0, 1), "calibration"), ctx)
    assert alone.why_not == "half of the photographs have no picture to fit a temperature on"


def rows_of(p, labels):
    """Rows of the shared table."""
    classes = tuple(ClassInfo(f"c{one:04}", f"class {one}") for one in range(p.shape[1]))
    model = from_function(lambda images: p[[int(one[0, 0, 0]) for one in images]], classes=[one.id for one in classes])
    ctx = Context(1, ModelTable("embedded").with_models({"m": model}), lambda key, compute: compute(), classes=classes)
    pictures = [np.full((8, 8, 3), row, np.uint8) for row in range(len(p))]
    samples = [
        Sample(f"{row}", picture, (f"c{label:04}",), photograph=f"{row}")
        for row, (picture, label) in enumerate(zip(pictures, labels, strict=True))
    ]
    return list(SharedAnswers(classifiers=("m",)).measure(samples, ctx))


def test_floors_of_calibrated_draws():
    """2,000 draws of ten classes: about .02 for the expected error, and twice that for the average one."""
    p = softmax(logits(n=2000))
    expected, average = errors_by_chance(p.max(axis=1), seed=0)
    assert 0.015 < expected < 0.03 < average < 0.06
    errors = [adaptive_calibration_error(p, drawn(p, seed), seed) for seed in range(5)]
    assert np.mean([error for error, _ in errors]) == pytest.approx(np.mean([floor for _, floor in errors]), rel=0.05)


def test_the_adaptive_error_by_hand():
    """Two classes, two ranges of two: |0 - .15| and |.5 - .5| of one class, and as much of the other."""
    p = np.array([[0.1, 0.9], [0.2, 0.8], [0.4, 0.6], [0.6, 0.4]])
    assert adaptive_calibration_error(p, np.array([1, 1, 1, 0]), 0, 2)[0] == pytest.approx(0.075)


def test_nothing_to_measure_has_a_reason():
    ctx = Context(1, ModelTable("embedded"), lambda key, compute: compute())
    evaluation = Calibration(classifiers=("m",))
    found = evaluation.figures(Table(pa.table({}), "calibration"), ctx)
    assert found["classifiers"] == {}
    assert evaluation.plots(found) == {}
    assert "There is nothing to measure." in _render("_calibration", figures=found, models={}, order=[], plots={})
    p = softmax(logits(n=5))
    unknown = [{**one, "label": -1, "labels": 0, "p_label": None} for one in rows_of(p, drawn(p))]
    (one,) = evaluation.figures(table_of(unknown), ctx)["classifiers"].values()
    assert (one["unscored"], one["variants"]) == (5, {})
    assert {one.why_not for one in evaluation.rows(table_of(unknown), ctx)} == {
        "no original has a label that the model knows"
    }


def test_temperatures_at_an_end_are_told():
    assert at_edge(0.05)
    assert at_edge(50)
    assert not at_edge(1)
    with pytest.raises(RecipeError, match="bins"):
        build_component("evaluate", {"name": "calibration", "bins": 4}, "here")
