import json

import numpy as np
import pyarrow as pa
import pytest

from variorum.evaluation.classifiers.accuracy_drop import AccuracyDrop
from variorum.kit.predicted.answers import label_index, reference
from variorum.kit.predicted.pairing import UNSCORED, roots
from variorum.kit.predicted.resamples import Resamples
from variorum.models import ModelTable
from variorum.schemas.component import ClassInfo, Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.plot import Bin
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table
from variorum.schemas.uses import required_models
from variorum.statistics import mean_ratio


def row(id, parent, variant, label=3, top1=3, reference="", classifier="c"):
    return {
        "id": id,
        "parent": parent,
        "variant": variant,
        "reference": reference,
        "classifier": classifier,
        "label": label,
        "labels": int(label != UNSCORED),
        "top1": top1,
        "correct": label == top1,
        "confidence": 0.75,
        "p_label": None if label == UNSCORED else 0.5,
        "outputs": 1000,
        "preprocessing": "squashed to 224 px",
    }


def context(seed=0, models=None, classes=()):
    models = models or ModelTable("embedded")
    return Context(seed=seed, models=models, memo=lambda key, compute: compute(), classes=classes)


def table(rows):
    return Table(pa.Table.from_pylist(rows), "accuracy_drop")


def summary(rows, **fields):
    return AccuracyDrop(classifiers=("c",), **fields).figures(table(rows), context(seed=1))


def test_drops_are_paired_by_source():
    rows = [row(f"o{n}", "", "original", top1=3 if n < 4 else 9) for n in range(5)]  # 4 of 5 originals right
    rows += [row("a0", "o0", "size_0.1"), row("a1", "o1", "size_0.1", top1=7)]  # both originals right, one edit right
    rows += [row("b4", "o4", "blur", top1=9)]  # wrong before, wrong after
    figures = summary(rows)["classifiers"]["c"]
    size, blur = figures["variants"]["size_0.1"], figures["variants"]["blur"]
    assert (size["n"], size["original_accuracy"], size["accuracy"], size["drop"]["value"]) == (2, 100.0, 50.0, 50.0)
    assert (blur["n"], blur["original_accuracy"], blur["accuracy"], blur["drop"]["value"]) == (1, 0.0, 0.0, 0.0)
    assert figures["original_accuracy"] == 80.0
    assert figures["average_drop"]["value"] == 25.0
    assert figures["average_accuracy"]["value"] == 25.0
    assert size["drop"]["low"] <= 50.0 <= size["drop"]["high"]


def test_an_edit_that_repairs_a_picture_counts_against_the_drop():
    rows = [row("o", "", "original", top1=1), row("a", "o", "v")]
    assert summary(rows)["classifiers"]["c"]["variants"]["v"]["drop"]["value"] == -100.0


def test_drop_from_the_variant_that_an_edit_started_from():
    rows = [row(f"o{n}", "", "original") for n in range(3)]
    rows += [row(f"s{n}", f"o{n}", "size_0.05", top1=3 if n else 0) for n in range(2)]  # o0 wrong, o1 right
    rows += [row(f"p{n}", f"o{n}", "position", top1=0, reference="size_0.05") for n in range(3)]  # all wrong
    position = summary(rows)["classifiers"]["c"]["variants"]["position"]
    assert position["drop"]["value"] == 100.0
    vs = position["drop_vs_reference"]
    assert (vs["reference"], vs["n"], vs["value"]) == ("size_0.05", 2, 50.0)


def test_unlabelled_and_unpaired_pictures_are_counted_and_left_out():
    rows = [row("o0", "", "original"), row("a0", "o0", "v"), row("a1", "gone", "v", top1=0)]
    rows += [row("o2", "", "original", label=UNSCORED), row("a2", "o2", "v", label=UNSCORED)]
    result = summary(rows)
    assert (result["unscored"], result["unpaired"]) == (2, 1)
    assert result["classifiers"]["c"]["variants"]["v"]["n"] == 1


def test_no_rows_at_all():
    nothing = summary([])
    assert nothing["classifiers"]["c"] == {"n": 0, "variants": {}}
    assert AccuracyDrop(classifiers=("c",)).plots(nothing) == {}


def test_originals_alone_have_an_accuracy_and_no_drop():
    result = summary([row("o0", "", "original"), row("o1", "", "original", top1=0)])
    figures = dict(result["classifiers"]["c"])
    calibration = figures.pop("calibration")
    assert figures == {
        "n": 2,
        "variants": {},
        "original_accuracy": 50.0,
        "outputs": 1000,
        "preprocessing": "squashed to 224 px",
    }
    assert set(calibration) == {"originals"}
    assert calibration["originals"]["bins"] == [{"confidence": 0.75, "accuracy": 0.5, "n": 2}]
    assert (calibration["originals"]["ece"], calibration["originals"]["n"]) == (25.0, 2)
    assert set(AccuracyDrop(classifiers=("c",)).plots(result)) == {"reliability"}


