"""Measure how much a picture differs from its original: PSNR, SSIM, mean level, clipped values.

Without them a severity means little for pictures of another size or kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

MAX_DB = 99.0
"""The largest PSNR that is recorded; that of identical pixels is infinite."""
BOX = 7
"""Side in pixels of the window that SSIM compares."""
SAMPLE = BOX**2 / (BOX**2 - 1)
"""From the variance of a window's values to the estimate from a sample."""
FLOOR = 2.0
"""Grey levels added to a window's deviation before the luminance is divided by it, so that noise isn't taken for
structure."""
SAME = 0.03**2
"""Keeps the comparison of structure finite where neither picture has any."""
STEADY = (0.01 * 255) ** 2, (0.03 * 255) ** 2
"""Keep SSIM finite where a window is black or flat (Wang et al., IEEE TIP 2004)."""


class Before:
    """A picture that others are compared with. What depends on it alone is computed once."""

    def __init__(self, image: Pixels) -> None:
        self.image = np.ascontiguousarray(image)
        self._light, self._mean, self._variance = _windows(self.image)

    def change(self, image: Pixels) -> Mapping[str, float]:
        """Measure the change against a picture of the same size, RGB `[H, W, 3]`, at least 7 pixels a side.

        Returns:
            `psnr` over all channels in dB, at most MAX_DB; `ssim` of the luminance, the mean over windows of 7 x 7
            pixels; `mean_level` of the picture, 0 to 255; `clipped`, the share of its values that are 0 or 255.
        """
        image = np.ascontiguousarray(image)
        error = cv2.norm(self.image, image, cv2.NORM_L2SQR) / image.size
        ends = image.size - np.count_nonzero((image - np.uint8(1)) < 254)  # 0 wraps around to 255
        return {
            "psnr": round(MAX_DB if error == 0 else min(MAX_DB, 10 * float(np.log10(255**2 / error))), 3),
            "ssim": round(self._ssim(image), 5),
            "mean_level": round(float(np.mean(cv2.mean(image)[:3])), 3),
            "clipped": round(float(ends) / image.size, 6),
        }

    def structure(self, image: Pixels) -> float:
        """SSIM of the luminance, normalised in windows of 7 x 7 pixels, so that brightness and contrast don't count.

        From each window its mean is subtracted, and the rest is divided by its deviation; then the SSIM of two windows
        is twice their covariance over the sum of their variances. 1 means that edges and textures are as before, 0 that
        nothing of them is left. The mean over windows is weighted by how much of each is structure in either picture.
        """
        light, mean, variance = _windows(np.ascontiguousarray(image))
        covariance = _inner(cv2.boxFilter(cv2.multiply(self._light, light, dtype=cv2.CV_32F), -1, (BOX, BOX)))
        covariance = (covariance - cv2.multiply(self._mean, mean)) * np.float32(SAMPLE)
        first, second = (cv2.sqrt(np.maximum(one, 0)) for one in (self._variance, variance))
        scales = first + np.float32(FLOOR), second + np.float32(FLOOR)
        shares = cv2.divide(first, scales[0]), cv2.divide(second, scales[1])
        total = shares[0] * shares[0] + shares[1] * shares[1]
        both = cv2.divide(covariance, scales[0] * scales[1])
        found = cv2.divide(2 * both + np.float32(SAME), total + np.float32(SAME))
        return float((found * total).sum() / max(float(total.sum()), 1e-9)) if total.any() else 1.0

    def _ssim(self, image: Pixels) -> float:
        light, mean, variance = _windows(image)
        product = cv2.boxFilter(cv2.multiply(self._light, light, dtype=cv2.CV_32F), -1, (BOX, BOX))
        means = cv2.multiply(self._mean, mean)
        covariance = (_inner(product) - means) * np.float32(2 * SAMPLE)
        covariance += np.float32(STEADY[1])
        covariance *= 2 * means + np.float32(STEADY[0])
        squares = self._mean * self._mean + mean * mean + np.float32(STEADY[0])
        squares *= self._variance + variance + np.float32(STEADY[1])
        return float(cv2.mean(cv2.divide(covariance, squares))[0])


def _windows(image: Pixels) -> tuple[Pixels, Singles, Singles]:
    """Luminance `[H, W]`, and its means and variances in windows that lie within the picture."""
    light = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    mean = np.ascontiguousarray(_inner(cv2.boxFilter(light, cv2.CV_32F, (BOX, BOX))))
    squares = _inner(cv2.sqrBoxFilter(light, cv2.CV_32F, (BOX, BOX)))
    return light, mean, (squares - mean * mean) * np.float32(SAMPLE)


def _inner(values: Singles) -> Singles:
    edge = BOX // 2
    return values[edge:-edge, edge:-edge]
