"""Each operation beside its definition, written with other libraries or as a plain loop."""

from __future__ import annotations

import io
import math

import cv2
import numpy as np
import pytest
import scipy.ndimage
import skimage.color
import skimage.data
import skimage.filters
from PIL import Image

from variorum.kit.corrupt import blur
from variorum.kit.corrupt.kinds import KINDS, corrupt
from variorum.kit.corrupt.noise import normal, random_bits

PHOTO = cv2.resize(skimage.data.coffee(), (224, 224), interpolation=cv2.INTER_AREA)
WIDE = cv2.resize(skimage.data.astronaut(), (200, 130), interpolation=cv2.INTER_AREA)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def made(kind: str, severity: int, image: np.ndarray = PHOTO, seed: int = 0) -> np.ndarray:
    return corrupt(image, kind, severity, rng(seed)).image


# ── noise ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_normal_values_are_normal():
    values = normal(rng(), (1000, 1000), 2.0, 3.0)
    assert values.mean() == pytest.approx(2, abs=0.01)
    assert values.std() == pytest.approx(3, rel=0.003)
    assert np.mean(np.abs(values - 2) < 3) == pytest.approx(0.6827, abs=0.002)
    assert np.mean(np.abs(values - 2) > 9) == pytest.approx(0.0027, abs=0.0003)


def test_random_bits_are_uniform_and_as_many_as_asked_for():
    for shape in ((1,), (3, 5), (7, 11, 3), (300, 400)):
        assert random_bits(rng(), shape).shape == shape
    counts = np.bincount(random_bits(rng(), (1 << 20,)) >> 8, minlength=256)
    assert np.abs(counts / 4096 - 1).max() < 0.1


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_gaussian_noise_has_the_deviation_that_it_says(severity):
    (deviation,) = KINDS["gaussian_noise"].strengths[severity - 1]
    flat = np.full((400, 400, 3), 128, np.uint8)
    flat[0, 0] = 127, 128, 129  # in colour, so that the channels have their own noise
    change = made("gaussian_noise", severity, flat).astype(float) - 128
    expected = np.clip(rng(1).normal(128, 255 * deviation, 1_000_000), 0, 255)
    assert change.std() == pytest.approx(expected.std(), rel=0.005)
    assert abs(np.corrcoef(change[..., 0].ravel(), change[..., 1].ravel())[0, 1]) < 0.01


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("level", [0, 1, 20, 128, 255])
def test_shot_noise_counts_photons(severity, level):
    (photons,) = KINDS["shot_noise"].strengths[severity - 1]
    flat = np.full((300, 300, 3), level, np.uint8)
    found = made("shot_noise", severity, flat).astype(float)
    expected = np.rint(np.minimum(rng(1).poisson(level / 255 * photons, 300_000) / photons, 1) * 255)
    assert found.mean() == pytest.approx(expected.mean(), rel=0.02, abs=0.1)
    assert found.std() == pytest.approx(expected.std(), rel=0.02, abs=0.1)
    assert set(np.unique(found)) <= set(np.rint(np.minimum(np.arange(200) / photons, 1) * 255))


@pytest.mark.parametrize("severity", [1, 5])
def test_impulse_noise_is_half_salt_and_half_pepper(severity):
    (amount,) = KINDS["impulse_noise"].strengths[severity - 1]
    flat = np.full((400, 400, 3), 100, np.uint8)
    flat[0, 0, 0] = 99
    found = made("impulse_noise", severity, flat)
    for level in (0, 255):
        assert np.mean(found == level) == pytest.approx(amount / 2, rel=0.05)
    assert set(np.unique(found)) <= {0, 99, 100, 255}


def test_speckle_noise_is_as_strong_as_the_light():
    steps = np.repeat(np.array([40, 80], np.uint8), 80_000).reshape(400, 400, 1).repeat(3, axis=2)
    found = made("speckle_noise", 1, steps).astype(float)
    assert found[:200].std() == pytest.approx(40 * 0.15, rel=0.02)
    assert found[200:].std() == pytest.approx(80 * 0.15, rel=0.02)


# ── blur ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("severity", [1, 3, 5])
@pytest.mark.parametrize("image", [PHOTO, WIDE])
def test_gaussian_blur_is_scikit_image_s(severity, image):
    (sigma,) = KINDS["gaussian_blur"].strengths[severity - 1]
    expected = skimage.filters.gaussian(image / 255, sigma=sigma, channel_axis=-1) * 255
    assert np.abs(made("gaussian_blur", severity, image) - expected).max() < 0.51


