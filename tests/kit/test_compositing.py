"""Cutting out and compositing: exact where the object is opaque, without a rim of the old background."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data

from variorum.kit.pictures import compositing, geometry

SIDE = 128
PHOTO = cv2.resize(skimage.data.coffee()[:400, 100:500], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
OTHER = cv2.resize(skimage.data.chelsea()[:300, :300], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
DISC = cv2.circle(np.zeros((SIDE, SIDE), np.uint8), (64, 64), 30, 255, -1, cv2.LINE_AA)


def over(plate: np.ndarray, rgba: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return compositing.composite(plate, geometry.whole(geometry.as_cutout(rgba)))


def test_opaque_pixels_are_the_object_s_and_clear_ones_the_plate_s_bit_for_bit() -> None:
    alpha = compositing.soft_alpha(DISC)
    picture, mask = over(OTHER, compositing.cut_photograph(PHOTO, alpha))
    assert np.array_equal(mask, alpha)
    assert np.array_equal(picture[alpha == 255], PHOTO[alpha == 255])
    assert np.array_equal(picture[alpha == 0], OTHER[alpha == 0])
    assert ((alpha > 0) & (alpha < 255)).any()


def test_a_known_plate_gives_the_exact_object_back() -> None:
    alpha = cv2.GaussianBlur(DISC, (0, 0), 2)
    cover = alpha[..., None] / 255
    seen = np.rint(cover * PHOTO + (1 - cover) * OTHER).astype(np.uint8)
    rgba = compositing.cut_exact(seen, alpha, OTHER)
    again, _ = over(OTHER, rgba)
    assert np.abs(again.astype(int) - seen).max() <= 1
    elsewhere, _ = over(255 - OTHER, rgba)
    wanted = cover * PHOTO + (1 - cover) * (255 - OTHER)
    assert np.abs(elsewhere - wanted).max() <= 2


@pytest.mark.parametrize("ground", [(0, 255, 0), (255, 255, 255)])
def test_no_rim_of_the_old_background_is_left(ground: tuple[int, int, int]) -> None:
    """A brown disc on a bright background, its edge blurred as in a photograph, composited on black."""
    brown = np.array([120, 70, 30])
    cover = cv2.GaussianBlur(DISC, (0, 0), 1.0)[..., None] / 255
    photo = np.rint(cover * brown + (1 - cover) * np.array(ground)).astype(np.uint8)
    picture, _ = over(np.zeros_like(photo), compositing.cut_photograph(photo, compositing.soft_alpha(DISC)))
    assert (picture.astype(int) <= brown + 12).all()


def test_the_soft_edge_lies_within_the_mask_and_never_along_the_frame() -> None:
    cut = np.zeros((SIDE, SIDE), np.uint8)
    cut[40:90, :60] = 255
    alpha = compositing.soft_alpha(cut)
    assert (alpha[44:86, 0] == 255).all()
    assert not alpha[cut == 0].any()


def test_colours_spread_outwards_unchanged() -> None:
    known = DISC > 127
    flat = np.where(known[..., None], np.array([10, 200, 90], np.uint8), np.uint8(255))
    spread = compositing.spread(flat, known)
    near = cv2.dilate(known.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert (spread[near] == (10, 200, 90)).all()


def test_what_lies_beyond_the_frame_is_left_out() -> None:
    placed = geometry.whole(geometry.as_cutout(compositing.premultiplied(PHOTO, DISC)))
    picture, mask = compositing.composite(OTHER, placed._replace(x=-30, y=110))
    seen = placed.patch[:18, 30:, 3]
    assert np.array_equal(mask[110:, : seen.shape[1]], seen)
    assert np.array_equal(picture[:110], OTHER[:110])
    assert geometry.visible_ratio(placed._replace(x=-30, y=110), (SIDE, SIDE)) < 0.5
    assert geometry.visible_ratio(placed._replace(x=500), (SIDE, SIDE)) == 0
