"""Exposure, white balance, direction of light, shadows and haze in linear light: what was asked for can be measured."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.generators.natural_transformation import exposure, relighting
from variorum.generators.natural_transformation.natural import ATTRIBUTES, KINDS
from variorum.kit.corrupt.change import Before
from variorum.kit.corrupt.linear_light import luminance, to_linear, to_srgb

PHOTOGRAPHS = [
    np.ascontiguousarray(
        cv2.resize(getattr(skimage.data, name)()[:300, :400], (160, 120), interpolation=cv2.INTER_AREA)
    )
    for name in ("chelsea", "coffee", "astronaut")
]
LIGHTS = [to_linear(photograph) for photograph in PHOTOGRAPHS]
each = pytest.mark.parametrize("which", range(3))


# ── exposure ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=15)
@given(which=st.integers(0, 2), ev=st.floats(0.1, 1.5), noise=st.integers(0, 40), seed=st.integers(0, 99))
def test_more_and_less_exposure_returns_what_was_not_rolled_off(which, ev, noise, seed):
    rng = np.random.default_rng(seed)
    image = np.clip(PHOTOGRAPHS[which] + rng.integers(-noise, noise + 1, (120, 160, 3)), 0, 255).astype(np.uint8)
    brighter = to_srgb(exposure.exposed(to_linear(image), ev))
    again = to_srgb(exposure.exposed(to_linear(brighter), -ev))
    kept = brighter <= exposure.BELOW_KNEE
    assert kept.any()
    assert np.abs(again[kept].astype(int) - image[kept]).max() <= 1.5


@pytest.mark.parametrize("factor", [0.4, 1, 1.2, 2.83])
def test_highlights_keep_their_order_and_white_stays_white(factor):
    light = np.linspace(0, 1, 1001, dtype=np.float32)[:, None, None]
    made = exposure.multiplied(light, np.float32(factor))
    assert (np.diff(made, axis=0) > 0).all()
    assert made[-1, 0, 0] == pytest.approx(min(factor, 1))
    low = light * factor <= exposure.KNEE
    np.testing.assert_allclose(made[low], (light * np.float32(factor))[low], rtol=1e-6)
    assert to_srgb(np.full((1, 1, 3), exposure.KNEE, np.float32)).max() == exposure.BELOW_KNEE + 1


def test_what_newly_lacks_detail_is_counted_in_the_worst_channel():
    before = np.full((10, 10, 3), 200, np.uint8)
    before[:, :5] = 255
    after = before.copy()
    after[:, 4:7, 0] = 252  # two columns of three are new
    after[0, 9] = 255
    assert exposure.burnt_out(before, after) == pytest.approx(0.21)


@each
@pytest.mark.parametrize("ev", [-1.5, -0.5, 0.5, 1.5])
def test_exposure_can_be_measured(which, ev):
    made = to_srgb(exposure.exposed(LIGHTS[which], ev))
    assert exposure.measured_ev(PHOTOGRAPHS[which], made) == pytest.approx(ev, abs=0.02)


def test_nothing_is_measured_where_everything_is_clipped():
    white = np.full((40, 40, 3), 255, np.uint8)
    assert exposure.measured_ev(white, white // 2) is None
    assert exposure.measured_kelvin(white, white // 2) is None
    assert relighting.measured_ramp(white, white // 2) is None
    assert relighting.measured_shade(white, white // 2, np.ones((40, 40), np.float32)) is None
    assert relighting.measured_contrast(white, white // 2) is None


# ── white balance ────────────────────────────────────────────────────────────────────────────────────────────────────


def planck(kelvin: float) -> np.ndarray:
    """Chromaticity of a black body: Planck's law with the colour matching functions of Wyman et al. (JCGT 2013)."""
    waves = np.arange(360, 831.0)

    def lobe(middle: float, below: float, above: float) -> np.ndarray:
        return np.exp(-0.5 * (np.where(waves < middle, below, above) * (waves - middle)) ** 2)

    red = 1.056 * lobe(599.8, 0.0264, 0.0323) + 0.362 * lobe(442, 0.0624, 0.0374) - 0.065 * lobe(501.1, 0.049, 0.0382)
    green = 0.821 * lobe(568.8, 0.0213, 0.0247) + 0.286 * lobe(530.9, 0.0613, 0.0322)
    blue = 1.217 * lobe(437, 0.0845, 0.0278) + 0.681 * lobe(459, 0.0385, 0.0725)
    power = waves**-5 / np.expm1(1.4388e7 / (waves * kelvin))
    return np.array([power @ red, power @ green, power @ blue])


