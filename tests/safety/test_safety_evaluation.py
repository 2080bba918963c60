"""Figures of labelers with a known confusion, on coloured pictures whose truth is written in their pixels."""

import json
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
from coloured_shapes import CATEGORIES, recipe, shapes

from variorum.evaluation.safety.precision_recall import ALL
from variorum.evaluation.safety.safety import Safety
from variorum.evaluation.safety.thresholds import best_threshold
from variorum.pipeline import Job, run
from variorum.reports.card import _render, render_card
from variorum.schemas.annotations import Annotations, LabelState
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.recipe import Recipe
from variorum.schemas.safety import Category, Labeler, Opinion
from variorum.schemas.sample import CAPTURED, GENERATED, Sample, Withheld, source_id
from variorum.schemas.table import Table
from variorum.schemas.uses import Use
from variorum.stages.job import models

RED, BLUE = (Category(id=name, name=f"too {name}", definition=f"much {name}") for name in ("red", "blue"))
CTX = Context(seed=3, models=models("embedded"), memo=lambda key, compute: compute())


class Stub(Labeler):
    """Reads its score from the first channel of the picture's first pixel; abstains at 255."""

    prompts_asked: int = 1
    always: float | None = None
    says: tuple[str, ...] = ("red",)

    def scored(self):
        return self.says

    def prompts(self, categories):
        return tuple(f"p{number}" for number in range(self.prompts_asked)) if self.prompts_asked > 1 else ("",)

    def opinions(self, shown, ctx):
        row = int(shown.prompt[1:] or 0) if shown.prompt else 0
        return [self.of(int(image[row, 0, 0])) for image in shown.pictures]

    def of(self, value):
        if value == 255:
            return Opinion(heard="abstain")
        score = value / 100 if self.always is None else self.always
        return Opinion(dict.fromkeys(self.says, score))


class Absent(Labeler):
    """Its model can't be had."""

    def scored(self):
        return ("red",)

    def uses(self):
        return [Use("nowhere")]

    def opinions(self, shown, ctx):
        raise AssertionError("it isn't asked")


def picture(number, scores, unsafe=None, *, category="red", split="", made=CAPTURED, metadata=None):
    """A picture whose first pixels hold the scores in percent, 255 to abstain."""
    image = np.full((8, 8, 3), number % 251, np.uint8)
    image[0, 1] = number // 251, 0, 0
    for row, score in enumerate(scores if isinstance(scores, tuple) else (scores,)):
        image[row, 0, 0] = score
    states = () if unsafe is None else (LabelState(category, "correct" if unsafe else "wrong"),)
    return Sample(
        source_id("t", str(number)),
        image,
        photograph=str(number),
        annotations=Annotations(labels=states),
        split=split,
        digital_source_type=made,
        metadata=metadata or {},
    )


def figures(evaluation, samples):
    rows = [row for start in range(0, len(samples), 7) for row in evaluation.measure(samples[start : start + 7], CTX)]
    return evaluation.figures(Table(pa.Table.from_pylist(rows), ""), CTX)


def confusion(hits, misses, alarms, passed, first=0, **more):
    """Pictures that give a labeler these counts: 90 is called unsafe, 10 isn't."""
    wanted = [(90, True)] * hits + [(10, True)] * misses + [(90, False)] * alarms + [(10, False)] * passed
    return [picture(first + number, score, unsafe, **more) for number, (score, unsafe) in enumerate(wanted)]


def evaluation(*labelers, **fields):
    return Safety(categories=(RED, BLUE), labelers=labelers or (Stub(label="stub"),), bootstrap=100, **fields)


def test_the_figures_are_those_of_the_confusion():
    found = figures(evaluation(), confusion(12, 4, 6, 18))["by_labeler"]["stub"]["cells"]["red"][ALL]
    values = {name: found[name]["value"] for name in ("precision", "recall", "f1", "alarms", "coverage")}
    assert values == {"precision": 66.67, "recall": 75.0, "f1": 70.59, "alarms": 25.0, "coverage": 100.0}
    assert (found["unsafe"], found["safe"]) == (16, 24)
    assert found["auroc"]["value"] == pytest.approx((12 * 18 + (12 * 6 + 4 * 18) / 2) / (16 * 24), abs=1e-4)
    assert found["ap"]["value"] == pytest.approx(12 / 16 * 12 / 18 + 4 / 16 * 16 / 40, abs=1e-4)
    for name in ("precision", "recall", "f1"):
        assert found[name]["low"] < found[name]["value"] < found[name]["high"]
    assert found["alarms"]["low"] == pytest.approx(9.77, abs=0.01)  # exact for 6 of 24
    assert found["alarms"]["high"] == pytest.approx(46.71, abs=0.01)


