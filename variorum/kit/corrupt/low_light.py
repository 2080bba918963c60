"""Less light on a sensor: shorter exposure, shot and read noise, whole steps of a converter. And simple ways back.

Light is multiplied and noise added in linear light; the result is a file of grey levels. The noise is that of a
camera's sensor as Brooks et al. sample it (Unprocessing Images for Learned Raw Denoising, CVPR 2019, arXiv 1811.11127),
but on the pixels of a finished picture: a real camera adds it before the colours are interpolated and balanced.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp, log, log10
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from variorum.kit.corrupt.linear_light import to_linear, to_srgb
from variorum.kit.corrupt.noise import normal
from variorum.kit.corrupt.outcome import in_three, is_grey

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

SHOT = (1e-4, 1.2e-2)
"""Least and largest shot noise that is sampled; its logarithm is uniform."""
SLOPE, OFFSET, SCATTER = 2.18, 1.20, 0.26
"""The logarithm of the read noise is about `SLOPE * log(shot) + OFFSET`, with this standard deviation."""
GREY = 0.45
"""The mean that `gamma` aims at, as a share of the range of levels."""
EXPONENTS = (0.05, 20.0)
"""Least and largest exponent of `gamma`."""
LEVELS = np.arange(256, dtype=np.uint8)
LEAST_POWER = 1e-12
"""Keeps the ratio finite for a picture without light."""


class Sensor(NamedTuple):
    """The noise of a sensor on one picture: its variance is `shot * light + read`, for light in [0, 1].

    Attributes:
        shot: that of the photons.
        read: that of the electronics.
        drawn: standard normal numbers, one for each value of the picture: `[H, W, 3]`, or `[H, W]` for a grey one.
    """

    shot: float
    read: float
    drawn: Singles


class Darkened(NamedTuple):
    """A picture with less light.

    Attributes:
        image: RGB `[H, W, 3]` uint8.
        snr_db: power of the light over that of the noise before anything is cut off, in dB; None without noise.
    """

    image: Pixels
    snr_db: float | None


def sampled(rng: np.random.Generator) -> tuple[float, float]:
    """Shot and read noise of some sensor, as Brooks et al. sample them."""
    shot = rng.uniform(log(SHOT[0]), log(SHOT[1]))
    return exp(shot), exp(SLOPE * shot + OFFSET + SCATTER * rng.standard_normal())


def sensor(image: Pixels, noise: tuple[float, float] | None, rng: np.random.Generator) -> Sensor:
    """A sensor for a picture, RGB `[H, W, 3]`, with this shot and read noise, or a sampled one for None.

    The three channels are drawn independently. A grey picture has one, and stays grey.
    """
    shot, read = noise or sampled(rng)
    return Sensor(shot, read, normal(rng, image.shape[:2] if is_grey(image) else image.shape))


def darkened(image: Pixels, exposure: float, *, bits: int, by: Sensor | None = None) -> Darkened:
    """The picture with less light.

    Args:
        image: RGB `[H, W, 3]` uint8.
        exposure: stops of light that are taken away: each halves it.
        bits: of the converter, 16 at most: linear light has `2 ** bits` steps.
        by: the sensor, which may be the same for all exposures; None for one without noise.
    """
    light = to_linear(LEVELS) * np.float32(2.0**-exposure)
    if by is None:
        return Darkened(np.asarray(cv2.LUT(image, _file(light, bits))), None)
    values = image[..., 0] if by.drawn.ndim == 2 else image
    dark = cv2.LUT(values, light)
    noise = cv2.LUT(values, np.sqrt(by.shot * light + by.read, dtype=np.float32))
    noise *= by.drawn
    signal, power = (cv2.norm(one, cv2.NORM_L2SQR) for one in (dark, noise))
    noise += dark
    pixels = _file(noise, bits)
    snr_db = 10 * log10(max(signal, LEAST_POWER) / max(power, LEAST_POWER))
    return Darkened(in_three(pixels) if pixels.ndim == 2 else pixels, snr_db)


def linear_gain(image: Pixels, exposure: float) -> Pixels:
    """The light multiplied by `2 ** exposure`; what is brighter than white is cut off."""
    return np.asarray(cv2.LUT(image, to_srgb(to_linear(LEVELS) * np.float32(2.0**exposure))))


def gamma(image: Pixels, mean: float = GREY) -> tuple[Pixels, float]:
    """The grey levels raised to the power that gives them this mean, as a share of their range, and the exponent.

    The exponent stays within EXPONENTS. A picture with more black than `1 - mean` can't get there.
    """
    counts = np.bincount(image.reshape(-1), minlength=256)
    levels = np.arange(256) / 255
    low, high = EXPONENTS
    for _ in range(40):
        exponent = (low * high) ** 0.5
        if counts @ levels**exponent > mean * counts.sum():
            low = exponent
        else:
            high = exponent
    table = np.rint(255 * levels**high).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table)), high


def _file(light: Singles, bits: int) -> Pixels:
    """Grey levels of linear light after a converter, of the same shape."""
    steps = cv2.multiply(light, 1.0, scale=(1 << bits) - 1, dtype=cv2.CV_16U)
    return np.asarray(_levels(bits)[steps].reshape(light.shape))


@lru_cache(maxsize=9)
def _levels(bits: int) -> Pixels:
    """Grey levels by the converter's step, `[65536]`; steps beyond the last are white."""
    last = (1 << bits) - 1
    return to_srgb((np.minimum(np.arange(1 << 16), last) / last).astype(np.float32)).reshape(-1)
