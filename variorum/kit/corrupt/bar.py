"""Six kinds of ImageNet-C-bar (Mintun, Kirillov & Xie, NeurIPS 2021, arXiv 2102.11273).

They were chosen to be unlike ImageNet-C's kinds, so a model that is robust to those alone does worse here. Formulas and
strengths are those of the authors' code (MIT), which works pixel by pixel at 224 or 32 pixels. Here they are arrays,
for frames of any shape, with a generator of one's own; levels are rounded where that code truncates.

A strength is one number from 0 to 10, as in the authors' tables. Most lengths are shares of the picture's shorter side,
as there, whatever the scale; only `single_frequency_greyscale` has one in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.corrupt.outcome import Corrupted, Kind, Strength, rounded

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Reals, Singles

GREY = 128
"""Level of a square that is cut out."""
WHITE = 255


def blue_noise_sample(image: Pixels, strength: Strength, rng: np.random.Generator, scale: float) -> Corrupted:
    """Pixels where blue noise is low are black, more of them the greater the strength."""
    noise = _noise(image.shape[:2], 1, rng, lambda cycles: cycles)
    kept = noise > strength[0] * 0.3 - 2.5
    return Corrupted(image * kept[..., None].astype(np.uint8))


def brownish_noise(image: Pixels, strength: Strength, rng: np.random.Generator, scale: float) -> Corrupted:
    """Noise whose amplitude falls with the square of the frequency, another one in each channel."""
    noise = _noise(image.shape[:2], 3, rng, lambda cycles: 1 / ((cycles * min(image.shape[:2])) ** 2 + 1))
    return Corrupted(_added(image, noise * np.float32(6.4 * strength[0])))


def checkerboard_cutout(image: Pixels, strength: Strength, rng: np.random.Generator, scale: float) -> Corrupted:
    """Grey squares in a turned chequered pattern; the strength is ten times the share of squares that are grey."""
    angle, side = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.1, 0.25)) * min(image.shape[:2])
    side = max(side, 1.0)
    y, x = _positions(image.shape[:2])
    cosine, sine = np.float32(np.cos(angle) / side), np.float32(np.sin(angle) / side)
    across = np.floor(cosine * y + sine * x).astype(np.int32)
    along = np.floor(cosine * x - sine * y).astype(np.int32)
    across, along = across - across.min(), along - along.min()
    drawn = rng.random((across.max() + 1, along.max() + 1)) < strength[0] / 10
    grey = drawn[across, along] & ((across + along) % 2 == 0)
    return Corrupted(
        np.where(grey[..., None], np.uint8(GREY), image), {"angle": round(angle, 4), "side": round(side, 2)}
    )


def inverse_sparkles(image: Pixels, strength: Strength, rng: np.random.Generator, scale: float) -> Corrupted:
    """White around a bright spot in which the picture stays, with a border of rays."""
    height, width = image.shape[:2]
    centre = rng.uniform(0.25, 0.75, 2) * (height, width)
    radius = 0.25 * min(height, width)
    count = int(rng.integers(50, 200))
    rays = (radius * (1 + 0.25 * rng.standard_normal(count))).astype(np.float32)
    y, x = _positions(image.shape[:2])
    y, x = y - np.float32(centre[0]), x - np.float32(centre[1])
    turn = (np.arctan2(x, y) + np.float32(np.pi)) * np.float32(count / (2 * np.pi))
    ray = turn.astype(np.int32)
    part = turn - ray
    ray %= count
    length = rays[ray] + part * (np.roll(rays, -1) - rays)[ray]
    near = np.power(length**2 / (y**2 + x**2 + np.float32(1e-4)), np.float32(0.13 * strength[0]))
    share = np.minimum(near * (1 - (part - np.float32(0.5)) ** 2), 1)[..., None]
    return Corrupted(rounded(WHITE + share * (image - np.float32(WHITE))), {"centre": centre.round(1).tolist()})


def cocentric_sine_waves(image: Pixels, strength: Strength, rng: np.random.Generator, scale: float) -> Corrupted:
    """Rings with a sawtooth profile, whose distance from a centre waves with the direction."""
    height, width = image.shape[:2]
    centre = rng.uniform(0, 1, 2) * (height, width)
    waves = float(rng.uniform(0, 10))
    amplitude, ring = rng.uniform(0, 0.1, 2) * min(height, width)
    y, x = _positions(image.shape[:2])
    y, x = y - np.float32(centre[0]), x - np.float32(centre[1])
    distance = np.sqrt(y**2 + x**2) + np.float32(amplitude) * np.sin(np.arctan2(x, y) * np.float32(waves))
    ramp = (distance / np.float32(max(ring, 1e-3))) % 1 - np.float32(0.5)
    drawn = {"centre": centre.round(1).tolist(), "waves": round(waves, 3), "ring": round(float(ring), 2)}
    return Corrupted(_added(image, ramp * np.float32(12.8 * strength[0])), drawn)


def single_frequency_greyscale(image: Pixels, strength: Strength, rng: np.random.Generator, scale: float) -> Corrupted:
    """A sine wave of one frequency and direction."""
    most = float(rng.uniform(-np.pi, np.pi))
    other = float(rng.uniform(-abs(most), abs(most)))
    frequencies = rng.permutation(np.array([most, other])) / scale
    phase = float(rng.uniform(0, 2 * np.pi))
    y, x = _positions(image.shape[:2])
    wave = np.sin(x * np.float32(frequencies[0]) + y * np.float32(frequencies[1]) + np.float32(phase))
    drawn = {"frequency": frequencies.round(4).tolist(), "phase": round(phase, 4)}
    return Corrupted(_added(image, wave * np.float32(19.6 * strength[0])), drawn)


def _positions(size: tuple[int, ...]) -> tuple[Singles, Singles]:
    """Rows `[H, 1]` and columns `[1, W]` of the pixels."""
    return np.arange(size[0], dtype=np.float32)[:, None], np.arange(size[1], dtype=np.float32)[None]


def _noise(
    size: tuple[int, ...], channels: int, rng: np.random.Generator, amplitude: Callable[[Reals], Reals]
) -> Reals:
    """Noise with random phases and a deviation of 1, `[H, W]`, or `[H, W, C]` for several channels.

    Args:
        size: height and width in pixels.
        channels: independent noises.
        rng: draws the phases.
        amplitude: by cycles a pixel.
    """
    height, width = size
    cycles = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    power = amplitude(cycles).astype(np.float32)
    drawn = [
        np.fft.irfft2(power * np.exp(2j * np.pi * rng.random(power.shape, np.float32)), (height, width))
        for _ in range(channels)
    ]
    noise = np.stack([one / max(float(one.std()), 1e-12) for one in drawn], axis=2).astype(np.float32)
    return noise if channels > 1 else noise[..., 0]


def _added(image: Pixels, change: Reals) -> Pixels:
    """The picture with levels added, `[H, W]` or `[H, W, 3]`."""
    return rounded(image + (change if change.ndim == 3 else change[..., None]))


def _strengths(*severities: float) -> tuple[Strength, ...]:
    return tuple((severity,) for severity in severities)


BAR: Mapping[str, Kind] = {
    "blue_noise_sample": Kind(
        "bar", blue_noise_sample, _strengths(0.8, 1.6, 2.4, 4, 5.6), _strengths(0.7, 1.4, 2.1, 3.5, 4.2)
    ),
    "brownish_noise": Kind("bar", brownish_noise, _strengths(1, 2, 3, 4, 5), _strengths(2.5, 4, 5.5, 6.5, 7)),
    "checkerboard_cutout": Kind("bar", checkerboard_cutout, _strengths(2, 3, 4, 5, 6), _strengths(1, 2, 3, 4, 5)),
    "inverse_sparkles": Kind("bar", inverse_sparkles, _strengths(1, 2, 4, 9, 10), _strengths(1, 1.5, 2.5, 4.5, 5)),
    "cocentric_sine_waves": Kind("bar", cocentric_sine_waves, _strengths(3, 5, 8, 9, 10)),
    "single_frequency_greyscale": Kind("bar", single_frequency_greyscale, _strengths(1, 1.5, 2, 4.5, 5)),
}
"""By name; strengths at 224 pixels and, for the kinds of CIFAR-10-C-bar, at 32."""
