"""Who is fooled: rates beside the control, accuracy under the worst attack, white-box models apart."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

import variorum as va
from variorum.evaluation.adversarial.adversarial_transfer import (
    AdversarialTransfer,
    _towards,
    variant_of,
)
from variorum.evaluation.classifiers.accuracy_drop import AccuracyDrop
from variorum.generators.adversarial.adversarial_example import AdversarialExample
from variorum.kit.predicted.answers import contents_named
from variorum.models.imagenet_classes import class_infos
from variorum.reports.card import _render
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import Failure
from variorum.schemas.table import Table
from variorum.sources.fashion_mnist import DEBIAN, FashionMnist

RIGHT, WRONG = 3, 7
PINS = {"judge": "net@sha256:aa+x.1", "victim": "net@sha256:bb+x.1"}
CTX = Context(
    seed=1,
    models=SimpleNamespace(pin=PINS.__getitem__, why_unavailable=lambda alias: "not here"),
    memo=None,
    classes=class_infos(),
)
ATTACKS = {"original": 0, "control": 8, "fgsm_4": 4, "pgd_8": 8}
"""ε by variant."""


def row(photograph, variant, model, right):
    kind = "" if variant == "original" else variant.partition("_")[0]
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
        "attack": kind,
        "epsilon": ATTACKS[variant],
        "like": "",
        "sources": "victim" if kind not in ("", "control") else "",
        "target": "",
        "chosen": False,
        "linf": float(ATTACKS[variant]),
        "l2": 2.0,
        "gradients": 10.0,
        "queries": 0.0,
        "steps_to_success": float("nan"),
        "zero_gradients": 0.0,
        "white_box": model == "victim" and kind not in ("", "control"),
        "hit": False,
        "p_target": float("nan"),
        "target_loss": float("nan"),
        "said": "",
        "requested": json.dumps({"attack": kind, "epsilon": ATTACKS[variant]} if kind else {"frame": 28}),
    }


def table():
    """Ten photographs. The victim is wrong about number 0, which so isn't attacked, and fooled by PGD on all others.

    The judge is wrong about number 1, fooled by FGSM on 2 and 3, by PGD on 3 and 4, and by the control on 3.
    """
    rows = []
    for number in range(10):
        for variant in ATTACKS if number else ("original", "control"):
            rows.append(row(f"p{number}", variant, "victim", number != 0 and variant != "pgd_8"))
            wrong = {"original": {1}, "control": {1, 3}, "fgsm_4": {1, 2, 3}, "pgd_8": {1, 3, 4}}[variant]
            rows.append(row(f"p{number}", variant, "judge", number not in wrong))
    return Table(pa.Table.from_pylist(rows), "adversarial_transfer")


@pytest.fixture
def transfer():
    return AdversarialTransfer(classifiers=("judge",), white_box=("victim",), bootstrap=100)


def values(figures, model, *path):
    found = figures["classifiers"][model]
    for name in path:
        found = found[name]
    return found


def test_rates_are_over_the_photographs_that_a_model_is_right_about(transfer):
    figures = transfer.figures(table(), CTX)
    judge = values(figures, "judge", "variants")
    assert {name: one["n"] for name, one in judge.items()} == {"control": 8, "fgsm_4": 8, "pgd_8": 8}
    assert judge["pgd_8"]["fooled"]["value"] == 25.0
    assert judge["control"]["fooled"]["value"] == 12.5  # number 0 wasn't attacked
    assert judge["pgd_8"]["above_control"]["value"] == pytest.approx(12.5)
    assert "above_control" not in judge["fgsm_4"]  # there is no control with its ε
    victim = values(figures, "victim", "variants")
    assert victim["pgd_8"]["fooled"]["value"] == 100
    assert victim["fgsm_4"]["fooled"]["value"] == 0
    assert figures["names"] == ["judge"]
    assert figures["white_box"] == ["victim"]
    assert figures["attacks"]["pgd_8"]["sources"] == "victim"


def test_accuracy_under_attack_is_that_under_the_worst_of_them(transfer):
    figures = transfer.figures(table(), CTX)
    judge = values(figures, "judge", "robust")
    assert judge["4"]["n"] == judge["8"]["n"] == 9  # number 0 wasn't attacked
    assert judge["4"]["robust"]["value"] == pytest.approx(100 * 6 / 9, abs=0.01)
    assert judge["8"]["robust"]["value"] == pytest.approx(100 * 5 / 9, abs=0.01)
    assert judge["8"]["clean"]["value"] == pytest.approx(100 * 8 / 9, abs=0.01)
    assert judge["8"]["control"]["value"] == pytest.approx(100 * 7 / 9, abs=0.01)
    victim = values(figures, "victim", "robust")
    assert victim["4"]["n"] == 10  # what it is wrong about counts as wrong
    assert victim["4"]["robust"]["value"] == 90
    assert victim["8"]["robust"]["value"] == 0


def test_the_card_shows_white_box_models_apart(transfer):
    figures = transfer.figures(table(), CTX)
    shown = _render("_adversarial_transfer", figures=figures, models={}, order=[], plots={})
    assert shown.index("**Transfer**") < shown.index("| judge | pgd_8 |") < shown.index("**White-box**")


def test_a_model_that_was_not_attacked_is_not_shown_as_white_box():
    other = [row(f"p{number}", variant, "third", True) for number in range(10) for variant in ATTACKS]
    whole = Table(pa.concat_tables([table().arrow, pa.Table.from_pylist(other)]), "adversarial_transfer")
    asked = AdversarialTransfer(classifiers=("judge",), white_box=("victim", "third"), bootstrap=100)
    figures = asked.figures(whole, CTX)
    assert (figures["white_box"], figures["not_attacked"]) == (["victim"], ["third"])
    shown = _render("_adversarial_transfer", figures=figures, models={}, order=[], plots={})
    assert "| third |" not in shown
    assert "left out: third" in shown


def test_pictures_on_which_the_loss_has_no_gradient_are_told_apart(transfer):
    rows = table().arrow.to_pylist()
    for one in rows:
        if one["variant"] == "pgd_8":
            one["zero_gradients"] = 3.0 if one["photograph"] in ("p1", "p2", "p3") else 0.0
    figures = transfer.figures(Table(pa.Table.from_pylist(rows), "adversarial_transfer"), CTX)
    pgd = values(figures, "victim", "variants")["pgd_8"]
    assert pgd["zero_gradient"]["value"] == pytest.approx(100 * 3 / 9, abs=0.01)
    assert pgd["unaided"]["value"] == pytest.approx(100 * 6 / 9, abs=0.01)
    assert pgd["fooled"]["value"] == 100
    assert values(figures, "victim", "variants")["fgsm_4"]["zero_gradient"]["value"] == 0
    assert not any("unaided" in one for one in values(figures, "judge", "variants").values())
    shown = _render("_adversarial_transfer", figures=figures, models={}, order=[], plots={})
    assert "**Hidden gradients**" in shown
    plain = _render("_adversarial_transfer", figures=transfer.figures(table(), CTX), models={}, order=[], plots={})
    assert "Hidden" not in plain


def test_rows_of_a_report(transfer):
    found = {(one.figure, one.model): one for one in transfer.rows(table(), CTX)}
    fooled = found["fooled", "judge"]
    assert fooled.columns == ("fgsm_4", "pgd_8")
    assert (fooled.top.sum(0) / fooled.bottom.sum(0)).tolist() == [0.25, 0.25]
    assert fooled.axes["epsilon"] == (4.0, 8.0)
    assert fooled.note == "judge: 12.5 % by the control"
    held = found["withstood", "judge"]
    assert held.top.sum() == 5
    assert held.bottom.sum() == 9
    assert found["withstood", "victim"].top.sum() == 0


@pytest.mark.slow
def test_a_report_says_that_the_attacked_model_is_white_box(tmp_path):
    if not DEBIAN.exists():
        pytest.skip("Fashion-MNIST isn't here: make fashion")
    fields = {"adversaries": ["judge_adversary"], "frame": 28, "attacks": [{"kind": "fgsm", "epsilon": 16}]}
    made = {f"generate.adversarial_example.{name}": value for name, value in fields.items()}
    rows = [
        {"id": figure, "title": figure, "edition": "attacked", "of": f"adversarial_transfer.{figure}"}
        for figure in ("fooled", "withstood")
    ]
    suite = {"suite": "own", "version": "1.0.0", "most": 50, "rows": rows}
    suite |= {"editions": {"attacked": {"recipe": "adversarial", "set": made}}}
    (tmp_path / "own.yaml").write_text(json.dumps(suite))
    report = va.report(
        ["judge", "judge_gate"],
        suite=str(tmp_path / "own.yaml"),
        source=FashionMnist(part="test", per_class=5),
        store=str(tmp_path / "store"),
        progress=False,
    )
    for figure in ("fooled", "withstood"):
        found = report.row(figure).models
        assert found["judge"].why_not == "white-box: it was attacked"
        assert found["judge_gate"].figure.value > 0
        assert report.row(figure).n >= 30
    assert "white-box: it was attacked" in Path(report.path).read_text()


def test_measuring_marks_the_models_that_were_attacked(ctx, samples):
    generator = AdversarialExample(attacks=({"kind": "fgsm", "epsilon": 8},), adversaries=("tiny",), frame=28)
    made = [one for one in generator.generate(samples[:3], ctx) if not isinstance(one, Failure)]
    transfer = AdversarialTransfer(classifiers=("other",), white_box=("tiny",))
    found = list(transfer.measure(made, ctx))
    white = {(one["classifier"], one["variant"]) for one in found if one["white_box"]}
    assert white == {("tiny", "fgsm_8")}
    assert {one["l2"] > 0 for one in found if one["variant"] == "fgsm_8"} == {True}
    with pytest.raises(RecipeError, match="'tiny' is a model that the pictures were made to fool"):
        list(AdversarialTransfer(classifiers=("tiny",), white_box=("other",)).measure(made, ctx))


def test_a_record_of_a_stranger_can_say_anything(samples):
    ops = ({"requested": {"attack": 3, "epsilon": True, "sources": "x", "like": None}, "models": {"x": 1}},)
    odd = SimpleNamespace(ops=ops)
    assert variant_of(odd) == ("", 0, "", "", "", False)
    assert contents_named(odd, "sources") == frozenset()
    for targets in ("n01440764", [3, None, "nothing"], {}, None):
        op = {"requested": {"attack": "control"}, "achieved": {"targets": targets}}
        answer = SimpleNamespace(sample=SimpleNamespace(ops=(op,)), probabilities=np.full(1000, 0.001))
        assert repr(_towards(answer, None)) == "{'hit': False, 'p_target': nan, 'target_loss': nan}"


def test_survivors_give_no_accuracy(transfer):
    survivors = Table(
        pa.Table.from_pylist(
            [
                {
                    **one,
                    "chosen": True,
                    "requested": json.dumps({**json.loads(one["requested"]), "keep_failures": False}),
                }
                if one["attack"] in ("fgsm", "pgd")
                else one
                for one in table().arrow.to_pylist()
            ]
        ),
        "adversarial_transfer",
    )
    figures = transfer.figures(survivors, CTX)
    assert figures["chosen"] == ["fgsm_4", "pgd_8"]
    assert figures["classifiers"]["judge"]["robust"] == {}
    shown = _render("_adversarial_transfer", figures=figures, models={}, order=[], plots={})
    assert "Of fgsm_4, pgd_8 only successes are here" in shown
    assert {one.why_not for one in transfer.rows(survivors, CTX) if one.figure == "withstood"} == {
        "the edition has only pictures that fool the attacked models"
    }


def test_controls_of_several_budgets_are_no_edits():
    rows = table().arrow.to_pylist()
    named = [{**one, "variant": "control_8"} if one["variant"] == "control" else one for one in rows]
    renamed = Table(pa.Table.from_pylist(named), "accuracy_drop")
    edits = [one for one in AccuracyDrop(classifiers=("judge",)).rows(renamed, CTX) if one.figure == "edits"]
    assert [one.columns for one in edits] == [("fgsm_4", "pgd_8")] * 2


def test_hits_count_among_the_photographs_that_a_model_was_right_about(transfer):
    rows = table().arrow.to_pylist()
    for one in rows:
        if one["variant"] == "pgd_8":
            one |= {"target": "n01440764", "hit": one["photograph"] in ("p1", "p4")}
    figures = transfer.figures(Table(pa.Table.from_pylist(rows), "adversarial_transfer"), CTX)
    judge = values(figures, "judge", "variants")
    assert judge["pgd_8"]["hit"]["value"] == 12.5  # it is wrong about the original of p1
    assert "hit" not in judge["fgsm_4"]


def test_all_pictures_of_a_photograph_count(transfer):
    """Each has two of one attack, and one fools: half are fooled, and nobody withstands both."""
    rows = [one for one in table().arrow.to_pylist() if one["variant"] == "original"]
    rows += [
        {**row(f"p{number}", "pgd_8", model, bool(second)), "id": f"p{number}-{second}"}
        for number in range(1, 10)
        for model in ("judge", "victim")
        for second in range(2)
    ]
    for order in (rows, rows[::-1]):
        whole = Table(pa.Table.from_pylist(order), "adversarial_transfer")
        figures = transfer.figures(whole, CTX)
        for model, n in (("judge", 8), ("victim", 9)):
            pgd = values(figures, model, "variants")["pgd_8"]
            assert (pgd["n"], pgd["fooled"]["value"]) == (n, 50)
            assert values(figures, model, "robust")["8"]["robust"]["value"] == 0
        held = {one.model: one for one in transfer.rows(whole, CTX) if one.figure == "withstood"}
        assert (held["judge"].top.sum(), held["judge"].bottom.sum()) == (0, 9)


def test_of_two_attacked_models_each_is_measured_where_the_other_is_right():
    """A picture that one is wrong about is never attacked, so the other's accuracy under attack isn't known there."""
    rows = []
    for number in range(20):
        right = {"victim": number >= 4, "judge": number not in (0, 1, 10, 11, 12)}
        for model, is_right in right.items():
            rows.append(row(f"p{number:02}", "original", model, is_right))
            if all(right.values()):
                rows.append({**row(f"p{number:02}", "pgd_8", model, True), "white_box": True})
    asked = AdversarialTransfer(classifiers=("judge",), white_box=("judge", "victim"), bootstrap=100)
    figures = asked.figures(Table(pa.Table.from_pylist(rows), "adversarial_transfer"), CTX)
    victim = values(figures, "victim", "robust")["8"]
    assert victim["n"] == 15  # those that the judge is right about
    assert victim["clean"]["value"] == victim["robust"]["value"] == pytest.approx(100 * 13 / 15, abs=0.01)
