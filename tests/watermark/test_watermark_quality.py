"""PSNR, SSIM and NMI against scikit-image, and the constants of Q."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data
import skimage.metrics
from hypothesis import given
from hypothesis import strategies as st

from variorum.generators.watermark.watermarking.quality import (
    ANCHORS,
    MAX_DB,
    Reference,
    psnr,
    q,
    q_norm,
)
from variorum.kit.corrupt.digital import as_jpeg

PHOTOGRAPHS = [
    np.ascontiguousarray(getattr(skimage.data, name)()[40:296, 60:300]) for name in ("chelsea", "coffee", "rocket")
]
CHANGES = {
    "jpeg": lambda image: as_jpeg(image, 30),
    "blur": lambda image: cv2.GaussianBlur(image, (0, 0), 3),
    "dark": lambda image: image // 3,
    "flat": lambda image: np.full_like(image, 90),
    "one level": lambda image: np.where(image < 255, image + 1, image).astype(np.uint8),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("photograph", range(3))
def test_they_are_those_of_scikit_image(photograph, change):
    before = PHOTOGRAPHS[photograph]
    after = CHANGES[change](before)
    light = [cv2.cvtColor(one, cv2.COLOR_RGB2GRAY) for one in (before, after)]
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    wanted = {
        "psnr": skimage.metrics.peak_signal_noise_ratio(before, after),
        "ssim": skimage.metrics.structural_similarity(*light, **gaussian),
        "ssim_rgb": skimage.metrics.structural_similarity(before, after, channel_axis=2),
        "nmi": skimage.metrics.normalized_mutual_information(before, after),
        "linf": np.abs(before.astype(int) - after).max(),
    }
    assert Reference(before).quality(after) == pytest.approx(wanted, abs=1e-4, rel=1e-4)


def test_equal_pictures_and_flat_ones():
    for image in (PHOTOGRAPHS[0], np.full((40, 50, 3), 7, np.uint8)):
        found = Reference(image).quality(image.copy())
        assert found == pytest.approx({"psnr": MAX_DB, "ssim": 1, "ssim_rgb": 1, "nmi": 2, "linf": 0}, abs=1e-5)
    white, black = np.full((40, 50, 3), 255, np.uint8), np.zeros((40, 50, 3), np.uint8)
    assert Reference(white).nmi(black) == 1
    assert psnr(white, black) == 0
    with pytest.raises(ValueError, match="SSIM needs 11 pixels a side, not 10"):
        Reference(white[:10]).ssim(black[:10])


def test_constants_of_q():
    assert sum(anchor.weight for anchor in ANCHORS.values()) == pytest.approx(1)
    for metric, (low, high, _) in ANCHORS.items():
        assert q_norm(metric, low) == pytest.approx(0.1)
        assert q_norm(metric, high) == pytest.approx(0.9)
    assert ANCHORS["psnr"] == (41.97327, 12.14651, 1 / 12)
    assert ANCHORS["lpips"].weight == 3 * ANCHORS["ssim"].weight
    with pytest.raises(ValueError, match="no metric 'linf'; there are: fid"):
        q_norm("linf", 3)


def test_q_is_a_weighted_mean_of_what_there_is():
    lows = {metric: anchor.low for metric, anchor in ANCHORS.items()}
    assert q(lows) == (pytest.approx(0.1), list(ANCHORS))
    assert q({"psnr": ANCHORS["psnr"].high, "lpips": ANCHORS["lpips"].low}) == (
        pytest.approx((0.9 / 12 + 0.1 / 4) / (1 / 12 + 1 / 4)),
        ["psnr", "lpips"],
    )
    assert q({}) == (None, [])
    assert q({"linf": 3.0, "psnr": None, "nmi": float("nan")}) == (None, [])
    assert q({"ssim": 0.3, "ssim_rgb": ANCHORS["ssim"].low}) == (pytest.approx(0.1), ["ssim"])
    assert q({"ssim": ANCHORS["ssim"].high}) == (pytest.approx(0.9), ["ssim"])


@given(st.sampled_from(sorted(ANCHORS)), st.floats(0, 1), st.floats(0, 1))
def test_a_worse_value_has_a_higher_q(metric, one, other):
    low, high, _ = ANCHORS[metric]
    better, worse = sorted((one, other))
    values = [low + share * (high - low) for share in (better, worse)]
    assert q_norm(metric, values[0]) <= q_norm(metric, values[1]) + 1e-12
