"""Four kinds of noise of ImageNet-C (Hendrycks & Dietterich, ICLR 2019, arXiv 1903.12261).

Values are drawn through tables of quantiles, several times as fast as one by one: 16 random bits choose one of 65,536
quantiles of the normal distribution, and 12 bits one of 4,096 of a Poisson distribution. The three channels are drawn
independently; a grey picture has one, and stays grey.
"""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from variorum.kit.corrupt.outcome import Corrupted, Strength, in_three, is_grey

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from variorum.arrays import Array, Floats, Pixels

BITS = 16
"""Random bits for a normal value."""
POISSON_BITS = 12
"""Random bits for a Poisson value. The tables of all levels then fit a processor's cache."""


def gaussian_noise(image: Pixels, strength: Strength, rng: np.random.Generator, scale: float) -> Corrupted:
    """Normal noise. `strength`: its standard deviation as a share of the range of levels."""
    (deviation,) = strength
    values = _values(image)
    noise = np.take(_normal_levels(deviation), random_bits(rng, values.shape))
    return _made(cv2.add(values, noise, dtype=cv2.CV_8U))


def shot_noise(image: Pixels, strength: Strength, rng: np.random.Generator, scale: float) -> Corrupted:
    """Poisson noise. `strength`: the mean number of photons where the picture is white."""
    (photons,) = strength
    values = _values(image)
    place = values.astype(np.intp)
    place <<= POISSON_BITS
    place |= random_bits(rng, values.shape) >> (BITS - POISSON_BITS)
    return _made(np.take(_poisson_levels(photons), place))


def impulse_noise(image: Pixels, strength: Strength, rng: np.random.Generator, scale: float) -> Corrupted:
    """Salt and pepper in equal parts. `strength`: the share of values that become 0 or 255."""
    (amount,) = strength
    values = _values(image)
    random, half = random_bits(rng, values.shape), round(amount * (1 << BITS) / 2)
    salt = (random < half).view(np.uint8)
    pepper = (random >= (1 << BITS) - half).view(np.uint8)
    np.negative(salt, out=salt)  # 1 becomes 255
    pepper -= np.uint8(1)  # 1 becomes 0, and 0 becomes 255
    salt |= values
    salt &= pepper
    return _made(salt)


def speckle_noise(image: Pixels, strength: Strength, rng: np.random.Generator, scale: float) -> Corrupted:
    """Normal noise that is as strong as the light. `strength`: its deviation as a share of each value."""
    (deviation,) = strength
    values = _values(image)
    factors = np.take(_factors(deviation), random_bits(rng, values.shape))
    return _made(cv2.multiply(values, factors, dtype=cv2.CV_8U))


def random_bits(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.uint16]:
    """Random 16-bit numbers, four from each word of the generator, which is the fastest way to have them."""
    count = int(np.prod(shape))
    words = rng.bit_generator.random_raw(-(-count // 4))
    return np.asarray(words).view(np.uint16)[:count].reshape(shape)


def normal(rng: np.random.Generator, shape: tuple[int, ...], mean: float = 0.0, deviation: float = 1.0) -> Array:
    """Normal values in float32 by 65,536 quantiles; none is more than 4.3 deviations from the mean."""
    return np.take(_table(mean, deviation), random_bits(rng, shape))


@lru_cache(maxsize=1)
def _quantiles() -> Floats:
    """Those of the standard normal distribution in the middle of 65,536 equal shares."""
    half, inverse = 1 << (BITS - 1), NormalDist().inv_cdf
    upper = np.array([inverse((half + place + 0.5) / (2 * half)) for place in range(half)])
    return np.concatenate([-upper[::-1], upper])


@lru_cache(maxsize=32)
def _table(mean: float, deviation: float) -> NDArray[np.float32]:
    return (mean + deviation * _quantiles()).astype(np.float32)


@lru_cache(maxsize=32)
def _normal_levels(deviation: float) -> NDArray[np.int16]:
    """In whole levels: the picture's own are whole, so that the sum is rounded once."""
    return np.rint(255 * deviation * _quantiles()).astype(np.int16)


@lru_cache(maxsize=32)
def _factors(deviation: float) -> NDArray[np.float32]:
    return _table(1.0, deviation)


@lru_cache(maxsize=16)
def _poisson_levels(photons: float) -> Pixels:
    """Levels by the picture's level and quantile, `[256 * 4096]`."""
    shares = (np.arange(1 << POISSON_BITS) + 0.5) / (1 << POISSON_BITS)
    most = int(photons + 12 * photons**0.5 + 12)
    numbers = np.arange(1, most + 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log(numbers))])  # of factorials
    rows: list[Any] = [np.zeros(len(shares), np.int64)]
    for level in range(1, 256):
        rate = level / 255 * photons
        chances = np.exp(np.arange(most + 1) * np.log(rate) - rate - logs)
        rows.append(np.searchsorted(np.cumsum(chances), shares))
    return np.asarray(np.rint(255 * np.minimum(np.concatenate(rows) / photons, 1)), np.uint8)


def _values(image: Pixels) -> Pixels:
    """The picture, or one channel of a grey one."""
    return np.ascontiguousarray(image[..., 0]) if is_grey(image) else image


def _made(values: Array) -> Corrupted:
    return Corrupted(np.asarray(values) if values.ndim == 3 else in_three(values))
