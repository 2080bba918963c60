"""Averages against pycocotools, to the bit, and against faster-coco-eval, which lacks its tiny addend in quotients."""

import contextlib
import io
import warnings

import faster_coco_eval as faster
import numpy as np
import pytest
from detecting import by_pycocotools, coco_files, scenes
from hypothesis import given
from hypothesis import strategies as st

from variorum.kit.detection.matching import match
from variorum.kit.detection.precision import AVERAGES, accumulated, summary
from variorum.kit.detection.records import FOUND, THERE, Picture
from variorum.schemas.annotations import CHECKS

IDS = (18, 1, 90, 44)
"""Of four classes; not in their order."""
PLACES = {"map": 0, "ap50": 1, "ap75": 2, "ap_small": 3, "ap_medium": 4, "ap_large": 5, "ar100": 8}
"""In pycocotools' `stats`."""
MISSING = CHECKS.index("missing")


@given(scenes(), st.booleans())
def test_pycocotools_gives_the_same_bits(pictures, missing):
    data, results = coco_files(pictures, IDS, [MISSING] if missing else [])
    judge = by_pycocotools(data, results)
    matches = match(pictures, IDS, ["missing"] if missing else [])
    precision, recall = accumulated(matches)
    assert np.array_equal(precision, judge.eval["precision"][..., 2])
    assert np.array_equal(recall, judge.eval["recall"][..., 2])
    found = summary(matches)
    assert {name: -1.0 if value is None else value for name, value in found.items()} == {
        name: judge.stats[place] for name, place in PLACES.items()
    }
    counted = [one["iscrowd"] == 0 for one in data["annotations"]]
    assert matches.boxes == sum(counted)


@given(scenes())
def test_faster_coco_eval_gives_the_same_averages(pictures):
    data, results = coco_files(pictures, IDS)
    if not results:
        return  # it takes no empty list
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        truth = faster.COCO(data)
        judge = faster.COCOeval_faster(truth, truth.loadRes(results), "bbox", print_function=lambda *_: None)
        judge.run()
    found = summary(match(pictures, IDS))
    theirs = {name: judge.stats[place] for name, place in PLACES.items()}
    assert {name: -1.0 if value is None else value for name, value in found.items()} == pytest.approx(theirs, abs=1e-12)


@given(scenes(most=6), st.integers(0, 2**16))
def test_a_selection_is_as_if_only_its_pictures_were_there(pictures, seed):
    kept = np.random.default_rng(seed).random(len(pictures)) < 0.6
    chosen = [one for one, there in zip(pictures, kept, strict=True) if there]
    both = accumulated(match(pictures, IDS).only(kept)), accumulated(match(chosen, IDS))
    for some, alone in zip(*both, strict=True):
        assert np.array_equal(some, alone)


def one(box, score=0.9, category=0, crowd=False, check=""):
    """A detection and an object at the same place."""
    left, top, wide, high = box
    found = np.array([((left, top, left + wide, top + high), score, category)], FOUND)
    return found, np.array([(box, wide * high, category, crowd, CHECKS.index(check), 0)], THERE)


def test_all_found_is_one_and_nothing_found_is_zero():
    found, there = one((10, 10, 50, 50))
    nothing = np.zeros(0, FOUND), np.zeros(0, THERE)
    every = summary(match([Picture(found, there)], (1,)))
    assert (every["map"], every["ap_medium"], every["ap_small"], every["ar100"]) == pytest.approx((1.0, 1.0, None, 1.0))
    assert summary(match([Picture(nothing[0], there)], (1,)))["map"] == 0
    assert summary(match([Picture(found, nothing[1])], (1,)))["map"] is None
    assert summary(match([], (1,)))["map"] is None


@pytest.mark.parametrize(("crowd", "check"), [(True, ""), (False, "missing")])
def test_what_is_ignored_counts_neither_way(crowd, check):
    plain = one((10, 10, 50, 50))
    found, there = one((100, 100, 40, 40), 0.99, crowd=crowd, check=check)
    both = Picture(np.concatenate([plain[0], found]), np.concatenate([plain[1], there]))
    without = Picture(plain[0], both.there)
    for picture in (both, without):
        assert summary(match([picture], (1,), ["missing"]))["map"] == pytest.approx(1)
    if check:
        assert summary(match([without], (1,)))["map"] < 0.9
    assert set(AVERAGES) < set(summary(match([both], (1,))))
