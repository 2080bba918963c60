"""Snow, frost and fog. The bounds are of the published operations, on real photographs and flat pictures."""

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.kit.corrupt import frost as windows
from variorum.kit.corrupt.kinds import KINDS
from variorum.kit.corrupt.weather import fog, frost, plasma, snow

WEATHER = {"snow": snow, "frost": frost, "fog": fog}


def strength(kind, severity):
    return KINDS[kind].strengths[severity - 1]


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def cat():
    return np.ascontiguousarray(skimage.data.chelsea()[38:262, 110:334])


@pytest.mark.parametrize("kind", WEATHER)
@settings(max_examples=8, deadline=None)
@given(height=st.integers(32, 300), width=st.integers(32, 300), severity=st.integers(1, 5), scale=st.floats(0.2, 5))
def test_any_size_and_scale(kind, height, width, severity, scale):
    picture = np.full((height, width, 3), 90, np.uint8)
    before = picture.copy()
    made = WEATHER[kind](picture, strength(kind, severity), rng(height), scale).image
    assert (made.shape, made.dtype) == (picture.shape, np.uint8)
    assert np.array_equal(picture, before)
    assert not np.array_equal(made, before)
    again = WEATHER[kind](picture, strength(kind, severity), rng(height), scale).image
    assert np.array_equal(made, again)


# ── snow ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_snow_on_black_is_the_flakes_and_their_half_turn(severity):
    made, drawn, _ = snow(np.zeros((224, 224, 3), np.uint8), strength("snow", severity), rng(), 1.0)
    own = strength("snow", severity)[-1]
    assert made.min() >= round(127.5 * (1 - own)) - 1
    assert np.array_equal(made, np.rot90(made, 2))
    assert made.max() > made.min() + 50
    assert -135 <= drawn["angle"] <= -45


def test_flakes_fall_along_their_angle():
    """Differences along the motion are smaller than across it."""
    black = np.zeros((224, 224, 3), np.uint8)
    for seed in range(8):
        made, drawn, _ = snow(black, strength("snow", 5), rng(seed), 1.0)
        grey = made[..., 0].astype(float)
        down, across = np.gradient(grey)
        turn = np.deg2rad(drawn["angle"])
        along = np.abs(np.cos(turn) * across + np.sin(turn) * down).mean()
        beside = np.abs(-np.sin(turn) * across + np.cos(turn) * down).mean()
        assert along < 0.7 * beside


def test_snow_whitens_with_the_severity(cat):
    levels = [np.mean([snow(cat, strength("snow", one), rng(n), 1.0).image.mean() for n in range(4)]) for one in (1, 5)]
    assert cat.mean() < levels[0] < levels[1]


# ── frost ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_windows_have_the_levels_of_photographed_frost():
    """Over draws of 224 pixels: mean 165 ± 35, deviation 30 ± 12, bluish."""
    means, deviations, draw = [], [], rng()
    for number in range(len(windows.LOOKS)):
        window = windows.window(number)
        assert window.shape == (windows.SIDE, windows.SIDE, 3)
        for _ in range(8):
            top, left = draw.integers(0, windows.SIDE - 224, 2)
            part = window[top : top + 224, left : left + 224].astype(float)
            means.append(part.mean())
            deviations.append(part.mean(axis=2).std())
            assert part[..., 2].mean() > part[..., 0].mean()
    assert np.mean(means) == pytest.approx(165, abs=10)
    assert np.std(means) == pytest.approx(32, abs=8)
    assert min(deviations) > 14
    assert max(deviations) < 45
    assert np.mean(deviations) == pytest.approx(27, abs=5)


def test_a_window_is_a_function_of_its_number():
    assert np.array_equal(windows.window.__wrapped__(3), windows.window(3))
    assert not np.array_equal(windows.window(2), windows.window(3))


def test_frost_is_a_weighted_sum_with_a_part_of_a_window(cat):
    made, drawn, _ = frost(cat, (0.0, 1.0), rng(5), 1.0)
    window = windows.window(drawn["window"])
    turned = [np.rot90(one, k) for one in (made, made[:, ::-1]) for k in range(4)]
    places = [(one, cv2.minMaxLoc(cv2.matchTemplate(window, one.copy(), cv2.TM_SQDIFF))[2]) for one in turned]
    assert any(np.array_equal(window[top : top + 224, left : left + 224], one) for one, (left, top) in places)
    own, cover = strength("frost", 3)
    both = frost(cat, (own, cover), rng(5), 1.0).image
    expected = np.clip(own * cat.astype(float) + cover * made, 0, 255)
    assert np.abs(both - expected).max() <= 1


def test_draws_take_every_window_and_turn(cat):
    drawn = [frost(cat, (0.0, 1.0), rng(seed), 1.0) for seed in range(60)]
    assert {one.drawn["window"] for one in drawn} == set(range(len(windows.LOOKS)))


@pytest.mark.parametrize("size", [(900, 40), (40, 900), (700, 700)])
def test_frost_covers_pictures_larger_than_a_window(size):
    made = frost(np.zeros((*size, 3), np.uint8), (0.0, 1.0), rng(1), 1.0).image
    assert made.min() > 0


# ── fog ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("decay", [1.4, 2.0])
def test_the_amplitude_of_a_plasma_falls_with_the_square_of_the_decay(decay):
    field = plasma(256, decay, rng())
    assert (field.min(), field.max()) == (0, 1)
    added = []
    for step in (1, 2, 4):
        grid = field[::step, ::step].astype(float)
        corners = grid[::2, ::2]
        means = sum(np.roll(corners, (-y, -x), (0, 1)) for y in (0, 1) for x in (0, 1)) / 4
        added.append((grid[1::2, 1::2] - means).std())
    assert added[1] / added[0] == pytest.approx(decay**2, rel=0.06)
    assert added[2] / added[1] == pytest.approx(decay**2, rel=0.08)


@pytest.mark.parametrize("size", [1, 2, 64])
def test_a_plasma_has_the_size_that_is_asked_for(size):
    assert plasma(size, 2.0, rng()).shape == (size, size)


def test_fog_on_a_flat_picture():
    """Published: (x + c plasma) m / (m + c), with the picture's greatest level m."""
    level, (thickness, decay) = 120 / 255, strength("fog", 3)
    made = fog(np.full((256, 256, 3), 120, np.uint8), (thickness, decay), rng(2), 1.0).image
    share = level / (level + thickness)
    expected = 255 * share * (level + thickness * plasma(256, decay, rng(2)))
    assert np.abs(made[..., 0] - expected).max() <= 0.51


def test_a_black_picture_stays_black():
    assert not fog(np.zeros((64, 64, 3), np.uint8), strength("fog", 1), rng(), 1.0).image.any()


def test_fog_on_a_long_strip_fits_into_memory():
    """The fractal is square, and at the strip's full length it would be 68 GB."""
    strip = np.full((1, 70_000, 3), 120, np.uint8)
    made = fog(strip, strength("fog", 3), rng(), 1.0).image
    assert made.shape == strip.shape
    assert made.std() > 5


def test_fog_looks_the_same_in_a_larger_frame():
    """At twice the size and scale, it varies as much over half the frame."""

    def spread(side, scale):
        pictures = [fog(np.full((side, side, 3), 200, np.uint8), strength("fog", 5), rng(n), scale) for n in range(30)]
        halves = [one.image[..., 0].reshape(2, side // 2, 2, side // 2).mean(axis=(1, 3)).std() for one in pictures]
        return np.mean(halves)

    assert spread(448, 2.0) == pytest.approx(spread(224, 1.0), rel=0.3)
