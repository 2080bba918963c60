"""Objects under affine maps: laws that hold for every map, and pixels that lie where boxes and masks say."""

from __future__ import annotations

import contextlib
import math

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle

from variorum.annotations import (
    box_of,
    cut_box,
    decode_mask,
    encode_mask,
    from_centres,
    moved,
    region,
    resampled,
    resampled_mask,
    with_mask,
)
from variorum.schemas.annotations import Annotations, LabelState, Object, Text

IDENTITY = np.eye(2, 3)
SIDES = st.integers(1, 40)


def rectangle(size: tuple[int, int], top: int, left: int, high: int, wide: int) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top : top + high, left : left + wide] = True
    return mask


@st.composite
def masks(draw: st.DrawFn) -> np.ndarray:
    """Masks with at least one pixel."""
    size = draw(SIDES), draw(SIDES)
    seed, share = draw(st.integers(0, 2**32)), draw(st.sampled_from([0.05, 0.5, 0.95]))
    mask = np.random.default_rng(seed).random(size) < share
    mask[draw(st.integers(0, size[0] - 1)), draw(st.integers(0, size[1] - 1))] = True
    return mask


@st.composite
def rectangles(draw: st.DrawFn) -> np.ndarray:
    """Masks of one rectangle."""
    height, width = draw(SIDES), draw(SIDES)
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    high, wide = draw(st.integers(1, height - top)), draw(st.integers(1, width - left))
    return rectangle((height, width), top, left, high, wide)


def masked(mask: np.ndarray, **more: object) -> Object:
    item = with_mask(Object((0, 0, 1, 1), **more), mask)
    assert item is not None
    return item


def boxed(mask: np.ndarray, **more: object) -> Object:
    """The same object without a mask."""
    box = box_of(mask)
    assert box is not None
    return Object(box, **more)


def maps(size: tuple[int, int]) -> dict[str, tuple[np.ndarray, tuple[int, int], object]]:
    """Maps that permute pixels: matrix, size after, and the same on arrays."""
    height, width = size
    return {
        "left to right": (np.array([[-1, 0, width], [0, 1, 0]]), size, lambda mask: mask[:, ::-1]),
        "top to bottom": (np.array([[1, 0, 0], [0, -1, height]]), size, lambda mask: mask[::-1]),
        "half turn": (np.array([[-1, 0, width], [0, -1, height]]), size, lambda mask: mask[::-1, ::-1]),
        "quarter turn": (np.array([[0, 1, 0], [-1, 0, width]]), (width, height), lambda mask: np.rot90(mask)),
        "three quarters": (np.array([[0, -1, height], [1, 0, 0]]), (width, height), lambda mask: np.rot90(mask, 3)),
        "transposed": (np.array([[0, 1, 0], [1, 0, 0]]), (width, height), lambda mask: mask.T),
        "twice as large": (
            np.array([[2, 0, 0], [0, 2, 0]]),
            (2 * height, 2 * width),
            lambda mask: mask.repeat(2, 0).repeat(2, 1),
        ),
        "padded": (
            np.array([[1, 0, 3], [0, 1, 5]]),
            (height + 7, width + 4),
            lambda mask: np.pad(mask, ((5, 2), (3, 1))),
        ),
    }


WAYS = list(maps((1, 1)))


def only(item: Object) -> Annotations:
    return Annotations((item,))