def test_the_same_samples_give_the_same_figures():
    samples = confusion(6, 2, 3, 9)
    assert figures(evaluation(), samples) == figures(evaluation(), samples)


def test_who_abstains_loses_coverage_and_not_precision():
    samples = confusion(12, 4, 6, 18)
    silent = [picture(100 + number, 255, number % 2 == 0) for number in range(40)]
    before, after = (
        figures(evaluation(), some)["by_labeler"]["stub"]["cells"]["red"][ALL] for some in (samples, samples + silent)
    )
    assert after["coverage"]["value"] == 50
    assert (after["unsafe"], after["safe"]) == (36, 44)
    for name in ("precision", "recall", "f1", "alarms", "auroc"):
        assert after[name]["value"] == before[name]["value"]


def test_what_is_labelled_for_one_category_is_unknown_for_others():
    samples = confusion(6, 2, 3, 9) + [picture(50 + number, 90, False, category="blue") for number in range(5)]
    found = figures(evaluation(Stub(label="stub", says=("red", "blue"))), samples)["by_labeler"]["stub"]
    red, blue = (found["cells"][name][ALL] for name in ("red", "blue"))
    assert (red["unsafe"], red["safe"], red["alarms"]["called"]) == (8, 12, 3)
    assert (blue["unsafe"], blue["safe"], blue["alarms"]["value"]) == (0, 5, 100)
    assert blue["f1"] is blue["precision"] is blue["recall"] is blue["auroc"] is None
    assert found["means"][ALL]["categories"] == 1
    assert found["means"][ALL]["f1"]["value"] == red["f1"]["value"]


def test_a_category_that_a_labeler_does_not_speak_of_has_no_figures():
    found = figures(evaluation(), [picture(1, 90, True, category="blue"), picture(2, 10, False, category="blue")])
    assert set(found["by_labeler"]["stub"]["cells"]) == {"red"}
    cell = found["by_labeler"]["stub"]["cells"]["red"][ALL]
    assert {name for name, value in cell.items() if value is not None} == {"unsafe", "safe"}
    assert found["by_labeler"]["stub"]["means"][ALL]["f1"] is None


def test_contradicting_labels_are_counted_and_left_out():
    clash = [picture(30, 90, True), picture(31, 90, False)]
    clash[1] = Sample(clash[1].id, clash[0].image, photograph="31", annotations=clash[1].annotations)
    found = figures(evaluation(), confusion(4, 1, 1, 4) + clash)
    assert found["contradicted"] == {"red": 2}
    cell = found["by_labeler"]["stub"]["cells"]["red"][ALL]
    assert (cell["unsafe"], cell["safe"]) == (5, 5)


def test_pictures_without_a_label_are_safe_only_if_presumed_so():
    samples = [picture(number, 90 if number < 2 else 10) for number in range(10)]
    cell = figures(evaluation(), samples)["by_labeler"]["stub"]["cells"]["red"][ALL]
    assert (cell["unsafe"], cell["safe"], cell["alarms"]) == (0, 0, None)
    found = figures(evaluation(presume_benign=True), [*samples, picture(20, 10, True)])
    assert found["presumed_benign"] == 10
    cell = found["by_labeler"]["stub"]["cells"]["red"][ALL]
    assert (cell["unsafe"], cell["safe"], cell["alarms"]["called"]) == (1, 10, 2)
    assert found["by_labeler"]["stub"]["flagged"][ALL] == cell["alarms"]
    copied = picture(20, 10)  # its pixels are labelled elsewhere
    assert figures(evaluation(presume_benign=True), [*samples, picture(20, 10, True), copied])["presumed_benign"] == 10


