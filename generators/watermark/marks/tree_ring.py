"""Rings in the Fourier transform of a diffusion model's noise, found again in the noise that a picture came from.

Tree-Ring (Wen, Kirchenbauer, Geiping & Goldstein, NeurIPS 2023, arXiv 2305.20030). The noise is real, so its transform
mirrors itself, and the pattern must too; the paper's complex pattern loses half of itself when its real part is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from variorum.generators.watermark.watermarking.latents.noise_mark import NoiseMark
from variorum.generators.watermark.watermarking.latents.shifts import corrected, offsets
from variorum.schemas.watermark import Detected, random_of

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Singles


class TreeRing(NoiseMark):
    """A pattern that says that a picture is marked, and nothing more.

    `rings` has one real number per ring: 6 numbers by default. They survive what turns a picture a little, but
    a detector with another key of this kind takes such a picture for its own in about a third of all cases. So they
    tell marked from unmarked pictures, and don't tell users apart. `free` has a number of its own at each frequency,
    and tells users apart.

    The score is the cosine of pattern and noise, as a normal number. A moved picture is looked for within `shift`
    cells, and the p-value is corrected for the number of tries (Bonferroni).
    """

    pattern: Literal["rings", "free"] = "rings"
    """`rings` has one number per ring, `free` one per frequency."""
    inner: int = Field(default=2, ge=1)
    """Radius of the first ring, in cycles per frame."""
    outer: int = Field(default=8, ge=2)
    """Radius at which the last ring ends."""
    channel: int = -1
    """Which channel of the noise has the pattern, from 0; -1 for the last one."""
    shift: int = Field(default=3, ge=0, le=8)
    """By how many cells of the noise a picture may have moved, in any direction; 0 for no search."""
    test: Literal["angle", "distance"] = "angle"
    """Where the p-value comes from. `angle`: the cosine, exact for normal noise. `distance`: the paper's noncentral χ²,
    which takes the variance of the noise at hand for a known one; so it errs on the safe side and finds less."""

    @model_validator(mode="after")
    def _rings_between(self) -> Self:
        if self.outer <= self.inner:
            raise ValueError(f"outer, {self.outer}, must be more than inner, {self.inner}")
        return self

    def shape(self, noise: Singles, keys: Sequence[bytes]) -> Singles:
        """The noise with the pattern in place of its own low frequencies."""
        shaped = noise.copy()
        for one, key in zip(shaped, keys, strict=True):
            height, width = one.shape[-2:]
            waves = np.fft.rfft2(one[self.channel], norm="ortho")
            where = _grid(height, width, self.inner, self.outer).where
            waves[where] = self._values(key, where, height, width)
            one[self.channel] = np.fft.irfft2(_mirrored(waves, height), s=(height, width), norm="ortho")
        return shaped

    def found(self, noise: Sequence[Singles], keys: Sequence[bytes]) -> Detected:
        """Measure how far the noise points in the pattern's direction, in standard deviations, with the p-value."""
        outcomes = [self._found(one[self.channel], key) for one, key in zip(noise, keys, strict=True)]
        scores, p_values = zip(*outcomes, strict=True) if outcomes else ((), ())
        return Detected(np.array(scores, np.float64), None, np.array(p_values, np.float64))

    def _found(self, noise: Singles, key: bytes) -> tuple[float, float]:
        height, width = noise.shape
        grid = _grid(height, width, self.inner, self.outer)
        waves = np.fft.rfft2(noise.astype(np.float64), norm="ortho")[grid.once]
        wanted = self._values(key, grid.once, height, width)
        energy, parts = float((np.abs(waves) ** 2).sum()), 2 * len(waves)
        if not energy:
            return 0.0, 1.0
        phases = _phases(height, width, self.inner, self.outer, self.shift)
        cosine = float((phases @ (waves * wanted.conj())).real.max() / np.sqrt(energy * len(waves)))
        p_value = _angle_p(cosine, parts) if self.test == "angle" else _distance_p(cosine, energy, parts)
        return cosine * np.sqrt(parts), corrected(p_value, len(phases))

    def _values(self, key: bytes, where: Bools, height: int, width: int) -> Array:
        """The pattern at these frequencies; as a whole it has the energy that noise has there."""
        rng, grid = random_of(key, "tree_ring"), _grid(height, width, self.inner, self.outer)
        values = np.zeros(grid.radii.shape, complex)
        if self.pattern == "rings":
            rings = np.zeros(self.outer)
            rings[self.inner :] = rng.standard_normal(self.outer - self.inner)
            values[grid.where] = rings[np.floor(grid.radii[grid.where]).astype(int)]
        else:
            draws = rng.standard_normal((2, int(grid.once.sum())))
            values[grid.once] = (draws[0] + 1j * draws[1]) / np.sqrt(2)
            values = _mirrored(values, height)
        return np.asarray(values[where] / np.sqrt((np.abs(values[grid.once]) ** 2).mean()))


class Grid(NamedTuple):
    """The frequencies of the transform of real noise, `[h, w // 2 + 1]`.

    Attributes:
        radii: their distance from zero.
        where: those of the pattern.
        once: the same, each of a mirrored pair once.
    """

    radii: Floats
    where: Bools
    once: Bools


@lru_cache(maxsize=16)
def _grid(height: int, width: int, inner: int, outer: int) -> Grid:
    if outer > min(height, width) / 2:
        raise ValueError(f"rings up to {outer} don't fit into noise of {width} x {height} cells")
    down, right = np.fft.fftfreq(height, 1 / height)[:, None], np.arange(width // 2 + 1)[None, :]
    radii = np.hypot(down, right)
    where = (radii >= inner) & (radii < outer)
    return Grid(radii, where, where & ((right > 0) | (down > 0)))


@lru_cache(maxsize=16)
def _phases(height: int, width: int, inner: int, outer: int, shift: int) -> Array:
    """Return phases that move noise back by each shift, `[shifts, frequencies]`."""
    once = _grid(height, width, inner, outer).once
    down = np.broadcast_to(np.fft.fftfreq(height)[:, None], once.shape)[once]
    right = np.broadcast_to(np.arange(width // 2 + 1)[None, :] / width, once.shape)[once]
    tries = np.array(offsets(shift), np.float64)
    return np.asarray(np.exp(2j * np.pi * (tries[:, :1] * down + tries[:, 1:] * right)))


def _angle_p(cosine: float, parts: int) -> float:
    """P(normal noise of this many real numbers is as close to a direction)."""
    from scipy.special import betainc

    return float(betainc((parts - 1) / 2, (parts - 1) / 2, (1 - cosine) / 2))


def _distance_p(cosine: float, energy: float, parts: int) -> float:
    """The paper's: a noncentral χ² of the squared distance, in units of the variance that the noise has itself."""
    from scipy.special import chndtr

    key = parts * (parts / 2) / energy
    return float(chndtr(parts + key - 2 * cosine * np.sqrt(parts * key), parts, key))


def _mirrored(waves: Array, height: int) -> Array:
    """Half a transform whose first column is made its own mirror image, as that of real noise is."""
    waves = waves.copy()
    waves[height // 2 + 1 :, 0] = np.conj(waves[1 : (height + 1) // 2, 0][::-1])
    return waves
