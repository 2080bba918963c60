"""Paintings: the Kuwahara filter's edges, strokes, networks, objects that stay where they are, and drawn parameters."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from variorum.generators.coco_o.stylization import networks as painters
from variorum.generators.coco_o.stylization import painting
from variorum.generators.coco_o.stylization.kuwahara import kuwahara
from variorum.generators.coco_o.stylization.materials import clouds, on_ground, relief, spread, tone, weave
from variorum.generators.coco_o.stylization.strokes import MOST_FINE, laid
from variorum.kit.pictures.flow import edge_flow
from variorum.kit.pictures.scene import Scene
from variorum.models import ModelTable
from variorum.schemas.errors import ModelUnavailable

FILTERS = ("watercolour", "oil")
NETWORKS = ("network", "arbitrary")


def rng(*seed):
    return np.random.default_rng(seed)


def step_edge(noise=12):
    """60 on the left, 180 on the right of column 80, with noise."""
    grey = np.where(np.arange(160) < 80, 60, 180)[None] + rng(0).normal(0, noise, (120, 160))
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


# ── the filter ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("radius", [3, 6])
def test_kuwahara_flattens_noise_and_keeps_a_step_sharp(radius):
    noisy = step_edge()
    smooth = kuwahara(noisy, edge_flow(noisy), radius).astype(float)
    blurred = cv2.GaussianBlur(noisy, (0, 0), radius * 0.34).astype(float)
    assert smooth[:, 10:70].std() < noisy[:, 10:70].std() / 2.5
    steepest = np.abs(np.diff(smooth.mean(axis=(0, 2))))
    assert steepest.argmax() == 79
    assert steepest.max() > 1.4 * np.abs(np.diff(blurred.mean(axis=(0, 2)))).max()
    assert abs(smooth[:, :70].mean() - 60) < 3
    assert abs(smooth[:, 90:].mean() - 180) < 3


def test_kuwahara_leaves_one_colour_as_it_is():
    plain = np.full((40, 70, 3), (10, 120, 250), np.uint8)
    assert np.array_equal(kuwahara(plain, edge_flow(plain), 5), plain)


def test_long_neighbourhoods_keep_thin_lines():
    picture = np.full((120, 120, 3), 200, np.uint8)
    cv2.line(picture, (10, 20), (110, 100), (20, 20, 20), 2, cv2.LINE_AA)
    flow = edge_flow(picture)
    darkest = {stretch: kuwahara(picture, flow, 6, stretch=stretch)[45:75].min() for stretch in (0, 1.5)}
    assert darkest[1.5] < darkest[0] - 15


# ── materials ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("shape", [(64, 64), (3, 500), (240, 320)])
def test_noise_is_standardised_and_level_ground_is_lit_evenly(shape):
    noise = clouds(shape, 20, rng(1))
    assert noise.shape == shape
    assert noise.dtype == np.float32
    assert abs(float(noise.mean())) < 1e-3
    assert float(noise.std()) == pytest.approx(1, abs=1e-3)
    assert np.array_equal(relief(np.full(shape, 3, np.float32), 45, 1), np.ones(shape))
    assert np.abs(weave(shape, 4, rng(1))).max() <= 1


def test_slopes_that_face_the_light_are_bright():
    slope = np.repeat(np.arange(50, dtype=np.float32)[None], 40, axis=0)  # rises to the right
    assert relief(slope, 180, 1)[5:-5, 5:-5].min() > 1.5
    assert relief(slope, 0, 1)[5:-5, 5:-5].max() < 0.5
    assert np.abs(relief(slope, 90, 1)[5:-5, 5:-5] - 1).max() < 1e-3


def test_dark_pictures_become_lighter_and_grey_stays_grey():
    dark = rng(2).integers(0, 60, (50, 50, 1), np.uint8).repeat(3, axis=2)
    lighter = tone(dark, 0.45, 1.5)
    assert lighter.mean() > 2 * dark.mean()
    assert np.ptp(lighter.astype(int), axis=2).max() <= 1


def test_nothing_outside_the_subject_is_left(picture, disc):
    other = picture.copy()
    other[disc == 0] = 255 - other[disc == 0]
    for make in (lambda image: on_ground(image, disc, (1, 2, 3)), lambda image: spread(image, disc, 5)):
        assert np.array_equal(make(picture), make(other))
    assert np.array_equal(on_ground(picture, disc, (1, 2, 3))[0, 0], (1, 2, 3))


# ── strokes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_strokes_are_fine_at_details_and_wide_elsewhere(disc_picture):
    found = laid(
        disc_picture,
        edge_flow(disc_picture),
        (0, 0, 0),
        None,
        [14, 7, 3],
        length=2,
        detail=18,
        jitter=0,
        turn=30,
        rng=rng(0),
    )
    assert found.numbers.min() > 0  # the ground is covered
    assert found.scale == 2
    areas = np.bincount(found.numbers.ravel())[found.numbers]
    radius = np.hypot(*np.indices(found.numbers.shape) / 2 - 120)
    assert np.median(areas[np.abs(radius - 60) < 3]) < np.median(areas[radius > 80]) / 3
    assert np.linalg.norm(found.headings, axis=1) == pytest.approx(1, abs=1e-5)
    painted_colours = np.take(found.colours, found.numbers, axis=0)[1::2, 1::2].astype(int)
    assert np.mean(np.abs(painted_colours - disc_picture).max(axis=2) < 30) > 0.97


@pytest.mark.parametrize("start", [0, 260])
def test_the_finest_strokes_begin_where_care_is_taken_and_are_limited(start):
    noise = rng(1).integers(0, 256, (320, 320, 3), np.uint8)
    care = np.zeros((320, 320), bool)
    care[:, start:] = True
    chosen = {"length": 1, "detail": 5, "jitter": 0, "turn": 0, "care": care}
    wide, both = (
        laid(noise, edge_flow(noise), (0, 0, 0), None, widths, rng=rng(0), **chosen) for widths in ([14], [14, 1.5])
    )
    fine = both.numbers >= len(wide.colours)
    assert 0.3 * MOST_FINE < len(both.colours) - len(wide.colours) <= MOST_FINE
    assert fine[:, round(both.scale * start) :].mean() > 0.05
    assert not fine[:, : max(0, round(both.scale * (start - 4)))].any()


@pytest.mark.parametrize("style", FILTERS)
def test_paintings_keep_eyes_of_objects(style, disc_picture):
    image = disc_picture.copy()
    for x in (105, 135):
        cv2.circle(image, (x, 115), 2, (10, 10, 10), -1, cv2.LINE_AA)
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.circle(mask, (120, 120), 60, 255, -1)
    depths = []
    for masks in ([], [mask]):
        scene, chosen = Scene(image, masks, None, lambda alias: pytest.fail(alias)), painting.STYLES[style]
        made = chosen.paint(scene, chosen.draw(rng(3)), rng(4)).mean(axis=2)
        depths.append(
            np.mean([made[114:117, x - 1 : x + 2].mean() for x in (105, 135)]) / np.median(made[100:140, 90:150])
        )
    assert depths[1] < 0.75
    assert depths[1] < depths[0] - 0.1


def test_strokes_follow_edges():
    image = np.full((160, 160, 3), 220, np.uint8)
    image[:, 80:] = 30
    found = laid(image, edge_flow(image), (0, 0, 0), None, [8], length=2, detail=18, jitter=0, turn=0, rng=rng(0))
    at_edge = np.unique(found.numbers[:, 3 * 80 - 12 : 3 * 80 + 12])
    assert np.median(np.abs(found.headings[at_edge, 1])) > 0.97


# ── styles ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def networks():
    table = ModelTable("embedded")
    try:
        for alias in ("style_network", "style_vector", "style_transfer"):
            table.fetch(alias)
    except ModelUnavailable as error:
        pytest.skip(str(error))
    return table.get


@pytest.fixture(scope="module")
def picture():
    from skimage import data

    return np.ascontiguousarray(cv2.resize(data.chelsea(), (150, 100), interpolation=cv2.INTER_AREA))


@pytest.fixture(scope="module")
def disc():
    mask = np.zeros((100, 150), np.uint8)
    cv2.circle(mask, (70, 50), 30, 255, -1)
    return mask


def no_model(alias):
    raise AssertionError(alias)


def painted(style, image, seed=0, *, subject=None, model=no_model):
    chosen = painting.STYLES[style]
    drawn = chosen.draw(rng(seed))
    assert json.loads(json.dumps(drawn)) == drawn
    result = chosen.paint(Scene(image, [], subject, model), drawn, rng(seed, 1))
    assert result.shape == image.shape
    assert result.dtype == np.uint8
    return result


@pytest.mark.parametrize("style", FILTERS)
def test_same_seed_same_bytes_and_two_seeds_differ(style, picture):
    once = painted(style, picture, 3)
    assert np.array_equal(once, painted(style, picture, 3))
    assert np.abs(once.astype(int) - painted(style, picture, 4)).mean() > 4
    assert np.abs(once.astype(int) - picture).mean() > 4


@pytest.mark.parametrize("style", FILTERS)
@pytest.mark.parametrize("shape", [(64, 64), (64, 200), (300, 70)])
def test_pictures_of_any_shape_are_painted(style, shape):
    image = np.asarray(cv2.resize(step_edge(), shape[::-1]))
    painted(style, image, 1)
    grey = np.full((*shape, 3), 128, np.uint8)
    painted(style, grey, 2)


@pytest.mark.slow
@pytest.mark.parametrize("style", FILTERS)
@pytest.mark.parametrize("shape", [(1000, 700), (512, 512)])
def test_large_pictures_are_painted(style, shape):
    painted(style, np.asarray(cv2.resize(step_edge(), shape[::-1])), 1)


@pytest.mark.parametrize("style", FILTERS)
def test_an_object_alone_has_nothing_of_the_background(style, picture, disc):
    other = picture.copy()
    other[disc == 0] = rng(7).integers(0, 256, (np.count_nonzero(disc == 0), 3))
    alone = painted(style, picture, 5, subject=disc)
    assert np.array_equal(alone, painted(style, other, 5, subject=disc))
    corner = alone[:12, :12].astype(int)
    assert np.ptp(corner.mean(axis=(0, 1))) < 60  # paper or canvas
    assert np.abs(alone[40:60, 60:80].astype(int) - corner.mean(axis=(0, 1))).mean() > 15


def shift_of(disc_picture, result):
    """How far the outline of the disc moved, in pixels: of the columns and rows where halves of the contrast meet."""

    def edges(image):
        grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1.5)
        inside, outside = grey[110:130, 110:130].mean(), grey[:20, 100:140].mean()
        near = (grey - outside) / (inside - outside) > 0.5
        wide = cv2.morphologyEx(near.astype(np.uint8), cv2.MORPH_OPEN, np.ones((9, 9), np.uint8))
        middle = wide[115:125].mean(axis=0) > 0.5, wide[:, 115:125].mean(axis=1) > 0.5
        return np.array([[np.flatnonzero(line)[0], np.flatnonzero(line)[-1]] for line in middle])

    return np.abs(edges(disc_picture) - edges(result)).max()


@pytest.fixture(scope="module")
def disc_picture():
    image = np.full((240, 240, 3), (205, 190, 160), np.uint8)
    cv2.circle(image, (120, 120), 60, (50, 60, 120), -1, cv2.LINE_AA)
    return image


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("style", FILTERS)
def test_objects_stay_where_they_are(style, seed, disc_picture):
    assert shift_of(disc_picture, painted(style, disc_picture, seed)) <= 2


@pytest.mark.parametrize("style", NETWORKS)
def test_networks_repaint(style, picture, disc, networks):
    once = painted(style, picture, 3, model=networks)
    assert np.array_equal(once, painted(style, picture, 3, model=networks))
    assert np.abs(once.astype(int) - painted(style, picture, 4, model=networks)).mean() > 4
    other = picture.copy()
    other[disc == 0] = 0
    alone = painted(style, picture, 5, subject=disc, model=networks)
    assert np.array_equal(alone, painted(style, other, 5, subject=disc, model=networks))


def test_styles_ask_for_the_models_that_they_name(picture, networks):
    for style in NETWORKS:
        asked = []
        painted(style, picture, 0, model=lambda alias, asked=asked: asked.append(alias) or networks(alias))
        assert tuple(asked) == painting.STYLES[style].models


def test_patterns_lie_in_packages_that_are_installed():
    for name in painters.PATTERNS:
        assert painters._pattern(name).shape == (256, 256, 3)
