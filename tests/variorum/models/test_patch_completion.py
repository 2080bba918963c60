"""The inpainter by patches: what it keeps, what it fills holes with, and that nothing else changes the result."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from variorum.kit.gates.gates import Gates, plate_gates
from variorum.models.loaders import patch_completion
from variorum.models.loaders.patch_completion import PatchCompletion, PatchCompletionOptions
from variorum.models.loaders.patch_completion_blend import blended
from variorum.models.loaders.patch_completion_level import Level

TEXTURES = ("brick", "grass", "gravel")
MAGENTA = np.array([255, 0, 255], np.uint8)


@pytest.fixture(scope="module")
def inpainter(table):
    return table.get("inpainter")


def fill(inpainter, image, hole):
    return inpainter([image], [hole], [0])[0]


def texture(name, side):
    from skimage import data

    picture = cv2.resize(getattr(data, name)(), (side, side), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)


def ellipse(side):
    """A tilted ellipse of 17.8 % of the picture."""
    axes = (side * 72 // 256, side * 51 // 256)
    return cv2.ellipse(np.zeros((side, side), np.uint8), (side // 2, side // 2), axes, 25, 0, 360, 255, -1) > 0


def psnr(first, second):
    return 10 * np.log10(255**2 / np.mean((first.astype(float) - second.astype(float)) ** 2))


@pytest.mark.parametrize(("share", "method"), [(0.0, "none"), (0.15, "patches"), (0.6, "push_pull")])
def test_only_the_hole_changes_and_nothing_of_the_object_is_left(inpainter, cat, disc, share, method):
    hole = disc(128, share)
    picture = np.where(hole[..., None], MAGENTA, cat[20:148, 150:278])
    before = picture.copy()
    filled = fill(inpainter, picture, hole)
    assert filled.method == method
    assert filled.image.dtype == np.uint8
    assert np.array_equal(filled.image[~hole], picture[~hole])
    assert np.array_equal(picture, before)
    if share:
        assert np.abs(filled.image[hole].astype(int) - MAGENTA).max(axis=-1).min() > 30


@pytest.mark.parametrize("side", [128, pytest.param(256, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", TEXTURES)
def test_texture_goes_on_without_an_outline(inpainter, name, side):
    picture, hole = texture(name, side), ellipse(side)
    found = plate_gates(fill(inpainter, picture, hole).image, hole, Gates())
    assert found["plate_seam"]["value"] <= 1.2
    assert found["plate_texture"]["value"] >= 0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", TEXTURES)
def test_a_known_texture_is_met_better_than_by_shift_map(table, name):
    picture, hole = texture(name, 256), ellipse(256)
    ours, theirs = (
        psnr(fill(table.get(alias), picture, hole).image[hole], picture[hole])
        for alias in ("inpainter", "inpainter_shift_map")
    )
    assert ours >= theirs


def test_an_edge_is_drawn_through(inpainter):
    rows, columns = np.mgrid[:128, :128]
    picture = np.where((rows * 0.4 + columns < 90)[..., None], np.uint8([40, 90, 60]), np.uint8([200, 180, 150]))
    hole = ellipse(128)
    assert psnr(fill(inpainter, picture, hole).image[hole], picture[hole]) >= 26


def test_waves_go_on(inpainter):
    columns = np.mgrid[:256, :256][1]
    waves = np.rint(128 + 80 * np.sin(2 * np.pi * columns / 13.7)).astype(np.uint8)
    picture, hole = np.repeat(waves[..., None], 3, axis=2), ellipse(256)
    assert psnr(fill(inpainter, picture, hole).image[hole], picture[hole]) >= 24


def test_the_same_bytes_in_any_order_and_with_any_number_of_threads(inpainter, cat):
    pictures = [np.ascontiguousarray(cat[y : y + 100, y : y + 120]) for y in (0, 60)]
    holes = [np.zeros((100, 120), bool), np.zeros((100, 120), bool)]
    holes[0][30:70, 30:80], holes[1][50:, 20:60] = True, True
    first = inpainter(pictures, holes, [0, 0])
    before = cv2.getNumThreads()
    for threads in (1, 2):
        cv2.setNumThreads(threads)
        try:
            with threadpool_limits(threads):
                again = inpainter(pictures[::-1], holes[::-1], [5, 6], ["a cat", ""])[::-1]
        finally:
            cv2.setNumThreads(before)
        assert all(np.array_equal(one.image, other.image) for one, other in zip(first, again, strict=True))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: fill(inpainter, pictures[n % 2], holes[n % 2]).image, range(4)))
    assert all(np.array_equal(image, first[n % 2].image) for n, image in enumerate(found))


@pytest.mark.parametrize("shape", [(1, 1), (7, 7), (16, 16), (24, 90), (90, 24)])
@pytest.mark.parametrize("share", [0.1, 0.4, 0.5, 0.94, 1.0])
def test_small_and_narrow_pictures_and_any_hole(shape, share):
    generous = PatchCompletion(PatchCompletionOptions(largest=1.0))
    picture = np.random.default_rng(3).integers(0, 256, (*shape, 3)).astype(np.uint8)
    hole = np.zeros(shape, bool)
    hole[:, : round(share * shape[1])] = True  # to three borders
    filled = fill(generous, picture, hole)
    assert filled.method in ("patches", "push_pull") if hole.any() else filled.method == "none"
    assert filled.image.shape == picture.shape
    assert np.array_equal(filled.image[~hole], picture[~hole])


def test_large_pictures_are_filled_at_a_smaller_size(cat):
    hole = np.zeros(cat.shape[:2], bool)
    hole[100:150, 200:260] = True
    filled = fill(PatchCompletion(PatchCompletionOptions(side=128)), np.ascontiguousarray(cat), hole)
    assert filled.method == "patches"
    assert np.array_equal(filled.image[~hole], cat[~hole])


@settings(max_examples=30, deadline=None)
@given(st.integers(40, 90), st.integers(40, 90), st.floats(0.05, 0.6), st.integers(0, 2**32 - 1))
def test_no_colour_of_the_hole_gets_into_a_coarser_picture(height, width, share, seed):
    rng = np.random.default_rng(seed)
    hole = cv2.resize(rng.random((9, 9)).astype(np.float32), (width, height)) < share
    picture = np.where(hole[..., None], MAGENTA, 100).astype(np.float32)
    for colours, gap in patch_completion.pyramid(picture, hole):
        assert min(gap.shape) >= 32
        assert np.allclose(colours[~gap], 100, atol=0.01)
        assert not colours[gap].any()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_copies_come_from_known_pixels(seed):
    rng = np.random.default_rng(seed)
    picture = cv2.GaussianBlur(rng.random((90, 80, 3)).astype(np.float32) * 255, (0, 0), 2)
    hole = np.zeros((90, 80), bool)
    top, left = rng.integers(0, 60, 2)
    hole[top : top + 25, left : left + 20] = True
    coarse, level = (Level(*scale) for scale in reversed(patch_completion.pyramid(picture, hole)[:2]))
    coarse.peel()
    coarse.search()
    coarse.vote()
    level.carry(coarse)
    origins = level.origins()
    assert len(origins) == hole.sum()
    assert not hole.ravel()[origins].any()
    level.search()
    assert not hole.ravel()[level.origins()].any()


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 12), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_whole_copies_stay_as_they_are_when_they_are_joined(side, size, seed):
    """A hole copied from one place that fits exactly is that copy: gradients and colours agree."""
    rng = np.random.default_rng(seed)
    tile = rng.random((side + size, side + size, 3)).astype(np.float32) * 255
    picture = np.concatenate([tile, tile], axis=1)
    hole = np.zeros(picture.shape[:2], bool)
    hole[side // 2 : side // 2 + size, side // 2 : side // 2 + size] = True
    rows, columns = np.nonzero(hole)
    origins = rows * picture.shape[1] + columns + tile.shape[1]
    assert np.allclose(blended(picture, hole, origins), picture[hole], atol=0.05)
