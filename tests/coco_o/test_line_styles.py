"""Sketches, cartoons and tattoos: what holds for every picture, whatever is drawn by chance."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.generators.coco_o.stylization import cartoon, sketch, tattoo
from variorum.generators.coco_o.stylization.tattoo import stipple
from variorum.kit.pictures.scene import Scene

if TYPE_CHECKING:
    from variorum.arrays import Pixels
    from variorum.generators.coco_o.stylization.style import Style

STYLES = {
    **{f"sketch_{name}": style for name, style in sketch.STYLES.items()},
    **{f"cartoon_{name}": style for name, style in cartoon.STYLES.items()},
    **{f"tattoo_{name}": style for name, style in tattoo.STYLES.items()},
}
WHOLE = [name for name, style in STYLES.items() if not style.needs_subject]


def no_model(alias: str) -> None:
    raise AssertionError(f"asked for {alias}")


def painted(style: Style, image: Pixels, seed: int, subject: Pixels | None = None, *masks: Pixels) -> Pixels:
    rng = np.random.default_rng(seed)
    return style.paint(Scene(image, masks, subject, no_model), style.draw(rng), rng)


def photograph() -> Pixels:
    return np.ascontiguousarray(skimage.data.astronaut()[:240, :330])


def disc(height: int, width: int, radius: float) -> Pixels:
    y, x = np.mgrid[:height, :width]
    return np.where(np.hypot(y - height / 2, x - width / 2) <= radius, np.uint8(255), np.uint8(0))


def alone(style: Style, image: Pixels) -> Pixels | None:
    return disc(image.shape[0], image.shape[1], 0.35 * min(image.shape[:2])) if style.needs_subject else None


@pytest.mark.parametrize("name", STYLES)
def test_parameters_are_json_and_drawn_anew(name: str) -> None:
    drawn = [STYLES[name].draw(np.random.default_rng(seed)) for seed in range(30)]
    assert json.loads(json.dumps(drawn)) == drawn
    assert all(set(one) == set(drawn[0]) for one in drawn)
    assert all(len({json.dumps(one[key]) for one in drawn}) > 1 for key in drawn[0])


@pytest.mark.parametrize("name", STYLES)
def test_the_same_seed_gives_the_same_bytes_and_another_doesnt(name: str) -> None:
    image, style = photograph(), STYLES[name]
    image.setflags(write=False)
    subject = alone(style, image)
    first, again, other = (painted(style, image, seed, subject) for seed in (1, 1, 2))
    assert first.shape == image.shape
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 2


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(sorted(STYLES)),
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    level=st.sampled_from([None, 0, 130, 255]),
    subject=st.sampled_from(["disc", "all", "nothing"]),
    seed=st.integers(0, 99),
)
def test_any_size_and_any_content(
    name: str, height: int, width: int, level: int | None, subject: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), np.uint8) if level is None else np.full((height, width, 3), level)
    image = image.astype(np.uint8)
    masks = {"disc": disc(height, width, min(height, width) / 3), "all": np.full((height, width), 255, np.uint8)}
    mask = masks.get(subject, np.zeros((height, width), np.uint8))
    assert painted(STYLES[name], image, seed, mask, mask).shape == image.shape
    if name in WHOLE:
        assert painted(STYLES[name], image, seed).shape == image.shape


@pytest.mark.parametrize("name", STYLES)
def test_nothing_of_the_background_is_left(name: str) -> None:
    """With another background, what is around the object has the same bytes."""
    image, style = photograph(), STYLES[name]
    mask = disc(image.shape[0], image.shape[1], 70)
    other = np.where(mask[..., None] > 0, image, image[::-1, ::-1] // 2 + 60).astype(np.uint8)
    outside = cv2.dilate(mask, np.ones((17, 17), np.uint8)) == 0
    for seed in range(3):
        first, second = (painted(style, picture, seed, mask) for picture in (image, other))
        assert np.array_equal(first[outside], second[outside])
        assert np.abs(first[mask > 0].astype(int) - first[outside].mean(axis=0)).mean() > 8


@pytest.mark.parametrize("name", STYLES)
@pytest.mark.parametrize("side", [200, 420])
def test_objects_dont_move(name: str, side: int) -> None:
    """The edge of a disc stays within two pixels of where it was (in units of a short side of 320)."""
    style = STYLES[name]
    image = np.full((side, side + 60, 3), 215, np.uint8)
    mask = disc(side, side + 60, 0.3 * side)
    image[mask > 0] = (150, 70, 50)
    after = painted(style, image, 4, mask if style.needs_subject else None)
    grey = cv2.GaussianBlur(cv2.cvtColor(after, cv2.COLOR_RGB2GRAY), (0, 0), 2)
    gradient = np.hypot(*(cv2.Sobel(grey, cv2.CV_32F, dx, 1 - dx) for dx in (0, 1)))
    y, x = np.mgrid[:side, : side + 60]
    radius = np.hypot(y - side / 2, x - side / 2 - 30)
    rings = np.arange(0.15 * side, 0.45 * side)
    strength = [float(gradient[np.abs(radius - ring) < 1].mean()) for ring in rings]
    found = rings[int(np.argmax(strength))]
    assert abs(found - 0.3 * side) <= 2 * max(1, side / 320) + 1


@pytest.mark.parametrize("name", [name for name in STYLES if name.startswith("sketch")])
def test_sketches_are_grey_on_a_bright_paper(name: str) -> None:
    for seed, image in enumerate((photograph(), skimage.data.coffee()[::2, ::2], skimage.data.chelsea() // 4)):
        result = painted(STYLES[name], np.ascontiguousarray(image), seed)
        most, least = result.max(axis=2).astype(float), result.min(axis=2)
        assert ((most - least) / np.maximum(most, 1)).mean() < 0.05
        assert 110 < result.mean() < 240
        assert result.std() > 20


def test_an_ink_drawing_has_eyes() -> None:
    """Small dark things in an object are filled with ink, whatever the hatching around them."""
    image = np.random.default_rng(0).normal(150, 7, (320, 320, 1)).clip(0, 255).astype(np.uint8).repeat(3, axis=2)
    for x in (130, 190):
        cv2.circle(image, (x, 150), 5, (30, 30, 30), -1, cv2.LINE_AA)
    made = [painted(sketch.STYLES["ink"], image, seed, None, disc(320, 320, 90))[..., 0] for seed in range(4)]
    for x in (130, 190):
        assert max(one[147:154, x - 3 : x + 4].mean() for one in made) < 90


def test_a_cel_has_few_colours_and_more_saturation() -> None:
    image = np.ascontiguousarray(skimage.data.coffee()[:320, :440])
    result = painted(cartoon.STYLES["cel"], image, 0)

    def common(picture: Pixels) -> float:
        _, counts = np.unique(picture.reshape(-1, 3) // 4, axis=0, return_counts=True)
        return float(np.sort(counts)[-16:].sum() / counts.sum())

    assert common(result) > 0.6
    assert common(image) < 0.3
    cat = np.ascontiguousarray(skimage.data.chelsea()[:, 60:380])
    pair = (cat, painted(cartoon.STYLES["cel"], cat, 0))
    before, after = (np.hypot(*np.moveaxis(cv2.cvtColor(one, cv2.COLOR_RGB2LAB), 2, 0)[1:] - 128.0) for one in pair)
    assert after.mean() > 1.1 * before.mean()


def test_a_tattoo_is_dark_ink_on_skin() -> None:
    image = np.ascontiguousarray(skimage.data.astronaut()[:300, :400])
    mask = disc(300, 400, 90)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        drawn = dict(tattoo.draw_ink(rng)) | {"colour": 0.0}
        result = tattoo.paint_ink(Scene(image, (), mask, no_model), drawn, rng).astype(int)
        ring = np.abs(np.hypot(*(np.mgrid[:300, :400] - np.asarray([150, 200])[:, None, None])) - 90) < 1
        near = (cv2.dilate(mask, np.ones((25, 25), np.uint8)) > 0) & (
            cv2.dilate(mask, np.ones((13, 13), np.uint8)) == 0
        )
        assert result[ring].mean() < 0.5 * result[near].mean()
        red, green, blue = result[near].mean(axis=0)
        assert red > green > blue


def test_a_tattoo_needs_an_object() -> None:
    assert tattoo.STYLES["ink"].needs_subject
    with pytest.raises(ValueError, match="needs a subject"):
        painted(tattoo.STYLES["ink"], photograph(), 0)


@pytest.mark.parametrize("pitch", [2.0, 5.0])
def test_dots_get_denser_with_darkness(pitch: float) -> None:
    shares = [
        float(stipple(np.full((200, 200), dark, np.float32), pitch, np.random.default_rng(0)).mean())
        for dark in (0.0, 0.3, 0.6, 1.0)
    ]
    assert shares[0] == 0
    assert all(later > earlier + 0.05 for earlier, later in pairwise(shares))