def test_a_framed_original_and_its_edits_share_their_source():
    chain = {"framed": "source", "edit": "source", "moved": "edit", "other": "framed"}
    assert set(roots(chain).values()) == {"source"}
    assert roots({"o": "", "e": "o", "m": "e"}) == {"o": "o", "e": "o", "m": "o"}


def test_the_same_seed_gives_the_same_interval_and_more_pictures_a_narrower_one():
    rng = np.random.default_rng(0)
    widths = []
    for n in (50, 800):
        lost, one = rng.integers(0, 2, (n, 1)).astype(float), np.ones((n, 1))
        first = Resamples(n, 400, 0.95, seed=3).mean_of_ratios(lost, one)
        assert first == Resamples(n, 400, 0.95, seed=3).mean_of_ratios(lost, one)
        widths.append(first["high"] - first["low"])
    assert widths[1] < widths[0] / 2


def test_means_of_ratios_by_hand():
    top, bottom = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[1.0, 1.0], [1.0, 3.0]])
    weights = np.array([[2, 0], [1, 1]])
    # twice the first source: (2/2 + 0/2) / 2; one of each: (1/2 + 2/4) / 2
    assert mean_ratio(weights @ top, weights @ bottom) == pytest.approx([0.5, 0.5])
    assert mean_ratio(top[:1], np.array([[1.0, 0.0]])) == pytest.approx([1.0])


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(5)
    before, after, n, trials = 0.9, 0.7, 150, 300
    covered = 0
    for trial in range(trials):
        easy = rng.random(n)  # one difficulty for both, so the pairs are correlated as real ones are
        lost = (easy < before).astype(float) - (easy < after)
        interval = Resamples(n, 300, 0.95, seed=trial).mean_of_ratios(lost[:, None], np.ones((n, 1)))
        covered += interval["low"] <= 100 * (before - after) <= interval["high"]
    assert 0.90 <= covered / trials <= 0.99


def test_labels_are_wnids_or_names():
    assert label_index(("n01440764",)) == 0
    assert label_index(("my own tag", "n01443537")) == 1
    assert label_index(("my own tag",)) == label_index(()) == UNSCORED


def test_the_reference_is_what_the_last_edit_asked_for():
    op = {"name": "e", "revision": 1, "requested": {}, "achieved": {}, "gates": {}, "models": {}, "seed": 0}
    image = np.zeros((2, 2, 3), np.uint8)
    last = {**op, "requested": {"reference": "size_0.05"}}
    assert reference(Sample(id="a", image=image, ops=(op, last))) == "size_0.05"
    assert reference(Sample(id="a", image=image, ops=(last, op))) == reference(Sample(id="a", image=image)) == ""


class Answers:
    """A model of three classes that says what it is told to: one row of probabilities, whatever it sees."""

    outputs = 3
    preprocessing = "none at all"

    def __init__(self, classes, row):
        self.classes, self.row, self.looked = tuple(classes), row, 0

    def __call__(self, images):
        self.looked += len(images)
        return np.tile(np.array(self.row, np.float32), (len(images), 1))


class OneModel:
    """A table of one model."""

    def __init__(self, model):
        self.model = model

    def get(self, alias):
        return self.model


ANIMALS = (ClassInfo("k", "Cat"), ClassInfo("h", "Dog"))


def measured(labels, model, classes=ANIMALS):
    sample = Sample(id="a", image=np.zeros((2, 2, 3), np.uint8), labels=labels)
    (found,) = AccuracyDrop(classifiers=("m",)).measure([sample], context(models=OneModel(model), classes=classes))
    return found


def test_the_outputs_of_any_model_are_matched_to_the_editions_classes():
    found = measured(("h",), Answers(("fish", "dog", "cat"), (0.25, 0.5, 0.25)))
    assert {name: found[name] for name in ("label", "top1", "correct", "confidence", "p_label", "outputs")} == {
        "label": 1,
        "top1": 1,
        "correct": True,
        "confidence": 0.5,
        "p_label": 0.5,
        "outputs": 3,
    }
    assert found["preprocessing"] == "none at all"
    assert measured(("horse",), Answers(("fish", "dog", "cat"), (0.25, 0.5, 0.25)))["label"] == UNSCORED


