"""Every gate passes sound edits and fails faulty ones."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import skimage.data

from variorum.kit.gates import gates
from variorum.kit.gates.gates import Gates
from variorum.kit.pictures import compositing, geometry

SIDE = 128
FRAME = SIDE, SIDE
LIMITS = Gates()
NONE = math.nan
PHOTO = cv2.resize(skimage.data.coffee()[:400, 100:500], FRAME, interpolation=cv2.INTER_AREA)
OTHER = cv2.resize(skimage.data.chelsea()[:300, :300], FRAME, interpolation=cv2.INTER_AREA)


def rectangle(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    mask = np.zeros(FRAME, np.uint8)
    mask[top:bottom, left:right] = 255
    return mask


MIDDLE = rectangle(40, 40, 90, 90)


def failing(found: dict[str, gates.Gate]) -> set[str]:
    return {name for name, item in found.items() if not item["passed"]}


@pytest.mark.parametrize(
    ("mask", "names"),
    [
        (MIDDLE, set()),
        (np.zeros(FRAME, np.uint8), {"mask_area"}),
        (np.full(FRAME, 255, np.uint8), {"mask_area"}),
        (rectangle(40, 40, 43, 43), {"mask_area"}),
        (MIDDLE - rectangle(50, 50, 80, 80), {"mask_holes"}),
        (rectangle(20, 20, 60, 90) + rectangle(70, 20, 110, 60), {"mask_components"}),
    ],
    ids=["sound", "nothing", "all", "speck", "ring", "in two"],
)
def test_masks_that_can_t_be_trusted(mask: np.ndarray, names: set[str]) -> None:
    assert failing(gates.trust_gates(mask, mask, NONE, LIMITS)) == names


@pytest.mark.parametrize(
    ("mask", "names"),
    [
        (MIDDLE, set()),
        (rectangle(0, 40, 60, 90), {"truncated"}),
        (rectangle(20, 20, 60, 90) + rectangle(70, 20, 110, 60), {"mask_components"}),
        (rectangle(5, 5, 122, 122), {"mask_area"}),
    ],
    ids=["sound", "cut by the frame", "in two", "too large"],
)
def test_objects_that_can_t_be_moved(mask: np.ndarray, names: set[str]) -> None:
    assert failing(gates.moving_gates(mask, LIMITS)) == names


def test_the_segmenter_s_doubt_is_a_width_in_pixels_whatever_the_size() -> None:
    ramp = np.broadcast_to(np.linspace(-12, 13, 256), (256, 256))  # p rises from .05 to .95 within 9 pixels
    rising = np.rint(255 * np.clip(0.5 + ramp, 0, 1)).astype(np.uint8)
    assert gates.band(rising) == pytest.approx(9, abs=2)
    assert gates.band(cv2.resize(rising, (512, 512))) == pytest.approx(gates.band(rising), abs=1)
    sharp = np.zeros((256, 300), np.uint8)
    sharp[60:, 100:200] = 255
    assert gates.band(sharp) < gates.BANDS["strict"]
    assert gates.band(np.zeros((256, 256), np.uint8)) == np.inf
    for masks, passed in (("strict", False), ("default", False), ("many", True)):
        found = gates.trust_gates(MIDDLE, MIDDLE, 7.0, Gates(masks=masks))  # type: ignore[arg-type]
        assert found["mask_band"]["passed"] is passed


def test_a_segmenter_that_scores_its_masks_is_believed_by_score_and_stability() -> None:
    assert failing(gates.trust_gates(MIDDLE, MIDDLE, 1.0, LIMITS, 0.95, 0.9)) == set()
    assert failing(gates.trust_gates(MIDDLE, MIDDLE, 1.0, LIMITS, 0.5, 0.9)) == {"mask_score"}
    assert failing(gates.trust_gates(MIDDLE, MIDDLE, 1.0, LIMITS, 0.95, 0.5)) == {"mask_stability"}
    assert "mask_stability" not in gates.trust_gates(MIDDLE, MIDDLE, 1.0, LIMITS, NONE, 0.5)


@pytest.mark.parametrize(
    ("picture", "alone", "rest", "names"),
    [
        (0.8, 0.6, 0.05, set()),
        (0.8, 0.6, 0.5, {"mask_misses_object"}),
        (0.8, 0.0, 0.0, {"mask_not_object"}),
        (0.8, 0.0, 0.7, {"mask_misses_object", "mask_not_object"}),
        (0.0, 0.0, 0.9, set()),  # the classifier doesn't know it, so it says nothing
    ],
)
def test_a_mask_is_of_the_labelled_object_if_the_class_goes_with_it(
    picture: float, alone: float, rest: float, names: set[str]
) -> None:
    others = np.linspace(0.0, 0.04, 99)
    rows = [np.concatenate([[p], others * (1 if p else 5)]).astype(np.float32) for p in (picture, alone, rest)]
    assert failing(gates.evidence_gates(rows, 0, LIMITS)) == names


@pytest.mark.parametrize(
    ("box", "side"),
    [
        ((0, 40, 60, 90), "left"),
        ((40, 0, 90, 60), "top"),
        ((70, 40, 128, 90), "right"),
        ((40, 70, 90, 128), "bottom"),
        ((0, 0, 60, 60), None),
        ((0, 40, 128, 90), None),
        ((40, 40, 90, 90), None),
    ],
)
def test_which_side_cuts_an_object_off(box: tuple[int, int, int, int], side: str | None) -> None:
    assert gates.cut_side(rectangle(*box), LIMITS) == side
    passes = gates.moving_gates(rectangle(*box), LIMITS, SIDE)["truncated"]["passed"]
    assert passes == (side is not None or box == (40, 40, 90, 90))


def test_object_kept_is_exact_for_a_composite_and_fails_for_a_changed_object() -> None:
    alpha = compositing.soft_alpha(MIDDLE)
    cutout = geometry.as_cutout(compositing.cut_photograph(PHOTO, alpha))
    picture, _ = compositing.composite(OTHER, geometry.whole(cutout))
    assert gates.object_kept(PHOTO, picture, alpha, LIMITS)["value"] == gates.MAX_DB
    assert not gates.object_kept(PHOTO, OTHER, alpha, LIMITS)["passed"]


@pytest.mark.parametrize(("scale", "angle"), [(0.5, 0), (0.8, 30), (1.0, 0), (1.0, 45), (1.4, 0), (0.6, -135)])
def test_object_mapped_back_passes_the_edit_and_fails_a_clipped_or_shifted_one(scale: float, angle: float) -> None:
    cutout = geometry.as_cutout(compositing.cut_photograph(PHOTO, compositing.soft_alpha(MIDDLE)))
    placed = geometry.render(cutout, geometry.similarity(cutout, scale, angle, (5.3, -4.7)))
    picture, _ = compositing.composite(OTHER, placed)
    assert gates.object_mapped_back(cutout, placed, picture, LIMITS)["passed"]
    covered = picture.copy()
    covered[:, 66:] = OTHER[:, 66:]
    assert not gates.object_mapped_back(cutout, placed, covered, LIMITS)["passed"]
    off = placed.matrix.copy()
    off[:, 2] += 6
    assert not gates.object_mapped_back(cutout, placed._replace(matrix=off), picture, LIMITS)["passed"]


def test_background_change() -> None:
    away = MIDDLE == 0
    assert gates.background_change(PHOTO, PHOTO, away, LIMITS) == gates.at_least(0.0, LIMITS.min_change)
    assert gates.background_change(PHOTO, OTHER, away, LIMITS)["passed"]
    inside = PHOTO.copy()
    inside[60:70, 60:70] = 0  # further from the background than the window reaches
    assert not gates.background_change(PHOTO, inside, away, LIMITS)["passed"]


def test_a_hard_seam_is_seen_and_a_natural_outline_isn_t() -> None:
    natural = np.full((*FRAME, 3), 200, np.uint8)
    natural[MIDDLE > 0] = 40
    own = gates.seam_strength(natural, MIDDLE)
    assert gates.seam(own, own, LIMITS)["passed"]
    smooth = np.full((*FRAME, 3), 100, np.uint8)
    faint = gates.seam_strength(smooth, MIDDLE)
    assert not gates.seam(own, faint, LIMITS)["passed"]


def test_smudges_on_texture_are_seen_and_smooth_fills_of_a_smooth_place_aren_t() -> None:
    hole = rectangle(40, 40, 90, 90) > 0
    noise = np.random.default_rng(0).integers(60, 190, (*FRAME, 3)).astype(np.uint8)
    smudged = np.where(hole[..., None], cv2.GaussianBlur(noise, (0, 0), 9), noise)
    assert failing(gates.plate_gates(noise, hole, LIMITS)) == set()
    assert failing(gates.plate_gates(smudged, hole, LIMITS)) == {"plate_texture"}
    assert failing(gates.plate_gates(np.full_like(noise, 130), hole, LIMITS)) == set()
    assert failing(gates.plate_gates(noise, rectangle(2, 2, 126, 126) > 0, LIMITS)) == {"plate_hole"}
    left = np.full_like(noise, 130)
    left[hole] = 60  # flat before a flat wall, and yet one sees what was there
    assert failing(gates.plate_gates(left, hole, LIMITS)) == {"plate_seam"}


def test_a_plate_is_clean_when_the_class_left_with_the_object() -> None:
    assert gates.plate_clean(0.3, 0.9, 0.5, LIMITS)["passed"]
    assert not gates.plate_clean(0.5, 0.9, 0.5, LIMITS)["passed"]
    assert gates.plate_clean(0.01, 0.001, 0.5, LIMITS)["passed"]


def test_label_gates_record_and_never_drop() -> None:
    probabilities = np.array([0.1, 0.6, 0.3], np.float32)
    assert gates.label_gates(probabilities, 1)["label_rank"] == gates.recorded(1)
    worst = gates.label_gates(probabilities, 0)
    assert worst["label_rank"]["value"] == 3
    assert gates.first_failed(worst) == ""


def test_blank() -> None:
    assert not gates.blank(np.full((*FRAME, 3), 17, np.uint8), LIMITS)["passed"]
    assert gates.blank(PHOTO, LIMITS)["passed"]