@pytest.mark.parametrize("kelvin", [2500, 3000, 3999, 4001, 5000, 9000, 20_000])
def test_gains_are_those_of_a_black_body(kelvin):
    white, daylight = (exposure.TO_RGB @ planck(one) for one in (kelvin, exposure.DAYLIGHT))
    ratio = white / daylight
    found = np.array(exposure.gains(kelvin))
    np.testing.assert_allclose(found / found[1], ratio / ratio[1], rtol=0.03)
    assert luminance(found.astype(np.float32)[None, None])[0, 0] == pytest.approx(1, abs=1e-6)


def test_daylight_changes_nothing_and_other_lights_their_colour():
    assert exposure.gains(exposure.DAYLIGHT) == pytest.approx((1, 1, 1))
    warm, cool = exposure.gains(3000), exposure.gains(9000)
    assert warm[0] > warm[1] > warm[2]
    assert cool[0] < cool[1] < cool[2]
    with pytest.raises(ValueError, match=r"a light of 1000 K can't be made; there are 2500 to 20000 K"):
        exposure.gains(1000)


@each
@pytest.mark.parametrize("kelvin", [3000, 4500, 7000, 9000])
def test_the_temperature_can_be_measured(which, kelvin):
    made = to_srgb(exposure.balanced(LIGHTS[which], kelvin))
    assert exposure.measured_kelvin(PHOTOGRAPHS[which], made) == pytest.approx(kelvin, rel=0.01)


# ── light from one side ──────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=30)
@given(which=st.integers(0, 2), angle=st.floats(0, 360), amount=st.floats(0.1, 0.6))
def test_the_measured_angle_is_the_light_s(which, angle, amount):
    image = PHOTOGRAPHS[which]
    made = to_srgb(exposure.multiplied(LIGHTS[which], relighting.ramp(120, 160, amount, angle)[..., None]))
    found = relighting.measured_ramp(image, made)
    assert found is not None
    assert abs((found[0] - angle + 180) % 360 - 180) < 10
    assert found[1] == pytest.approx(amount, abs=0.03)


def test_a_ramp_is_brightest_where_the_light_is_and_one_in_the_middle():
    factors = relighting.ramp(101, 201, 0.6, 90)
    assert factors[50, 100] == pytest.approx(1)
    assert factors[0].min() > factors[-1].max()
    corner = relighting.ramp(100, 100, 0.6, 45)
    assert corner.max() == corner[0, -1] == pytest.approx(1.6, abs=0.01)
    assert corner.min() == corner[-1, 0] == pytest.approx(0.4, abs=0.01)


# ── shadow and haze ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [(224, 224), (448, 448), (60, 90), (33, 700)])
def test_a_shadow_has_full_shade_and_a_soft_edge(size):
    mask = relighting.shadow_of(*size, 12, np.random.default_rng(3))
    assert mask.shape == size
    assert mask.dtype == np.float32
    assert 0.02 < (mask > relighting.FULL).mean() < 0.95
    partly = (mask > 0.02) & (mask < 0.98)
    assert 0 < partly.mean() < 0.4


def test_a_penumbra_grows_with_the_picture():
    rows = [relighting.shadow_of(side, side, 8, np.random.default_rng(1)) for side in (224, 896)]
    steepest = [np.abs(np.diff(mask, axis=1)).max() for mask in rows]
    assert steepest[0] == pytest.approx(4 * steepest[1], rel=0.3)


