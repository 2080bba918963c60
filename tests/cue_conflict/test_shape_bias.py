import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from variorum.evaluation.cue_conflict.shape_bias import ShapeBias, cues_of
from variorum.kit.labels.categories import category_classes
from variorum.kit.predicted.answers import SharedAnswers
from variorum.models import ModelTable
from variorum.models.brought.function import from_function
from variorum.models.imagenet_classes import class_infos, index_of, name_of
from variorum.reports.card import _render
from variorum.schemas.component import ClassInfo, Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import Op, Sample
from variorum.schemas.table import Table

CAT, SIAMESE, AIRLINER, ELEPHANT, TENCH = "n02123045", "n02123597", "n02690373", "n02504013", "n01440764"


def sample(number, shape, texture="", *, variant="", photograph=None):
    """A picture of one grey level, which says which it is."""
    cues = {"shape_label": shape, "texture_label": texture} if texture else {}
    op = Op(name="x", revision=1, requested=cues, achieved={}, gates={}, models={}, seed=0)
    return Sample(
        f"{number:032x}",
        np.full((32, 32, 3), number, np.uint8),
        (shape,),
        variant=variant or ("texture_fill" if texture else "original"),
        parent="" if photograph is None else f"p{photograph}",
        ops=(op,),
    )


def classifier(answers, outputs=1000, index=index_of):
    """Gives all probability, but for a hundredth, to the class of each picture's answer."""

    def answer(images):
        scores = np.full((len(images), outputs), 0.01 / outputs)
        for row, image in zip(scores, images, strict=True):
            row[index(answers[int(image[0, 0, 0])])] += 0.99
        return scores

    return answer


def context(models=None, classes=None):
    return Context(
        1, models or ModelTable("embedded"), lambda key, compute: compute(), classes=classes or class_infos()
    )


def judged(samples, answers, *, classes=None, model=None):
    """Figures of a classifier with these answers, or of this one, its rows, and all figures."""
    model = model or from_function(classifier(answers))
    ctx = context(ModelTable("embedded").with_models({"mine": model}), classes)
    evaluation = ShapeBias(classifiers=("mine",), bootstrap=200)
    rows = list(evaluation.measure(samples, ctx))
    figures = evaluation.figures(Table(pa.Table.from_pylist(rows), "shape_bias"), ctx)
    json.dumps(figures)
    return figures["classifiers"]["mine"], rows, figures