def times(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The map that does `first`, then `second`."""
    return (np.vstack([second, [0, 0, 1]]) @ np.vstack([first, [0, 0, 1]]))[:2]


@st.composite
def affine(draw: st.DrawFn) -> np.ndarray:
    """Rotations, scales, shears, flips and shifts, near enough to the frame to matter."""
    turn, scale = draw(st.floats(-math.pi, math.pi)), draw(st.floats(0.3, 3))
    shear, flip = draw(st.floats(-0.5, 0.5)), draw(st.sampled_from([1, -1]))
    linear = scale * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    linear = linear @ np.array([[flip, shear], [0, 1]])
    return np.column_stack([linear, [draw(st.floats(-30, 60)), draw(st.floats(-30, 60))]])


# ── laws ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(masks())
def test_nothing_moves_nothing(mask):
    item = Object((0.25, 0.125, 1 / 3, 0.7), area=0.1, mask=encode_mask(mask))
    given_ = Annotations((item,), (Text("a"),), (LabelState("b"),))
    assert moved(given_, IDENTITY, mask.shape, mask.shape) is given_


@given(masks(), st.sampled_from(WAYS))
def test_a_mask_is_permuted_as_its_pixels_are(mask, way):
    matrix, after, on_array = maps(mask.shape)[way]
    (found,) = moved(only(masked(mask)), matrix, mask.shape, after).objects
    expected = on_array(mask)
    np.testing.assert_array_equal(decode_mask(found, *after), expected)
    assert found.box == box_of(expected)
    assert found.area == expected.sum()


@given(rectangles(), st.sampled_from(WAYS))
def test_a_box_moves_as_the_mask_of_a_rectangle_does(mask, way):
    matrix, after, _ = maps(mask.shape)[way]
    area = float(mask.sum())
    (box,) = moved(only(boxed(mask, area=area)), matrix, mask.shape, after).objects
    (full,) = moved(only(masked(mask)), matrix, mask.shape, after).objects
    assert (box.box, box.area) == (full.box, full.area)
    assert box.mask == ""


@given(masks(), st.sampled_from(WAYS), st.sampled_from(WAYS))
def test_two_maps_are_their_product(mask, first, second):
    one, between, _ = maps(mask.shape)[first]
    two, after, _ = maps(between)[second]
    for item in (masked(mask), boxed(mask, area=5.0)):
        steps = moved(moved(only(item), one, mask.shape, between), two, between, after)
        assert moved(only(item), times(two, one), mask.shape, after) == steps


@settings(deadline=None)
@given(affine(), affine())
def test_two_maps_are_their_product_wherever_nothing_is_cut(first, second):
    """Away from the frame a turned box only grows, as the box around a box does."""
    shift = np.array([[1, 0, 3000.0], [0, 1, 3000.0]])
    item, size = only(Object((10, 20, 30, 15), area=100.0)), (20_000, 20_000)
    back = np.array([[1, 0, -3000.0], [0, 1, -3000.0]])
    one, two = times(shift, first), times(shift, times(second, back))
    (steps,) = moved(moved(item, one, size, size), two, size, size).objects
    (at_once,) = moved(item, times(two, one), size, size).objects
    assert steps.area == pytest.approx(at_once.area, abs=0.02)
    left, top, wide, high = at_once.box
    assert steps.box[0] <= left + 0.01
    assert steps.box[1] <= top + 0.01
    assert sum(steps.box[::2]) >= left + wide - 0.01
    assert sum(steps.box[1::2]) >= top + high - 0.01


@settings(deadline=None)
@given(masks(), affine(), SIDES, SIDES)
def test_nothing_leaves_the_frame(mask, matrix, height, width):
    found = moved(Annotations((masked(mask), boxed(mask, area=9.0))), matrix, mask.shape, (height, width))
    for item in found.objects:
        left, top, wide, high = item.box
        assert left >= 0
        assert top >= 0
        assert wide > 0
        assert high > 0
        assert left + wide <= width + 1e-9
        assert top + high <= height + 1e-9
        assert item.area is not None
        if item.mask:
            seen = decode_mask(item, height, width)
            assert item.box == box_of(seen)
            assert item.area == seen.sum() > 0


@settings(deadline=None)
@given(masks(), affine(), SIDES, SIDES)
def test_the_box_of_a_moved_mask_lies_in_the_moved_box(mask, matrix, height, width):
    after = height, width
    found = moved(Annotations((masked(mask, id="mask"), boxed(mask, id="box"))), matrix, mask.shape, after).objects
    by_id = {item.id: item.box for item in found}
    assume("mask" in by_id)
    inner, outer = by_id["mask"], by_id["box"]
    for axis in (0, 1):  # a pixel belongs to the mask if its centre does, so it may reach half a pixel further
        assert inner[axis] >= outer[axis] - 0.51
        assert inner[axis] + inner[axis + 2] <= outer[axis] + outer[axis + 2] + 0.51


# ── pixels ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def ellipse(size: tuple[int, int], centre: tuple[int, int], axes: tuple[int, int], angle: int) -> np.ndarray:
    return cv2.ellipse(np.zeros(size, np.uint8), centre, axes, angle, 0, 360, 1, -1) > 0


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-180, 180),
    st.floats(0.4, 2.5),
    st.tuples(st.integers(30, 70), st.integers(30, 50)),
    st.tuples(st.integers(6, 25), st.integers(6, 25)),
    st.tuples(st.floats(-20, 20), st.floats(-20, 20)),
)
def test_objects_follow_a_picture_that_opencv_warps(angle, scale, centre, axes, shift):
    before, after = (80, 100), (90, 70)
    mask = ellipse(before, centre, axes, 30)
    matrix = cv2.getRotationMatrix2D(centre, angle, scale)
    matrix[:, 2] += shift
    drawn = cv2.warpAffine(255 * mask.astype(np.uint8), matrix, after[::-1], flags=cv2.INTER_LINEAR) > 127
    assume(drawn.sum() > 40)
    (found,) = moved(only(masked(mask)), from_centres(matrix), before, after).objects
    seen = decode_mask(found, *after)
    assert (seen & drawn).sum() / (seen | drawn).sum() > 0.9
    # half a pixel of error in the convention would show: the centroids of both agree to a tenth
    if not (drawn[[0, -1]].any() or drawn[:, [0, -1]].any()):
        for axis in (0, 1):
            assert np.nonzero(seen)[axis].mean() == pytest.approx(np.nonzero(drawn)[axis].mean(), abs=0.15)


@pytest.mark.parametrize("factor", [2, 3, 0.5])
def test_resizing_is_about_the_corner_not_about_the_first_centre(factor):
    mask = rectangle((24, 24), 6, 12, 6, 6)
    after = round(24 * factor), round(24 * factor)
    drawn = cv2.resize(mask.astype(np.uint8), after, interpolation=cv2.INTER_NEAREST) > 0
    matrix = np.array([[factor, 0, 0], [0, factor, 0]])
    (found,) = moved(only(masked(mask)), matrix, (24, 24), after).objects
    np.testing.assert_array_equal(decode_mask(found, *after), drawn)


def test_opencv_s_centres_and_corners():
    np.testing.assert_allclose(from_centres(IDENTITY), IDENTITY)
    np.testing.assert_allclose(from_centres(np.array([[2, 0, 0.5], [0, 2, 0.5]])), [[2, 0, 0], [0, 2, 0]])
    flip = np.array([[-1, 0, 9.0], [0, 1, 0]])  # of ten columns, by their numbers
    np.testing.assert_allclose(from_centres(flip), [[-1, 0, 10], [0, 1, 0]])


# ── what is kept and what is dropped ─────────────────────────────────────────────────────────────────────────────────


def test_everything_but_the_place_stays():
    item = Object((2, 2, 4, 4), "n1", area=10.0, crowd=True, id="7", score=0.5, origin="model")
    (found,) = moved(only(item), np.array([[1, 0, 3], [0, 1, 1]]), (10, 10), (10, 10)).objects
    assert found == Object((5, 3, 4, 4), "n1", area=10.0, crowd=True, id="7", score=0.5, origin="model")


def test_an_object_outside_is_dropped_and_one_that_is_cut_has_less_area():
    items = (
        Object((0, 0, 4, 4), id="out"),
        Object((0, 0, 10, 4), id="cut", area=20.0),
        Object((0, 0, 10, 4), id="box alone"),
        masked(rectangle((10, 10), 0, 0, 4, 10), id="mask"),
        masked(rectangle((10, 10), 0, 0, 4, 5), id="mask out"),
    )
    found = moved(Annotations(items), np.array([[1, 0, -5], [0, 1, 0]]), (10, 10), (10, 5)).objects
    assert [item.id for item in found] == ["cut", "box alone", "mask"]
    assert [item.box for item in found] == [(0, 0, 5, 4)] * 3
    assert [item.area for item in found] == [10.0, None, 20.0]


def test_a_map_scales_the_area():
    (found,) = moved(only(Object((1, 1, 2, 2), area=3.0)), np.array([[-2, 0, 20], [0, 3, 0]]), (9, 9), (30, 30)).objects
    assert found == Object((14, 3, 4, 6), area=18.0)


@pytest.mark.parametrize("matrix", [np.zeros((2, 3)), np.array([[1, 1, 0], [1, 1, 0]]), np.full((2, 3), np.nan)])
def test_a_map_that_can_t_be_inverted_is_refused(matrix):
    with pytest.raises(ValueError, match="matrix"):
        moved(only(Object((0, 0, 1, 1))), matrix, (9, 9), (9, 9))


def test_without_objects_there_is_nothing_to_do():
    texts = Annotations(texts=(Text("a cat"),))
    assert moved(texts, np.zeros((2, 3)), (9, 9), (5, 5)) is texts


# ── masks ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(masks())
def test_masks_are_those_of_pycocotools(mask):
    counts = encode_mask(mask)
    np.testing.assert_array_equal(decode_mask(Object((0, 0, 1, 1), mask=counts), *mask.shape), mask)
    assert tuple(rle.toBbox({"size": mask.shape, "counts": counts})) == box_of(mask)


@given(st.text(max_size=40) | st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=60), SIDES, SIDES)
def test_counts_that_don_t_fit_are_refused(counts, height, width):
    """They come from anybody's data. pycocotools would read and write beyond its memory."""
    with contextlib.suppress(ValueError):
        assert decode_mask(Object((0, 0, 1, 1), mask=counts), height, width).shape == (height, width)


HOSTILE = {
    "no end": "o" * 34,
    "too many": "0" * 40,
    "cut short": "P",
    "too long a number": "PPPPPPPP0h3",  # nothing, then all 120 pixels
    "less than nothing": "FR4",  # -10 and 130
    "other signs": "é",
    "no text": "\ud800",
}


@pytest.mark.parametrize("counts", HOSTILE.values(), ids=HOSTILE)
def test_hostile_counts_are_refused(counts):
    with pytest.raises(ValueError, match="object '7' is no compressed RLE of 10 x 12 pixels"):
        decode_mask(Object((0, 0, 1, 1), id="7", mask=counts), 10, 12)


def test_an_empty_mask_has_no_box():
    empty = np.zeros((4, 5), bool)
    assert box_of(empty) is None
    assert with_mask(Object((0, 0, 1, 1)), empty) is None


@given(rectangles())
def test_the_region_of_a_box_is_its_pixels(mask):
    np.testing.assert_array_equal(region(boxed(mask), *mask.shape), mask)
    np.testing.assert_array_equal(region(masked(mask), *mask.shape), mask)


def test_the_region_of_a_tiny_box_is_one_pixel():
    for box in ((3.2, 1.1, 0.1, 0.1), (6.9, 4.9, 0.1, 0.1), (0, 0, 0.01, 0.01)):
        assert region(Object(box), 5, 7).sum() == 1


def test_what_boxes_have_in_common():
    assert cut_box((0, 0, 10, 10), (5, -5, 10, 10)) == (5, 0, 5, 5)
    assert cut_box((0, 0, 10, 10), (10, 0, 5, 5)) is None
    assert cut_box((0.1, 0.2, 0.3, 0.1), (0, 0, 9, 9)) == (0.1, 0.2, 0.3, 0.1)


# ── maps that aren't affine ──────────────────────────────────────────────────────────────────────────────────────────


def places(height: int, width: int) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)


