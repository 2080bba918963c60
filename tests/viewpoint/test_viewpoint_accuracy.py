"""Accuracy by kind of view, over objects."""

import numpy as np
import pyarrow as pa
import pytest

from variorum.evaluation.viewpoint.viewpoint_accuracy import VARIANTS, ViewpointAccuracy
from variorum.generators.viewpoint.adversarial_viewpoint import AdversarialViewpoint
from variorum.kit.predicted.answers import SharedAnswers
from variorum.reports.card import _render
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table


@pytest.fixture
def made(source, ctx):
    """Views of two objects; the second is never recognised."""
    generator = AdversarialViewpoint(classifier="colour", frame=64, views=8, iterations=2)
    found = generator.generate(list(source.read(0, 2, ctx)), ctx)
    return [one for one in found if isinstance(one, Sample) and not one.reason]


def table_of(rows):
    return Table(pa.Table.from_pylist(list(rows)))


def test_figures_are_means_over_objects_with_the_attacked_model_apart(made, ctx):
    judge = ViewpointAccuracy(classifiers=("other",), white_box=("colour",), bootstrap=100)
    table = table_of(judge.measure(made, ctx))
    found = judge.figures(table, ctx)
    assert (found["names"], found["white_box"]) == (["other"], ["colour"])
    own = found["classifiers"]["colour"]
    crate = [one for one in made if one.metadata["author"] == "Ada"]
    assert own["n"] == 1
    assert own == {**found["classifiers"]["other"], "preprocessing": own["preprocessing"]}
    for name in VARIANTS:
        mine = [one.ops[-1]["achieved"]["top1"] in one.labels for one in crate if one.variant == name]
        assert own[name]["value"] == pytest.approx(100 * np.mean(mine), abs=0.01)
    assert own["to_random"]["value"] == pytest.approx(own["natural"]["value"] - own["random"]["value"], abs=0.01)
    assert [one["origin"] for one in found["objects"]] == ["box.obj by Ada"]
    assert found["unsearched"] == ["box.obj"]


def test_the_attacked_model_is_refused_beside_others(made, ctx):
    judge = ViewpointAccuracy(classifiers=("colour",), white_box=())
    with pytest.raises(RecipeError, match="'colour' is a model that the pictures were made to fool"):
        list(judge.measure(made, ctx))


def test_rows_of_a_report_are_over_objects_with_all_kinds_of_views(made, ctx):
    table = table_of(SharedAnswers(classifiers=("other",)).measure(made, ctx))
    rows = {one.figure: one for one in ViewpointAccuracy().rows(table, ctx)}
    assert list(rows) == [*VARIANTS]
    for name, one in rows.items():
        mine = [view.ops[-1]["achieved"]["top1"] == view.labels[0] for view in made if view.variant == name]
        assert one.bottom.shape == (1, 1)  # the other object has no adversarial views
        assert one.top.sum() == sum(mine[: int(one.bottom.sum())])


def test_an_edition_without_such_views_has_no_figures(ctx):
    judge = ViewpointAccuracy(classifiers=("other",), white_box=("colour",))
    found = judge.figures(table_of([]), ctx)
    assert found["classifiers"] == {}
    shown = _render("_viewpoint_accuracy", figures=found, models={}, order=[], plots={})
    assert "nothing to measure" in shown