def test_the_drop_is_from_photographs_to_generated_pictures():
    real = confusion(9, 1, 1, 9)
    made = confusion(5, 5, 3, 7, first=100, made="", metadata={"source": "Lexica"})
    found = figures(evaluation(), real + made)
    drop = found["by_labeler"]["stub"]["drop"]
    assert (drop["f1_categories"], drop["alarms_categories"]) == (1, 1)
    assert drop["recall"]["value"] == 40
    assert drop["alarms"]["value"] == 20
    assert drop["f1"]["value"] == pytest.approx(100 * (18 / 20 - 10 / 18), abs=0.01)
    assert drop["f1"]["low"] < drop["f1"]["value"] < drop["f1"]["high"]
    assert found["groups"] == [ALL, "Lexica", "photographs"]
    cells = found["by_labeler"]["stub"]["cells"]["red"]
    assert cells["Lexica"]["recall"]["value"] == 50
    assert set(evaluation().plots(found)) == {"f1", "alarms", "drop"}


def test_a_threshold_is_tuned_on_train_and_tested_on_test():
    train = [
        picture(number, 20 + number % 9 if number % 2 else 40, number % 2 == 0, split="train") for number in range(40)
    ]
    test = [picture(100 + number, 20 if number % 2 else 42, number % 2 == 0, split="test") for number in range(20)]
    found = figures(evaluation(), train + test)["by_labeler"]["stub"]["tuned"]["red"]
    assert (found["own"], found["tuned"]) == (0.5, 0.4)
    assert (found["own_f1"]["value"], found["tuned_f1"]["value"], found["change"]["value"]) == (0, 100, 100)
    alone = figures(evaluation(), confusion(12, 4, 6, 18))["by_labeler"]["stub"]["tuned"]["red"]
    assert alone == {"why": "the split train has 0 unsafe and 0 safe pictures with an answer"}
    held = figures(evaluation(split="test"), train + test)["by_labeler"]["stub"]
    assert (held["cells"]["red"][ALL]["unsafe"], held["cells"]["red"][ALL]["safe"]) == (10, 10)
    assert held["tuned"]["red"] == found


def test_the_best_threshold_takes_pictures_with_equal_scores_together():
    scores, unsafe = np.array([0.9, 0.6, 0.6, 0.6, 0.1]), np.array([True, True, True, False, False])
    assert best_threshold(scores, unsafe, 0.5) == 0.5  # no worse than 0.6
    assert best_threshold(scores, unsafe, 0.7) == 0.6
    assert best_threshold(np.array([0.9, 0.2]), np.array([True, True]), 0.5) == 0.2


def test_prompts_count_each_and_together():
    asked = [((90, 90, 10), True), ((90, 10, 10), False), ((10, 255, 90), True), ((10, 10, 10), False)]
    samples = [picture(number, scores, unsafe) for number, (scores, unsafe) in enumerate(asked)]
    found = figures(evaluation(Stub(label="stub", prompts_asked=3)), samples)["by_labeler"]
    assert list(found) == ["stub, p0", "stub, p1", "stub, p2", "stub, all prompts"]
    together = found["stub, all prompts"]["cells"]["red"][ALL]
    assert together["recall"]["value"] == 100  # means of .63 and .5
    assert together["alarms"]["value"] == 0
    assert found["stub, p1"]["cells"]["red"][ALL]["coverage"]["value"] == 75
    assert found["stub, all prompts"]["heard"] == {"ok": 11, "abstain": 1}


def test_labelers_are_compared_with_each_other():
    labelers = Stub(label="one"), Stub(label="two"), Stub(label="never", always=0.0)
    found = figures(evaluation(*labelers), confusion(6, 2, 3, 9))
    agreed = found["agreement"]["red"]
    assert agreed["labelers"] == 3
    kappa = {tuple(pair["of"]): pair["kappa"] for pair in agreed["pairs"]}
    assert kappa == {("one", "two"): 1.0, ("one", "never"): 0.0, ("two", "never"): 0.0}
    assert agreed["alpha"] < 0.5
    assert found["by_labeler"]["all labelers"]["cells"]["red"][ALL]["recall"]["value"] == 75
    tied = figures(evaluation(*labelers[1:]), confusion(6, 2, 3, 9))["by_labeler"]["all labelers"]
    assert tied["cells"]["red"][ALL]["coverage"]["value"] == 55  # the two disagree on nine of twenty


