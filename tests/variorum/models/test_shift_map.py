"""The inpainter without weights: shift-map, and the pyramid for large holes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.models.loaders import shift_map
from variorum.models.loaders.holes import push_pull


def fill(table, image, hole):
    return table.get("inpainter_shift_map")([image], [hole], [0])[0]


@pytest.mark.parametrize(("share", "method"), [(0.0, "none"), (0.05, "shift_map"), (0.6, "push_pull")])
def test_only_the_hole_changes(table, cat, disc, share, method):
    picture = np.ascontiguousarray(cat[20:276, 100:356])
    hole = disc(256, share)
    before = picture.copy()
    filled = fill(table, picture, hole)
    assert filled.method == method
    assert filled.image.dtype == np.uint8
    assert np.array_equal(filled.image[~hole], picture[~hole])
    assert np.array_equal(picture, before)
    if share:
        assert (filled.image[hole] != picture[hole]).any(axis=-1).mean() > 0.9


def test_grass_in_place_of_an_object_is_grass(table, disc):
    from skimage import data

    grass = cv2.cvtColor(cv2.resize(data.grass(), (128, 128), interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2RGB)
    hole = disc(128, 0.1)
    with_object = np.where(hole[..., None], np.array([255, 0, 0]), grass).astype(np.uint8)
    image = fill(table, with_object, cv2.dilate(hole.astype(np.uint8), np.ones((5, 5))) > 0).image
    inside, outside = image[hole].astype(float), grass.astype(float)
    assert abs(inside.mean() - outside.mean()) < 0.2 * outside.std()
    assert inside.std() == pytest.approx(outside.std(), rel=0.2)  # texture, not a blur
    assert not (image == [255, 0, 0]).all(axis=-1).any()


def test_a_fill_does_not_depend_on_threads_or_seeds(table, cat, disc):
    picture, hole = np.ascontiguousarray(cat[20:148, 150:278]), disc(128, 0.15)
    before = cv2.getNumThreads()
    results = []
    try:
        for threads in (1, 2):
            cv2.setNumThreads(threads)
            cv2.setRNGSeed(threads)
            results.append(fill(table, picture, hole).image)
    finally:
        cv2.setNumThreads(before)
    assert np.array_equal(*results)


def test_what_shift_map_leaves_open_is_noticed():
    picture = np.random.default_rng(0).integers(0, 256, (96, 96, 3)).astype(np.uint8)
    hole = np.ones((96, 96), bool)
    hole[:8] = False  # far too little to copy from
    filled, unfilled = shift_map.shift_map(picture, hole)
    assert unfilled.any()
    assert not unfilled[:8].any()
    assert np.array_equal(filled[:8], picture[:8])
    generous = shift_map.ShiftMap(shift_map.ShiftMapOptions(largest=1.0))
    assert generous([picture], [hole], [0])[0].method == "push_pull"


def test_large_pictures_are_filled_at_a_smaller_size(table, cat):
    picture = np.ascontiguousarray(cat)
    hole = np.zeros(cat.shape[:2], bool)
    hole[100:150, 200:260] = True
    filled = shift_map.ShiftMap(shift_map.ShiftMapOptions(side=128))([picture], [hole], [0])[0]
    assert filled.image.shape == picture.shape
    assert np.array_equal(filled.image[~hole], picture[~hole])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 255), st.integers(0, 2**32 - 1))
def test_push_pull_keeps_the_known_and_stays_within_it(height, width, level, seed):
    rng = np.random.default_rng(seed)
    hole = rng.random((height, width)) < rng.random()
    flat = np.full((height, width, 3), level, np.uint8)
    if not hole.all():
        assert np.array_equal(push_pull(np.where(hole[..., None], 255 - flat, flat), hole), flat)
    noisy = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    assert np.array_equal(push_pull(noisy, hole)[~hole], noisy[~hole])
