"""Light from one side, the soft shade of something far away, and haze: changes of linear light `[H, W, 3]`.

A photograph says nothing of shape or distance, so none of these knows what stands where: the light falls off across the
picture, a shade lies over whatever is there, and haze grows towards the top. A shade's edge is so soft that nobody sees
that it doesn't follow the surfaces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from variorum.generators.natural_transformation.exposure import BELOW_KNEE, gains, sampled, usable
from variorum.kit.corrupt.air import plasma, upwards, veiled
from variorum.kit.corrupt.linear_light import luminance, to_linear

if TYPE_CHECKING:
    from variorum.arrays import Array, Pixels, Singles

SIDE = 224
"""Pixels of the shorter side that lengths are given for."""
DRAWN = 64
"""Pixels of the shorter side at which a shadow is drawn, before it is enlarged; its edge is too soft to show that."""
CORNERS = 5, 9
"""Least number of a shadow's corners, and the first that is too many."""
REACH = 0.35, 0.75
"""Distance of a shadow's corners from its middle, as a share of the picture's shorter side."""
FULL = 0.98
"""From this on a pixel counts as in the full shadow."""
SKY = 9000.0
"""Kelvin of the light that is left in a shadow: it comes from the sky."""
BRIGHTEST = 0.95
"""Quantile of the luminance that is taken for the brightness of hazy air."""
AIR = 0.1, 0.9
"""Least and largest luminance of the air."""
UNEVEN = 0.4
"""Share of the haze's optical depth that is smooth noise; the rest grows towards the top."""


# ── light from one side ──────────────────────────────────────────────────────────────────────────────────────────────


def ramp(height: int, width: int, amount: float, angle: float) -> Singles:
    """Factors `[H, W]` of the light: 1 in the middle, up to 1 + amount in the corner that the light comes from.

    It is 1 + a·ρ·cos(θ - φ), with the pixel's direction θ and its distance ρ from the middle, 1 in the corners.

    Args:
        height: in pixels.
        width: in pixels.
        amount: a, in [0, 1).
        angle: φ in degrees, anticlockwise from the right.
    """
    x, y = _across(height, width)
    turn = np.deg2rad(angle)
    along = np.float32(amount * np.cos(turn)) * x[None] + np.float32(amount * np.sin(turn)) * y[:, None]
    along += np.float32(1)
    return np.asarray(along, np.float32)


def measured_ramp(before: Pixels, after: Pixels) -> tuple[float, float] | None:
    """Angle in degrees and amount of the ramp that turns one picture into the other; None where nothing shows it.

    A plane is fitted to the ratio of their luminances, over pixels that neither picture clips or rolls off.
    """
    first, second = sampled(before), sampled(after)
    used = usable(first) & usable(second, BELOW_KNEE)
    x, y = _across(*before.shape[:2])
    across, up = (sampled(np.broadcast_to(one, before.shape[:2]))[used] for one in (x[None], y[:, None]))
    if len(across) < 3 or min(np.ptp(across), np.ptp(up)) < 0.1:
        return None
    ratio = luminance(to_linear(second))[used] / luminance(to_linear(first))[used]
    found = np.linalg.lstsq(np.stack([np.ones_like(across), across, up], axis=1), ratio, rcond=None)[0]
    middle, right, top = (float(value) for value in found)
    return float(np.rad2deg(np.arctan2(top, right)) % 360), float(np.hypot(right, top) / middle)


def _across(height: int, width: int) -> tuple[Singles, Singles]:
    """Distances to the right and up from the middle, as shares of half the diagonal: `[W]` and `[H]`."""
    half = np.hypot(height, width) / 2
    x = (np.arange(width) + 0.5 - width / 2) / half
    y = (height / 2 - np.arange(height) - 0.5) / half
    return x.astype(np.float32), y.astype(np.float32)


# ── shadow ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def shadow_of(height: int, width: int, penumbra: float, rng: np.random.Generator) -> Singles:
    """A polygon with a soft edge, `[H, W]` in [0, 1]; 1 where the shadow is full.

    Args:
        height: in pixels.
        width: in pixels.
        penumbra: width of the soft edge in pixels, in a picture whose shorter side has 224.
        rng: draws place and shape.
    """
    scale = min(1.0, DRAWN / min(height, width))
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    middle = rng.uniform(0.15, 0.85, 2) * (columns, rows)
    count = int(rng.integers(*CORNERS))
    turns = 2 * np.pi * (np.arange(count) + rng.uniform(0, 0.8, count)) / count
    reach = rng.uniform(*REACH, count) * min(rows, columns)
    corners = middle + np.stack([np.cos(turns), np.sin(turns)], axis=1) * reach[:, None]
    mask = np.zeros((rows, columns), np.uint8)
    cv2.fillPoly(mask, [np.rint(corners * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    soft = penumbra * min(rows, columns) / SIDE / 4  # all but a twentieth of the change lies within the width
    shade = cv2.GaussianBlur(mask.astype(np.float32) * np.float32(1 / 255), (0, 0), max(soft, 0.3))
    if (rows, columns) != (height, width):
        shade = cv2.resize(shade, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.clip(shade, 0, 1), np.float32)


def shaded(light: Singles, mask: Singles, left: float, *, bluish: bool = True) -> Singles:
    """Light with a share `left` of it in the shadow `[H, W]`, where it comes from the sky and is bluish."""
    factors = np.asarray(gains(SKY) if bluish else (1.0, 1.0, 1.0)) * left - 1
    dim = cv2.merge([mask * np.float32(factor) for factor in factors])
    dim += np.float32(1)
    return np.asarray(dim * light)


def measured_shade(before: Pixels, after: Pixels, mask: Singles) -> float | None:
    """Share of the luminance that is left in the full shadow, over pixels that neither picture clips."""
    first, second = sampled(before), sampled(after)
    used = (sampled(mask) > FULL) & usable(first) & usable(second)
    if not used.any():
        return None
    return float(luminance(to_linear(second))[used].sum() / luminance(to_linear(first))[used].sum())


# ── haze ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def depth(height: int, width: int, rng: np.random.Generator) -> Singles:
    """Make a stand-in for the distance, `[H, W]` in [0, 1], as none is known: it grows towards the top, with noise."""
    return (1 - UNEVEN) * upwards(height) + UNEVEN * plasma(rng, height, width)


def air_of(light: Singles) -> float:
    """Luminance of hazy air in a scene: as bright as its brightest parts, within AIR."""
    bright = float(np.quantile(luminance(sampled(light)), BRIGHTEST))
    return min(max(bright, AIR[0]), AIR[1])


def hazed(light: Singles, far: Singles, beta: float, air: float) -> Singles:
    """I·e^(-βd) + A·(1 - e^(-βd)): Koschmieder's law (Narasimhan & Nayar, IJCV 2002), with grey air.

    Args:
        light: I, `[H, W, 3]`.
        far: d, `[H, W]`.
        beta: β, the optical depth where d is 1.
        air: A, its luminance.
    """
    return veiled(light, cv2.exp(far * np.float32(-beta)), np.float32(air))


def measured_contrast(before: Pixels, after: Pixels) -> float | None:
    """Deviation of the luminance, in linear light, as a share of that before; None for a flat picture."""
    deviations: list[Array] = [luminance(to_linear(sampled(one))).std() for one in (before, after)]
    return float(deviations[1] / deviations[0]) if deviations[0] > 1e-6 else None