def test_who_measured_nothing_is_named():
    samples = [picture(number, 255, number % 2 == 0) for number in range(4)]
    found = figures(evaluation(Stub(label="silent"), Absent()), samples)["by_labeler"]
    assert found["silent"]["why"] == "no usable answer (4 abstain)"
    assert "no model alias 'nowhere'" in found["test_safety_evaluation"]["why"]
    assert all("cells" not in one for one in found.values())
    other = figures(evaluation(Stub(label="other", says=("green",))), samples)["by_labeler"]["other"]
    assert other["why"] == "it speaks of none of these categories, only of green"
    assert evaluation().figures(Table(pa.table({}), ""), CTX)["by_labeler"] == {}


class Gated(Stub):
    """Its model is that of a gate, whose check `nudity` has its scores."""

    gate: ClassVar[str] = "nudity"


def withheld(number, score, unsafe=None):
    sample = replace(picture(number, 0, unsafe), image=b"", reason="age_unknown")
    return Withheld(sample, {} if score is None else {"nudity": score})


def test_a_labeler_that_was_a_gate_is_judged_on_what_the_gate_withheld_too():
    kept = confusion(6, 2, 0, 10)
    gone = [*(withheld(500 + n, 0.7, False) for n in range(5)), *(withheld(600 + n, 0.9, True) for n in range(4))]
    gone += [withheld(700, 0.3, False), withheld(701, None, True), withheld(702, 0.9)]
    judging = evaluation(Gated(label="gate"), Stub(label="other"))
    rows = Table(pa.Table.from_pylist(list(judging.measure(kept, CTX))), "")
    found = judging.figures(rows, replace(CTX, withheld=gone))
    assert found["withheld"] == {"age_unknown": 12}
    assert set(found["by_labeler"]) == {"gate", "gate, withheld counted", "other", "all labelers"}
    cells = {name: one["cells"]["red"][ALL] for name, one in found["by_labeler"].items()}
    for name in ("gate", "other"):  # on what the gate left
        assert (cells[name]["unsafe"], cells[name]["safe"], cells[name]["alarms"]["called"]) == (8, 10, 0)
    seen = cells["gate, withheld counted"]
    assert (seen["unsafe"], seen["safe"]) == (13, 16)
    assert (seen["alarms"]["n"], seen["alarms"]["called"]) == (16, 5)
    assert seen["recall"]["value"] == pytest.approx(100 * 10 / 12, abs=0.01)  # one has no score
    presumed = Safety(**{**dict(judging), "presume_benign": True}).figures(rows, replace(CTX, withheld=gone))
    assert presumed["presumed_benign"] == 0
    assert presumed["by_labeler"]["gate, withheld counted"]["cells"]["red"][ALL]["alarms"]["called"] == 6
    text = _render("_safety", None, figures=json.loads(json.dumps(found)), plots={}, models={}, order=[])
    assert "12 pictures were withheld (age unknown 12)" in text
    assert "| gate | too red | what the gate left | 8 | 10 |" in text
    assert "| gate | too red | with what it withheld | 13 | 16 |" in text


def test_the_control_shows_who_always_says_unsafe():
    labelers = Stub(label="always", says=("red", "control"), always=1.0), Stub(label="stub", says=("red", "control"))
    found = figures(evaluation(*labelers), confusion(2, 1, 1, 6))["by_labeler"]
    assert found["always"]["control"]["value"] == 100
    assert found["stub"]["control"]["value"] == 30


def test_calibration_is_small_for_honest_scores():
    rng = np.random.default_rng(0)
    scores = rng.integers(5, 95, 400)
    samples = [picture(number, int(score), rng.random() < score / 100) for number, score in enumerate(scores)]
    found = figures(evaluation(), samples)["by_labeler"]["stub"]["calibration"]["red"]
    assert found["ece"] < 2 * found["by_chance"]
    assert sum(one["n"] for one in found["bins"]) == 400
    extreme = confusion(3, 30, 3, 30)
    assert figures(evaluation(), extreme)["by_labeler"]["stub"]["calibration"]["red"]["ece"] > 30


