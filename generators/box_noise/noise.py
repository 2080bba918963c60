"""Boxes moved, resized and reshaped by a stated law: what a label of known quality is.

A box that is shifted by d along its length L has an IoU of (L - |d|) / (L + |d|) with itself, and a dice of
(L - |d|) / L: the same error in pixels costs a small box far more than a large one (Kumar et al., SeaBird, CVPR 2024,
arXiv 2403.20318). So a law must say whether its errors are in pixels or in shares of the box.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np

from variorum.annotations import DIGITS
from variorum.schemas.annotations import Box

if TYPE_CHECKING:
    from variorum.arrays import Floats

Kind = Literal["shift", "scale", "aspect"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Law = Literal["iou", "relative", "absolute"]
"""What a level is: the IoU that each box gets, or the error's standard deviation, in shares of the box or in pixels."""
LAWS: tuple[Law, ...] = get_args(Law)
ABOVE = 0.002
"""By which an IoU is above its level, so that rounding doesn't decide whether a box passes a threshold at the level."""
REDRAWS = 20
"""Times that a box is drawn again if it leaves the picture."""
LEAST = 1.0
"""Pixels of the shortest side of a noisy box."""
SMALL, LARGE = 32.0**2, 96.0**2
"""Areas in square pixels at which COCO's medium and large objects begin."""


class Placed(NamedTuple):
    """A noisy box, and how often it was drawn again; None if it left the picture each time."""

    box: Box | None
    redraws: int


def shift_iou(shift: Floats, length: Floats | float) -> Floats:
    """IoU of a box with itself, shifted along one of its sides of this length; any shape."""
    error = np.abs(shift)
    return np.asarray(np.maximum(length - error, 0) / (length + error))


def shift_dice(shift: Floats, length: Floats | float) -> Floats:
    """Dice of the two."""
    return np.asarray(np.maximum(length - np.abs(shift), 0) / length)


def size_of(area: float) -> str:
    """COCO's name for an object of this area in square pixels."""
    return "small" if area < SMALL else "medium" if area < LARGE else "large"


def placed(box: Box, kind: Kind, law: Law, level: float, size: tuple[int, int], rng: np.random.Generator) -> Placed:
    """A box with noise, inside the picture.

    Args:
        box: inside the picture.
        kind: `shift` moves it, `scale` multiplies both sides, `aspect` multiplies one and divides the other; the last
            two about its centre.
        law: of the noise.
        level: an IoU in (0, 1), a share of the box, or pixels.
        size: height and width of the picture.
        rng: draws directions and errors.
    """
    for redraws in range(REDRAWS + 1):
        found = noisy(box, kind, law, level, rng)
        left, top, wide, high = found
        if left >= 0 and top >= 0 and left + wide <= size[1] and top + high <= size[0] and min(wide, high) >= LEAST:
            return Placed(found, redraws)
    return Placed(None, REDRAWS)


def noisy(box: Box, kind: Kind, law: Law, level: float, rng: np.random.Generator) -> Box:
    """A box with noise, wherever it falls; arguments as of `placed`."""
    left, top, wide, high = box
    if law == "iou":
        level = min(level + ABOVE, (1 + level) / 2)
    if kind == "shift":
        x, y = _shift(law, level, wide, high, rng)
        across, down = 1.0, 1.0
    else:
        x = y = 0.0
        factor = _factor(kind, law, level, wide, high, rng)
        across, down = factor, (factor if kind == "scale" else 1 / factor)
    width, height = wide * across, high * down
    found = (left + x + (wide - width) / 2, top + y + (high - height) / 2, width, height)
    return tuple(round(float(value), DIGITS) for value in found)  # type: ignore[return-value]


def _shift(law: Law, level: float, wide: float, high: float, rng: np.random.Generator) -> tuple[float, float]:
    """Pixels to the right and down."""
    if law == "iou":
        angle = rng.uniform(0, 2 * np.pi)
        x, y = np.cos(angle), np.sin(angle)  # in shares of the sides
        both, product = abs(x) + abs(y), abs(x * y)
        lost = 1 - 2 * level / (1 + level)  # share of the box that it no longer covers
        reach = 2 * lost / (both + np.sqrt(both**2 - 4 * product * lost))
        return float(reach * x * wide), float(reach * y * high)
    first, second = rng.standard_normal(2) * level
    return (first * wide, second * high) if law == "relative" else (first, second)


def _factor(kind: Kind, law: Law, level: float, wide: float, high: float, rng: np.random.Generator) -> float:
    """Return the factor of the width."""
    if law == "iou":
        larger = level**-0.5 if kind == "scale" else (1 + 1 / level) / 2
        return float(larger if rng.random() < 0.5 else 1 / larger)
    deviation = level if law == "relative" else level / np.sqrt(wide * high)
    return float(np.exp(rng.standard_normal() * deviation))
