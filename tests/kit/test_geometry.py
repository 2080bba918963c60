"""Geometry on random objects, and one test for each fault of the released ImageNet-E toolkit."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from variorum.kit.pictures import compositing, geometry
from variorum.kit.pictures.geometry import CannotEdit, Cutout, Placed

SIDE = 256
FRAME = SIDE, SIDE
MARGIN = 2
TOLERANCE = 0.05


def textured(alpha: np.ndarray) -> Cutout:
    """A cut-out with this alpha and smooth colours that differ everywhere."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    colours = np.stack([60 + x // 2, 200 - y // 2, 128 + 60 * np.sin((x + y) / 20)], axis=2).astype(np.uint8)
    return geometry.as_cutout(compositing.premultiplied(colours, alpha))


def ellipse(x: int, y: int, a: int, b: int, angle: float = 0.0) -> np.ndarray:
    return cv2.ellipse(np.zeros((SIDE, SIDE), np.uint8), (x, y), (a, b), angle, 0, 360, 255, -1, cv2.LINE_AA)


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    left, top, width, height = cv2.boundingRect((mask > 127).astype(np.uint8))
    return left, top, left + width, top + height


def shown(placed: Placed) -> np.ndarray:
    return compositing.composite(np.zeros((SIDE, SIDE, 3), np.uint8), placed)[1]


def assert_inside(placed: Placed) -> None:
    assert geometry.visible_ratio(placed, (SIDE, SIDE)) >= 0.98
    left, top, right, bottom = box_of(shown(placed))
    assert min(left, top) >= MARGIN
    assert max(right, bottom) <= SIDE - MARGIN


def made_unless(reasons: set[str], make: Callable[[], Placed]) -> Placed | None:
    """What `make` returns, or None if it raises CannotEdit with one of these reasons."""
    try:
        return make()
    except CannotEdit as error:
        if error.reason not in reasons:
            raise
        return None


@st.composite
def objects(draw: st.DrawFn) -> Cutout:
    """An ellipse, a polygon, or two separate ones, with sharp or soft edges, anywhere in the frame."""
    alpha = np.zeros((SIDE, SIDE), np.uint8)
    for _ in range(draw(st.integers(1, 2))):
        x, y = draw(st.integers(40, 216)), draw(st.integers(40, 216))
        if draw(st.booleans()):
            a, b = draw(st.integers(8, 36)), draw(st.integers(8, 36))
            alpha = np.maximum(alpha, ellipse(x, y, a, b, draw(st.integers(0, 179))))
        else:
            count = draw(st.integers(3, 7))
            radii = [draw(st.integers(12, 36)) for _ in range(count)]
            turns = [2 * math.pi * (k + draw(st.floats(0, 0.8))) / count for k in range(count)]
            points = [(x + r * math.cos(t), y + r * math.sin(t)) for r, t in zip(radii, turns, strict=True)]
            cv2.fillPoly(alpha, [np.rint(points).astype(np.int32)], 255, cv2.LINE_AA)
    if draw(st.booleans()):
        alpha = cv2.GaussianBlur(alpha, (0, 0), 1.2)
    assume((alpha > 127).sum() >= 300)
    return textured(alpha)


@given(objects(), st.sampled_from([0.05, 0.08, 0.1, 0.07, 0.14, 0.29]))
def test_sizes_are_hit_whole_and_in_proportion(cutout: Cutout, rate: float) -> None:
    placed = made_unless({"too_large", "null_edit"}, lambda: geometry.resized(cutout, rate, MARGIN, TOLERANCE))
    if placed is None:
        return
    reached = (shown(placed) > 127).sum() / SIDE**2
    assert abs(reached - rate) <= TOLERANCE * rate
    assert_inside(placed)
    before, after = box_of(cutout.rgba[..., 3]), box_of(shown(placed))
    scale = geometry.scale_of(placed.matrix)
    for axis in (0, 1):
        assert after[axis + 2] - after[axis] == pytest.approx(scale * (before[axis + 2] - before[axis]), abs=3 + scale)


@given(objects())
def test_full_touches_the_margin_and_keeps_the_aspect(cutout: Cutout) -> None:
    placed = made_unless({"null_edit"}, lambda: geometry.enlarged(cutout, MARGIN))
    if placed is None:
        return
    assert_inside(placed)
    left, top, right, bottom = geometry.extent(cutout, placed.matrix)
    assert max(right - left, bottom - top) == pytest.approx(SIDE - 2 * MARGIN, abs=0.01)


