"""Handmade things: stitches lie on a grid, paper is cut along masks, objects stay, parameters are recorded."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.generators.coco_o.stylization import handmake
from variorum.generators.coco_o.stylization.mosaic import tiled
from variorum.generators.coco_o.stylization.palettes import quantised
from variorum.kit.pictures.flow import edge_flow
from variorum.kit.pictures.scene import Scene

STYLES = tuple(handmake.STYLES)


def rng(*seed):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def picture():
    from skimage import data

    return np.ascontiguousarray(cv2.resize(data.coffee(), (180, 120), interpolation=cv2.INTER_AREA))


@pytest.fixture(scope="module")
def disc():
    mask = np.zeros((120, 180), np.uint8)
    cv2.circle(mask, (90, 60), 36, 255, -1)
    return mask


def made(style, image, seed=0, *, masks=(), subject=None):
    chosen = handmake.STYLES[style]
    drawn = chosen.draw(rng(seed))
    assert json.loads(json.dumps(drawn)) == drawn
    result = chosen.paint(Scene(image, list(masks), subject, lambda alias: pytest.fail(alias)), drawn, rng(seed, 1))
    assert result.shape == image.shape
    assert result.dtype == np.uint8
    return result


@pytest.mark.parametrize("style", STYLES)
def test_same_seed_same_bytes_and_two_seeds_differ(style, picture, disc):
    once = made(style, picture, 3, masks=[disc])
    assert np.array_equal(once, made(style, picture, 3, masks=[disc]))
    assert np.abs(once.astype(int) - made(style, picture, 4, masks=[disc])).mean() > 4


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("shape", [(64, 64), (64, 210), (300, 70)])
def test_pictures_of_any_shape_are_made(style, shape):
    noise = rng(1).integers(0, 256, (*shape, 3), np.uint8)
    whole = np.full(shape, 255, np.uint8)
    made(style, noise, 1, masks=[whole, np.zeros_like(whole)])
    made(style, np.full((*shape, 3), 128, np.uint8), 2)
    made(style, noise, 3, subject=np.zeros_like(whole))


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_large_pictures_are_made(style, picture):
    made(style, np.asarray(cv2.resize(picture, (1000, 660))), 1)


@pytest.mark.parametrize("style", STYLES)
def test_an_object_alone_has_nothing_of_the_background(style, picture, disc):
    other = picture.copy()
    other[disc == 0] = rng(7).integers(0, 256, (np.count_nonzero(disc == 0), 3))
    assert np.array_equal(made(style, picture, 5, subject=disc), made(style, other, 5, subject=disc))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("style", STYLES)
def test_objects_stay_where_they_are(style, seed):
    """Centre and area of a disc, over stitches and shadows."""
    image = np.full((240, 300, 3), (205, 190, 160), np.uint8)
    cv2.circle(image, (130, 110), 60, (150, 20, 30), -1, cv2.LINE_AA)
    result = cv2.GaussianBlur(made(style, image, seed), (0, 0), 3).astype(np.float32)
    redness = result[..., 0] - result[..., 1]
    rows, columns = np.nonzero(redness > (redness[100:120, 120:140].mean() + redness[:30].mean()) / 2)
    assert abs(rows.mean() - 110) <= 2
    assert abs(columns.mean() - 130) <= 2
    assert abs(np.sqrt(len(rows) / np.pi) - 60) <= 2


def test_an_object_of_the_grounds_colour_is_cut_out_of_paper_of_its_own():
    grey = np.full((160, 160, 3), 128, np.uint8)
    mask = np.zeros((160, 160), np.uint8)
    cv2.circle(mask, (80, 80), 40, 255, -1)
    lines = cv2.Canny(cv2.GaussianBlur(made("paper_cut", grey, 2, masks=[mask]), (0, 0), 1.2), 20, 50) > 0
    radius = np.hypot(*np.indices((160, 160)) - 80)
    assert lines[(radius > 36) & (radius < 46)].sum() > 100
    assert lines[radius < 30].sum() < 20


@pytest.mark.parametrize("style", ["mask", "box"])
def test_paper_faces_have_eyes(style):
    """Two dots in a disc whose colour differs little; the same dots in the ground may go."""
    image = np.full((320, 320, 3), (190, 180, 160), np.uint8)
    cv2.circle(image, (160, 160), 80, (215, 180, 150), -1, cv2.LINE_AA)
    for x in (135, 185):
        cv2.circle(image, (x, 150), 3, (60, 40, 30), -1, cv2.LINE_AA)
    mask = np.zeros((320, 320), np.uint8)
    cv2.circle(mask, (160, 160), 80, 255, -1)
    known = {"masks": [mask]} if style == "mask" else {"masks": [], "boxes": [(80.0, 80.0, 160.0, 160.0)]}
    scene = Scene(image, subject=None, model=lambda alias: pytest.fail(alias), **known)
    for seed in range(3):
        made = handmake.paper_cut(scene, handmake.draw_paper_cut(rng(seed)), rng(seed, 1)).mean(axis=2)
        for x in (135, 185):
            assert made[148:153, x - 2 : x + 3].mean() < 0.6 * made[165:185, 150:170].mean()


def test_threads_lie_on_a_grid():
    plain = np.full((320, 320, 3), (180, 60, 60), np.uint8)
    drawn = {**handmake.draw_cross_stitch(rng(0)), "stitch": 8.0}
    result = handmake.cross_stitch(Scene(plain, [], None, lambda alias: pytest.fail(alias)), drawn, rng(1))
    rows = result.mean(axis=(1, 2)) - result.mean()
    spectrum = np.abs(np.fft.rfft(rows * np.hanning(320)))
    assert spectrum[5:].argmax() + 5 in (40, 80)  # 40 stitches, and their two ends


@settings(max_examples=15)
@given(st.integers(20, 90), st.integers(20, 90), st.floats(5, 12), st.integers(0, 2**32 - 1))
def test_tiles_are_even_and_none_lies_in_two_objects(height, width, side, seed):
    regions = np.zeros((height, width), np.uint8)
    regions[height // 3 :, width // 2 :] = 1
    noise = rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    tiles = tiled(edge_flow(noise), regions, side, rng(seed))
    assert tiles.numbers.min() >= 0
    assert tiles.numbers.max() < tiles.total
    inside = np.bincount(tiles.numbers.ravel(), regions.ravel(), tiles.total)
    areas = np.bincount(tiles.numbers.ravel(), minlength=tiles.total)
    assert np.mean((inside > 0) & (inside < areas)) < 0.02  # corners far from every centre of their object
    assert areas.max() < 4 * side**2
    assert np.isfinite(tiles.margin).all()
    assert tiles.margin.min() >= 0


# ── colours ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=20)
@given(st.integers(1, 40), st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_pictures_become_few_colours(count, seed, side):
    image = rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    labels, palette = quantised(image, count, np.ones((side, side), bool))
    assert palette.shape[1] == 3
    assert 1 <= len(palette) <= count
    assert labels.shape == (side, side)
    assert labels.max() < len(palette)


def test_small_areas_of_another_hue_keep_it():
    image = np.full((60, 60, 3), (150, 110, 70), np.uint8)
    image += rng(0).integers(0, 40, (60, 60, 1), np.uint8)
    image[20:24, 20:24] = 60, 160, 70
    labels, palette = quantised(image, 8, np.ones((60, 60), bool))
    assert np.abs(palette[labels[22, 22]] - (60, 160, 70)).max() < 30
