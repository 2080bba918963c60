"""Exposure and white balance in linear light, and what of them can be measured on the result.

Where light is multiplied by more than 1, highlights are rolled off as on film, so that they keep their detail.

White balance multiplies the three channels of linear sRGB, as a camera does (von Kries' law in those channels). The
light's colour is that of a black body, from its temperature by the cubic fits of Kim et al. (US patent 7024034, 2006).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from variorum.kit.corrupt.linear_light import BLUE, GREEN, RED, to_linear

if TYPE_CHECKING:
    from variorum.arrays import Array, Floats, Pixels, Singles

DAYLIGHT = 6504.0
"""Kelvin of the light that pictures are taken to be balanced for."""
COLDEST, HOTTEST = 2500.0, 20_000.0
"""Kelvin between which a temperature can be asked for and measured."""
TO_RGB = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
"""Linear sRGB of XYZ (IEC 61966-2-1)."""
KNEE = 0.5
"""Linear light from which highlights are rolled off."""
DARK, BRIGHT = 8, 247
"""Levels between which a pixel's light is measured: below, rounding decides, above, it may be clipped."""
BELOW_KNEE = 187
"""The highest level of a changed picture that isn't rolled off."""
BURNT = 250
"""Level from which a channel shows no detail any more."""
ENOUGH = 16
"""Pixels that a measurement needs."""
MOST = 96
"""Rows and columns that are measured, about; larger pictures are sampled."""


def multiplied(light: Singles, factors: Singles) -> Singles:
    """Multiply linear light in [0, 1], and roll off the highlights where factors exceed 1.

    Up to KNEE light is multiplied as it is. Beyond it the curve bends (Reinhard et al., SIGGRAPH 2002, with white), so
    that white stays white and no other light reaches it.

    Args:
        light: `[H, W, 3]`.
        factors: of a shape that broadcasts to the light's.
    """
    top = (np.maximum(factors, np.float32(1)) - np.float32(KNEE)) / np.float32(1 - KNEE)
    made = light * factors
    over = np.maximum(made - np.float32(KNEE), 0) / np.float32(1 - KNEE)
    rolled = over * (1 + over / (top * top)) / (1 + over)
    return np.asarray(np.minimum(made, np.float32(KNEE)) + np.float32(1 - KNEE) * rolled, np.float32)


def burnt_out(before: Pixels, after: Pixels) -> float:
    """Share of the pixels of a picture `[H, W, 3]` that newly lack detail, in the channel where most do."""
    new = (after >= BURNT) & (before < BURNT)
    return float(new.mean(axis=(0, 1)).max())


def exposed(light: Singles, ev: float) -> Singles:
    """Linear light `[H, W, 3]` with the exposure changed by `ev` stops: 1 doubles it, -1 halves it."""
    return multiplied(light, np.full(1, 2.0**ev, np.float32))


def balanced(light: Singles, kelvin: float) -> Singles:
    """Linear RGB light `[H, W, 3]` of a scene, balanced for daylight, under the light of a black body.

    Grey keeps its luminance. Below 6504 K it becomes orange, above it blue.
    """
    return multiplied(light, np.asarray(gains(kelvin), np.float32))


@lru_cache(maxsize=64)
def gains(kelvin: float) -> tuple[float, float, float]:
    """Factors of linear red, green and blue that keep the luminance of grey.

    Raises:
        ValueError: a temperature below COLDEST or above HOTTEST.
    """
    if not COLDEST <= kelvin <= HOTTEST:
        raise ValueError(f"a light of {kelvin:g} K can't be made; there are {COLDEST:g} to {HOTTEST:g} K")
    factors = _white(kelvin) / _white(DAYLIGHT)
    red, green, blue = factors / (factors @ np.array([RED, GREEN, BLUE]))
    return float(red), float(green), float(blue)


def measured_ev(before: Pixels, after: Pixels) -> float | None:
    """Stops between two pictures `[H, W, 3]`, over pixels that neither clips; None where there are too few."""
    found = comparable(before, after)
    return None if found is None else float(np.log2(found[1].mean() / found[0].mean()))


def measured_kelvin(before: Pixels, after: Pixels) -> float | None:
    """Temperature of the light that turns one picture into the other, by the ratio of red and blue; else as above."""
    found = comparable(before, after)
    if found is None:
        return None
    red, _, blue = found[1].mean(axis=0) / found[0].mean(axis=0)
    temperatures, ratios = _ratios()
    return float(np.interp(-np.log(red / blue), ratios, temperatures))


def comparable(before: Pixels, after: Pixels) -> tuple[Array, Array] | None:
    """Linear light `[N, 3]` of the same pixels of two pictures, where no channel is near black or rolled off."""
    first, second = sampled(before), sampled(after)
    used = usable(first) & usable(second, BELOW_KNEE)
    if np.count_nonzero(used) < ENOUGH:
        return None
    return to_linear(first[used]), to_linear(second[used])


def sampled(values: Array) -> Array:
    """Every n-th row and column of `[H, W, …]`, about MOST of the longer side."""
    step = max(1, max(values.shape[:2]) // MOST)
    return np.ascontiguousarray(values[::step, ::step])


def usable(pixels: Pixels, bright: int = BRIGHT) -> Array:
    """Return which pixels of `[H, W, 3]` can be measured: no channel is below DARK or above `bright`."""
    within = cv2.inRange(pixels, (DARK,) * 3, (bright,) * 3)
    return np.asarray(within, np.bool_)


def _white(kelvin: float) -> Floats:
    """Linear sRGB of a black body with luminance 1."""
    x = np.polyval(
        (-0.2661239e9, -0.2343589e6, 0.8776956e3, 0.179910)
        if kelvin < 4000
        else (-3.0258469e9, 2.1070379e6, 0.2226347e3, 0.240390),
        1 / kelvin,
    )
    y = np.polyval(
        (-0.9549476, -1.37418593, 2.09137015, -0.16748867)
        if kelvin < 4000
        else (3.0817580, -5.87338670, 3.75112997, -0.37001483),
        x,
    )
    return np.asarray(TO_RGB @ np.array([x / y, 1.0, (1 - x - y) / y]))


@lru_cache(maxsize=1)
def _ratios() -> tuple[Floats, Floats]:
    """Temperatures, and the logarithms of blue over red at each, which rise."""
    temperatures = 1e6 / np.linspace(1e6 / COLDEST, 1e6 / HOTTEST, 400)
    found = np.array([gains(float(np.clip(one, COLDEST, HOTTEST))) for one in temperatures])
    return temperatures, np.log(found[:, 2] / found[:, 0])
