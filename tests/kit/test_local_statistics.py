"""A picture with another one's statistics: histogram, spectrum and local contrast come, what it shows stays."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.kit.pictures.local_statistics import with_histogram_of, with_statistics_of


def texture(seed, side=48):
    """A smooth picture with fine noise whose strength grows from left to right."""
    rng = np.random.default_rng(seed)
    smooth = cv2.GaussianBlur(rng.normal(0, 400, (side, side, 3)), (0, 0), 6)
    noise = rng.normal(0, 1, (side, side, 3)) * np.linspace(1, 12, side)[None, :, None]
    return np.clip(128 + smooth + noise, 0, 255).astype(np.uint8)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 99), st.sampled_from(["blur", "noise", "tone"]))
def test_the_statistics_come_and_the_picture_stays(seed, change):
    photograph = texture(seed)
    made = {
        "blur": cv2.GaussianBlur(photograph, (0, 0), 1.2),
        "noise": np.clip(photograph + np.random.default_rng(seed).normal(0, 9, photograph.shape), 0, 255),
        "tone": photograph * 0.6 + 50,
    }[change].astype(np.uint8)
    found = with_statistics_of(made, photograph)
    luma, like, before = (one.astype(float).mean(axis=2) for one in (found, photograph, made))
    assert abs(luma.mean() - like.mean()) < 1
    assert abs(luma.std() / like.std() - 1) < 0.03
    for part in (slice(0, 16), slice(32, 48)):  # left and right, where noise is faint and strong
        wanted, got, old = (cv2.Laplacian(one[:, part], cv2.CV_64F).std() for one in (like, luma, before))
        assert abs(np.log(got / wanted)) < max(0.5 * abs(np.log(old / wanted)), 0.12)
    assert np.corrcoef(luma.ravel(), before.ravel())[0, 1] > 0.8


def test_a_picture_has_its_own_statistics():
    photograph = texture(1)
    assert np.abs(with_statistics_of(photograph, photograph).astype(int) - photograph).max() <= 1
    flat = np.full((16, 16, 3), 90, np.uint8)
    assert np.abs(with_statistics_of(flat, flat).astype(int) - 90).max() <= 1
    with pytest.raises(ValueError, match="can't be compared"):
        with_statistics_of(photograph, flat)


def test_a_histogram_is_taken_exactly():
    one, other = texture(2), texture(3)
    found = with_histogram_of(one, other)
    for channel in range(3):
        assert np.array_equal(np.sort(found[..., channel], None), np.sort(other[..., channel], None))
        order = np.argsort(one[..., channel], axis=None, kind="stable")
        rising, levels = one[..., channel].ravel()[order], found[..., channel].ravel()[order].astype(int)
        tops = [levels[rising == level].max() for level in np.unique(rising)]
        floors = [levels[rising == level].min() for level in np.unique(rising)]
        assert all(floor >= top for top, floor in zip(tops, floors[1:], strict=False))  # brighter stays brighter