def test_a_shade_has_no_edge_that_anyone_sees():
    """Neighbours in the deepest shade on an even ground differ by at most four grey levels."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        made = to_srgb(KINDS["shadow"].apply(np.full((224, 224, 3), 0.5, np.float32), {"left": 0.35}, rng, True).light)
        assert max(np.abs(np.diff(made.astype(int), axis=axis)).max() for axis in (0, 1)) <= 4
        assert np.ptp(made) > 50


@each
def test_light_that_is_left_in_a_shadow_can_be_measured(which):
    mask = relighting.shadow_of(120, 160, 8, np.random.default_rng(5))
    made = to_srgb(relighting.shaded(LIGHTS[which], mask, 0.35))
    assert relighting.measured_shade(PHOTOGRAPHS[which], made, mask) == pytest.approx(0.35, abs=0.03)
    np.testing.assert_array_equal(made[mask == 0], PHOTOGRAPHS[which][mask == 0])
    grey = np.full((120, 160, 3), 0.5, np.float32)
    assert (shade := relighting.shaded(grey, mask, 0.35)[mask == 1])[:, 2].min() > shade[:, 0].max()
    assert np.ptp(relighting.shaded(grey, mask, 0.35, bluish=False), axis=-1).max() == 0


def test_haze_hides_more_towards_the_top_and_brings_everything_towards_the_air():
    rng = np.random.default_rng(0)
    far = relighting.depth(80, 60, rng)
    assert 0 <= far.min() < far.max() <= 1
    assert far[:10].mean() > far[-10:].mean() + 0.3
    light = np.stack([np.full((80, 60), value, np.float32) for value in (0.1, 0.5, 0.9)], axis=-1)
    hazed = relighting.hazed(light, far, 0.8, 0.5)
    np.testing.assert_allclose(hazed[..., 1], 0.5, atol=1e-6)
    np.testing.assert_allclose(hazed[..., 0] - 0.5, -0.4 * np.exp(-0.8 * far), atol=1e-5)
    assert relighting.air_of(np.zeros((40, 40, 3), np.float32)) == relighting.AIR[0]


def test_the_air_is_as_bright_as_the_brightest_twentieth():
    for light in LIGHTS:
        assert relighting.air_of(light) == pytest.approx(np.quantile(luminance(light), 0.95), abs=0.02)


def test_shadows_fall_anywhere():
    masks = [relighting.shadow_of(60, 60, 4, np.random.default_rng(seed)) for seed in range(60)]
    across = np.arange(60) / 60
    middles = [float((mask.mean(axis=0) * across).sum() / mask.mean(axis=0).sum()) for mask in masks]
    assert np.histogram(middles, (0, 0.4, 0.6, 1))[0].min() >= 10


def test_what_was_drawn_is_recorded():
    flat, rng = np.full((120, 160, 3), 0.5, np.float32), np.random.default_rng(0)
    image = to_srgb(flat)
    shadow = KINDS["shadow"].apply(flat, {"left": 0.5}, rng, True)
    found = shadow.achieved(image, to_srgb(shadow.light))
    assert found["share"] == pytest.approx(1 - (shadow.light.mean() - 0.25) / 0.25, abs=1e-4)
    assert 64 <= found["penumbra"] <= 96
    haze = KINDS["haze"].apply(np.zeros_like(flat), {"beta": 0.8}, rng, True)
    found = haze.achieved(image, to_srgb(haze.light))
    assert found["air"] == relighting.AIR[0]
    assert found["through"] == pytest.approx(1 - haze.light.mean() / 0.1, abs=1e-4)


# ── kinds and structure ──────────────────────────────────────────────────────────────────────────────────────────────


def test_what_strengths_ask_for():
    asked = {name: [kind.asks(strength) for strength in (0.33, 0.67, 1)] for name, kind in KINDS.items()}
    assert [one["ev"] for one in asked["brighter"]] == [0.5, 1, 1.5]
    assert [one["ev"] for one in asked["darker"]] == [-0.5, -1, -1.5]
    assert [one["kelvin"] for one in asked["warmer"]] == [4690, 3650, 3000]
    assert [one["kelvin"] for one in asked["cooler"]] == [7160, 7990, 9000]
    assert asked["light_direction"][-1] == {"amount": 0.6}
    assert [round(one["left"], 2) for one in asked["shadow"]] == [0.6, 0.47, 0.35]
    assert asked["haze"][-1] == {"beta": 0.8}
    assert tuple(dict.fromkeys(kind.attribute for kind in KINDS.values())) == ATTRIBUTES


@pytest.mark.parametrize("name", list(KINDS))
def test_inputs_are_never_written_to(name):
    light = LIGHTS[0].copy()
    light.setflags(write=False)
    before = PHOTOGRAPHS[0].copy()
    made = KINDS[name].apply(light, KINDS[name].asks(1), np.random.default_rng(0), False)
    made.achieved(before, to_srgb(made.light))
    np.testing.assert_array_equal(before, PHOTOGRAPHS[0])
    assert made.light.dtype == np.float32


def test_structure_ignores_brightness_and_contrast_but_not_what_is_lost():
    image = PHOTOGRAPHS[0]
    before = Before(image)
    assert before.structure(image) == pytest.approx(1, abs=1e-4)
    assert before.structure(image // 2 + 60) > 0.9
    assert before.structure(to_srgb(exposure.exposed(LIGHTS[0], -1.5))) > 0.9
    assert before.structure(np.full_like(image, 255)) < 0.1
    assert before.structure(image[:, ::-1]) < 0.3
    burnt = image.copy()
    burnt[:60] = 255
    assert 0.3 < before.structure(burnt) < 0.7
    flat = np.full_like(image, 90)
    assert Before(flat).structure(flat + 9) == 1