@given(objects(), st.sampled_from(["random", "grid3x3", "corners", "edges"]), st.integers(0, 2**32))
def test_positions_are_far_whole_and_exact_copies(cutout: Cutout, strategy: geometry.Strategy, seed: int) -> None:
    base = geometry.whole(cutout)
    placed = made_unless(
        {"no_room"}, lambda: geometry.moved(base, FRAME, MARGIN, strategy, np.random.default_rng(seed))
    )
    if placed is None:
        return
    assert_inside(placed)
    assert placed.patch is base.patch
    shift = math.hypot(placed.x - base.x, placed.y - base.y)
    assert geometry.box_iou(base, placed) <= 0.5 or shift >= 0.15 * math.hypot(SIDE, SIDE)
    again = geometry.moved(base, (SIDE, SIDE), MARGIN, strategy, np.random.default_rng(seed))
    assert (again.x, again.y) == (placed.x, placed.y)


@given(objects(), st.sampled_from([15.0, -30, 45, -60, 90, 135, 180]))
def test_turns_keep_the_area_and_the_centroid(cutout: Cutout, angle: float) -> None:
    base = geometry.whole(cutout)
    placed = made_unless({"no_room"}, lambda: geometry.turned(cutout, base, angle, MARGIN))
    if placed is None:
        return
    assert_inside(placed)
    assert geometry.mask_area(placed) == pytest.approx(geometry.mask_area(base), rel=0.03, abs=15)
    moments = cv2.moments((shown(placed) > 127).astype(np.uint8), binaryImage=True)
    measured = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
    assert measured == pytest.approx(geometry.centroid(cutout, placed), abs=1.0)
    if geometry.centroid(cutout, placed) == pytest.approx(cutout.centre, abs=1e-3):
        assert measured == pytest.approx(cutout.centre, abs=2.0)


def test_strategies_differ_in_where_they_go() -> None:
    base = geometry.whole(textured(ellipse(128, 128, 20, 14)))
    last_x, last_y = SIDE - MARGIN - base.patch.shape[1], SIDE - MARGIN - base.patch.shape[0]

    def places(strategy: geometry.Strategy) -> set[tuple[int, int]]:
        drawn = (
            geometry.moved(base, (SIDE, SIDE), MARGIN, strategy, np.random.default_rng(seed)) for seed in range(80)
        )
        return {(item.x, item.y) for item in drawn}

    corners = {(x, y) for x in (MARGIN, last_x) for y in (MARGIN, last_y)}
    assert places("corners") == corners
    grid = places("grid3x3")
    assert corners < grid
    assert len(grid) == 8  # the middle of nine is where it was
    assert all(x in (MARGIN, last_x) or y in (MARGIN, last_y) for x, y in places("edges"))
    assert len(places("random")) > 60


@pytest.mark.parametrize(("a", "b"), [(40, 80), (90, 36), (20, 77)])
def test_upstream_full_collapsed_the_aspect_to_a_square(a: int, b: int) -> None:
    alpha = ellipse(128, 128, a, b)
    ratios = []
    for mask in (alpha, shown(geometry.enlarged(textured(alpha), MARGIN))):
        left, top, right, bottom = box_of(mask)
        ratios.append((right - left) / (bottom - top))
    assert ratios[1] == pytest.approx(ratios[0], rel=0.03)


def test_upstream_growing_clipped_in_silence() -> None:
    tall = textured(ellipse(128, 128, 15, 60))  # 31 x 121 pixels, asked for 0.30 of the frame
    with pytest.raises(CannotEdit, match="too_large"):
        geometry.resized(tall, 0.30, MARGIN, TOLERANCE)


def test_upstream_returned_an_object_of_451_per_mille_untouched_for_5_per_cent() -> None:
    cutout = textured(ellipse(120, 130, 34, 27, 0))
    assert cutout.area / SIDE**2 == pytest.approx(0.0451, abs=0.001)
    placed = geometry.resized(cutout, 0.05, MARGIN, TOLERANCE)
    assert geometry.mask_area(placed) / SIDE**2 == pytest.approx(0.05, rel=0.02)


def test_an_object_of_less_than_a_pixel_is_refused() -> None:
    cutout = textured(ellipse(128, 128, 30, 40))
    geometry.resized(cutout, 1.01 / SIDE**2, MARGIN, TOLERANCE)
    for rate in (0.99 / SIDE**2, 1e-9, 1e-300):  # OpenCV would crash on the grid that the last ones need
        with pytest.raises(CannotEdit, match="no_pixel"):
            geometry.resized(cutout, rate, MARGIN, TOLERANCE)


