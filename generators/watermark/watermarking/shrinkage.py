"""Noise taken out of pictures by shrinking wavelet coefficients, with thresholds of BayesShrink.

Chang, Yu & Vetterli, IEEE TIP 2000. The wavelet is Haar's without subsampling, so that no blocks show; this is the mean
over all shifts of the picture (Coifman & Donoho, 1995).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

LEVELS = 4
"""Of the transform; the coarsest bands span 16 pixels."""
REACH = 2**LEVELS - 1
"""Pixels on each side that a picture is mirrored by; the transform uses them up."""


def shrunk(image: Pixels, deviation: float) -> Pixels:
    """The picture without what may be noise of this deviation in grey levels.

    Args:
        image: RGB `[H, W, 3]` uint8, more than 15 pixels a side.
        deviation: of noise that is independent in all pixels, and in Y, Cr and Cb.
    """
    wider = cv2.copyMakeBorder(image, REACH, REACH, REACH, REACH, cv2.BORDER_REFLECT_101)
    channels = cv2.split(cv2.cvtColor(wider.astype(np.float32), cv2.COLOR_RGB2YCrCb))
    found = cv2.merge([_shrunk(channel, deviation, 0) for channel in channels])
    return np.asarray(cv2.add(cv2.cvtColor(found, cv2.COLOR_YCrCb2RGB), 0.0, dtype=cv2.CV_8U))


def _shrunk(values: Singles, deviation: float, level: int) -> Singles:
    """One level of a channel and all below it: the low band goes on, and the three others are shrunk.

    Bands are sums and differences, not divided, so noise doubles from level to level. Each has `step` fewer rows and
    columns than the values, and what is put together again `step` fewer than the bands.
    """
    if level == LEVELS:
        return values
    step = 1 << level
    low, high = values[:-step] + values[step:], values[:-step] - values[step:]
    smooth, across = low[:, :-step] + low[:, step:], low[:, :-step] - low[:, step:]
    down, both = high[:, :-step] + high[:, step:], high[:, :-step] - high[:, step:]
    deviation *= 2
    smooth = _shrunk(smooth, deviation, level + 1)
    edge = (across.shape[0] - smooth.shape[0]) // 2
    inner = (slice(edge, edge + smooth.shape[0]), slice(edge, edge + smooth.shape[1]))
    across, down, both = (_softened(band, deviation)[inner] for band in (across, down, both))
    low = _joined(smooth.T, across.T, step).T
    high = _joined(down.T, both.T, step).T
    return _joined(low, high, step) * np.float32(1 / 16)


def _joined(low: Singles, high: Singles, step: int) -> Singles:
    """Four times the mean of the two values that the bands give at each row."""
    return low[step:] + high[step:] + low[:-step] - high[:-step]


def _softened(band: Singles, deviation: float) -> Singles:
    """The band with values moved towards 0 by BayesShrink's threshold: the noise's variance over the deviation."""
    energy = cv2.norm(band, cv2.NORM_L2SQR) / band.size
    signal = float(np.sqrt(max(energy - deviation**2, 0)))
    if signal == 0:
        return np.zeros_like(band)
    limit = deviation**2 / signal
    return band - np.clip(band, np.float32(-limit), np.float32(limit))
