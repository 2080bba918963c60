"""Measure a picture's loss against another: PSNR, SSIM, normalised mutual information, largest difference, WAVES' Q.

Q puts metrics of different kinds on one scale, as in WAVES (An et al., ICML 2024, arXiv 2401.08573): 0.1 is hardly any
loss and 0.9 a lot. It is a weighted mean; metrics that weren't measured are left out and the other weights grow.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Array, Floats, Pixels, Singles

MAX_DB = 99.0
"""The largest PSNR that is recorded; that of identical pixels is infinite."""
WINDOW, SIGMA = 11, 1.5
"""Side and deviation in pixels of the Gaussian window of `ssim`."""
BOX = 7
"""Side in pixels of the flat window of `ssim_rgb`."""
STEADY = (0.01 * 255) ** 2, (0.03 * 255) ** 2
"""Keep SSIM finite where a window is black or flat."""
BINS = 100
"""Of the histograms of normalised mutual information, by axis."""


class Anchor(NamedTuple):
    """WAVES' scale of a metric.

    Attributes:
        low: its value at Q's 0.1.
        high: its value at Q's 0.9.
        weight: in Q; the weights sum to 1.
    """

    low: float
    high: float
    weight: float


ANCHORS: Mapping[str, Anchor] = {
    "fid": Anchor(1.2018, 53.4025, 1 / 8),
    "clip_fid": Anchor(0.28221, 19.01775, 1 / 8),
    "psnr": Anchor(41.97327, 12.14651, 1 / 12),
    "ssim": Anchor(0.979444, 0.322308, 1 / 12),
    "nmi": Anchor(1.706873, 1.064580, 1 / 12),
    "lpips": Anchor(0.017960, 0.620569, 1 / 4),
    "aesthetics": Anchor(0.024199, 1.823325, 1 / 8),
    "artifacts": Anchor(0.001897, -0.581003, 1 / 8),
}
"""The eight metrics of WAVES' Q; `aesthetics` and `artifacts` are differences to the picture before."""
MEANS = {"ssim": "ssim_rgb"}
"""Metrics that WAVES computes in a way of its own, and what that is called here."""


class Reference:
    """A picture that others are compared with. What depends on it alone is computed once."""

    def __init__(self, image: Pixels) -> None:
        self.image = np.ascontiguousarray(image)

    def quality(self, image: Pixels) -> dict[str, float]:
        """Measure the quality left in another picture of this size, RGB `[H, W, 3]` uint8, at least 11 pixels a side.

        Returns:
            `psnr` over all channels in dB, at most MAX_DB; `ssim`, `ssim_rgb` and `nmi`, see the methods; `linf`, the
            largest difference of a value, 0 to 255. Rounded, so that they are the same on every processor.
        """
        image = np.ascontiguousarray(image)
        return {
            "psnr": round(psnr(self.image, image), 3),
            "ssim": round(self.ssim(image), 5),
            "ssim_rgb": round(self.ssim_rgb(image), 5),
            "nmi": round(self.nmi(image), 5),
            "linf": linf(self.image, image),
        }

    def ssim(self, image: Pixels) -> float:
        """Structural similarity of the luminance: the mean over Gaussian windows of 11 x 11 pixels, deviation 1.5.

        After Wang et al., IEEE TIP 2004. Windows that reach over the border don't count. It is that of scikit-image
        with `gaussian_weights` and without `use_sample_covariance`.
        """
        return _similarity(self._light, _Windows.gaussian(image))

    def ssim_rgb(self, image: Pixels) -> float:
        """Structural similarity over flat windows of 7 x 7 pixels in R, G and B, scikit-image's default and WAVES'."""
        pairs = zip(self._colours, _Windows.flat(image), strict=True)
        return float(np.mean([_similarity(one, other) for one, other in pairs]))

    def nmi(self, image: Pixels) -> float:
        """Normalised mutual information of all values (Studholme et al. 1999): 2 for equal pictures, 1 for unrelated.

        Values are counted in 100 bins between the smallest and the largest value of each picture, as in scikit-image.
        """
        bins, entropy = _binned(image)
        own_bins, own_entropy = self._binning
        joint = np.bincount((own_bins * BINS + bins).ravel(), minlength=BINS * BINS)
        both = _entropy(joint)
        if both == 0:  # two flat pictures
            return 2.0 if np.array_equal(self.image, image) else 1.0
        return (own_entropy + entropy) / both

    @cached_property
    def _light(self) -> _Windows:
        return _Windows.gaussian(self.image)

    @cached_property
    def _colours(self) -> list[_Windows]:
        return _Windows.flat(self.image)

    @cached_property
    def _binning(self) -> tuple[Array, float]:
        return _binned(self.image)


