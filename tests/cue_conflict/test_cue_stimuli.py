"""The functions behind `cue_conflict`."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.generators.cue_conflict import bands, outlines, textures
from variorum.generators.cue_conflict.framed import Ready
from variorum.generators.cue_conflict.gates import Limits, blank, contour_kept, mask_gates, patch_side, textured
from variorum.generators.cue_conflict.partners import patch_of
from variorum.kit.gates.gates import first_failed
from variorum.kit.labels.categories import category_classes, category_of, category_probabilities
from variorum.kit.pictures import framing
from variorum.kit.pictures.seams import evenness
from variorum.models.imagenet_classes import is_wnid, table
from variorum.schemas.annotations import Annotations

LIMITS = Limits()
CAT = cv2.resize(skimage.data.chelsea()[:300, 80:380], (112, 112), interpolation=cv2.INTER_AREA)
GRAVEL = np.repeat(skimage.data.gravel()[:96, :96, None], 3, axis=2)
DISK = cv2.circle(np.zeros((112, 112), np.uint8), (56, 56), 40, 255, -1)


def traffic_light(side: int = 90) -> np.ndarray:
    """Three lamps in a dark box."""
    box = np.full((side, side, 3), 25, np.uint8)
    for place, colour in enumerate([(230, 40, 30), (240, 190, 40), (40, 200, 90)]):
        cv2.circle(box, (side // 2, round((2 * place + 1) * side / 6)), side // 8, colour, -1)
    return box


# ── categories ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_categories_are_disjoint_sets_of_imagenet_s_classes():
    found = category_classes()
    assert " ".join(found) == (
        "airplane bear bicycle bird boat bottle car cat chair clock dog elephant keyboard knife oven truck"
    )
    every = [wnid for wnids in found.values() for wnid in wnids]
    assert len(every) == len(set(every)) == 233
    assert all(map(is_wnid, every))
    assert {name: len(found[name]) for name in ("airplane", "bird", "cat", "dog")} == {
        "airplane": 1,
        "bird": 59,
        "cat": 5,
        "dog": 118,
    }


def test_a_class_right_below_a_category_belongs_to_it():
    below = {"domestic cat": "cat", "bear": "bear", "elephant": "elephant", "knife": "knife", "oven": "oven"}
    seen = {one.hypernym: category_of(one.wnid) for one in table() if one.hypernym in below}
    assert seen == below
    assert category_of("n03770679") == ""  # the minivan is a car and a truck


def test_a_category_is_found_by_wnid_by_name_and_by_its_own_name():
    assert category_of("n02690373") == category_of("Airliner") == category_of("airplane") == "airplane"
    assert category_of("sports_car") == category_of("Sports car ") == category_of("CAR") == "car"
    assert category_of("n01440764") == category_of("tench") == category_of("") == ""


def test_a_category_has_the_mean_probability_of_its_classes():
    index = {one.wnid: one.index for one in table()}
    probabilities = np.zeros((2, 1000), np.float32)
    probabilities[0, index["n02690373"]] = 0.2  # the only airplane
    probabilities[0, [index[wnid] for wnid in category_classes()["dog"]]] = 0.8 / 118
    probabilities[1] = np.nan
    probabilities[1, index["n02123045"]] = 0.5  # the only cat that this model knows
    found = category_probabilities(probabilities)
    assert found.shape == (2, 16)
    names = list(category_classes())
    assert names[int(found[0].argmax())] == "airplane"  # though dogs have four times its sum
    assert found[0, names.index("dog")] == pytest.approx(0.8 / 118)
    assert found[1, names.index("cat")] == pytest.approx(0.5)
    assert np.isnan(found[1]).sum() == 15


# ── pictures without some cues ───────────────────────────────────────────────────────────────────────────────────────


def test_both_bands_together_are_the_picture():
    for sigma in (0.7, 3):
        both = bands.low_pass(CAT, sigma).astype(float) + bands.high_pass(CAT, sigma) - bands.MIDDLE
        assert np.abs(both - CAT).max() <= 1.5
    assert bands.high_pass(CAT, 0.7).std() < bands.high_pass(CAT, 3).std() < CAT.std()
    assert (bands.high_pass(np.full((8, 8, 3), 30, np.uint8), 2) == 128).all()
    grey = bands.grey(CAT)
    assert (grey == grey[..., :1]).all()


@settings(max_examples=20)
@given(st.sampled_from([2, 4, 7, 8, 14]), st.integers(0, 2**32))
def test_scrambled_tiles_can_be_put_back(grid, seed):
    order = np.random.default_rng(seed).permutation(grid**2)
    for picture in (CAT, DISK):
        shuffled = bands.scrambled(picture, order.tolist())
        np.testing.assert_array_equal(bands.scrambled(shuffled, np.argsort(order).tolist()), picture)
    side = 112 // grid
    first = bands.scrambled(CAT, order.tolist())[:side, :side]
    row, column = divmod(int(order[0]), grid)
    np.testing.assert_array_equal(first, CAT[row * side : (row + 1) * side, column * side : (column + 1) * side])


def test_edges_and_silhouettes_show_the_shape():
    white = np.full((112, 112, 3), 255, np.uint8)
    black = outlines.silhouette(DISK, white)
    np.testing.assert_array_equal(black[..., 0], 255 - DISK)
    drawn = outlines.edges(black, 1.4, 50, 120)[..., 0]
    assert set(np.unique(drawn)) == {0, 255}
    rows, columns = np.nonzero(drawn == 0)
    assert np.abs(np.hypot(rows - 56, columns - 56) - 40).max() < 3
    fine, coarse = ((outlines.edges(CAT, sigma, 50, 120) == 0).mean() for sigma in (0.7, 3))
    assert coarse < 0.5 * fine
    np.testing.assert_array_equal(outlines.laid(CAT, DISK, white)[DISK > 0], CAT[DISK > 0])
    half = outlines.laid(np.zeros_like(white), np.full((112, 112), 51, np.uint8), white)
    assert (half == 204).all()


# ── textures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.floats(0.5, 1))
def test_the_largest_square_lies_inside_and_no_larger_one_does(seed, share):
    alpha = np.where(np.random.default_rng(seed).random((12, 15)) < share, 255, 249).astype(np.uint8)
    solid = alpha == 255
    left, top, side = framing.largest_square(solid)
    fits = [
        one
        for one in range(1, 13, 2)
        if any(solid[y : y + one, x : x + one].all() for y in range(13 - one) for x in range(16 - one))
    ]
    assert side == max(fits, default=0)
    assert solid[top : top + side, left : left + side].all()


def test_shading_goes_and_texture_stays():
    light = np.linspace(0.6, 1.4, 96, dtype=np.float32)[:, None, None]
    shaded = np.clip(GRAVEL * light, 0, 255).astype(np.uint8)
    after = textures.evened(shaded)
    before, then = ([part.mean() for part in (one[:24], one[-24:])] for one in (shaded, after))
    assert abs(np.diff(then)) < 0.5 * abs(np.diff(before))
    assert evenness(after).contrast > 0.8 * evenness(GRAVEL).contrast
    flat = np.full((20, 20, 3), 90, np.uint8)
    np.testing.assert_array_equal(textures.evened(flat), flat)


@pytest.mark.parametrize("offset", [(0, 0), (31, 150)])
def test_a_covered_surface_has_no_seams(offset):
    patch = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    surface = textures.covered(patch, 130, 100, offset)
    assert surface.shape == (130, 100, 3)
    rows = np.abs(np.diff(surface.astype(int), axis=0)).sum(axis=(1, 2))
    assert [place % 40 for place in np.flatnonzero(rows == 0)] == [(offset[0] - 1) % 40] * 3  # the mirrors' edges meet
    columns = np.abs(np.diff(surface.astype(int), axis=1)).sum(axis=(0, 2))
    assert {place % 40 for place in np.flatnonzero(columns == 0)} == {(offset[1] - 1) % 40}
    assert {tuple(pixel) for pixel in surface.reshape(-1, 3)} <= {tuple(pixel) for pixel in patch.reshape(-1, 3)}


# ── gates ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_gravel_is_a_texture_and_a_traffic_light_is_none():
    seen = [
        first_failed(textured(evenness(textures.evened(patch)), LIMITS))
        for patch in (GRAVEL, traffic_light(), np.full((50, 50, 3), 200, np.uint8))
    ]
    assert seen == ["", "textured", "texture_contrast"]


def test_a_picture_of_one_colour_is_blank():
    teal = np.full((32, 32, 3), (0, 90, 120), np.uint8)
    assert not blank(teal, LIMITS)["passed"]
    teal[::2] += 2
    assert blank(teal, LIMITS)["passed"]


def test_masks_that_are_no_shape_are_refused():
    cut_off = np.zeros((112, 112), np.uint8)
    cut_off[:, :50] = 255
    scattered = np.kron(np.indices((4, 4)).sum(axis=0) % 2, np.ones((20, 20))).astype(np.uint8) * 255
    scattered = np.pad(scattered * (np.indices((80, 80)).min(axis=0) % 20 < 12).astype(np.uint8), 16)
    small = cv2.circle(np.zeros((112, 112), np.uint8), (56, 56), 5, 255, -1)
    found = [first_failed(mask_gates(mask, LIMITS)) for mask in (DISK, cut_off, scattered, small)]
    assert found == ["", "border_touch", "scattered", "mask_area"]


def test_a_white_texture_on_white_loses_its_outline():
    white = np.full((112, 112, 3), 255, np.uint8)
    surface = textures.covered(GRAVEL // 2, 112, 112)
    assert contour_kept(outlines.laid(surface, DISK, white), DISK, LIMITS)["passed"]
    assert not contour_kept(outlines.laid(white - 2, DISK, white), DISK, LIMITS)["passed"]
    noise = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
    assert not contour_kept(noise, DISK, LIMITS)["passed"]


@pytest.mark.parametrize(("side", "passed"), [(224, False), (448, True)])
def test_an_outline_may_be_missed_by_more_pixels_in_a_larger_frame(side, passed):
    middle, ground = (side // 2, side // 2), np.full((side, side, 3), 255, np.uint8)
    alpha, wider = (cv2.circle(np.zeros((side, side), np.uint8), middle, radius, 255, -1) for radius in (70, 72))
    assert contour_kept(outlines.silhouette(wider, ground), alpha, LIMITS)["passed"] is passed


def test_a_patch_is_the_most_even_part_of_an_object():
    """A square of which one quarter is gravel and the rest shows big disks."""
    image = np.full((224, 224, 3), 60, np.uint8)
    for top, left in ((20, 130), (130, 20), (130, 130)):
        cv2.circle(image, (left + 35, top + 35), 30, (240, 200, 180), -1)
    image[12:108, 12:108] = GRAVEL
    alpha = np.zeros((224, 224), np.uint8)
    alpha[12:212, 12:212] = 255
    found = Ready(image, alpha, "member", {}, True, Annotations())
    half, whole = (patch_of(found, share, LIMITS) for share in (0.4, 1))
    assert (half.shape, whole.shape) == ((80, 80, 3), (199, 199, 3))
    assert evenness(half).unevenness < 0.8 * evenness(whole).unevenness
    assert abs(half.astype(float).std() - GRAVEL.std()) < 10
    assert patch_of(found, 0.1, LIMITS).shape == (32, 32, 3)  # no smaller one passes
    assert [patch_side(side, 224, LIMITS)["passed"] for side in (31, 32)] == [False, True]
    assert patch_of(replace(found, alpha=None), 0.5, LIMITS).size == 0
    assert patch_of(replace(found, alpha=np.zeros_like(alpha)), 0.5, LIMITS).size == 0
