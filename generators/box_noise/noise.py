"""Boxes moved, resized and reshaped by a stated law: what a label of known quality is.

A box that is shifted by d along its length L has an IoU of (L - |d|) / (L + |d|) with itself, and a dice of
(L - |d|) / L: the same error in pixels costs a small box far more than a large one (Kumar et al., SeaBird, CVPR 2024,
arXiv 2403.20318). So a law must say whether its errors are in pixels or in shares of the box.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np

from variorum.annotations import DIGITS, box_iou, cut_box
from variorum.schemas.annotations import Box

if TYPE_CHECKING:
    pass

Kind = Literal["shift", "scale", "aspect"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Law = Literal["iou", "relative", "absolute"]
"""What a level is: the IoU that each box gets, or the error's standard deviation, in shares of the box or in pixels."""
LAWS: tuple[Law, ...] = get_args(Law)
ABOVE = 0.002
"""By which an IoU is above its level, so that rounding doesn't decide whether a box passes a threshold at the level."""
REDRAWS = 20
"""Times that a box is drawn again if less than `LEAST` of it is left."""
NEAR = 1e-6
"""Share of an error to which it is searched."""
LEAST = 1.0
"""Pixels of the shortest side of a noisy box."""
SMALL, LARGE = 32.0**2, 96.0**2
"""Areas in square pixels at which COCO's medium and large objects begin."""
Error = tuple[float, float]
"""Of a box's place, in shares of its width and height; or logarithms of the factors of both."""


class Placed(NamedTuple):
    """A box with noise.

    Attributes:
        box: inside the picture; None if less than `LEAST` was left of it each time.
        redraws: how often it was drawn again.
        cut: whether a part of it was outside the picture.
    """

    box: Box | None
    redraws: int
    cut: bool = False


def size_of(area: float) -> str:
    """COCO's name for an object of this area in square pixels."""
    return "small" if area < SMALL else "medium" if area < LARGE else "large"


def placed(box: Box, kind: Kind, law: Law, level: float, size: tuple[int, int], rng: np.random.Generator) -> Placed:
    """A box with noise, cut at the edges of the picture.

    An IoU is that of the box after the cut. So each box reaches it, whatever its place: one that fills the picture
    loses a part, and one that can't grow as far shrinks.

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
        error = drawn(box, kind, law, level, rng)
        found = noisy(box, kind, error)
        inside = _cut(found, size)
        if inside != found and law == "iou":
            found = noisy(box, kind, _searched(box, kind, error, level, size))
            inside = _cut(found, size)
        if inside is not None and min(inside[2:]) >= LEAST:
            return Placed(inside, redraws, inside != found)
    return Placed(None, REDRAWS)


def noisy(box: Box, kind: Kind, error: Error) -> Box:
    """A box with an error, wherever it falls."""
    left, top, wide, high = box
    if kind == "shift":
        x, y = error
        width, height = wide, high
    else:
        x = y = 0.0
        width, height = wide * np.exp(error[0]), high * np.exp(error[1])
    found = (left + x * wide + (wide - width) / 2, top + y * high + (high - height) / 2, width, height)
    return tuple(round(float(value), DIGITS) for value in found)  # type: ignore[return-value]


def drawn(box: Box, kind: Kind, law: Law, level: float, rng: np.random.Generator) -> Error:
    """Draw the error of a box; with the law `iou`, that of a box which nothing cuts. Arguments as of `placed`."""
    if law == "iou":
        level = _above(level)
    if kind == "shift":
        return _shift(law, level, box[2], box[3], rng)
    across = _logarithm(kind, law, level, box[2], box[3], rng)
    return across, across if kind == "scale" else -across


def _searched(box: Box, kind: Kind, error: Error, level: float, size: tuple[int, int]) -> Error:
    """The error in the same direction with which a box that the picture cuts has an IoU; in the other if none has."""
    from scipy.optimize import brentq

    level = _above(level)
    if kind == "scale" and box_iou(box, (0.0, 0.0, float(size[1]), float(size[0]))) > level:
        return -abs(error[0]), -abs(error[1])

    def at(length: float) -> Error:
        return error[0] * length, error[1] * length

    def iou(length: float) -> float:
        there = _cut(noisy(box, kind, at(length)), size)
        return box_iou(box, there) if there else 0.0

    most = 1.0
    while iou(most) > level:
        most *= 2
    return at(brentq(lambda length: iou(length) - level, 0.0, most, xtol=NEAR))


def _above(level: float) -> float:
    return min(level + ABOVE, (1 + level) / 2)


def _cut(box: Box, size: tuple[int, int]) -> Box | None:
    left, top, wide, high = box
    if left >= 0 and top >= 0 and left + wide <= size[1] and top + high <= size[0]:
        return box
    return cut_box(box, (0.0, 0.0, float(size[1]), float(size[0])))


def _shift(law: Law, level: float, wide: float, high: float, rng: np.random.Generator) -> Error:
    """Shares of the sides, to the right and down."""
    if law == "iou":
        angle = rng.uniform(0, 2 * np.pi)
        x, y = np.cos(angle), np.sin(angle)
        both, product = abs(x) + abs(y), abs(x * y)
        lost = 1 - 2 * level / (1 + level)  # share of the box that it no longer covers
        reach = 2 * lost / (both + np.sqrt(both**2 - 4 * product * lost))
        return float(reach * x), float(reach * y)
    first, second = rng.standard_normal(2) * level
    return (first, second) if law == "relative" else (first / wide, second / high)


def _logarithm(kind: Kind, law: Law, level: float, wide: float, high: float, rng: np.random.Generator) -> float:
    """Logarithm of the factor of the width."""
    if law == "iou":
        larger = float(np.log(level**-0.5 if kind == "scale" else (1 + 1 / level) / 2))
        return larger if rng.random() < 0.5 else -larger
    return float(rng.standard_normal() * (level if law == "relative" else level / np.sqrt(wide * high)))