@given(masks(), st.tuples(*[st.floats(0, 30)] * 2, *[st.floats(0.01, 30)] * 2))
def test_pixels_that_stay_keep_every_object(mask, box):
    item = masked(mask, label="a", id="1")
    annotations = Annotations((item, Object(box, "b", area=3.5)), (Text("t"),), (LabelState("a"),))
    assert resampled(annotations, places(*mask.shape), mask.shape) is annotations
    np.testing.assert_array_equal(resampled_mask(mask, places(*mask.shape)), mask)


@given(rectangles(), st.integers(-40, 40), st.integers(-40, 40))
def test_a_translation_by_origins_is_that_by_a_matrix(mask, x, y):
    box = box_of(mask)
    assert box is not None
    both = Annotations((masked(mask, label="a"), Object(box, "b", area=7.0)), (Text("t"),))
    found = resampled(both, places(*mask.shape) - np.float32([x, y]), mask.shape)
    expected = moved(both, np.array([[1.0, 0, x], [0, 1, y]]), mask.shape, mask.shape)
    assert [(item.label, item.box, item.mask) for item in found.objects] == [
        (item.label, item.box, item.mask) for item in expected.objects
    ]
    assert [item.area for item in found.objects] == pytest.approx([item.area for item in expected.objects], abs=2e-3)
    assert found.texts == both.texts


