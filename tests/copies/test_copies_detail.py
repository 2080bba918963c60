import cv2
import numpy as np
import pytest
from copied_pictures import copy, crops, jpeg, render
from PIL import Image

from variorum.curation.copies.detail import FLOOR, detail, entropy, line_bits
from variorum.kit.pictures.thumbnails import luma

INTERPOLATIONS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)


@pytest.fixture(scope="module")
def pictures():
    return [*crops()[::4], *(render(k) for k in range(10))]


def resized(picture, share, how, quality=None):
    height, width = picture.shape[:2]
    image = Image.fromarray(picture).resize((round(share * width), round(share * height)), how)
    return np.asarray(image if quality is None else jpeg(image, quality))


@pytest.mark.parametrize("share", [1.5, *(pytest.param(share, marks=pytest.mark.slow) for share in (2, 6)), 3])
@pytest.mark.parametrize("how", INTERPOLATIONS)
def test_no_enlargement_shows_more_than_the_picture(pictures, share, how):
    own = np.array([detail(picture) for picture in pictures])
    assert np.all([detail(resized(picture, share, how)) for picture in pictures] < own)
    compressed = [detail(resized(picture, share, how, 90)) for picture in pictures]
    assert np.mean(compressed < own) >= 0.95


def test_pixels_that_are_only_repeated_add_nothing(pictures):
    for picture in pictures:
        assert detail(np.kron(picture, np.ones((6, 6, 1), np.uint8))) < detail(picture)


def test_blur_takes_detail_and_so_does_a_smaller_size_of_a_sharp_picture(pictures):
    for picture in pictures:
        assert detail(copy(picture, "blur")) < detail(picture)
    for picture in pictures[-10:]:
        assert detail(copy(picture, "resize")) < detail(picture)
    assert np.mean([detail(copy(picture, "jpeg")) < detail(picture) for picture in pictures]) >= 0.85


def test_a_mirror_image_shows_as_much(pictures):
    for picture in pictures:
        assert detail(picture[:, ::-1]) == pytest.approx(detail(picture), rel=2e-3)


def test_a_wave_has_the_bits_of_its_power():
    x = np.arange(256)
    grey = np.tile(100 + 40 * np.cos(2 * np.pi * 20 * x / 256), (32, 1))
    # a Hann window leaves half of the amplitude 40, and a quarter in each neighbouring frequency
    powers = np.array([10.0, 5, 5]) ** 2
    assert line_bits(grey) == pytest.approx(np.log2(1 + powers / FLOOR).sum(), rel=0.02)
    assert line_bits(grey.T) == 0
    twice = np.tile(100 + 40 * np.cos(2 * np.pi * 20 * np.arange(512) / 512), (32, 1))
    assert line_bits(twice) == pytest.approx(line_bits(grey), rel=0.02)


def test_entropy_is_that_of_differences():
    columns = np.zeros((10, 5, 3), np.uint8)
    columns[:, :, 1] = [0, 1, 1, 2, 2]  # differences 1 and 0, equally often
    assert entropy(columns) == pytest.approx(1)
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    assert 7.98 < entropy(noise) <= 8


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (3, 3), (64, 64), (1000, 20)])
def test_one_level_shows_nothing_at_any_size(shape):
    for value in (0, 128, 255):
        assert detail(np.full((*shape, 3), value, np.uint8)) == 0
    assert np.isfinite(detail(np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)))


def test_a_blurred_large_copy_shows_less_than_a_sharp_small_one(pictures):
    for picture in pictures[-10:]:
        large = cv2.GaussianBlur(resized(picture, 2, Image.Resampling.BICUBIC), (0, 0), 2)
        assert detail(large) < detail(picture)


def test_grey_levels_are_those_of_the_picture_that_is_asked_for():
    first, second = (np.full((8, 8, 3), value, np.uint8) for value in (10, 200))
    assert luma(first) is luma(first)
    assert [int(luma(picture)[0, 0]) for picture in (first, second, first)] == [10, 200, 10]
    for value in range(20):  # each may reuse the memory of the one before
        assert int(luma(np.full((8, 8, 3), value, np.uint8))[0, 0]) == value