@pytest.mark.parametrize("severity", [1, 3])
def test_defocus_is_the_mean_over_a_disk(severity):
    dot = np.zeros((101, 101, 3), np.uint8)
    dot[50, 50] = 255
    radius, _ = KINDS["defocus_blur"].strengths[severity - 1]
    found = blur.defocus_blur(dot, (radius, 0.1), rng(), 1).image[..., 0]
    y, x = np.indices((101, 101)) - 50
    disk = x**2 + y**2 <= radius**2
    np.testing.assert_array_equal(found > 0, disk)
    assert np.abs(found[disk] - 255 / disk.sum()).max() <= 0.5


@pytest.mark.parametrize("severity", [4, 5])
def test_defocus_brightens_by_a_percent_where_the_published_kernel_does(severity):
    flat = np.full((64, 64, 3), 200, np.uint8)
    assert set(np.unique(made("defocus_blur", severity, flat))) <= {202, 203}


@pytest.mark.parametrize(("height", "width", "reach"), [(20, 20, 1), (17, 31, 2), (24, 20, 3), (30, 19, 4), (9, 9, 4)])
def test_scattering_is_the_published_loop(height, width, reach):
    found = blur._scattered(height, width, reach, rng(3))
    inner = height - 2 * reach, width - 2 * reach
    expected = np.arange(height * width).reshape(height, width)
    if min(inner) > 0:
        across, down = ((random_bits(rng(3), (2, *inner)).astype(int) * 2 * reach) >> 16) - reach
        for row in range(height - reach, reach, -1):
            for column in range(width - reach, reach, -1):
                at = row - reach - 1, column - reach - 1
                expected[row, column] = expected[row + down[at], column + across[at]]
    np.testing.assert_array_equal(found.reshape(height, width), expected)
    if min(inner) > 4:
        assert (found != np.arange(height * width)).mean() > 0.3


@pytest.mark.parametrize("angle", [-45, -30, 0, 20, 45])
@pytest.mark.parametrize(("radius", "sigma"), [(10, 3), (15, 12), (20, 15)])
def test_motion_blur_is_a_weighted_line_to_one_side(angle, radius, sigma):
    dot = np.zeros((121, 121), np.float32)
    dot[60, 60] = 1
    found, mean = blur.moved(dot, radius, sigma, angle)
    expected = np.zeros_like(dot)
    weights = np.exp(-(np.arange(2 * radius + 1) ** 2) / (2 * sigma**2))
    for step, weight in enumerate(weights / weights.sum()):
        x = math.ceil(step * math.cos(math.radians(angle)) - 0.5)
        y = math.ceil(step * math.sin(math.radians(angle)) - 0.5)
        expected[60 - y, 60 - x] += weight
    assert np.abs(found - expected).max() < 2e-4
    centroid = scipy.ndimage.center_of_mass(found)
    assert (60 - centroid[1], 60 - centroid[0]) == pytest.approx(mean, abs=0.02)


def test_motion_blur_draws_its_angle():
    angles = [corrupt(WIDE, "motion_blur", 3, rng(seed)).drawn["angle"] for seed in range(50)]
    assert -45 <= min(angles) < -25
    assert 25 < max(angles) <= 45


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_zoom_blur_is_the_mean_of_enlarged_middles(severity):
    image = cv2.resize(PHOTO, (96, 96), interpolation=cv2.INTER_AREA)
    total, factors = image.astype(float), np.arange(1, *KINDS["zoom_blur"].strengths[severity - 1])
    for factor in factors:
        cut = math.ceil(96 / factor)
        start = (96 - cut) // 2
        large = scipy.ndimage.zoom(
            image[start : start + cut, start : start + cut].astype(float), (factor, factor, 1), order=1
        )
        rest = (len(large) - 96) // 2
        total += large[rest : rest + 96, rest : rest + 96]
    assert np.abs(made("zoom_blur", severity, image) - total / (len(factors) + 1)).mean() < 0.4


# ── digital ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("image", [PHOTO, WIDE])
def test_brightness_and_saturation_are_those_of_hsv(severity, image):
    hsv = skimage.color.rgb2hsv(image)
    brighter, purer = hsv.copy(), hsv.copy()
    brighter[..., 2] = np.clip(hsv[..., 2] + KINDS["brightness"].strengths[severity - 1][0], 0, 1)
    factor, more = KINDS["saturate"].strengths[severity - 1]
    purer[..., 1] = np.clip(hsv[..., 1] * factor + more, 0, 1)
    for kind, expected in (("brightness", brighter), ("saturate", purer)):
        away = np.abs(made(kind, severity, image) - skimage.color.hsv2rgb(expected) * 255)
        assert away.mean() < 0.4
        assert away.max() < 1.6


