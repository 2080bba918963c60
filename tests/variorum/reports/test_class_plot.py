"""The card's plot of the number of pictures by class."""

import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from variorum.reports.card import write_card
from variorum.reports.class_plot import BAR, FILE, FOOT, HEAD, WIDTH, class_counts, class_plot, class_text
from variorum.reports.plots import DENSITY


def test_counts_are_by_class_and_split_and_largest_first(everything):
    _, manifest = everything
    rows = pa.table(
        {
            "status": ["accepted"] * 4 + ["quarantined"],
            "labels": [["square"], ["square", "circle"], ["square"], [], ["circle"]],
            "split": ["train", "test", "train", "train", "train"],
        }
    )
    found = list(class_counts(manifest, rows).items())
    assert found == [("square", {"train": 2, "test": 1}), ("a circle | <b>", {"test": 1})]
    assert class_counts(manifest, rows.drop_columns(["split"])) == {}


@pytest.mark.parametrize(("number", "bars"), [(2, 2), (40, 40), (41, 40)])
def test_a_plot_stays_readable_with_any_number_of_classes(number, bars):
    counts = {f"class $x_{k}$ <b>": {"train": number - k, "test": 3} for k in range(number)}
    with Image.open(io.BytesIO(class_plot(counts))) as image:
        assert image.size == (DENSITY * WIDTH, pytest.approx(DENSITY * (HEAD + BAR * bars + FOOT), abs=1))
        assert np.asarray(image.convert("L")).min() < 100
    assert class_text(counts).startswith(f"Accepted pictures of each of {number} classes, from {number + 3} to 4")


def test_without_two_classes_there_is_none(everything):
    for counts in ({}, {"a": {"test": 4}}, {"a": {"test": 4}, "b": {}}):
        assert class_plot(counts) is None
        assert class_text(counts) == ""
    assert class_text({"a": {"test": 4}, "b": {}, "c": {"test": 1}}).endswith("from 4 to 1; 1 class has none")
    job, manifest = everything
    assert f"]({FILE})" in write_card(job.recipe, manifest, job.store)
