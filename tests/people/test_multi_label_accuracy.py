import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reviewed_set import CLASSES, CONTEXT, GIVEN, PREDICTED, kept, picture, table, votes

from variorum.curation.people.consensus import Consensus
from variorum.curation.people.panel.label_sets import LabelSet, Reviewed
from variorum.evaluation.people.by_class import shares
from variorum.evaluation.people.multi_label_accuracy import MEASURES, MultiLabelAccuracy
from variorum.kit.predicted.answers import SharedAnswers
from variorum.models import ModelTable
from variorum.models.brought.model import BroughtModel
from variorum.reports.card import _render
from variorum.reports.card_plots import evaluation_plots
from variorum.schemas.component import Context
from variorum.schemas.errors import CorruptShard, RecipeError
from variorum.schemas.plot import IntervalPlot
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

IDS = [one.id for one in CLASSES]


def model(predicted, classes=IDS) -> BroughtModel:
    """A classifier that reads a picture's number from its first pixel, and knows what to say of it."""

    def scores(images):
        return np.array([np.eye(len(classes))[classes.index(predicted[int(image[0, 0, 0])])] for image in images])

    return BroughtModel("mine", "git:" + "0" * 40, tuple(classes), "as it is", scores, len(classes))


def context(**models) -> Context:
    return Context(1, ModelTable("embedded").with_models(models), None, classes=CLASSES)


@pytest.fixture
def samples(tmp_path):
    """The ten pictures with their reviewed labels, and one that nobody reviewed."""
    found = Consensus(votes=kept(tmp_path, votes()), method="majority").score(Table(table(), "consensus"), CONTEXT)
    members = [*found["member"], LabelSet(("a",)).encode()]
    labels = [*GIVEN, ["a"]]
    pixels = [np.full((4, 4, 3), number, np.uint8) for number in range(11)]
    return [
        Sample(picture(number)[0], pixels[number], tuple(labels[number]), extras={"labels.json": data})
        for number, data in enumerate(members)
    ]


def figures(samples, step, ctx):
    rows = [dict(row) for row in step.measure(samples, ctx)]
    return step.figures(Table(pa.Table.from_pylist(rows), "multi_label_accuracy"), ctx)


def values(one) -> dict[str, tuple[float, float]]:
    return {name: (one[name]["by_class"]["value"], one[name]["by_picture"]["value"]) for name in MEASURES}


def test_the_hand_made_pictures(samples):
    ctx = context(mine=model(PREDICTED))
    found = figures(samples, MultiLabelAccuracy(classifiers=("mine",), collapsed="imagenet"), ctx)
    mine = found["classifiers"]["mine"]
    assert values(mine) == {
        "top1": (30.0, 33.33),
        "multi_label": (66.67, 77.78),  # (5/5 + 1/2 + 1/2) / 3 against 7/9
        "real": (43.33, 55.56),
    }
    assert (found["pictures"], found["reviewed"], found["problematic"]) == (11, 10, 1)
    assert (found["several_right_labels"], found["without_right_label"], found["classes"]) == (1, 0, 3)
    assert (mine["top1"]["n"], mine["real"]["n"]) == (9, 9)
    assert mine["predictions"] == {
        "correct": 5, "unclear": 1, "collapsed": 1, "wrong": 1, "unreviewed": 1, "outside": 0,
    }  # fmt: skip
    assert mine["unreviewed"] == round(1 / 9, 4)
    assert mine["mistakes"] == {"judged": 1, "category": {"fine_grained": 1}, "severity": {"major": 1}}
    assert mine["multi_label_less_top1"]["by_class"]["value"] == 36.67


def test_without_collapsed_classes_they_are_different(samples):
    found = figures(samples, MultiLabelAccuracy(classifiers=("mine",)), context(mine=model(PREDICTED)))
    assert values(found["classifiers"]["mine"])["multi_label"] == (50.0, 66.67)
    assert found["classifiers"]["mine"]["predictions"]["unreviewed"] == 2


def test_differences_are_paired(samples):
    ctx = context(mine=model(PREDICTED), same=model(PREDICTED), best=model([one[0] for one in GIVEN]))
    found = figures(samples, MultiLabelAccuracy(classifiers=("mine", "same", "best")), ctx)
    pairs = {tuple(one["of"]): one for one in found["differences"]}
    assert pairs["mine", "same"]["multi_label"]["by_class"] == {"value": 0.0, "low": -33.63, "high": 33.63}  # of nine
    gap = pairs["mine", "best"]["top1"]["by_class"]
    assert gap["value"] == -70.0
    assert gap["low"] < -70 < gap["high"] <= 0
    again = figures(samples, MultiLabelAccuracy(classifiers=("mine", "same", "best")), ctx)
    assert again == found


def test_a_picture_that_nobody_reviewed_is_not_looked_at(samples):
    seen = []

    def scores(images):
        seen.extend(int(image[0, 0, 0]) for image in images)
        return np.tile(np.eye(5)[0], (len(images), 1))

    brought = BroughtModel("mine", "", tuple(IDS), "", scores, 5)
    figures(samples, MultiLabelAccuracy(classifiers=("mine",)), context(mine=brought))
    assert sorted(seen) == list(range(10))
    bare = [Sample(one.id, one.image, one.labels) for one in samples]
    found = figures(bare, MultiLabelAccuracy(classifiers=("mine",)), context(mine=brought))
    assert (found["reviewed"], found["pictures"]) == (0, 11)
    assert sorted(seen) == list(range(10))
    assert MultiLabelAccuracy(classifiers=("mine",)).plots(found) == {}
    assert "Nobody has reviewed" in card(found)


