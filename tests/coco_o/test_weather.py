"""Weather on real photographs: what each kind does to light, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.generators.coco_o.stylization.gates import domain_gates, legibility, slopes
from variorum.generators.coco_o.stylization.weather import STYLES
from variorum.kit.corrupt.air import plasma
from variorum.kit.pictures.scene import Scene


def reduced(picture: np.ndarray, short: int = 160) -> np.ndarray:
    height, width = picture.shape[:2]
    scale = short / min(height, width)
    return cv2.resize(picture, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)


PHOTOS = {name: reduced(getattr(skimage.data, name)()) for name in ("chelsea", "coffee", "astronaut")}
CHELSEA = PHOTOS["chelsea"]


def no_model(alias: str) -> Any:
    raise AssertionError(f"weather asks for {alias}")


def painted(name: str, image: np.ndarray, seed: int = 1, **scene: Any) -> np.ndarray:
    rng = np.random.default_rng(seed)
    style = STYLES[name]
    drawn = style.draw(rng)
    masks, subject = scene.get("masks", ()), scene.get("subject")
    return style.paint(
        Scene(image, masks, subject, no_model, scene.get("boxes", ())), {**drawn, **scene.get("drawn", {})}, rng
    )


def light(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(float) / 255


@pytest.mark.parametrize("name", STYLES)
def test_the_seed_decides_every_byte(name):
    first, again, other = (painted(name, CHELSEA, seed) for seed in (1, 1, 2))
    assert first.dtype == np.uint8
    assert first.shape == CHELSEA.shape
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("name", STYLES)
@pytest.mark.parametrize("photo", PHOTOS)
def test_it_looks_like_its_weather_and_the_object_stays_legible(name, photo):
    image = PHOTOS[photo]
    height, width = image.shape[:2]
    for seed in range(4):
        made = painted(name, image, seed)
        found = domain_gates("weather", name, image, made)
        assert all(gate["passed"] for gate in found.values()), found
        assert legibility(slopes(image), slopes(made), [(0, 0, width, height)])[0] > 0.3


@settings(max_examples=20)
@given(
    st.sampled_from(sorted(STYLES)), st.integers(32, 90), st.integers(32, 200), st.booleans(), st.integers(0, 2**32 - 1)
)
def test_any_size(name, height, width, alone, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : height // 2, width // 4 : width // 2] = 255
    made = painted(name, image, seed, masks=(mask,), subject=mask if alone else None)
    assert (made.shape, made.dtype) == (image.shape, np.uint8)


@pytest.mark.parametrize("name", STYLES)
def test_an_isolated_picture_knows_nothing_of_the_background(name):
    mask = cv2.circle(np.zeros(CHELSEA.shape[:2], np.uint8), (110, 80), 50, 255, -1)
    other = np.where(mask[..., None] > 0, CHELSEA, np.uint8(200) - CHELSEA // 2)
    made = [painted(name, image, 3, masks=(mask,), subject=mask) for image in (CHELSEA, other)]
    np.testing.assert_array_equal(*made)
    assert legibility(slopes(CHELSEA), slopes(made[0]), [(60, 30, 100, 100)], mask)[0] > 0.3


def test_fog_is_koschmieders_law():
    drawn = {"density": 2.0, "light": 0.8, "patches": 0.0, "warmth": 0.0}
    made = painted("fog", CHELSEA, drawn=drawn)
    upwards = np.linspace(1, 0, CHELSEA.shape[0])[:, None, None]
    through = np.exp(-2.0 * (0.32 + 0.68 * upwards**1.2))
    expected = CHELSEA / 255 * through + 0.8 * (1 - through)
    assert np.abs(made - 255 * expected).max() <= 0.6


def test_fog_is_thickest_at_the_top():
    made = light(painted("fog", CHELSEA))
    before = light(CHELSEA)
    half = CHELSEA.shape[0] // 2
    kept = [made[rows].std() / before[rows].std() for rows in (slice(0, half), slice(half, None))]
    assert kept[0] < 0.7 * kept[1]


@pytest.mark.parametrize("slant", [-20.0, 20.0])
def test_rain_falls_along_its_slant(slant):
    plain = np.full((160, 200, 3), 90, np.uint8)
    made = painted("rain", plain, drawn={"slant": slant, "veil": 0.0})
    grey = cv2.GaussianBlur(made, (0, 0), 0.8)[..., 1].astype(np.float32)
    across, down = (cv2.Sobel(grey, cv2.CV_32F, *axes) for axes in ((1, 0), (0, 1)))
    tensor = np.array([[(across**2).sum(), (across * down).sum()], [(across * down).sum(), (down**2).sum()]])
    x, y = np.linalg.eigh(tensor)[1][:, 0]  # along the streaks
    angle = np.rad2deg(np.arctan(x / -y))  # from the vertical, positive to the right as one goes up
    assert angle == pytest.approx(slant, abs=5)


def test_snow_lies_on_the_upper_edge_of_an_object():
    ground = np.full((160, 200, 3), 120, np.uint8)
    mask = cv2.rectangle(np.zeros((160, 200), np.uint8), (60, 50), (140, 120), 255, -1)
    image = np.where(mask[..., None] > 0, np.uint8(60), ground)
    made = light(painted("snow", image, masks=(mask,), drawn={"amount": 0.0, "depth": 7.0}))
    top, middle = made[51:53, 64:136].mean(), made[80:110, 64:136].mean()
    assert top > middle + 0.2


def test_at_night_red_things_do_not_glow_but_lights_do():
    image = np.full((160, 200, 3), 40, np.uint8)
    image[100:106, 40:46], image[100:106, 150:156] = (255, 0, 0), (255, 255, 255)
    made = light(painted("night", image, drawn={"noise": 0.0, "lamps": 1}))
    red, white = made[92:114, 32:54].mean(), made[92:114, 142:164].mean()
    assert white > 2 * red
    dark = light(painted("night", CHELSEA))
    assert np.median(dark) < 0.45 * np.median(light(CHELSEA))


@pytest.mark.parametrize("boxed", [False, True])
def test_lamps_hang_beside_objects(boxed):
    mask = np.zeros((160, 200), np.uint8)
    mask[:, :90] = 255
    known = {"boxes": [(0.0, 0.0, 90.0, 160.0)]} if boxed else {"masks": (mask,)}
    plain = np.full((160, 200, 3), 30, np.uint8)
    for seed in range(6):
        made = light(painted("night", plain, seed, **known, drawn={"noise": 0.0, "lamps": 1}))
        assert made[:, 90:].max() > 0.9 > made[:, :90].max()


def test_where_an_object_leaves_no_room_there_is_no_lamp():
    made = painted("night", CHELSEA, boxes=[(0.0, 0.0, 300.0, 300.0)], drawn={"noise": 0.0})
    assert light(made).max() < 0.6
    assert all(gate["passed"] for gate in domain_gates("weather", "night", CHELSEA, made).values())


def test_white_clothes_do_not_shine():
    image = np.full((160, 200, 3), 40, np.uint8)
    image[60:90, 80:110] = image[100:106, 40:46] = 255  # a shirt, and a button that is part of an object
    made = light(painted("night", image, boxes=[(30.0, 90.0, 40.0, 40.0)], drawn={"noise": 0.0, "lamps": 1}))
    lamp = light(painted("night", image, drawn={"noise": 0.0, "lamps": 1}))[100:106, 40:46].mean()
    assert made[62:88, 82:108].mean() < 0.6
    assert made[100:106, 40:46].mean() < 0.6 < lamp


def test_a_white_sky_is_no_lamp_at_night():
    image = np.full((160, 200, 3), 60, np.uint8)
    image[:80] = 255
    assert light(painted("night", image))[:80].mean() < 0.5


@given(st.integers(1, 120), st.integers(1, 120), st.integers(0, 2**32 - 1))
def test_plasma_fills_its_range(height, width, seed):
    field = plasma(np.random.default_rng(seed), height, width)
    assert field.shape == (height, width)
    assert 0 <= field.min() <= field.max() <= 1
    assert field.size < 4 or field.max() == pytest.approx(1, abs=1e-5)
