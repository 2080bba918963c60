"""SA, PA and FMR: a ratio that is exact for the oracle, missing for too few, and printed apart for who took part."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from variorum.evaluation.fmr.oracle_robustness import OracleRobustness, made, ratio
from variorum.generators.fmr.oracle_perturbation import OraclePerturbation
from variorum.kit.predicted.resamples import Resamples
from variorum.models import ModelTable
from variorum.models.imagenet_classes import class_infos
from variorum.pixels import decode
from variorum.reports.card import _render
from variorum.schemas.component import Context
from variorum.schemas.lookup import build_component
from variorum.schemas.sample import Failure
from variorum.schemas.table import Table

RIGHT, WRONG = 3, 7
CTX = Context(seed=1, models=SimpleNamespace(why_unavailable=lambda alias: "not here"), memo=None)
PARTS = {"judge": "", "victim": "adversary", "teacher": "oracle"}
SETS = {"original": -1, "control": 0, "pushed_5": 5, "control_5": 5}
"""Budget by variant."""


def row(photograph, variant, model, right):
    against = "victim" if variant.startswith("pushed") else ""
    asked = {"budget": SETS[variant], "made_against": [against] if against else []} if variant != "original" else {}
    return {
        "id": photograph if variant == "original" else f"{photograph}-{variant}",
        "parent": "" if variant == "original" else photograph,
        "photograph": photograph,
        "variant": variant,
        "reference": "",
        "classifier": model,
        "label": RIGHT,
        "labels": 1,
        "top1": RIGHT if right else WRONG,
        "correct": right,
        "confidence": 0.75,
        "p_label": 0.5,
        "outputs": 1000,
        "preprocessing": "",
        "lender": "",
        "budget": SETS[variant],
        "against": against,
        "stopped": bool(against) and photograph in ("p1", "p2", "p3"),
        "audit": float(photograph != "p9"),
        "ssim": 0.9,
        "part": PARTS[model] if against or (model == "teacher" and variant != "original") else "",
        "said": "",
        "requested": json.dumps(asked),
    }


def table(wrong):
    """Forty photographs; `wrong` has the numbers of those that a model is wrong about, by model and variant."""
    rows = [
        row(f"p{number}", variant, model, number not in wrong.get((model, variant), ()))
        for number in range(40)
        for model in PARTS
        for variant in SETS
    ]
    return Table(pa.Table.from_pylist(rows), "oracle_robustness")


@pytest.fixture
def robustness():
    return OracleRobustness(classifiers=("judge",), makers=("victim", "teacher"), bootstrap=200)


def test_fmr_is_what_is_kept_of_the_accuracy_on_the_controls(robustness):
    wrong = {("judge", "control"): range(8), ("judge", "pushed_5"): range(4, 28), ("victim", "pushed_5"): range(30)}
    figures = robustness.figures(table(wrong), CTX)
    judge = figures["classifiers"]["judge"]["sets"]
    assert judge["pushed_5"]["sa"]["value"] == 80
    assert judge["pushed_5"]["pa"]["value"] == 40
    assert judge["pushed_5"]["fmr"]["value"] == 50
    assert judge["pushed_5"]["fmr"]["low"] < 50 < judge["pushed_5"]["fmr"]["high"]
    assert figures["classifiers"]["victim"]["sets"]["pushed_5"]["fmr"]["value"] == 25
    assert figures["classifiers"]["teacher"]["sets"]["pushed_5"]["fmr"]["value"] == 100
    assert figures["sets"]["pushed_5"] == {
        "against": "victim", "budget": 5, "n": 40, "stopped": 7.5, "audit": 97.5, "ssim": 0.9,
    }  # fmt: skip
    assert figures["order"] == ["pushed_5", "control_5"]
    assert {name: one["part"] for name, one in figures["classifiers"].items()} == PARTS


def test_a_set_without_a_change_keeps_everything(robustness):
    same = set(range(0, 40, 3))
    figures = robustness.figures(table({("judge", name): same for name in SETS}), CTX)
    assert [one["sets"]["pushed_5"]["fmr"]["value"] for one in figures["classifiers"].values()] == [100, 100, 100]


def test_without_ten_right_controls_there_is_no_fmr(robustness):
    for right, there in ((9, False), (10, True)):
        figures = robustness.figures(table({("judge", "control"): range(right, 40)}), CTX)
        assert ("fmr" in figures["classifiers"]["judge"]["sets"]["pushed_5"]) is there
    few = robustness.figures(table({("judge", "control"): range(9, 40)}), CTX)
    shown = _render("_oracle_robustness", figures=few, models={}, order=[], plots={})
    assert "n/a (9 right)" in shown


def test_the_interval_holds_the_ratio_also_where_few_differ_or_some_are_gained():
    resamples = Resamples(40, 200, 0.95, 1)
    before = np.ones(40)
    before[:10] = 0
    kept = ratio(before, before, 40, resamples, 0.95)
    assert kept["value"] == 100
    assert kept["low"] < 95 < 105 < kept["high"]  # that no answer of 40 changes doesn't mean that none ever does
    gained = ratio(before, np.ones(40), 40, resamples, 0.95)
    assert gained["value"] == pytest.approx(133.33)
    assert gained["low"] < 133.33 < gained["high"]


def test_the_card_shows_who_took_part_apart(robustness):
    figures = robustness.figures(table({("victim", "pushed_5"): range(30)}), CTX)
    shown = _render("_oracle_robustness", figures=figures, models={}, order=[], plots={})
    apart = shown.index("**Not to be compared with these**")
    assert shown.index("| judge | pushed_5 |") < apart < shown.index("| victim (white-box) | pushed_5 |")
    (oracle,) = [line for line in shown.splitlines() if line.startswith("| teacher (oracle) | pushed_5 | 40 |")]
    assert oracle.endswith("| 100.0 |")
    assert "surrogate" in shown
    lacking = OracleRobustness(classifiers=("judge",), further=("classifier_swin",), makers=("victim",)).figures(
        table({}), CTX
    )
    shown = _render("_oracle_robustness", figures=lacking, models={}, order=[], plots={})
    assert "lacks them: classifier_swin." in shown
    assert "| control_5 | none | 5 |" in shown


def test_rows_of_a_report(robustness):
    wrong = {("judge", "control"): range(8), ("judge", "pushed_5"): range(4, 28), ("judge", "control_5"): range(10)}
    found = {one.model: one for one in robustness.rows(table(wrong), CTX)}
    assert found["judge"].columns == ("pushed_5",)
    assert found["judge"].top.sum() == 12  # of the 32 that it is right about
    assert found["judge"].bottom.sum() == 32
    assert found["judge"].note == "made against victim, judge: 93.8 % in random directions"
    none = {one.model: one for one in robustness.rows(table({("judge", "control"): range(40)}), CTX)}
    assert none["judge"].why_not == "it is right about no control of a pushed photograph"


def test_measuring_finds_the_adversary_and_the_oracles_in_the_records(ctx, samples):
    generator = OraclePerturbation(
        cutoff=6, step=4, budgets=(8,), adversary="pushed", oracles=("oracle",), audit="audit", frame=28
    )
    kept = [one for one in generator.generate(samples, ctx) if not isinstance(one, Failure)]
    found = list(OracleRobustness(classifiers=("audit",), makers=("pushed", "oracle")).measure(kept, ctx))
    parts = {(one["classifier"], one["variant"], one["part"]) for one in found if one["part"]}
    assert parts == {
        ("pushed", "pushed_8", "adversary"),
        *(("oracle", variant, "oracle") for variant in ("control", "pushed_8", "control_8")),
    }
    assert all(one["correct"] for one in found if one["classifier"] == "oracle" and one["budget"] > 0)
    audit = {one["id"]: one["correct"] for one in found if one["classifier"] == "audit"}
    assert all(one["audit"] == audit[one["id"]] for one in found if one["budget"] > 0)
    assert {one["against"] for one in found if one["variant"] == "pushed_8"} == {"pushed"}


def test_a_record_of_a_stranger_can_say_anything():
    def read(requested, achieved):
        return made(SimpleNamespace(ops=({"requested": requested, "achieved": achieved},), labels=("x",)))

    nothing = {"budget": -1, "against": "", "stopped": False, "audit": np.nan, "ssim": np.nan}
    odd = read({"budget": True, "made_against": "x", "audit": ["y"]}, {"top1": 3, "ssim": "high"})
    np.testing.assert_equal(odd, nothing)
    other = read({"budget": 5, "made_against": [1, None, "y"], "audit": "z"}, {"top1": {"z": 3}, "ssim": 9.0})
    np.testing.assert_equal(other, {**nothing, "budget": 5, "against": "y"})


@pytest.mark.slow
@pytest.mark.parametrize("space", ["low_frequency", "warp"])
def test_on_photographs_the_pushed_model_keeps_less_with_every_budget(space):
    models = ModelTable("embedded")
    ctx = Context(seed=1, models=models, memo=lambda key, compute: compute(), classes=class_infos())
    stored = build_component("source", {"name": "samples", "masks": False}, "source").read(0, 60, ctx)
    photographs = [replace(one, image=decode(one.image)) for one in stored]
    every = OraclePerturbation(space=space, oracle_p=0.3).generate(photographs, ctx)
    made_of = [one for one in every if not isinstance(one, Failure)]
    robustness = OracleRobustness(bootstrap=100)
    rows = list(robustness.measure(made_of, ctx))
    figures = robustness.figures(Table(pa.Table.from_pylist(rows), "oracle_robustness"), ctx)
    assert figures["sets"]["pushed_20"]["n"] >= 15

    def fmr(model, variant):
        return figures["classifiers"][model]["sets"][variant]["fmr"]["value"]

    pushed = [fmr("classifier_gate", f"pushed_{steps}") for steps in (5, 10, 20)]
    assert pushed == sorted(pushed, reverse=True)
    assert pushed[-1] <= 70
    assert fmr("classifier_gate", "control_20") >= 90
    assert {fmr("classifier", name) for name in figures["sets"]} == {100}


def test_a_maker_that_took_no_part_is_left_out(robustness):
    rows = [
        {**one, "part": "" if one["classifier"] == "teacher" else one["part"]} for one in table({}).arrow.to_pylist()
    ]
    figures = robustness.figures(Table(pa.Table.from_pylist(rows), "oracle_robustness"), CTX)
    assert figures["idle"] == ["teacher"]
    assert list(figures["classifiers"]) == ["judge", "victim"]
    shown = _render("_oracle_robustness", figures=figures, models={}, order=[], plots={})
    assert "left out: teacher" in shown