def test_any_of_several_labels_is_right():
    model = Answers(("fish", "dog", "cat"), (0.125, 0.25, 0.625))
    found = measured(("h", "k", "h"), model)
    assert (found["label"], found["labels"], found["correct"], found["p_label"]) == (1, 2, True, 0.875)
    assert not measured(("h",), model)["correct"]
    several = [{**row("o", "", "original"), "labels": 2}, row("p", "", "original")]
    assert summary(several)["several_labels"] == 1


def test_a_model_of_other_classes_is_refused_before_it_looks():
    model = Answers(("fish", "dog", "bird"), (1, 0, 0))
    with pytest.raises(RecipeError, match=r"model 'm': 1 class \('k Cat'\)"):
        measured(("k",), model)
    assert model.looked == 0
    assert measured(("h",), model)["label"] == 1  # the class that it lacks isn't there


def test_a_detector_is_refused():
    class Finds(Answers):
        def knows(self, texts):
            return [True] * len(texts)

    with pytest.raises(RecipeError, match="'m' is a detector; name a classifier"):
        measured(("h",), Finds(("fish", "dog", "cat"), (1, 0, 0)))


def test_plots_have_the_variants_in_order_and_every_classifier():
    rows = [row(f"o{n}", "", "original", classifier=c) for n in range(30) for c in "cd"]
    rows += [
        row(f"{v}{n}", f"o{n}", v, top1=9 if v == "blur" else 3, classifier=c)
        for n in range(30)
        for c in "cd"
        for v in (("size", "blur", "plate") if c == "c" else ("size", "blur"))
    ]
    evaluation = AccuracyDrop(classifiers=("d", "c"))
    figures = json.loads(json.dumps(evaluation.figures(table(rows), context()), sort_keys=True))
    plots = evaluation.plots(figures)
    assert plots["drops"].rows == ("size", "blur", "plate", "average over edits")
    assert list(plots["drops"].series) == ["d", "c"]
    size, blur, plate, average = plots["drops"].series["d"]
    assert ((size.value, blur.value), plate, average.value) == ((0, 100), None, 50)
    assert list(plots["reliability"].series) == ["d, originals", "d, edits", "c, originals", "c, edits"]
    assert plots["reliability"].series["c, edits"] == (Bin(0.75, 0.5, 60),)
    many = {**figures, "names": ["c", "d", "e", "f"]}
    many["classifiers"] |= {"e": figures["classifiers"]["d"], "f": {"n": 0, "variants": {}}}
    assert list(evaluation.plots(many)["reliability"].series) == ["c", "d", "e"]  # of the edits alone
    old = {"classifiers": {"c": {"n": 30, "variants": figures["classifiers"]["c"]["variants"]}}}
    assert evaluation.plots(old)["drops"].rows == ("blur", "plate", "size")


def test_measures_real_pictures_with_real_models():
    from skimage import data

    cat = data.chelsea()[:, 75:375]
    samples = [
        Sample(id="o", image=cat, labels=("n02123045",)),
        Sample(id="e", image=np.zeros_like(cat), labels=("n02123045",), variant="black", parent="o"),
        Sample(id="u", image=cat, labels=("chelsea",)),
    ]
    ctx = context()
    evaluation = AccuracyDrop()
    rows = list(evaluation.measure(samples, ctx))
    assert len(rows) == 6
    assert {row["classifier"] for row in rows} == set(required_models(evaluation))
    by = {(row["id"], row["classifier"]): row for row in rows}
    for alias in required_models(evaluation):
        assert by["o", alias]["label"] == 281
        assert 0 < by["o", alias]["p_label"] <= by["o", alias]["confidence"] <= 1
        assert by["o", alias]["outputs"] == 1000
        assert by["o", alias]["preprocessing"]
        assert by["o", alias]["p_label"] > 10 * by["e", alias]["p_label"]
        assert by["o", alias]["top1"] in range(281, 288)  # a cat of some kind
        assert by["u", alias]["label"] == UNSCORED
    assert evaluation.figures(table(rows), ctx)["unscored"] == 1


def test_an_edition_without_a_single_known_label_has_no_figures_and_no_plots():
    result = summary([row("o", "", "original", label=UNSCORED), row("a", "o", "v", label=UNSCORED)])
    assert (result["unscored"], result["unpaired"], result["variants"]) == (2, 0, [])
    assert result["classifiers"]["c"]["calibration"] == {}
    assert "original_accuracy" not in result["classifiers"]["c"]
    assert AccuracyDrop(classifiers=("c",)).plots(result) == {}