@pytest.mark.parametrize(
    ("label", "state", "reviewed"),
    [
        ("a", "wrong", True),
        ("b", "correct", True),
        ("b", "unclear", True),
        ("b", "wrong", False),
        ("a", "unchecked", False),
    ],
)
def test_a_wrong_label_that_was_not_given_says_nothing_of_the_picture(label, state, reviewed):
    """Controls ask about classes that nobody proposes; on such a picture every prediction would count as wrong."""
    assert LabelSet(("a",), (Reviewed(label, state, 0.5, 3),)).reviewed == reviewed


def test_outputs_that_are_no_class_of_the_edition_count_as_wrong(samples):
    classes = [*IDS[:4], "zebra"]
    predicted = ["zebra" if name == IDS[4] else name for name in PREDICTED]
    found = figures(samples, MultiLabelAccuracy(classifiers=("mine",)), context(mine=model(predicted, classes)))
    assert found["classifiers"]["mine"]["predictions"]["outside"] == 1
    assert found["classifiers"]["mine"]["unreviewed"] == round(2 / 9, 4)


def shared(samples, ctx) -> Table:
    rows = SharedAnswers(classifiers=("mine",)).measure(samples, ctx)
    return Table(pa.Table.from_pylist([dict(row) for row in rows]))


def test_a_report_has_the_same_accuracies_by_picture(samples):
    ctx = context(mine=model([*PREDICTED, "a"]))
    step = MultiLabelAccuracy(classifiers=("mine",), collapsed="imagenet")
    multi_label, real = step.rows(shared(samples, ctx), ctx)
    assert (multi_label.figure, real.figure) == ("multi_label", "real")
    mine = figures(samples, step, ctx)["classifiers"]["mine"]
    for one in (multi_label, real):
        assert len(one.photographs) == mine[one.figure]["n"] == one.bottom.sum()
        value = 100 * one.top.sum() / one.bottom.sum()
        assert value == pytest.approx(mine[one.figure]["by_picture"]["value"], abs=0.01)
    unclear = picture(3)[0]
    for one, right in ((multi_label, True), (real, False)):
        assert one.pictures.right[list(one.pictures.ids).index(unclear)] == right


def test_without_reviewed_labels_there_is_no_row(samples):
    ctx = context(mine=model([*PREDICTED, "a"]))
    found = list(MultiLabelAccuracy(classifiers=("mine",)).rows(shared(samples[-1:], ctx), ctx))
    assert {one.why_not for one in found} == {"no picture with labels that people reviewed and could judge"}


def test_a_model_of_other_classes_is_refused(samples):
    other = model(["zebra"] * 11, ["zebra", "lion"])
    with pytest.raises(RecipeError, match="model 'other': none of its 2 outputs is a class of the edition"):
        figures(samples, MultiLabelAccuracy(classifiers=("other",)), context(other=other))


def test_a_damaged_member_is_named(samples):
    broken = [Sample("7" * 32, samples[0].image, extras={"labels.json": b"{"})]
    with pytest.raises(CorruptShard, match=f"^{'7' * 32}: its labels.json can't be read"):
        figures(broken, MultiLabelAccuracy(classifiers=("mine",)), context(mine=model(PREDICTED)))


def card(found) -> str:
    step = MultiLabelAccuracy(classifiers=tuple(found["names"]))
    plots = evaluation_plots((step,), {"multi_label_accuracy": {"figures": found}}, [])["multi_label_accuracy"]
    return _render(
        "_multi_label_accuracy", [], figures=found, models={}, order=[], plots=dict.fromkeys(plots, "a plot")
    )


def test_card_and_plot(samples):
    ctx = context(mine=model(PREDICTED), best=model([one[0] for one in GIVEN]))
    step = MultiLabelAccuracy(classifiers=("mine", "best"), collapsed="imagenet")
    found = json.loads(json.dumps(figures(samples, step, ctx)))
    plot = step.plots(found)["accuracy"]
    assert isinstance(plot, IntervalPlot)
    assert plot.series["mine"][1].value == 66.67
    text = card(found)
    assert "66.7" in text.replace("66.67", "66.7")
    assert "**A prediction that nobody reviewed counts as wrong**" in text
    assert "mine − best" in text
    assert "| mine | 1 | 1 | 0 | 0 | 1 | 0 | 0 | 0 |" in text


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans()), min_size=1, max_size=30),
    st.integers(0, 100),
)
def test_shares_are_means_and_their_resamples_stay_in_range(rows, seed):
    classes, right, counts = (np.array(column) for column in zip(*rows, strict=True))
    (found,) = shares(classes.astype(np.int64), [(right.astype(bool), counts.astype(bool))], 100, seed)
    assert len(found.by_class) == len(found.by_picture) == 101
    if not counts.any():
        assert np.isnan(found.by_class).all()
        assert found.figures(0.95)["by_class"] is None
        return
    some = counts.astype(bool)
    assert found.by_picture[0] == pytest.approx(right[some].mean())
    means = [right[some & (classes == one)].mean() for one in np.unique(classes[some])]
    assert found.by_class[0] == pytest.approx(np.mean(means))
    known = found.by_class[~np.isnan(found.by_class)]
    assert ((known >= 0) & (known <= 1 + 1e-12)).all()
