"""Who is fooled by patches: rates over the photographs that all models are right about, less those of noise there."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from variorum.evaluation.adversarial.patch_robustness import PatchRobustness, aligned
from variorum.generators.adversarial.patch_perturbation import PatchPerturbation
from variorum.models import ModelTable
from variorum.reports.card import _render
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import Failure
from variorum.schemas.table import Table

RIGHT, WRONG = 3, 7
CTX = Context(seed=1, models=SimpleNamespace(why_unavailable=lambda alias: "not here"), memo=None)
CELLS = 2
"""Cells of a grid."""


def row(photograph, variant, cell, model, right):
    kind, _, position = variant.partition("_")
    edit = variant != "original"
    return {
        "id": f"{photograph}-{variant}-{cell}" if edit else photograph,
        "parent": photograph if edit else "",
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
        "attack": kind if edit else "",
        "epsilon": 0,
        "like": "",
        "sources": "victim" if edit and kind != "control" else "",
        "target": "",
        "chosen": False,
        "l2": 2.0,
        "white_box": model == "victim" and kind not in ("original", "control"),
        "hit": False,
        "said": "",
        "position": position,
        "aligned": ("yes" if model == "victim" else "no") if edit else "",
        "requested": json.dumps({"attack": kind, "position": position, "cell": cell} if edit else {"frame": 28}),
    }


def table(photographs=40):
    """The judge is wrong about numbers 0 and 1, and the victim about 2. Of the others each has two cells of a grid.

    Grey in the first cell fools the judge on odd numbers, in the second on those that 4 divides too; noise in the first
    cell fools it on number 3 alone. The victim withstands grey.
    """
    rows = []
    for number in range(photographs):
        name = f"p{number:02}"
        for model, wrong in (("judge", (0, 1)), ("victim", (2,))):
            rows.append(row(name, "original", 0, model, number not in wrong))
            for cell in range(CELLS if number != 2 else 0):
                fooled = number % 2 == 1 if cell == 0 else number % 4 == 0
                rows.append(row(name, "grey_grid", cell, model, model == "victim" or not fooled))
                rows.append(row(name, "control_grid", cell, model, (model, number, cell) != ("judge", 3, 0)))
    return Table(pa.Table.from_pylist(rows), "patch_robustness")


@pytest.fixture
def robustness():
    return PatchRobustness(classifiers=("judge",), white_box=("victim",), bootstrap=100)


def test_rates_are_means_over_photographs_that_all_models_are_right_about(robustness):
    figures = robustness.figures(table(), CTX)
    assert figures["photographs"] == 37
    grey = figures["classifiers"]["judge"]["variants"]["grey_grid"]
    assert grey["n"] == 37
    once = 19 + 9  # odd numbers from 3 to 39; 4 to 36
    assert grey["fooled"]["value"] == pytest.approx(100 * once / 2 / 37, abs=0.01)
    assert grey["any"]["value"] == pytest.approx(100 * once / 37, abs=0.01)
    assert grey["above_control"]["value"] == pytest.approx(100 * (once - 1) / 2 / 37, abs=0.01)
    assert grey["above_control"]["low"] < grey["above_control"]["value"] < grey["above_control"]["high"]
    control = figures["classifiers"]["judge"]["variants"]["control_grid"]
    assert control["fooled"]["value"] == pytest.approx(100 / 2 / 37, abs=0.01)
    assert "above_control" not in control
    assert figures["classifiers"]["victim"]["variants"]["grey_grid"]["fooled"]["value"] == 0
    assert (figures["names"], figures["white_box"]) == (["judge"], ["victim"])


def test_the_card_shows_attacked_models_apart_and_what_is_aligned(robustness):
    figures = robustness.figures(table(), CTX)
    shown = _render("_patch_robustness", figures=figures, models={}, order=[], plots={})
    assert shown.index("**Not attacked**") < shown.index("| judge | no | grey_grid | 37 |")
    assert shown.index("**White-box**") < shown.index("| victim | yes | grey_grid | 37 |")
    assert "| 75.7 [58.8, 88.2] |" in shown  # photographs that some patch fools
    empty = robustness.figures(Table(table().arrow.slice(0, 0), "patch_robustness"), CTX)
    assert "nothing to measure" in _render("_patch_robustness", figures=empty, models={}, order=[], plots={})
    assert set(robustness.plots(figures)["fooled"].series) == {"judge", "victim (white-box)"}
    assert robustness.plots(empty) == {}


def test_rows_of_a_report(robustness):
    (judge, victim) = robustness.rows(table(), CTX)
    assert (judge.figure, judge.model, judge.columns) == ("fooled", "judge", ("grey_grid",))
    assert judge.bottom.sum() == 2 * 37  # those that it is right about and that have patches
    assert judge.top.sum() == 19 + 9
    assert judge.note == "judge: 1.4 % by the control"
    assert victim.top.sum() == 0


def test_measuring_says_where_patches_are_and_whose_they_are(ctx, samples):
    generator = PatchPerturbation(
        kinds=("adversarial",), adversaries=("tiny",), frame=32, patch=8, against="prediction", steps=1
    )
    made = [one for one in generator.generate(samples[:2], ctx) if not isinstance(one, Failure)]
    found = list(PatchRobustness(classifiers=("other",), white_box=("tiny",)).measure(made, ctx))
    assert {(one["variant"], one["position"], one["aligned"]) for one in found} == {
        ("original", "", ""),
        *((f"{kind}_gradient", "gradient", "yes") for kind in ("control", "adversarial")),
    }
    assert {(one["classifier"], one["variant"]) for one in found if one["white_box"]} == {
        ("tiny", "adversarial_gradient")
    }
    with pytest.raises(RecipeError, match="'tiny' is a model that the pictures were made to fool"):
        list(PatchRobustness(classifiers=("tiny",), white_box=("other",)).measure(made, ctx))


def test_patches_are_aligned_with_one_of_three_networks():
    models = ModelTable("embedded")
    at = SimpleNamespace(image=np.zeros((256, 256, 3), np.uint8), ops=[{"achieved": {"boxes": [[112, 16, 32, 32]]}}])
    found = [
        aligned(at, models.get(name).preprocessing) for name in ("classifier_gate", "classifier_small", "classifier")
    ]
    assert found == ["yes", "no", "no"]
    beside = SimpleNamespace(image=at.image, ops=[{"achieved": {"boxes": [[113, 16, 32, 32]]}}])
    assert aligned(beside, models.get("classifier_gate").preprocessing) == "no"
    assert aligned(at, "Something else.") == "unknown"
    for odd in (None, "x", [1, 2], [[1, 2, 3]], [[1, 2, 3, None]], [[2**70, 0, 1, 1]], {}, []):
        assert aligned(SimpleNamespace(image=at.image, ops=[{"achieved": {"boxes": odd}}]), "") == ""


def test_without_noise_nothing_is_said_beyond_it(robustness):
    rows = [one for one in table().arrow.to_pylist() if one["attack"] != "control" or one["photograph"] == "p00"]
    figures = robustness.figures(Table(pa.Table.from_pylist(rows), "patch_robustness"), CTX)
    grey = figures["classifiers"]["judge"]["variants"]["grey_grid"]
    assert grey["n"] == 37
    assert "above_control" not in grey
