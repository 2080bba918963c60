"""Lines appear where there are edges, in dark pictures as in bright ones, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import skimage.data

from variorum.generators.coco_o.stylization.lines import (
    attention,
    edge_response,
    emphasis,
    fineness,
    outline,
    soft_lines,
    without_specks,
)
from variorum.kit.pictures.scene import Scene

if TYPE_CHECKING:
    from variorum.arrays import Pixels


def no_model(alias: str) -> None:
    raise AssertionError(f"asked for {alias}")


def scene(image: Pixels, *masks: Pixels, subject: Pixels | None = None) -> Scene:
    return Scene(image, masks, subject, no_model)


def disc(height: int, width: int, radius: float) -> Pixels:
    y, x = np.mgrid[:height, :width]
    return np.where(np.hypot(y - height / 2, x - width / 2) <= radius, np.uint8(255), np.uint8(0))


@pytest.mark.parametrize("level", [0, 3, 128, 255])
def test_a_flat_picture_has_no_lines(level: int) -> None:
    response = edge_response(scene(np.full((120, 170, 3), level, np.uint8)), 0.8, 3.0)
    assert np.abs(response).max() < 1e-3
    assert soft_lines(response, 0.03, 0.1).max() == 0


def test_the_dark_side_of_an_edge_has_the_line() -> None:
    picture = np.full((160, 200, 3), 200, np.uint8)
    picture[:, 100:] = 90
    lines = soft_lines(edge_response(scene(picture), 0.9, 3.0), 0.05, 0.1)
    middle = lines[40:120]
    assert middle[:, 100].min() == 1
    assert middle[:, 99].max() == 0
    assert middle[:, :97].max() == middle[:, 104:].max() == 0


def test_a_dark_picture_has_the_lines_of_the_bright_one() -> None:
    bright = skimage.data.astronaut()[:320, :320]
    dark = (bright * 0.35).astype(np.uint8)
    first, second = (soft_lines(edge_response(scene(image), 0.8, 3.0), 0.04, 0.1) for image in (bright, dark))
    assert 0.03 < first.mean() < 0.3
    assert second.mean() > 0.65 * first.mean()
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.9


def test_specks_go_and_lines_stay() -> None:
    lines = np.zeros((60, 60), np.float32)
    lines[10:12, 10:12] = 1
    lines[30, 5:55] = 0.8
    assert without_specks(lines, 10)[10:12, 10:12].max() == 0
    assert without_specks(lines, 10)[30, 5:55].min() == pytest.approx(0.8)


def test_an_outline_follows_the_border_and_not_the_frame() -> None:
    mask = disc(120, 200, 40)
    ring = outline(mask, 2)
    y, x = np.mgrid[:120, :200]
    depth = 40 - np.hypot(y - 60, x - 100)
    assert ring[np.abs(depth - 1) < 0.5].min() > 0.7
    assert ring[depth < -2].max() == ring[depth > 5].max() == 0
    assert outline(np.full((50, 60), 255, np.uint8), 2).max() == 0


def test_a_soft_mask_has_no_thicker_outline() -> None:
    slope = np.tile(np.linspace(0, 255, 101).astype(np.uint8), (40, 1))
    assert (outline(slope, 2)[20] > 0.5).sum() <= 3


def test_objects_get_lines_more_readily_than_what_is_around_them() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (100, 150, 3), np.uint8)
    assert (attention(scene(picture)) == 1).all()
    factor = attention(scene(picture, disc(100, 150, 30)))
    assert factor[50, 105] < 0.4
    assert factor[50, 75] == pytest.approx(1, abs=0.01)
    assert factor[:, :30].mean() > 1.5


def test_local_contrast_of_a_subject_ignores_what_is_around_it() -> None:
    picture = np.full((200, 200, 3), 255, np.uint8)
    mask = disc(200, 200, 60)
    picture[mask > 0] = 40
    inside = disc(200, 200, 50) > 0
    assert scene(picture, subject=mask).contrast[inside].max() < 0.02
    assert scene(picture).contrast[inside].max() > 0.2


def test_lengths_grow_with_the_picture() -> None:
    assert scene(np.zeros((640, 900, 3), np.uint8)).unit == 2
    assert scene(np.zeros((900, 160, 3), np.uint8)).unit == 0.5


def test_fine_detail_counts_in_objects_alone() -> None:
    noise = np.random.default_rng(0).integers(60, 200, (320, 320, 1), np.uint8).repeat(3, axis=2)
    mask = disc(320, 320, 80)
    known = fineness(scene(noise, mask))
    assert known[140:180, 140:180].min() > 0.9
    assert known[:40].max() == 0
    assert fineness(scene(np.full_like(noise, 120), mask)).max() == 0
    assert fineness(scene(noise)).max() == 0
    weight = emphasis(scene(noise, mask))
    assert weight is not None
    assert weight[150:170, 150:170].min() > 0.9 > 0.7 > weight[:20].max()
    assert emphasis(scene(noise)) is None
    assert emphasis(scene(noise, mask, subject=mask)) is None


def test_care_is_taken_in_masks_and_in_boxes_without_one() -> None:
    image = np.zeros((100, 120, 3), np.uint8)
    mask = disc(100, 120, 20)
    around = (40.0, 30.0, 41.0, 41.0)
    of_mask = Scene(image, (mask,), None, no_model, (around,)).cared
    np.testing.assert_array_equal(of_mask, mask)  # the box is the mask's own
    both = Scene(image, (mask,), None, no_model, (around, (0.0, 80.0, 30.0, 40.0))).cared
    assert both[80:, :30].min() == 255
    both[80:, :30] = 0
    np.testing.assert_array_equal(both, mask)
    assert Scene(image, (), None, no_model, ((-5.0, -9.0, 500.0, 500.0),)).cared.min() == 255
    np.testing.assert_array_equal(Scene(image, (), mask, no_model, ((0.0, 0.0, 9.0, 9.0),)).cared, mask)
