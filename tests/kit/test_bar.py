"""Kinds of ImageNet-C-bar, by what their formulas say of flat pictures."""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.kit.corrupt.bar import BAR


def rng(seed=0):
    return np.random.default_rng(seed)


def flat(level, height=224, width=224):
    return np.full((height, width, 3), level, np.uint8)


@pytest.mark.parametrize("kind", BAR)
@settings(max_examples=12, deadline=None)
@given(height=st.integers(32, 260), width=st.integers(32, 260), severity=st.integers(1, 5), seed=st.integers(0, 99))
def test_any_shape(kind, height, width, severity, seed):
    picture = rng(seed).integers(20, 230, (height, width, 3), dtype=np.uint8)
    before, strength = picture.copy(), BAR[kind].strengths[severity - 1]
    made = BAR[kind].apply(picture, strength, rng(seed), width / 224).image
    assert (made.shape, made.dtype) == (picture.shape, np.uint8)
    assert np.array_equal(picture, before)
    assert np.array_equal(made, BAR[kind].apply(picture, strength, rng(seed), width / 224).image)


def test_strengths_are_those_of_the_paper():
    assert {kind: tuple(value for (value,) in one.strengths) for kind, one in BAR.items()} == {
        "blue_noise_sample": (0.8, 1.6, 2.4, 4, 5.6),
        "brownish_noise": (1, 2, 3, 4, 5),
        "checkerboard_cutout": (2, 3, 4, 5, 6),
        "inverse_sparkles": (1, 2, 4, 9, 10),
        "cocentric_sine_waves": (3, 5, 8, 9, 10),
        "single_frequency_greyscale": (1, 1.5, 2, 4.5, 5),
    }


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_blue_noise_takes_out_the_lowest_part_of_a_normal_distribution(severity):
    (strength,) = BAR["blue_noise_sample"].strengths[severity - 1]
    made = BAR["blue_noise_sample"].apply(flat(100), (strength,), rng(), 1.0).image
    assert set(np.unique(made)) == {0, 100}
    assert (made == 0).mean() == pytest.approx(NormalDist().cdf(0.3 * strength - 2.5), abs=0.004)


def test_blue_noise_spreads_its_pixels():
    """Of two neighbours both are black more rarely than by chance."""
    black = BAR["blue_noise_sample"].apply(flat(100), (5.6,), rng(), 1.0).image[..., 0] == 0
    assert (black[:, 1:] & black[:, :-1]).mean() < 0.7 * black.mean() ** 2


def test_brownish_noise_has_its_deviation_and_is_smooth():
    made = BAR["brownish_noise"].apply(flat(128), (2,), rng(), 1.0).image.astype(float)
    assert [made[..., channel].std() for channel in range(3)] == pytest.approx([12.8] * 3, abs=0.2)
    assert np.abs(np.diff(made[..., 0], axis=0)).mean() < 2
    assert abs(np.corrcoef(made[..., 0].ravel(), made[..., 1].ravel())[0, 1]) < 0.9


@pytest.mark.parametrize("strength", [2, 6])
def test_half_of_the_squares_may_be_cut_out(strength):
    shares = [
        (BAR["checkerboard_cutout"].apply(flat(10), (strength,), rng(seed), 1.0).image == 128).mean()
        for seed in range(80)
    ]
    assert np.mean(shares) == pytest.approx(strength / 20, rel=0.1)


def test_sparkles_leave_the_centre_and_whiten_the_border():
    made, drawn, _ = BAR["inverse_sparkles"].apply(flat(60), (10,), rng(4), 1.0)
    y, x = (round(one) for one in drawn["centre"])
    assert np.abs(made[y - 8 : y + 8, x - 8 : x + 8].astype(int) - 60).mean() < 30
    assert made[[0, 0, -1, -1], [0, -1, 0, -1]].max() > 240


def test_rings_add_a_sawtooth():
    made = BAR["cocentric_sine_waves"].apply(flat(128), (5,), rng(3), 1.0).image.astype(int) - 128
    assert made.min() >= -32
    assert made.max() <= 32
    assert made.std() == pytest.approx(64 / 12**0.5, rel=0.1)
    assert np.array_equal(made[..., 0], made[..., 2])


def test_a_wave_has_one_frequency():
    made, drawn, _ = BAR["single_frequency_greyscale"].apply(flat(128), (2,), rng(1), 1.0)
    spectrum = np.abs(np.fft.fft2(made[..., 0].astype(float) - 128))
    y, x = np.unravel_index(spectrum.argmax(), spectrum.shape)
    found = [min(one, 224 - one) * 2 * np.pi / 224 for one in (x, y)]
    assert found == pytest.approx(np.abs(drawn["frequency"]), abs=0.03)
    assert made.std() == pytest.approx(39.2 / 2**0.5, rel=0.05)
