"""Less light, a sensor's noise and the ways back, against the laws that they are to follow."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.kit.corrupt import low_light
from variorum.kit.corrupt.linear_light import to_linear

PHOTOGRAPHS = [getattr(skimage.data, name)()[:256, :256] for name in ("chelsea", "coffee", "astronaut")]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2))


@pytest.mark.parametrize("exposure", [1, 2])
def test_gain_gives_back_what_a_sensor_without_noise_took(exposure):
    for image in PHOTOGRAPHS:
        dark = low_light.darkened(image, exposure, bits=12).image
        assert psnr(low_light.linear_gain(dark, exposure), image) >= 35
        assert dark.mean() < image.mean()


def test_each_stop_halves_the_light():
    image = PHOTOGRAPHS[1]
    bright = (image > 100).all(axis=2)
    before = to_linear(image)[bright].mean()
    for exposure in (0.5, 1, 2, 3):
        after = to_linear(low_light.darkened(image, exposure, bits=16).image)[bright].mean()
        assert np.log2(before / after) == pytest.approx(exposure, abs=0.02)


@pytest.mark.parametrize("noise", [(1e-4, 1e-6), (4e-4, 4e-6)])
def test_the_snr_is_that_of_the_noise_that_was_asked_for(noise):
    """By the record, and by the pictures themselves as far as nothing is cut off at black."""
    for image in PHOTOGRAPHS:
        light = to_linear(image) / 4
        asked = 10 * np.log10(np.square(light).sum() / (noise[0] * light + noise[1]).sum())
        made = low_light.darkened(image, 2, bits=16, by=low_light.sensor(image, noise, rng()))
        assert made.snr_db == pytest.approx(asked, abs=0.1)
        bright = low_light.darkened(image, 2, bits=16).image > 40
        clean, noisy = light[bright], to_linear(made.image)[bright]
        asked = 10 * np.log10(np.square(clean).sum() / (noise[0] * clean + noise[1]).sum())
        assert 10 * np.log10(np.square(clean).sum() / np.square(noisy - clean).sum()) == pytest.approx(asked, abs=0.5)


def test_the_variance_is_shot_times_light_plus_read():
    for level in (120, 180, 240):
        flat = np.full((200, 200, 3), level, np.uint8)
        flat[..., 2] = level - 1  # not grey
        by = low_light.sensor(flat, (2e-3, 1e-4), rng(level))
        noisy = to_linear(low_light.darkened(flat, 1, bits=16, by=by).image)[..., 0]
        light = float(to_linear(flat)[0, 0, 0]) / 2
        assert noisy.mean() == pytest.approx(light, rel=0.01)
        assert noisy.var() == pytest.approx(2e-3 * light + 1e-4, rel=0.05)


def test_sensors_are_sampled_as_published():
    found = np.log([low_light.sampled(rng(seed)) for seed in range(3000)])
    shot, read = found.T
    assert np.log(1e-4) <= shot.min() < np.log(1.3e-4)
    assert np.log(0.9e-2) < shot.max() <= np.log(1.2e-2)
    assert np.histogram(shot, 4, np.log(low_light.SHOT))[0] == pytest.approx(750, rel=0.15)
    rest = read - 2.18 * shot
    assert rest.mean() == pytest.approx(1.20, abs=0.02)
    assert rest.std() == pytest.approx(0.26, abs=0.02)


def test_a_converter_with_fewer_bits_gives_fewer_levels():
    image = PHOTOGRAPHS[0]
    for bits in (8, 10):
        levels = np.unique(low_light.darkened(image, 4, bits=bits).image)
        steps = to_linear(levels) * (2**bits - 1)
        assert np.abs(steps - np.rint(steps)).max() < 0.5
        assert len(levels) <= 2 ** (bits - 4) + 1
    assert np.abs(low_light.darkened(image, 1, bits=16).image.astype(int) - _exact(image, 1)).max() <= 1


def _exact(image: np.ndarray, exposure: float) -> np.ndarray:
    light = to_linear(image).astype(float) * 2.0**-exposure
    return np.rint(255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)).astype(int)


def test_exposures_share_the_sensor_and_channels_do_not():
    image = PHOTOGRAPHS[0]
    by = low_light.sensor(image, (1e-3, 1e-4), rng())
    one, other = (
        to_linear(low_light.darkened(image, stops, bits=16, by=by).image)
        - to_linear(low_light.darkened(image, stops, bits=16).image)
        for stops in (1, 2)
    )
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.8
    assert abs(np.corrcoef(one[..., 0].ravel(), one[..., 1].ravel())[0, 1]) < 0.1


def test_a_grey_picture_stays_grey():
    grey = np.repeat(skimage.data.camera()[:64, :64, None], 3, axis=2)
    made = low_light.darkened(grey, 3, bits=12, by=low_light.sensor(grey, None, rng())).image
    assert (made == made[..., :1]).all()
    assert made.shape == grey.shape
    assert not np.array_equal(made, low_light.darkened(grey, 3, bits=12).image)


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.floats(0.1, 10), st.sampled_from([None, (0.0, 1e-3), (1.0, 1.0)]), st.integers(8, 16))
def test_any_picture_becomes_a_picture_and_is_never_written_to(seed, exposure, noise, bits):
    image = rng(seed).integers(0, 256, (33, 41, 3), dtype=np.uint8)
    image.flags.writeable = False
    for made in (
        low_light.darkened(image, exposure, bits=bits, by=low_light.sensor(image, noise, rng(seed))).image,
        low_light.darkened(image, exposure, bits=bits).image,
        low_light.linear_gain(image, exposure),
        low_light.gamma(image)[0],
    ):
        assert (made.shape, made.dtype) == (image.shape, np.uint8)


def test_gamma_brings_the_mean_to_its_aim():
    for image in PHOTOGRAPHS:
        for exposure in (1, 4):
            dark = low_light.darkened(image, exposure, bits=12).image
            bright, exponent = low_light.gamma(dark)
            assert bright.mean() == pytest.approx(0.45 * 255, abs=1)
            table = cv2.LUT(np.arange(256, dtype=np.uint8), np.rint(255 * (np.arange(256) / 255) ** exponent))
            np.testing.assert_array_equal(bright, table.reshape(-1)[dark])
    black = np.zeros((32, 32, 3), np.uint8)
    assert low_light.gamma(black)[0].max() == 0
    assert low_light.gamma(black + np.uint8(255))[0].min() == 255
