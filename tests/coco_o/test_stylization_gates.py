"""The checks on redrawn photographs: they tell right pictures from wrong ones, on real photographs."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st

from variorum.generators.coco_o.stylization import gates
from variorum.generators.coco_o.stylization.domains import DOMAINS
from variorum.generators.coco_o.stylization.gates import (
    RANGES,
    STATISTICS,
    Limits,
    domain_gates,
    legible,
    statistics,
    subject_gates,
)
from variorum.kit.gates.gates import BANDS, first_failed


def photo(name: str, short: int = 240) -> np.ndarray:
    picture = getattr(skimage.data, name)()
    height, width = picture.shape[:2]
    scale = short / min(height, width)
    return cv2.resize(picture, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)


PHOTOS = {name: photo(name) for name in ("chelsea", "coffee", "astronaut", "rocket")}
CHELSEA = PHOTOS["chelsea"]
LIMITS = Limits()


def legibility(
    before: np.ndarray, after: np.ndarray, boxes: list[Any], within: np.ndarray | None = None
) -> list[float]:
    return gates.legibility(gates.slopes(before), gates.slopes(after), boxes, within)


def whole(picture: np.ndarray) -> tuple[float, float, float, float]:
    return 0.0, 0.0, float(picture.shape[1]), float(picture.shape[0])


# ── legibility ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_unchanged_is_wholly_legible():
    assert legibility(CHELSEA, CHELSEA, [whole(CHELSEA), (40, 30, 90, 80)]) == pytest.approx([1, 1])


@pytest.mark.parametrize("name", PHOTOS)
def test_contrast_colour_and_inversion_do_not_matter(name):
    image = PHOTOS[name]
    faint = (image // 6 + 150).astype(np.uint8)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    for made in (faint, grey, 255 - image):
        assert legibility(image, made, [whole(image)])[0] > 0.7


@pytest.mark.parametrize("name", PHOTOS)
def test_another_picture_is_not_legible(name):
    image = PHOTOS[name]
    for other in PHOTOS:
        if other != name:
            made = cv2.resize(PHOTOS[other], image.shape[1::-1], interpolation=cv2.INTER_AREA)
            scores = legibility(image, made, [whole(image)])
            assert scores[0] < 0.3
            assert not legible(scores, LIMITS)["legibility"]["passed"]


def test_a_box_that_is_painted_over_is_not_legible_and_the_others_are():
    made = CHELSEA.copy()
    made[60:140, 100:180] = 128
    lost, kept = legibility(CHELSEA, made, [(100, 60, 80, 80), (220, 60, 80, 80)])
    assert lost < 0.3 < kept
    found = legible([lost, kept], LIMITS)["legibility"]
    assert found["value"] == pytest.approx(lost, abs=1e-6)
    assert not found["passed"]


def test_a_moved_object_is_not_legible():
    assert legibility(CHELSEA, np.roll(CHELSEA, 24, axis=1), [whole(CHELSEA)])[0] < 0.3


def test_only_what_is_within_the_mask_counts():
    mask = cv2.circle(np.zeros(CHELSEA.shape[:2], np.uint8), (150, 110), 70, 255, -1)
    alone = np.where(mask[..., None] > 0, CHELSEA, np.uint8(255))
    box = (80.0, 40.0, 140.0, 140.0)
    assert legibility(CHELSEA, alone, [box], mask)[0] > 0.5 > legibility(CHELSEA, alone, [whole(CHELSEA)])[0]


def test_of_flat_and_tiny_boxes_nothing_can_be_said():
    flat = np.full((240, 320, 3), 90, np.uint8)
    assert np.isnan(legibility(flat, CHELSEA[:240, :320], [(10, 10, 100, 100)])).all()
    assert np.isnan(legibility(CHELSEA, CHELSEA, [(10, 10, 15, 100), (0, 0, 0, 0)])).all()
    assert legible([float("nan")], LIMITS) == {}


@given(st.floats(-900, 900), st.floats(-900, 900), st.floats(0, 2000), st.floats(0, 2000))
def test_any_box_has_a_score_or_none(left, top, width, height):
    score = legibility(CHELSEA, 255 - CHELSEA, [(left, top, width, height)])[0]
    assert np.isnan(score) or 0 <= score <= 1


@pytest.mark.parametrize("short", [200, 480, 900])
def test_right_and_wrong_differ_at_every_size(short):
    image = photo("coffee", short)
    right = (255 - image) // 2
    wrong = cv2.resize(photo("chelsea", short), image.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert legibility(image, right, [whole(image)])[0] > 0.7
    assert legibility(image, wrong, [whole(image)])[0] < 0.3


# ── domains ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_domain_has_ranges_of_statistics_that_there_are():
    assert {name.partition("/")[0] for name in RANGES} == set(DOMAINS)
    assert all(set(ranges) <= set(STATISTICS) for ranges in RANGES.values())


@pytest.mark.parametrize("which", RANGES)
@pytest.mark.parametrize("name", ["chelsea", "coffee", "astronaut"])
def test_a_photograph_does_not_pass_for_its_redrawing(which, name):
    domain, _, style = which.partition("/")
    found = domain_gates(domain, style, PHOTOS[name], PHOTOS[name])
    assert found
    assert first_failed(found).startswith("domain_")


def test_statistics_of_known_pictures():
    red = np.full((40, 40, 3), (255, 0, 0), np.uint8)
    assert statistics(red) == {"saturation": 1.0, "mean": pytest.approx(76 / 255, abs=1e-4), "contrast": 0.0}
    half = np.zeros((40, 40, 3), np.uint8)
    half[:20] = 255
    assert statistics(half) == {"saturation": 0.0, "mean": 0.5, "contrast": 0.5}
    assert STATISTICS["flat"](red, red) == 1
    assert STATISTICS["skin"](red, np.full((4, 4, 3), (200, 150, 125), np.uint8)) == 1
    assert STATISTICS["skin"](red, np.full((4, 4, 3), (100, 150, 225), np.uint8)) == 0


# ── an object that stands alone ──────────────────────────────────────────────────────────────────────────────────────


def disc(x: int, y: int, radius: int) -> np.ndarray:
    return cv2.circle(np.zeros((200, 300), np.uint8), (x, y), radius, 255, -1)


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (disc(150, 100, 60), ""),
        (disc(150, 100, 10), "mask_area"),
        (disc(150, 100, 190), "mask_area"),
        (disc(40, 100, 60), "border_touch"),
        (disc(80, 100, 40) | disc(230, 100, 40), "mask_components"),
        (np.zeros((200, 300), np.uint8), "mask_area"),
    ],
    ids=["whole", "small", "large", "cut_off", "two", "empty"],
)
def test_which_objects_can_stand_alone(mask, reason):
    assert first_failed(subject_gates(mask, (), None, math.nan, LIMITS)) == reason


def test_of_two_objects_the_one_behind_is_covered():
    plate, cup = (cv2.circle(np.zeros((200, 300), np.uint8), (x, 100), 60, 255, -1) for x in (100, 180))
    behind = np.where(cup > 0, 0, plate).astype(np.uint8)
    assert first_failed(subject_gates(behind, [cup], None, math.nan, LIMITS)) == "covered"
    for mask, others in ((cup, [behind]), (plate, []), (plate, [np.roll(plate, 130, axis=1)])):
        assert not first_failed(subject_gates(mask, others, None, math.nan, LIMITS))


def test_a_segmenter_in_doubt_gives_no_subject():
    most = BANDS[LIMITS.masks]
    for doubt, bad in ((most, ""), (most + 0.1, "mask_band")):
        assert first_failed(subject_gates(disc(150, 100, 60), (), None, doubt, LIMITS)) == bad
