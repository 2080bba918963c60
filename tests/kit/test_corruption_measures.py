"""What is measured on corrupted pictures, and their frame, beside scikit-image and torchvision."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from variorum.annotations import encode_mask, region
from variorum.kit.corrupt.change import MAX_DB, Before
from variorum.kit.corrupt.frames import Unusable, framed
from variorum.schemas.annotations import Annotations, Object
from variorum.schemas.sample import Sample

PHOTO = skimage.data.chelsea()


def sample(image: np.ndarray, **more: object) -> Sample:
    return Sample("0" * 32, image, **more)


@settings(max_examples=20)
@given(st.integers(8, 120), st.integers(8, 120), st.integers(0, 2**32 - 1), st.sampled_from([2, 30, 200]))
def test_psnr_and_ssim_are_scikit_image_s(height, width, seed, noise):
    before = np.ascontiguousarray(PHOTO[:height, :width])
    change = np.random.default_rng(seed).normal(0, noise, before.shape)
    after = np.clip(before + change, 0, 255).round().astype(np.uint8)
    found = Before(before).change(after)
    grey = [cv2.cvtColor(one, cv2.COLOR_RGB2GRAY) for one in (before, after)]
    assert found["ssim"] == pytest.approx(structural_similarity(*grey), abs=2e-4)
    assert found["psnr"] == pytest.approx(peak_signal_noise_ratio(before, after), abs=1e-3)
    assert found["mean_level"] == pytest.approx(after.mean(), abs=1e-3)
    assert found["clipped"] == pytest.approx(np.isin(after, (0, 255)).mean(), abs=1e-6)


def test_the_same_picture_has_a_finite_psnr():
    assert Before(PHOTO).change(PHOTO) == {
        "psnr": MAX_DB,
        "ssim": 1.0,
        "mean_level": pytest.approx(PHOTO.mean(), abs=1e-3),
        "clipped": pytest.approx(np.isin(PHOTO, (0, 255)).mean(), abs=1e-6),
    }


@pytest.mark.parametrize(("height", "width"), [(256, 300), (301, 256), (256, 256)])
def test_a_frame_is_the_middle_of_a_picture_of_the_right_size(height, width):
    image = cv2.resize(PHOTO, (width, height), interpolation=cv2.INTER_AREA)
    top, left = round((height - 224) / 2), round((width - 224) / 2)
    np.testing.assert_array_equal(framed(sample(image), 224).image, image[top : top + 224, left : left + 224])


@pytest.mark.slow  # torchvision takes long to import
@pytest.mark.parametrize("size", [(300, 451), (451, 300), (256, 256), (224, 500), (100, 80), (333, 334)])
@pytest.mark.parametrize("frame", [224, 96, 33])
def test_a_frame_is_torchvision_s_resize_and_crop(size, frame):
    from torchvision.transforms import CenterCrop, Compose, Resize

    image = cv2.resize(PHOTO, size[::-1], interpolation=cv2.INTER_AREA)
    expected = Compose([Resize(round(frame * 256 / 224)), CenterCrop(frame)])(Image.fromarray(image))
    np.testing.assert_array_equal(framed(sample(image), frame).image, np.asarray(expected))


def test_without_a_frame_nothing_is_touched():
    found = framed(sample(PHOTO), None)
    assert found.image is PHOTO
    assert found.mask is None


@pytest.mark.parametrize("size", [(300, 451), (451, 300)])
def test_objects_and_the_mask_move_into_the_frame(size):
    height, width = size
    mask = np.zeros(size, bool)
    mask[height // 3 : height // 2, width // 3 : 2 * width // 3] = True
    box = (width / 3, height / 3, width / 3, height / 6)
    objects = (Object(box, "a"), Object(box, "b", mask=encode_mask(mask)), Object((0, 0, 2, 2), "gone"))
    image = mask[..., None].repeat(3, axis=2).astype(np.uint8) * 255
    given_ = sample(image, extras={"mask.png": image[..., 0]}, annotations=Annotations(objects))
    found = framed(given_, 224)
    seen = found.image[..., 0] > 127
    assert [item.label for item in found.annotations.objects] == ["a", "b"]
    for item in found.annotations.objects:
        said = region(item, 224, 224)
        assert (said & seen).sum() / (said | seen).sum() > 0.95
    np.testing.assert_array_equal(found.mask, found.image[..., 0])


@pytest.mark.parametrize(
    ("given_", "reason"),
    [
        (sample(b""), "no_picture"),
        (sample(PHOTO[:31, :100]), "too_small"),
        (sample(np.zeros((32, 44_000, 3), np.uint8)), "too_long"),
        (sample(PHOTO, extras={"mask.png": PHOTO[:50, :50, 0]}), "size_mismatch"),
        (sample(PHOTO, extras={"mask.png": b"no png"}), "not_an_image"),
        (sample(PHOTO, annotations=Annotations((Object((0, 0, 9, 9), mask="00"),))), "bad_mask"),
    ],
)
def test_a_picture_that_can_not_be_used_says_why(given_, reason):
    with pytest.raises(Unusable) as caught:
        framed(given_, 224)
    assert caught.value.reason == reason