@given(masks(), st.integers(0, 2**32 - 1), SIDES, SIDES)
def test_a_mask_has_its_value_at_each_origin(mask, seed, height, width):
    rng = np.random.default_rng(seed)
    origins = rng.uniform(-3, 44, (height, width, 2)).astype(np.float32)
    expected = np.zeros((height, width), bool)
    for row, column in np.ndindex(height, width):
        x, y = (math.floor(float(one) + 0.5) for one in origins[row, column])
        expected[row, column] = 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and mask[y, x]
    np.testing.assert_array_equal(resampled_mask(mask, origins), expected)
    found = resampled(Annotations((masked(mask),)), origins, mask.shape).objects
    assert len(found) == expected.any()
    for item in found:
        assert (item.box, item.area) == (box_of(expected), expected.sum())
        np.testing.assert_array_equal(decode_mask(item, height, width), expected)


@given(rectangles(), st.floats(-0.3, 0.3), st.floats(0.5, 1.5), st.integers(0, 2**32 - 1))
def test_a_box_is_that_around_its_mask(mask, bend, stretch, seed):
    """Also under a map that isn't affine, for boxes that end between pixels."""
    height, width = mask.shape
    origins = places(height, width) * np.float32(stretch)
    origins[..., 0] += np.float32(bend) * origins[..., 1] ** 2 / height
    assume((np.abs(origins - np.floor(origins) - 0.5) > 1e-3).all())  # no origin between two pixels
    box = box_of(mask)
    assert box is not None
    given_ = Annotations((Object(box, "box", area=float(mask.sum())), masked(mask, label="mask")))
    found = {item.label: item for item in resampled(given_, origins, mask.shape).objects}
    assert set(found) in ({"box", "mask"}, set())
    if found:
        assert found["box"].box == found["mask"].box
        assert found["box"].area == pytest.approx(found["mask"].area, abs=1e-3)
        assert found["box"].mask == ""


def test_a_mask_of_another_size_is_named_when_pixels_move():
    item = masked(rectangle((9, 9), 1, 1, 3, 3), id="7")
    with pytest.raises(ValueError, match="'7' is no compressed RLE of 8 x 8 pixels"):
        resampled(Annotations((item,)), places(8, 8) + 1, (8, 8))