def test_false_alarms_are_compared_without_an_unsafe_picture():
    real = confusion(0, 0, 1, 9)
    made = confusion(0, 0, 3, 7, first=50, made=GENERATED)
    drop = figures(evaluation(), real + made)["by_labeler"]["stub"]["drop"]
    assert (drop["f1"], drop["recall"], drop["alarms"]["value"]) == (None, None, 20)
    assert figures(evaluation(), real)["by_labeler"]["stub"]["drop"] is None


def test_generated_is_what_the_picture_says_itself():
    samples = [*confusion(2, 1, 1, 2, made=GENERATED), *confusion(2, 1, 1, 2, first=50)]
    assert figures(evaluation(), samples)["groups"] == [ALL, "generated", "photographs"]


def test_the_card_has_labelers_in_order_and_nothing_of_what_is_unknown():
    samples = [
        *confusion(12, 4, 6, 18, split="train"),
        *confusion(10, 4, 6, 8, first=100, made=GENERATED, split="test"),
        picture(300, 90, True, category="blue"),
    ]
    labelers = Stub(label="second", says=("red", "control")), Stub(label="a_first"), Stub(label="mute", says=("x",))
    of = evaluation(*labelers)
    found = json.loads(json.dumps(figures(of, samples), sort_keys=True))
    plots = of.plots(found)
    text = _render("_safety", None, figures=found, plots=dict.fromkeys(plots, "a plot"), models={}, order=[])
    assert text.index("#### second") < text.index("#### a&#95;first" if "a&#95;first" in text else "#### a_first")
    assert "- mute measured nothing: it speaks of none of these categories, only of x." in text
    assert "| too red | generated | 14 | 14 | 100.0 [87.7, 100.0] | 66.7 [" in text
    assert "**Nobody looked for too blue**: no labeler gave an answer about this category." in text
    assert text.count("too blue") == 1
    for part in ("Thresholds", "Calibration", "Agreement", "From photographs to generated pictures"):
        assert f"#### {part}" in text
    assert plots["f1"].rows == ("too red",)
    empty = _render("_safety", None, figures=evaluation().figures(Table(pa.table({}), ""), CTX), plots={}, order=[])
    assert "No labeler gave an answer" in empty


def test_an_edition_is_evaluated_without_asking_again(tmp_path, monkeypatch):
    shapes(tmp_path, 9)
    monkeypatch.setenv("LOG_OF_CALLS", str(tmp_path / "log"))
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path / "cache"))
    plain = recipe(tmp_path, [{"label": "blue_one"}, {"label": "red_one", "speaks": ["red"]}])
    detector = plain["curate"][0]
    asked = {name: detector[name] for name in ("categories", "labelers")}
    plain |= {"curate": [detector], "evaluate": [{"name": "safety", **asked, "presume_benign": True}]}
    job = Job(Recipe.parse(plain), str(tmp_path / "store"))
    manifest = run(job)
    assert (tmp_path / "log").read_text().count("\n") == 2  # a call of each labeler
    card = render_card(job.recipe, manifest, job.store)
    assert "9 pictures have no label of their own and **are presumed safe**" in card
    assert "| blue | all | 0 | 9 | 100.0 [66.4, 100.0] | – | – | – | 33.3 [7.5, 70.1] | – | – |" in card


def test_a_labeler_does_not_judge_what_it_chose(tmp_path, monkeypatch):
    shapes(tmp_path, 6)
    monkeypatch.setenv("LOG_OF_CALLS", str(tmp_path / "log"))
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path / "cache"))
    fields = recipe(tmp_path, [{"label": "red_one", "speaks": ["red"]}])
    judges = [{**fields["curate"][0]["labelers"][0], "label": "judge", "threshold": 0.9}]
    evaluation = {"name": "safety", "categories": CATEGORIES, "labelers": judges, "presume_benign": True}
    fields["evaluate"] = [evaluation]
    store = str(tmp_path / "store")
    with pytest.raises(
        RecipeError, match=r"evaluate.safety.labelers: judge decided what was accepted, so it can't judge"
    ):
        run(Job(Recipe.parse(fields), store))
    fields["evaluate"] = [{**evaluation, "labelers": [{**judges[0], "speaks": ["green"]}]}]
    assert run(Job(Recipe.parse(fields), store)).counts["original"]["withheld:unsafe"] == 2
