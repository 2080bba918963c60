"""Give a picture the statistics of another one that shows the same thing: local contrast, spectrum and histogram.

What a model made of a photograph is smoother, noisier or otherwise toned than the photograph, by different amounts in
different places. A detector that finds this hasn't found generation. So the differences are taken away where they are,
band by band; taking them away for the whole picture at once leaves most of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Array, Floats, Pixels, Singles

SIGMAS = 0.8, 1.6, 3.2, 6.4
"""Deviations in pixels of the blurs whose differences are the bands."""
WINDOW = 2.0
"""Deviation of the window in which a band's energy is taken, as a multiple of the band's own."""
SMOOTH = 5.0
"""Deviation of the window over frequencies in which the spectrum is taken, in steps of the transform."""
ROUNDS = 2
"""Each step undoes a part of the others."""
STRONGEST = 4.0
"""Factor by which a band or a frequency is at most amplified or weakened."""
FAINT = 0.01
"""Energy, in grey levels squared, that is added to both sides, so that nothing is made of nothing."""


def with_statistics_of(image: Pixels, other: Pixels) -> Pixels:
    """The picture with the other's energy in four bands around each pixel, its smoothed spectrum and its histogram.

    Args:
        image: RGB `[H, W, 3]` uint8; what it shows stays.
        other: of the same size, showing the same thing.

    Raises:
        ValueError: the two differ in size.
    """
    if image.shape != other.shape:
        raise ValueError(f"pictures of {image.shape[:2]} and {other.shape[:2]} can't be compared pixel by pixel")
    channels = []
    for one, like in zip(_channels(image), _channels(other), strict=True):
        for _ in range(ROUNDS):
            one = _ranked(_spectral(_banded(one, like), like), like)
        channels.append(one)
    pixels = cv2.cvtColor(np.stack(channels, axis=-1) / 255, cv2.COLOR_YCrCb2RGB)
    return np.asarray(np.rint(np.clip(pixels, 0, 1) * 255), np.uint8)


def with_histogram_of(image: Pixels, other: Pixels) -> Pixels:
    """The picture `[H, W, C]` with exactly the other's levels in each channel, given by rank; both have one size."""
    return np.ascontiguousarray(np.stack([_ranked(one, like) for one, like in zip(image.T, other.T, strict=True)]).T)


def _channels(image: Pixels) -> list[Singles]:
    """Luma and both colour differences, float32 in grey levels."""
    ycc = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2YCrCb) * 255
    return [np.ascontiguousarray(ycc[..., channel]) for channel in range(3)]


def _banded(one: Singles, like: Singles) -> Singles:
    """With the energy of each band in a window around each pixel."""
    levels, wanted = ([channel, *(_blurred(channel, sigma) for sigma in SIGMAS)] for channel in (one, like))
    made: Singles = levels[-1]
    for place, sigma in enumerate(SIGMAS):
        band, band_like = (found[place] - found[place + 1] for found in (levels, wanted))
        energy, energy_like = (_blurred(found**2, WINDOW * sigma) for found in (band, band_like))
        made = np.asarray(made + band * _gain(energy_like, energy), np.float32)
    return made


def _spectral(one: Singles, like: Singles) -> Singles:
    """With the power of each region of frequencies; the mean stays."""
    mean = one.mean()
    transform, transform_like = (np.fft.rfft2(channel - channel.mean()) for channel in (one, like))
    power, power_like = (_around(np.abs(found) ** 2 / one.size) for found in (transform, transform_like))
    return np.asarray(np.fft.irfft2(transform * _gain(power_like, power), one.shape) + mean, np.float32)


def _around(power: Floats) -> Singles:
    """The power `[H, W / 2 + 1]` around each frequency. Rows go round; beyond the last column is the mirrored side."""
    margin = round(4 * SMOOTH)
    tall = np.pad(power, ((margin, margin), (0, 0)), mode="wrap").astype(np.float32)
    return np.asarray(cv2.GaussianBlur(tall, (0, 0), SMOOTH, borderType=cv2.BORDER_REFLECT_101)[margin:-margin])


def _blurred(channel: Singles, sigma: float) -> Singles:
    return np.asarray(cv2.GaussianBlur(channel, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101))


def _ranked(one: Array, like: Array) -> Array:
    """With exactly the other's values, in the order of its own."""
    made = np.empty(one.size, like.dtype)
    made[np.argsort(one, axis=None, kind="stable")] = np.sort(like, axis=None)
    return made.reshape(one.shape)


def _gain(wanted: Singles, found: Singles) -> Singles:
    gain = np.sqrt((wanted + FAINT) / (found + FAINT))
    return np.asarray(np.clip(gain, 1 / STRONGEST, STRONGEST), np.float32)
