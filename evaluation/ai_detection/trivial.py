"""Measure what is trivial in a picture: file size, tones, sharpness, residuals, spectrum; nothing of what it shows.

An arm that these numbers tell from its photographs has a shortcut: a detector that finds the arm may have found how
models smooth, and not that something was generated. So they are fitted like any detector and stand beside all others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from variorum.evaluation.ai_detection.features import power, ring_power
from variorum.kit.pictures import jpeg_grid

if TYPE_CHECKING:
    from variorum.arrays import Floats, Pixels, Singles

RINGS = 16, 6, 6
"""Of the spectrum of luma, red and blue difference."""
BLOCK = 16
TINY = 1e-3


def trivial_features(image: Pixels) -> Singles:
    """Numbers of an RGB picture `[H, W, 3]` that say nothing of what it shows, `[89]`."""
    ycc = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb).astype(np.float64)
    luma, red, blue = (np.ascontiguousarray(ycc[..., channel]) for channel in range(3))
    found = [*_codec(image, luma), *_tone(image, luma, red, blue), *_detail(image, luma), *_residual(image, luma)]
    for channel, rings in zip((luma, red, blue), RINGS, strict=True):
        found += ring_power(power(channel), luma.shape[1], rings).tolist()
    found += _directions(luma)
    return np.nan_to_num(np.asarray(found, np.float32), posinf=0.0, neginf=0.0)


def _codec(image: Pixels, luma: Floats) -> list[float]:
    """Sizes as files, and JPEG's grid."""
    colours = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    jpegs = [cv2.imencode(".jpg", colours, [cv2.IMWRITE_JPEG_QUALITY, quality])[1] for quality in (50, 75, 95)]
    sizes = [len(data) for data in (cv2.imencode(".png", colours)[1], *jpegs)]
    grid = jpeg_grid.traces(luma) if min(luma.shape) >= jpeg_grid.LEAST_SIDE else {"comb": 0.0}
    return [*np.log(sizes).tolist(), *(grid.get(name, 0.0) for name in ("comb", "zeros", "blockiness"))]


def _tone(image: Pixels, luma: Floats, red: Floats, blue: Floats) -> list[float]:
    """Moments of luma, colours and saturation, and the histogram of grey levels."""
    saturation = (image.max(axis=2) - image.min(axis=2)).astype(np.float64)
    moments = [one for channel in (luma, red, blue, saturation) for one in _moments(channel)]
    counts = np.bincount(luma.astype(np.int64).ravel(), minlength=256) / luma.size
    ranges = (slice(0, 1), slice(0, 4), slice(1, 17), slice(252, 256), slice(255, 256))
    shares = [_log(counts[part].sum()) for part in ranges]
    entropy = -float((counts * np.log(np.maximum(counts, 1e-12))).sum())
    rough = float(np.abs(counts[1:-1] - (counts[:-2] + counts[2:]) / 2).sum())
    return [*moments, *shares, float((counts > 0).mean()), entropy, rough]


def _detail(image: Pixels, luma: Floats) -> list[float]:
    """Sharpness by channel, steps between neighbours, and the share of flat ones."""
    sharp = [_log(cv2.Laplacian(image[..., channel], cv2.CV_64F).var()) for channel in range(3)]
    steps = [np.abs(np.diff(luma, axis=axis)) for axis in (0, 1)]
    return [*sharp, *(_log(one.mean()) for one in steps), *(float((one < 0.5).mean()) for one in steps)]


def _residual(image: Pixels, luma: Floats) -> list[float]:
    """What a median and a blur leave: how much, how it is spread over the picture, how neighbours correlate."""
    noise = image.astype(np.float64) - cv2.medianBlur(image, 3)
    grey = noise @ jpeg_grid.LUMA
    found = [_log(noise[..., channel].std()) for channel in range(3)]
    found += [float(grey.mean()), _moments(grey)[3]]
    found += [_correlation(noise[..., one], noise[..., one + 1]) for one in (0, 1)]
    fine = luma - cv2.GaussianBlur(luma, (0, 0), 1)
    found += [_log(fine.std()), *_moments(fine)[2:]]
    height, width = fine.shape
    for down, right in ((0, 1), (1, 0), (1, 1), (0, 2)):
        found.append(_correlation(fine[down:, right:], fine[: height - down, : width - right]))
    rows, columns = (max(side // BLOCK, 1) for side in fine.shape)
    blocks = [part for row in np.array_split(fine, rows) for part in np.array_split(row, columns, axis=1)]
    found += np.log(np.quantile([block.std() for block in blocks], (0.05, 0.25, 0.5, 0.75, 0.95)) + TINY).tolist()
    edge = max(min(fine.shape) // 16, 1)
    inside = np.abs(fine[edge:-edge, edge:-edge]).mean()
    whole = np.abs(fine).sum() - inside * (height - 2 * edge) * (width - 2 * edge)
    border = whole / (fine.size - (height - 2 * edge) * (width - 2 * edge))
    return [*found, _log(border) - _log(inside)]


def _directions(luma: Floats) -> list[float]:
    """Power along diagonals over that along axes, and that at half a cycle per pixel across and down."""
    strength = power(luma)
    down, across = np.abs(np.fft.fftfreq(luma.shape[0]))[:, None], np.fft.rfftfreq(luma.shape[1])[None]
    high = np.hypot(down, across) > 0.125
    angle = np.minimum(down, across) / np.maximum(np.maximum(down, across), 1e-9)
    means = [_log(strength[high & part].mean()) for part in (angle > 0.5, angle <= 0.5)]
    middle = _log(strength[high].mean())
    return [
        means[0] - means[1],
        _log(strength[:, -1].mean()) - middle,
        _log(strength[luma.shape[0] // 2].mean()) - middle,
    ]


def _moments(values: Floats) -> list[float]:
    """Mean, log deviation, skew and kurtosis."""
    mean, deviation = float(values.mean()), float(values.std())
    scaled = (values - mean) / max(deviation, TINY)
    square = scaled * scaled  # powers of floats take ten times as long
    return [mean, _log(deviation), float((square * scaled).mean()), float(np.log((square * square).mean() + TINY))]


def _correlation(one: Floats, other: Floats) -> float:
    one, other = one - one.mean(), other - other.mean()
    return float((one * other).mean() / max(np.sqrt((one**2).mean() * (other**2).mean()), TINY))


def _log(value: float) -> float:
    return float(np.log(value + TINY))
