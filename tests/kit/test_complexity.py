"""The complexity measure depends on the background's detail alone; texture edits change nothing else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data

from variorum.kit.pictures import complexity

SIDE = 256
COFFEE = cv2.resize(skimage.data.coffee()[:400, 100:500], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
CHELSEA = cv2.resize(skimage.data.chelsea()[:300, 100:400], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
ASTRONAUT = cv2.resize(skimage.data.astronaut(), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
EVERYWHERE = np.ones((SIDE, SIDE), bool)
UP, DOWN = (2.5, 2.5, 1.5), (0.0, 0.25, 0.6)


def test_adm_compat_is_the_mean_of_the_full_spectrum() -> None:
    for picture in (COFFEE, COFFEE[:, :255]):
        full = np.fft.fft2(picture / 255.0, axes=(0, 1))
        assert complexity.adm_compat(picture) == pytest.approx(np.abs(full).mean(), rel=1e-5)


@pytest.mark.parametrize("width", [SIDE, SIDE - 1])
def test_masked_hf_is_the_share_of_the_full_spectrum(width: int) -> None:
    picture = COFFEE[:, :width]
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) / 255
    weight = np.outer(np.hanning(SIDE), np.hanning(width))
    energy = np.abs(np.fft.fft2((grey - grey.mean()) * weight)) ** 2
    energy[0, 0] = 0
    radius = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(width)[None])
    measured, contrast = complexity.masked_hf(picture, EVERYWHERE[:, :width])
    assert measured == pytest.approx(energy[radius >= 0.1].sum() / energy.sum(), rel=1e-3)
    assert contrast == pytest.approx(grey.std(), rel=1e-4)


def test_brightness_and_contrast_don_t_count_where_adm_compat_rewards_them() -> None:
    dim = np.rint(COFFEE * 0.6).astype(np.uint8)
    assert complexity.masked_hf(dim, EVERYWHERE)[0] == pytest.approx(
        complexity.masked_hf(COFFEE, EVERYWHERE)[0], rel=0.02
    )
    assert complexity.adm_compat(dim) < 0.7 * complexity.adm_compat(COFFEE)


def test_the_object_doesn_t_count() -> None:
    away = EVERYWHERE.copy()
    away[80:180, 80:180] = False
    noisy = COFFEE.copy()
    noisy[80:180, 80:180] = np.random.default_rng(0).integers(0, 256, (100, 100, 3))
    assert complexity.masked_hf(noisy, away) == pytest.approx(complexity.masked_hf(COFFEE, away), rel=1e-6)


def test_blur_lowers_it_and_noise_raises_it() -> None:
    values = [
        complexity.masked_hf(picture, EVERYWHERE)[0]
        for picture in (
            cv2.GaussianBlur(COFFEE, (0, 0), 3),
            cv2.GaussianBlur(COFFEE, (0, 0), 1),
            COFFEE,
            np.clip(COFFEE + np.random.default_rng(0).normal(0, 25, COFFEE.shape), 0, 255).astype(np.uint8),
        )
    ]
    assert values == sorted(values)
    assert values[0] < 0.2 * values[2]


def test_flat_and_absent_backgrounds_have_none() -> None:
    flat = np.full((64, 64, 3), 90, np.uint8)
    assert complexity.masked_hf(flat, np.ones((64, 64), bool)) == pytest.approx((0, 0), abs=1e-6)
    assert complexity.masked_hf(flat, np.zeros((64, 64), bool)) == (0.0, 0.0)


@pytest.mark.parametrize("plate", [COFFEE, CHELSEA, ASTRONAUT], ids=["coffee", "chelsea", "astronaut"])
def test_texture_moves_complexity_and_keeps_colour_and_contrast(plate: np.ndarray) -> None:
    before, contrast = complexity.masked_hf(plate, EVERYWHERE)
    for gains, sign in ((UP, 1), (DOWN, -1)):
        changed = complexity.retextured(plate, gains)
        after, contrast_after = complexity.masked_hf(changed, EVERYWHERE)
        assert sign * (after - before) > 0
        assert contrast_after == pytest.approx(contrast, rel=0.02)
        assert changed.mean(axis=(0, 1)) == pytest.approx(plate.mean(axis=(0, 1)), abs=2.0)


@pytest.mark.parametrize("name", ["gravel", "grass", "brick"])
def test_dense_texture_becomes_finer_where_gains_hardly_show(name: str) -> None:
    plate = np.repeat(getattr(skimage.data, name)()[:SIDE, :SIDE, None], 3, axis=2)
    before, contrast = complexity.masked_hf(plate, EVERYWHERE)
    finer = complexity.refined(plate)
    after, contrast_after = complexity.masked_hf(finer, EVERYWHERE)
    assert finer.shape == plate.shape
    assert after > before + 0.05
    assert contrast_after == pytest.approx(contrast, rel=0.02)
    assert finer.mean() == pytest.approx(plate.mean(), abs=2)


def test_gains_of_one_change_nothing() -> None:
    assert np.abs(complexity.retextured(COFFEE, (1.0, 1.0)).astype(int) - COFFEE).max() <= 1