def test_rows_of_a_report_are_those_of_the_shared_answers():
    """Of 12 pictures of 6 photographs, 6 are decided for the shape, 3 for the texture, 3 for neither."""
    answers = [CAT] * 6 + [AIRLINER] * 3 + [ELEPHANT] * 3 + [SIAMESE]
    samples = [sample(number, CAT, AIRLINER, photograph=number // 2) for number in range(12)] + [sample(12, CAT)]
    model = from_function(classifier(answers))
    one, rows, _ = judged(samples, answers, model=model)
    ctx = context(ModelTable("embedded").with_models({"mine": model}))
    table = Table(pa.Table.from_pylist(list(SharedAnswers(classifiers=("mine",)).measure(samples, ctx))))
    for name in rows[0]:
        assert table.column(name).to_pylist() == pytest.approx([row[name] for row in rows], nan_ok=True)
    shape, cover = ShapeBias().rows(table, ctx)
    found = one["conflicts"]["texture_fill"]["sixteen"]
    assert 100 * shape.top.sum() / shape.bottom.sum() == pytest.approx(found["bias"]["value"], abs=0.01)
    assert 100 * cover.top.sum() / cover.bottom.sum() == found["cover"]["value"] == 75
    assert (len(shape.photographs), len(cover.photographs), shape.note) == (5, 6, "9 of 12 decisions")
    assert shape.pictures.said[0] == name_of(CAT)
    alone = Table(table.arrow.slice(12))
    assert {one.why_not for one in ShapeBias().rows(alone, ctx)} == {"no picture has two cues"}


def test_a_decision_is_for_the_shape_the_texture_or_neither():
    answers = [CAT] * 6 + [AIRLINER] * 3 + [TENCH]
    samples = [sample(number, CAT, AIRLINER, photograph=number) for number in range(10)]
    one, _, _ = judged(samples, answers)
    for name in ("sixteen", "all"):
        found = one["conflicts"]["texture_fill"][name]
        counts = [found[key] for key in ("n", "photographs", "shape", "texture", "neither")]
        assert counts[:2] == [10, 10]
        if name == "all":
            assert counts[2:] == [6, 3, 1]
            assert found["bias"]["value"] == pytest.approx(66.67)
            assert found["cover"]["value"] == 90
            assert found["leaning"]["value"] == 60  # of a tench both are as improbable
    assert one["conflicts"]["texture_fill"]["all"]["few"]  # nine decisions
    assert one["accuracies"] == {}


def test_a_category_is_decided_by_the_mean_of_its_classes():
    """A Siamese cat in place of a tabby is right among categories and wrong among classes."""
    samples = [sample(number, CAT, AIRLINER, photograph=number) for number in range(12)]
    one, rows, _ = judged(samples, [SIAMESE] * 12)
    sixteen, every = (one["conflicts"]["texture_fill"][name] for name in ("sixteen", "all"))
    assert (sixteen["shape"], sixteen["texture"], sixteen["few"]) == (12, 0, False)
    assert sixteen["bias"] == {"value": 100, "low": 73.54, "high": 100, "photographs": 12}
    assert (every["shape"], every["neither"], every["bias"], every["few"]) == (0, 12, None, True)
    assert rows[0]["p_shape_category"] == pytest.approx(0.99 / 5, rel=1e-3)


def test_the_bias_is_of_the_decisions_for_a_cue_and_the_cover_of_all():
    samples = [sample(number, CAT, AIRLINER, photograph=number) for number in range(10)]
    found = judged(samples, [CAT] * 3 + [AIRLINER] + [TENCH] * 6)[0]["conflicts"]["texture_fill"]["all"]
    assert (found["bias"]["value"], found["cover"]["value"]) == (75, 40)


def test_most_decisions_for_neither_are_few():
    answers = [CAT] * 11 + [TENCH] * 40
    samples = [sample(number, CAT, AIRLINER, photograph=number) for number in range(51)]
    found = judged(samples, answers)[0]["conflicts"]["texture_fill"]["all"]
    assert (found["shape"], found["few"]) == (11, True)
    assert found["cover"]["value"] == pytest.approx(100 * 11 / 51, abs=0.01)


def test_only_pictures_whose_categories_differ_are_decided_among_sixteen():
    samples = [
        sample(0, CAT, SIAMESE, photograph=0),  # one category
        sample(1, CAT, TENCH, photograph=1),  # a tench is in none
        sample(2, CAT, ELEPHANT, photograph=2),
    ]
    found = judged(samples, [CAT] * 3)[0]["conflicts"]["texture_fill"]
    assert (found["sixteen"]["n"], found["all"]["n"]) == (1, 3)


def test_the_photograph_is_what_is_resampled():
    """Four pictures of one photograph are one observation: the interval is as wide as that of single ones."""
    answers = [CAT] * 32 + [AIRLINER] * 32
    of_four = [sample(number, CAT, AIRLINER, photograph=number // 4) for number in range(64)]
    alone = [sample(number, CAT, AIRLINER, photograph=number) for number in range(64)]
    found = [judged(samples, answers)[0]["conflicts"]["texture_fill"]["all"] for samples in (of_four, alone)]
    assert [one["photographs"] for one in found] == [16, 64]
    wide, narrow = (one["bias"] for one in found)
    assert wide["value"] == narrow["value"] == 50
    assert wide["high"] - wide["low"] > 1.5 * (narrow["high"] - narrow["low"])


def test_pictures_with_one_cue_have_an_accuracy_among_sixteen(monkeypatch):
    monkeypatch.setattr("variorum.schemas.plot.FEWEST", 1)
    samples = [
        sample(0, CAT),
        sample(1, AIRLINER),
        sample(2, CAT, variant="edges", photograph=0),
        sample(3, AIRLINER, variant="edges", photograph=1),
        sample(4, TENCH),
    ]
    assert cues_of(samples[4]) is None
    one, rows, figures = judged(samples, [SIAMESE, AIRLINER, SIAMESE, CAT, TENCH])
    assert len(rows) == 4
    assert list(one["accuracies"]) == ["original", "edges"]
    assert {name: (found["n"], found["accuracy"]["value"]) for name, found in one["accuracies"].items()} == {
        "original": (2, 100),
        "edges": (2, 50),
    }
    stored = json.loads(json.dumps(figures, sort_keys=True))  # as an edition keeps them
    plot = ShapeBias(classifiers=("mine",)).plots(stored)["sixteen"]
    assert plot.rows == ("original", "edges")
    assert [point.value for point in plot.series["mine"]] == [100, 50]
    text = card(stored)
    assert 0 < text.index("| original | mine |") < text.index("| edges | mine |")


def test_a_picture_that_was_changed_again_still_has_two_cues():
    filled = sample(0, CAT, AIRLINER)
    fog = Op(name="fog", revision=1, requested={"severity": 3}, achieved={}, gates={}, models={}, seed=0)
    assert cues_of(replace(filled, ops=(*filled.ops, fog))) == (CAT, AIRLINER)
    assert cues_of(replace(filled, ops=(fog,))) == (CAT, "")


def test_a_model_that_lacks_a_category_decides_among_its_own_outputs_alone():
    classes = (ClassInfo("cat", "cat"), ClassInfo("truck", "truck"))
    places = {"cat": 0, "truck": 1}
    samples = [sample(number, "cat", "truck", photograph=number) for number in range(3)]
    one, rows, _ = judged(
        samples,
        (),
        classes=classes,
        model=from_function(classifier(["cat", "cat", "truck"], 2, places.__getitem__), classes=("cat", "truck")),
    )
    assert {row["sixteen"] for row in rows} == {""}
    assert list(one["conflicts"]["texture_fill"]) == ["all"]
    assert one["conflicts"]["texture_fill"]["all"]["shape"] == 2


def test_folders_named_after_categories_are_decided_among_sixteen():
    """The model has ImageNet's outputs, and no single one for a cat."""
    classes = tuple(ClassInfo(name, name) for name in [*category_classes(), "Cat"][8:])
    samples = [sample(number, "Cat", "truck", photograph=number) for number in range(3)]
    one, _, _ = judged(samples, [SIAMESE, CAT, AIRLINER], classes=classes)
    assert list(one["conflicts"]["texture_fill"]) == ["sixteen"]
    found = one["conflicts"]["texture_fill"]["sixteen"]
    assert (found["shape"], found["texture"], found["neither"]) == (2, 0, 1)


def test_a_class_that_a_model_lacks_is_one_line():
    classes = (ClassInfo("cat", "cat"), ClassInfo("unicorn", "unicorn"))
    with pytest.raises(RecipeError, match=r"'unicorn'.* can't be found among the model's 1000 outputs"):
        judged([sample(0, "cat", "unicorn")], [CAT], classes=classes)


def test_an_edition_without_cues_has_figures_and_a_card():
    evaluation = ShapeBias(classifiers=("mine",))
    table = Table(pa.table({"id": pa.array([], pa.string())}), "shape_bias")
    found = evaluation.figures(table, context())
    assert (found["classifiers"], evaluation.plots(found)) == ({}, {})
    assert "no picture with two cues" in card(found)
    assert list(evaluation.measure([sample(0, TENCH)], context())) == []


def card(found):
    plots = {name: f"plot {name}" for name in ShapeBias(classifiers=("mine",)).plots(found)}
    return _render("_shape_bias", figures=found, models={"mine": "model@sha256:0"}, order=[], plots=plots)


def test_the_card_says_what_the_figures_are(monkeypatch):
    monkeypatch.setattr("variorum.schemas.plot.FEWEST", 1)
    samples = [sample(number, CAT, AIRLINER, photograph=number) for number in range(4)] + [sample(4, CAT)]
    text = card(json.loads(json.dumps(judged(samples, [CAT, CAT, AIRLINER, TENCH, CAT])[2], sort_keys=True)))
    assert "can't be compared with published ones" in text
    assert "Geirhos" in text
    assert "**Few decisions**" in text
    assert "| texture_fill | mine | all outputs | 4 | 4 | 2 | 1 | 1 | 75.0 [" in text
    assert text.index("| mine | 16 categories |") < text.index("| mine | all outputs |")
    assert "plot sixteen" in text
