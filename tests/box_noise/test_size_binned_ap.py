"""AP by size against pycocotools, and the figures of noisy boxes and of a detector on them."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from annotated_set import CLASSES
from detecting import OwnModels, ShapeDetector, coco_files, scenes
from hypothesis import given, settings
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from variorum.evaluation.box_noise.size_binned_ap import SizeBinnedAp
from variorum.evaluation.box_noise.sized import coco_ranges, only_range, quantile_ranges, weights_of
from variorum.generators.box_noise.box_noise import BoxNoise
from variorum.kit.detection.matching import match
from variorum.kit.detection.precision import summary
from variorum.kit.detection.records import FOUND
from variorum.reports.card import _render
from variorum.schemas.annotations import Annotations, Object
from variorum.schemas.component import ClassInfo, Context
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

IDS = (18, 1, 90, 44)
OWN_RANGES = {"all": (0.0, 1e10), "q1": (0.0, 700.0), "q2": (700.0, 1e10)}


def by_pycocotools(data, results, ranges):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = data
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(results), "bbox")
        judge.params.areaRng = [list(one) for one in ranges.values()]
        judge.params.areaRngLbl = list(ranges)
        judge.evaluate()
        judge.accumulate()
    return judge.eval["precision"][..., 2]


@settings(max_examples=25)
@given(scenes())
def test_each_range_is_as_pycocotools_has_it(pictures):
    data, results = coco_files(pictures, IDS)
    if not results:
        return
    for ranges in (coco_ranges(), OWN_RANGES):
        theirs = by_pycocotools(data, results, ranges)
        matches = match(pictures, IDS, (), [list(one) for one in ranges.values()])
        for place in range(len(ranges)):
            there = theirs[..., place][theirs[..., place] > -1]
            want = there.mean() if there.size else None
            assert summary(only_range(matches, place))["map"] == pytest.approx(want, abs=1e-6)


def test_ranges_of_equally_many():
    areas = np.exp(np.random.default_rng(0).uniform(2, 10, 900))
    ranges = quantile_ranges(areas, 3)
    assert list(ranges) == ["all", "q1", "q2", "q3"]
    for low, high in list(ranges.values())[1:]:
        assert ((areas >= low) & (areas < high)).sum() == 300
    assert list(quantile_ranges(np.full(9, 5.0), 3)) == ["all", "q1", "q2"]
    assert list(quantile_ranges(np.zeros(0), 3)) == ["all", "q1"]


# ── figures ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def picture(number: int, side: int) -> Sample:
    """Two yellow squares in a grey picture."""
    image = np.full((260, 360, 3), 100, np.uint8)
    boxes = [(30.0, 40.0, side, side), (200.0, 120.0, side, side)]
    for left, top, *_ in boxes:
        image[int(top) : int(top) + side, int(left) : int(left) + side] = (220, 180, 40)
    objects = tuple(Object(box, "square", id=str(place)) for place, box in enumerate(boxes))
    return Sample(f"{number:032d}", image, annotations=Annotations(objects))


CTX = Context(
    1,
    OwnModels(mine=ShapeDetector()),  # type: ignore[arg-type]
    lambda key, compute: compute(),
    classes=tuple(ClassInfo(*one) for one in CLASSES.items()),
)


@pytest.fixture(scope="module")
def figures():
    generator = BoxNoise(kinds=("shift", "drop"), target_iou=(0.8,), absolute=(12.0,), rates=(1.0,), seeds=2)
    samples = [picture(number, side) for number, side in enumerate((24, 24, 100, 100))]
    made = list(generator.generate(samples, CTX))
    step = SizeBinnedAp(detectors=("mine",), bootstrap=20)
    rows = list(step.measure(made, CTX))
    assert sum(row["judge"] == "mine" for row in rows) == 4  # once for pictures with the same pixels
    found = step.figures(Table(pa.Table.from_pylist(rows), "size_binned_ap"), CTX)
    json.dumps(found, allow_nan=False)
    return found


def test_noisy_boxes_against_the_true_ones(figures):
    assert figures["noises"] == ["original", "shift_absolute_12", "shift_iou_0.8", "drop_1"]
    boxes = figures["judges"]["boxes"]
    assert (boxes["shift_iou_0.8"]["n"], boxes["original"]["n"]) == (8, 4)
    assert boxes["original"]["ranges"]["all"]["map"]["value"] == 100
    level = boxes["shift_iou_0.8"]
    assert {name: one["map"] and one["map"]["value"] for name, one in level["ranges"].items()} == {
        "all": 70,  # of ten thresholds, .5 to .8
        "small": 70,
        "medium": None,
        "large": 70,
    }
    assert level["mean_iou"]["all"] == pytest.approx(0.8, abs=0.01)
    pixels = boxes["shift_absolute_12"]
    assert pixels["mean_iou"]["small"] < 0.6 < pixels["mean_iou"]["large"]
    assert pixels["ranges"]["small"]["map"]["value"] < pixels["ranges"]["large"]["map"]["value"]
    assert boxes["drop_1"]["ranges"]["all"]["map"]["value"] == 0
    assert (boxes["drop_1"]["ranges"]["small"]["boxes"], boxes["drop_1"]["mean_iou"]["all"]) == (8, None)


def test_the_same_detections_against_noisy_boxes(figures):
    mine = figures["judges"]["mine"]
    assert mine["original"]["ranges"]["all"]["map"]["value"] == 100
    assert mine["shift_iou_0.8"]["ranges"]["all"]["map"]["value"] == 70
    assert mine["drop_1"]["ranges"]["all"]["map"] is None


def test_objects_that_keep_their_box_are_in_no_measure():
    speck = Object((5.0, 5.0, 1.0, 1.0), "square", id="speck", score=0.25)
    sample = picture(0, 24)
    sample = replace(sample, annotations=Annotations((speck, *sample.annotations.objects)))
    made = list(BoxNoise(kinds=("aspect",), target_iou=(0.7, 0.5), seeds=1).generate([sample], CTX))
    step = SizeBinnedAp(detectors=("mine",), bootstrap=20)
    rows = list(step.measure(made, CTX))
    assert np.frombuffer(rows[1]["found"], FOUND)["score"].tolist() == [0.25, 1, 1]
    judges = step.figures(Table(pa.Table.from_pylist(rows), "size_binned_ap"), CTX)["judges"]
    for level, want in ((0.7, 50), (0.5, 10)):
        found = judges["boxes"][f"aspect_iou_{level}"]
        assert (found["kept"], found["mean_iou"]["all"]) == (1, pytest.approx(level, abs=0.01))
        assert (found["ranges"]["all"]["boxes"], found["ranges"]["all"]["map"]["value"]) == (2, want)
        assert judges["mine"][f"aspect_iou_{level}"]["ranges"]["all"]["boxes"] == 2
    assert judges["mine"]["original"]["ranges"]["all"]["boxes"] == 3


def test_pictures_of_a_photograph_are_drawn_together():
    weights = weights_of(np.array([0, 0, 1]), 2, 50, 1)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 0] + weights[:, 2] == 2).all()
    assert set(weights[:, 0].tolist()) == {0, 1, 2}


def test_the_card_and_the_plots(figures):
    plots = SizeBinnedAp(detectors=("mine",)).plots(figures)
    assert list(plots) == ["map_0", "map_1"]
    assert plots["map_0"].rows == tuple(figures["noises"])
    assert list(plots["map_0"].series) == ["all", "small", "medium", "large"]
    text = _render(
        "_size_binned_ap", figures=figures, models={"mine": "mine@1"}, order=[], plots=dict.fromkeys(plots, "!")
    )
    assert "small below 1024, medium from 1024 to 9216, large from 9216" in text
    assert "| shift_iou_0.8 | 8 | 0 | 0.80" in text


def test_quantiles_and_editions_without_true_boxes():
    samples = [replace(picture(number, side), variant="plain") for number, side in enumerate((24, 24, 100, 100))]
    step = SizeBinnedAp(detectors=("mine",), bins="quantiles", quantiles=2, bootstrap=20)
    found = step.figures(Table(pa.Table.from_pylist(list(step.measure(samples, CTX))), "size_binned_ap"), CTX)
    assert list(found["judges"]) == ["mine"]
    plain = found["judges"]["mine"]["plain"]["ranges"]
    assert {name: (one["boxes"], one["map"]["value"]) for name, one in plain.items()} == {
        "all": (8, 100),
        "q1": (4, 100),
        "q2": (4, 100),
    }
    assert step.figures(Table(pa.table({}), "size_binned_ap"), CTX)["judges"] == {}
    nobody = SizeBinnedAp(bootstrap=20)
    none = nobody.figures(Table(pa.Table.from_pylist(list(nobody.measure(samples, CTX))), "size_binned_ap"), CTX)
    text = _render("_size_binned_ap", figures=none, models={}, order=[], plots=nobody.plots(none))
    assert "no noisy boxes, and no detector judged it, so nothing was measured" in text