def psnr(before: Pixels, after: Pixels) -> float:
    """Peak signal-to-noise ratio over all values in dB, at most MAX_DB."""
    error = float(cv2.norm(before, after, cv2.NORM_L2SQR)) / before.size
    return MAX_DB if error == 0 else min(MAX_DB, max(0.0, 10 * float(np.log10(255**2 / error))))


def linf(before: Pixels, after: Pixels) -> float:
    """The largest difference of a value, 0 to 255."""
    return float(cv2.norm(before, after, cv2.NORM_INF))


def q_norm(metric: str, value: float) -> float:
    """A metric on WAVES' scale: 0.1 and 0.9 at its anchors, straight on beyond them.

    Raises:
        ValueError: a metric that Q doesn't have.
    """
    if metric not in ANCHORS:
        raise ValueError(f"Q has no metric {metric!r}; there are: {', '.join(ANCHORS)}")
    low, high, _ = ANCHORS[metric]
    return 0.1 + 0.8 * (value - low) / (high - low)


def q(metrics: Mapping[str, float | None]) -> tuple[float | None, list[str]]:
    """WAVES' Q from the metrics that there are, and their names.

    Args:
        metrics: by name, any of ANCHORS; others are passed over, as are those that are None or not finite. The anchors
            of SSIM are for `ssim_rgb`, which is taken if it is there.

    Returns:
        The weighted mean of their `q_norm`, with weights that sum to 1; None without any.
    """
    found: dict[str, float] = {}
    for name in ANCHORS:
        value = metrics.get(MEANS.get(name, name), metrics.get(name))
        if value is not None and np.isfinite(value):
            found[name] = q_norm(name, value)
    if not found:
        return None, []
    weight = sum(ANCHORS[name].weight for name in found)
    return sum(ANCHORS[name].weight * value for name, value in found.items()) / weight, list(found)


class _Windows:
    """Means and variances of one channel in windows that lie within the picture."""

    def __init__(self, values: Singles, side: int, sigma: float) -> None:
        self.values, self.side, self.sigma = values, side, sigma
        self.mean = self.smooth(values)
        self.squared = cv2.multiply(self.mean, self.mean)
        self.variance = cv2.subtract(self.smooth(cv2.multiply(values, values)), self.squared)

    @classmethod
    def gaussian(cls, image: Pixels) -> _Windows:
        """Gaussian windows of the luminance of ITU-R BT.601, in whole levels."""
        light = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
        return cls(light.astype(np.float32), WINDOW, SIGMA)

    @classmethod
    def flat(cls, image: Pixels) -> list[_Windows]:
        """Flat windows of each channel."""
        return [cls(channel.astype(np.float32), BOX, 0.0) for channel in cv2.split(image)]

    def smooth(self, values: Singles) -> Singles:
        """The weighted mean in each window."""
        size, edge = (self.side, self.side), self.side // 2
        soft = cv2.GaussianBlur(values, size, self.sigma) if self.sigma else cv2.boxFilter(values, -1, size)
        return np.ascontiguousarray(soft[edge:-edge, edge:-edge])


def _similarity(one: _Windows, other: _Windows) -> float:
    """The mean of SSIM over all windows."""
    if min(one.values.shape[:2]) < one.side:
        raise ValueError(f"SSIM needs {one.side} pixels a side, not {min(one.values.shape[:2])}")
    # flat windows have the variance that is estimated from a sample
    estimate = 1.0 if one.sigma else one.side**2 / (one.side**2 - 1)
    means = cv2.multiply(one.mean, other.mean)
    covariance = cv2.subtract(one.smooth(cv2.multiply(one.values, other.values)), means)
    top = means * np.float32(2) + np.float32(STEADY[0])
    top *= covariance * np.float32(2 * estimate) + np.float32(STEADY[1])
    below = one.squared + other.squared + np.float32(STEADY[0])
    below *= (one.variance + other.variance) * np.float32(estimate) + np.float32(STEADY[1])
    return float(cv2.mean(cv2.divide(top, below))[0])


def _binned(image: Pixels) -> tuple[Array, float]:
    """Each value's bin, and the entropy of the bins in nats."""
    counts = np.bincount(image.ravel(), minlength=256)
    present = np.flatnonzero(counts)
    low, high = float(present[0]), float(present[-1])
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, BINS + 1)
    places = np.clip(np.searchsorted(edges, np.arange(256.0), side="right") - 1, 0, BINS - 1)
    found = np.bincount(places, weights=counts, minlength=BINS)
    return np.take(places.astype(np.int32), image), _entropy(found)


def _entropy(counts: Array) -> float:
    shares: Floats = counts[counts > 0] / counts.sum()
    return float(-np.sum(shares * np.log(shares)))