def test_an_object_that_has_the_size_already_is_refused() -> None:
    cutout = textured(ellipse(120, 130, 34, 27, 0))
    with pytest.raises(CannotEdit, match="null_edit"):
        geometry.resized(cutout, cutout.area / SIDE**2 * 1.01, MARGIN, TOLERANCE)


@pytest.mark.parametrize("rate", [0.07, 0.14, 0.29])
def test_upstream_compared_floats_and_never_met_these_rates(rate: float) -> None:
    placed = geometry.resized(textured(ellipse(128, 128, 30, 40)), rate, MARGIN, TOLERANCE)
    assert geometry.mask_area(placed) / SIDE**2 == pytest.approx(rate, rel=0.01)


def test_upstream_counted_one_component_and_pasted_all() -> None:
    alpha = np.maximum(ellipse(80, 128, 20, 30), ellipse(170, 120, 14, 14))
    placed = geometry.resized(textured(alpha), 0.08, MARGIN, TOLERANCE)
    mask = (shown(placed) > 127).astype(np.uint8)
    sizes = cv2.connectedComponentsWithStats(mask)[2][1:, cv2.CC_STAT_AREA]
    assert sizes.sum() / SIDE**2 == pytest.approx(0.08, rel=TOLERANCE)
    assert sizes[0] / sizes[1] == pytest.approx((20 * 30) / (14 * 14), rel=0.05)


def test_upstream_turned_about_the_frame_s_middle_and_lost_the_object() -> None:
    near_a_corner = textured(ellipse(36, 40, 30, 20))
    placed = geometry.turned(near_a_corner, geometry.whole(near_a_corner), 45, MARGIN)
    assert_inside(placed)
    assert geometry.centroid(near_a_corner, placed) == pytest.approx((36, 40), abs=2)


def test_upstream_grew_a_soft_mask_by_cutting_it_after_resizing() -> None:
    soft = cv2.GaussianBlur(ellipse(128, 128, 40, 30), (0, 0), 2.5)
    cutout = textured(soft)
    placed = geometry.render(cutout, geometry.similarity(cutout, 0.5))
    assert geometry.mask_area(placed) == pytest.approx(cutout.area / 4, rel=0.02)


def test_turning_to_fit_shifts_as_little_as_it_takes() -> None:
    flat = textured(ellipse(128, 12, 60, 8))
    placed = geometry.turned(flat, geometry.whole(flat), 90, MARGIN)
    assert box_of(shown(placed))[1] in (MARGIN, MARGIN + 1)
    assert geometry.centroid(flat, placed)[0] == pytest.approx(128, abs=1)
    long = textured(ellipse(128, 128, 126, 8, 45))
    with pytest.raises(CannotEdit, match="no_room"):
        geometry.turned(long, geometry.whole(long), 45, MARGIN)


def test_a_disc_looks_the_same_turned_and_an_ellipse_does_not() -> None:
    plain = np.full((SIDE, SIDE, 3), 120, np.uint8)
    for a, b, same in ((40, 40, True), (50, 25, False)):
        cutout = geometry.as_cutout(compositing.premultiplied(plain, ellipse(128, 128, a, b)))
        base = geometry.whole(cutout)
        overlap, difference = geometry.same_look(base, geometry.turned(cutout, base, 90, MARGIN))
        assert (overlap >= 0.97) is same
        assert difference < 8


def test_edits_at_a_base_size_resample_the_original_once() -> None:
    cutout = textured(ellipse(100, 110, 60, 40))
    base = geometry.resized(cutout, 0.05, MARGIN, TOLERANCE)
    there_and_back = geometry.turned(cutout, base, 360, MARGIN)
    assert np.abs(there_and_back.patch.astype(int) - base.patch).max() <= 2


def test_mirroring_twice_is_nothing_and_whole_shifts_copy_pixels() -> None:
    cutout = textured(ellipse(100, 110, 30, 20, 30))
    base = geometry.whole(cutout)
    twice = geometry.mirrored(geometry.mirrored(base))
    assert np.array_equal(twice.patch, base.patch)
    assert twice.matrix == pytest.approx(base.matrix)
    shifted = geometry.render(cutout, geometry.similarity(cutout, shift=(7, -5)))
    assert np.array_equal(shifted.patch, base.patch)
    assert (shifted.x, shifted.y) == (base.x + 7, base.y - 5)


def test_an_empty_mask_is_no_object() -> None:
    with pytest.raises(CannotEdit, match="empty_mask"):
        textured(np.zeros((SIDE, SIDE), np.uint8))
