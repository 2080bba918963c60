"""What holds for every kind of corruption, and what the published constants are."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.kit.corrupt.kinds import (
    COMMON,
    EXTRA,
    KINDS,
    SEVERITIES,
    corrupt,
    scale_of,
    strength_of,
)

PUBLISHED = json.loads((Path(__file__).parent / "data" / "imagenet_c_constants.json").read_text())
EVERY = pytest.mark.parametrize("kind", list(KINDS))
PHOTOGRAPHS = [getattr(skimage.data, name)() for name in ("astronaut", "coffee", "chelsea")]


def photograph(height: int, width: int, which: int = 0) -> np.ndarray:
    return cv2.resize(PHOTOGRAPHS[which], (width, height), interpolation=cv2.INTER_AREA)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# ── constants ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("part", "side"), [("imagenet_c", 224), ("imagenet_c", 64), ("cifar_10_c", 63)])
def test_the_constants_are_the_published_ones(part, side):
    published = PUBLISHED[part]
    assert set(published) == {*COMMON, *EXTRA}
    for kind, tuples in published.items():
        for severity, constants in zip(SEVERITIES, tuples, strict=True):
            assert strength_of(kind, severity, side) == pytest.approx(constants, rel=1e-12), (kind, severity)


def test_the_names_are_those_of_imagenet_c_s_folders_by_family():
    families = {name: [kind for kind in COMMON if KINDS[kind].family == name] for name in ("noise", "blur", "weather")}
    assert families["noise"] == ["gaussian_noise", "shot_noise", "impulse_noise"]
    assert families["blur"] == ["defocus_blur", "glass_blur", "motion_blur", "zoom_blur"]
    assert families["weather"] == ["snow", "frost", "fog"]
    assert COMMON[10:] == ("brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression")
    assert EXTRA == ("speckle_noise", "gaussian_blur", "spatter", "saturate")
    assert {KINDS[kind].family for kind in list(KINDS)[19:]} <= {"bar"}


def test_a_kind_or_a_severity_that_is_not_there_is_named():
    image = photograph(32, 32)
    with pytest.raises(ValueError, match="no corruption is called 'rain'; there are: gaussian_noise, shot_noise"):
        corrupt(image, "rain", 1, rng())
    for severity in (0, 6, -1):
        with pytest.raises(ValueError, match=rf"severity {severity} of fog doesn't exist; there are 1 to 5"):
            corrupt(image, "fog", severity, rng())
    for scale in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="must be a positive number"):
            corrupt(image, "fog", 1, rng(), scale=scale)


# ── every kind ───────────────────────────────────────────────────────────────────────────────────────────────────────


@EVERY
@settings(max_examples=5)
@given(
    height=st.integers(32, 300),
    width=st.integers(32, 500),
    severity=st.sampled_from(SEVERITIES),
    scale=st.sampled_from([0.25, 0.7, 1.0, 1.6]),
    which=st.integers(0, 2),
    layout=st.sampled_from(["plain", "flipped", "column_major"]),
)
def test_any_size_and_layout_gives_a_new_picture_of_that_size(kind, height, width, severity, scale, which, layout):
    image = photograph(height, width, which)
    given_ = {
        "plain": image,
        "flipped": np.ascontiguousarray(image[:, ::-1])[:, ::-1],
        "column_major": np.asfortranarray(image),
    }[layout]
    given_.setflags(write=False)
    made = corrupt(given_, kind, severity, rng(), scale=scale)
    assert made.image.shape == image.shape
    assert made.image.dtype == np.uint8
    assert not np.shares_memory(made.image, given_)
    np.testing.assert_array_equal(given_, image)
    again = corrupt(image, kind, severity, rng(), scale=scale)
    np.testing.assert_array_equal(again.image, made.image)
    assert again.drawn == made.drawn
    json.dumps(made.drawn)
    if made.origins is not None:
        assert made.origins.shape == (height, width, 2)
        assert made.origins.dtype == np.float32
        assert np.isfinite(made.origins).all()


@EVERY
@pytest.mark.parametrize("side", [8, 16, 28, 63])
def test_tiny_pictures_are_corrupted_too(kind, side):
    image = photograph(side, side + 3)
    for severity in SEVERITIES:
        made = corrupt(image, kind, severity, rng(), scale=scale_of(kind, side))
        assert made.image.shape == image.shape


@EVERY
@pytest.mark.parametrize("severity", SEVERITIES)
def test_a_grey_picture_stays_grey(kind, severity):
    grey = np.repeat(skimage.data.camera()[::4, ::4, None], 3, axis=-1)
    made = corrupt(grey, kind, severity, rng()).image
    assert (made == made[..., :1]).all()
    assert made.std() > 1


@EVERY
@pytest.mark.parametrize("level", [0, 1, 254, 255])
def test_a_flat_picture_is_no_trouble(kind, level):
    for severity in (1, 5):
        corrupt(np.full((48, 64, 3), level, np.uint8), kind, severity, rng())


@EVERY
def test_a_photograph_changes_at_every_severity_and_stays_recognisable(kind):
    image = photograph(224, 224)
    for severity in SEVERITIES:
        made = corrupt(image, kind, severity, rng()).image
        assert np.abs(made.astype(int) - image).mean() > 0.5
        assert np.corrcoef(made.ravel(), image.ravel())[0, 1] > 0.1


@pytest.mark.parametrize("kind", ["gaussian_noise", "speckle_noise", "impulse_noise", "brightness", "contrast"])
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), which=st.integers(0, 3))
def test_with_the_same_random_numbers_no_value_comes_nearer_with_severity(kind, seed, which):
    image = rng(seed).integers(0, 256, (40, 50, 3), np.uint8) if which == 3 else photograph(40, 50, which)
    for small in (False, True):
        sized = image if small else np.tile(image, (2, 2, 1))
        away = [np.abs(corrupt(sized, kind, one, rng(seed)).image.astype(int) - sized) for one in SEVERITIES]
        for less, more in pairwise(away):
            assert (more >= less).all()


@pytest.mark.parametrize("kind", ["gaussian_blur", "defocus_blur", "zoom_blur", "motion_blur"])
@pytest.mark.parametrize("severity", [1, 3, 5])
def test_at_a_larger_scale_a_larger_picture_looks_the_same(kind, severity):
    small = photograph(112, 112)
    large = cv2.resize(small, None, fx=4, fy=4, interpolation=cv2.INTER_LINEAR)
    one = corrupt(small, kind, severity, rng(), scale=1).image.astype(int)
    four = corrupt(large, kind, severity, rng(), scale=4).image
    shrunk = cv2.resize(four, (112, 112), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(one - shrunk).mean() < 5
    assert np.abs(one - shrunk).mean() < 0.6 * np.abs(small.astype(int) - shrunk).mean()


@pytest.mark.parametrize(("side", "scale", "blocks"), [(224, 1, 56), (448, 2, 56), (448, 1, 112), (112, 0.5, 28)])
def test_blocks_grow_with_the_scale_and_do_not_shrink(side, scale, blocks):
    made = corrupt(photograph(side, side), "pixelate", 5, rng(), scale=scale).image
    assert (np.diff(made.astype(int), axis=0) != 0).any(axis=(1, 2)).sum() == blocks - 1


def test_scales_follow_from_the_side_that_constants_are_for():
    assert scale_of("fog", 224) == 1
    assert scale_of("fog", 512) == pytest.approx(512 / 224)
    assert scale_of("fog", 32) == 1
    assert scale_of("fog", 63) == pytest.approx(63 / 32)
