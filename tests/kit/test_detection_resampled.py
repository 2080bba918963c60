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
    "Faster R-CNN R50": (37.4, 16.4, -0.43),
    "Mask R-CNN R50": (38.2, 17.1, -0.09),
    "Cascade R-CNN": (40.3, 18.1, -0.035),
    "SSD": (29.5, 13.6, 0.325),
    "YOLOv3": (33.7, 14.8, -0.365),
    "YOLOv5-S": (37.4, 17.8, 0.97),
    "YOLOX-S": (40.3, 20.6, 2.465),
    "YOLOv7": (51.2, 29.0, 5.96),
    "DETR": (42.0, 17.1, -1.8),
    "Deformable DETR": (44.5, 18.5, -1.525),
    "Swin-S": (48.5, 25.5, 3.675),
    "ViTDet-B": (51.6, 24.2, 0.98),
    "GLIP-T": (46.6, 29.1, 8.13),
    "FIBER-B": (49.5, 33.6, 11.325),
}
"""mAP on COCO and on COCO-O, read off the paper's figure, and the effective robustness of these."""


def test_effective_robustness_of_the_published_points():
    for name, (original, shifted, expected) in POINTS.items():
        assert round(effective_robustness(shifted, original), 6) == expected, name
    assert effective_robustness(20.25, 45.0) == 0
    assert effective_robustness(22.5, 50.0) == 0
    assert effective_robustness(20.0, 40.0, slope=0.5) == 0


def test_relative_drop():
    lost = relative_drop(np.array([0.164, 0.0, 0.3, np.nan]), np.array([0.374, 0.2, 0.0, 0.1]))
    assert np.isclose(lost[0], 0.5615, atol=1e-4)
    assert lost[1] == 1
    assert np.isnan(lost[2:]).all()
