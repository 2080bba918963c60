"""mAP on resamples against pycocotools on copies of the pictures."""

import copy

import numpy as np
from detecting import by_pycocotools, coco_files, scenes
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.kit.detection.matching import match
from variorum.kit.detection.precision import summary
from variorum.kit.detection.resampled import resampled_map
from variorum.kit.detection.robustness import effective_robustness, relative_drop

IDS = (1, 2, 3, 4)


@settings(max_examples=25)
@given(scenes(ties=False), st.integers(0, 2**16))
def test_a_picture_drawn_twice_is_two_pictures(pictures, seed):
    rng, number = np.random.default_rng(seed), len(pictures)
    draws = [rng.integers(0, number, number) for _ in range(4)] if number else [np.zeros(0, int)]
    weights = np.stack([np.bincount(draw, minlength=number) for draw in draws]).astype(float)
    found = resampled_map(match(pictures, IDS), weights)
    for draw, value in zip(draws, found, strict=True):
        copies = [copy.deepcopy(pictures[place]) for place in sorted(draw)]
        expected = by_pycocotools(*coco_files(copies, IDS)).stats[0]
        assert np.isclose(-1.0 if np.isnan(value) else value, expected, rtol=0, atol=1e-12)


@given(scenes())
def test_each_picture_once_is_the_value_itself(pictures):
    matches = match(pictures, IDS)
    (value,) = resampled_map(matches, np.ones((1, len(pictures))))
    expected = summary(matches)["map"]
    assert np.isnan(value) if expected is None else np.isclose(value, expected, rtol=0, atol=1e-12)


POINTS = {
    "Faster R-CNN R50": (37.4, 16.4),
    "Mask R-CNN R50": (38.2, 17.1),
    "Cascade R-CNN": (40.3, 18.1),
    "SSD": (29.5, 13.6),
    "YOLOv3": (33.7, 14.8),
    "YOLOX-S": (40.3, 20.6),
    "DETR": (42.0, 17.1),
    "Deformable DETR": (44.5, 18.5),
    "GLIP-T": (46.6, 29.1),
}
"""mAP on COCO and on COCO-O, read off the paper's figure."""


def test_effective_robustness_of_the_published_points():
    original, shifted = np.array(list(POINTS.values())).T
    above = dict(zip(POINTS, effective_robustness(shifted, original), strict=True))
    assert [name for name in above if above[name] > 1] == ["YOLOX-S", "GLIP-T"]
    assert min(above, key=above.__getitem__) == "DETR"
    slopes = (shifted - effective_robustness(shifted, original)) / original
    assert np.ptp(slopes) < 1e-9
    assert abs(slopes[0] - 0.45) < 0.03  # the paper's line is fitted to many more


def test_relative_drop():
    lost = relative_drop(np.array([0.164, 0.0, 0.3, np.nan]), np.array([0.374, 0.2, 0.0, 0.1]))
    assert np.isclose(lost[0], 0.5615, atol=1e-4)
    assert lost[1] == 1
    assert np.isnan(lost[2:]).all()