def test_black_and_grey_pixels_are_brightened_and_saturated_as_published():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    image = np.vstack([levels, np.zeros((16, 16, 3), np.uint8)]).repeat(4, 0).repeat(4, 1)
    image[-1, -1] = 255, 0, 0  # in colour
    for kind, place, change in (("brightness", 2, lambda v: v + 0.3), ("saturate", 1, lambda v: v * 5 + 0.1)):
        severity = 3 if kind == "brightness" else 4
        hsv = skimage.color.rgb2hsv(image)
        hsv[..., place] = np.clip(change(hsv[..., place]), 0, 1)
        assert np.abs(made(kind, severity, image) - skimage.color.hsv2rgb(hsv) * 255).max() < 1


@pytest.mark.parametrize("severity", [1, 5])
def test_contrast_leaves_its_share_of_the_difference_from_the_mean(severity):
    (share,) = KINDS["contrast"].strengths[severity - 1]
    means = WIDE.mean(axis=(0, 1))
    assert np.abs(made("contrast", severity, WIDE) - (means + (WIDE - means) * share)).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("image", [PHOTO, WIDE])
def test_blocks_and_jpeg_are_pillow_s(severity, image):
    (share,) = KINDS["pixelate"].strengths[severity - 1]
    height, width = image.shape[:2]
    small = Image.fromarray(image).resize((int(width * share), int(height * share)), Image.Resampling.BOX)
    expected = np.asarray(small.resize((width, height), Image.Resampling.NEAREST))
    if height == width == 224:  # at other sizes the published filter mixes blocks at some of their borders
        np.testing.assert_array_equal(expected, small.resize((width, height), Image.Resampling.BOX))
    np.testing.assert_array_equal(made("pixelate", severity, image), expected)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=KINDS["jpeg_compression"].strengths[severity - 1][0])
    jpeg = made("jpeg_compression", severity, image)
    assert np.abs(jpeg.astype(int) - np.asarray(Image.open(stream))).mean() < 0.15


@pytest.mark.parametrize("severity", [2, 3, 5])
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_elastic_displacements_are_as_large_as_smoothed_noise(severity, scale):
    amplitude, sigma, _ = KINDS["elastic_transform"].strengths[severity - 1]
    strength, found, expected = (amplitude, sigma, 0.0), [], []
    flat = np.full((int(224 * scale), int(224 * scale), 3), 128, np.uint8)
    places = np.stack(np.meshgrid(np.arange(len(flat)), np.arange(len(flat))), axis=-1)
    for seed in range(8):
        origins = KINDS["elastic_transform"].apply(flat, strength, rng(seed), scale).origins
        found.append(np.square(origins - places).mean())
        noise = rng(100 + seed).uniform(-1, 1, (2, 224, 224))
        expected.append(
            np.mean([np.square(scipy.ndimage.gaussian_filter(one, sigma, truncate=3)).mean() for one in noise])
        )
    assert np.mean(found) ** 0.5 == pytest.approx(scale * amplitude * np.mean(expected) ** 0.5, rel=0.2)


# ── where pixels come from ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("image", [PHOTO, WIDE])
def test_the_origins_of_an_elastic_picture_show_it_again(severity, image):
    soft = cv2.GaussianBlur(image, (0, 0), 3)  # so that the second interpolation costs nothing
    found = corrupt(soft, "elastic_transform", severity, rng(severity))
    again = cv2.remap(soft, found.origins, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    middle = (slice(30, -30), slice(30, -30))
    assert np.abs(again[middle].astype(int) - found.image[middle]).mean() < 1
    assert np.abs(soft[middle].astype(int) - found.image[middle]).mean() > 2


@pytest.mark.parametrize("kind", ["zoom_blur", "motion_blur"])
@pytest.mark.parametrize("severity", [1, 3, 5])
def test_what_is_blurred_lies_where_its_origins_say(kind, severity):
    """The mean origin of a disk's pixels is the disk's centre."""
    y, x = np.indices((224, 224), np.float32)
    disk = ((x - 140) ** 2 + (y - 90) ** 2 < 30**2).astype(np.uint8)[..., None].repeat(3, axis=2) * 200
    found = corrupt(disk, kind, severity, rng(2))
    weights = found.image[..., 0] / found.image[..., 0].sum()
    mean = (found.origins * weights[..., None]).sum(axis=(0, 1))
    assert mean == pytest.approx([140, 90], abs=1)


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind not in ("elastic_transform", "zoom_blur", "motion_blur")]
)
def test_no_other_kind_of_imagenet_c_says_that_pixels_move(kind):
    if KINDS[kind].family != "bar":
        assert corrupt(WIDE, kind, 5, rng()).origins is None
