"""Drawn frost: pictures of frozen windows, drawn from needles, feathers and ferns of ice with light from one side.

ImageNet-C lays crops of photographs of frost over a picture. Their licences are unknown, so these windows are drawn.
Like those photographs they are always the same: a window is a pure function of its number. Their levels follow the
photographs': means of 115 to 200 and standard deviations of 17 to 38 over a crop of 224 pixels, bluish.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from variorum.kit.corrupt.outcome import rounded

if TYPE_CHECKING:
    from variorum.arrays import Array, Pixels, Singles

SIDE = 512
"""Of a window, in pixels."""
SEED = 1903
SHIFT = 4
"""Fractional bits of the coordinates that lines are drawn at."""
DIRECTIONS = 9
"""Of blades."""


@dataclass(frozen=True, slots=True)
class Look:
    """The looks of a frosted window.

    Attributes:
        mean, deviation: of its grey levels.
        tint: RGB that is added to the grey of its darkest and of its brightest parts.
        blade: length of the blades that cover it, in pixels.
        fans: number of fans of crystals.
        length: least and largest length of a crystal, in pixels.
        width: of a crystal at its widest, as a share of its length.
        spread: angle between a crystal's axis and its barbs, in degrees.
        spacing: of the barbs along the axis, in pixels.
        solid: share of the crystals whose barbs have grown together.
        clear: share of the window that is molten and out of focus.
        relief: weight of the light from the side.
    """

    mean: float
    deviation: float
    tint: tuple[tuple[int, int, int], tuple[int, int, int]]
    blade: float
    fans: int
    length: tuple[float, float]
    width: float
    spread: float
    spacing: float
    solid: float
    clear: float
    relief: float


LOOKS = (
    Look(200, 22, ((-8, -2, 8), (-2, 0, 2)), 20, 260, (16, 80), 0.16, 16, 4.0, 0.3, 0.15, 0.9),
    Look(131, 20, ((-30, 6, 24), (-16, 4, 12)), 26, 200, (30, 110), 0.2, 24, 4.0, 0.1, 0.4, 1.3),
    Look(190, 25, ((-14, -1, 15), (-4, 0, 4)), 14, 260, (16, 90), 0.22, 38, 3.2, 0.5, 0.25, 0.9),
    Look(160, 28, ((-14, 0, 14), (-6, 0, 6)), 9, 420, (10, 60), 0.3, 34, 3.0, 0.6, 0.4, 1.1),
    Look(117, 38, ((-14, 0, 16), (-6, 0, 4)), 12, 300, (24, 130), 0.24, 52, 3.4, 0.25, 0.3, 0.8),
    Look(185, 30, ((-16, -2, 18), (-5, 0, 5)), 16, 200, (24, 140), 0.2, 46, 3.2, 0.35, 0.3, 0.9),
)


@cache
def window(number: int) -> Pixels:
    """A frozen window, RGB `[SIDE, SIDE, 3]`; `number` is an index into `LOOKS`."""
    look, rng = LOOKS[number], np.random.default_rng([SEED, number])
    thickness = _crystals(look, rng)
    smooth = cv2.GaussianBlur(thickness, (0, 0), 0.8)
    light = cv2.Sobel(smooth, cv2.CV_32F, 1, 0) * 0.6 + cv2.Sobel(smooth, cv2.CV_32F, 0, 1) * 0.8
    grey = smooth + look.relief * np.tanh(light) * 0.5

    grains = cv2.GaussianBlur(rng.standard_normal((SIDE, SIDE), np.float32), (0, 0), 0.8)
    grains = cv2.Sobel(grains, cv2.CV_32F, 1, 1)
    molten = _cover(rng, 80, look.clear)
    soft = cv2.GaussianBlur(grey, (0, 0), 3.5)
    grey = grey + 0.08 * grains
    grey += molten * (soft - grey) * 0.85
    grey += 0.7 * grey.std() * _clouds(rng, 130)

    level = (grey - grey.mean()) / grey.std()
    level = np.clip(level, -2.6, 2.8)
    height = np.clip((level + 2) / 4, 0, 1)[..., None]
    dark, bright = (np.array(tint, np.float32) for tint in look.tint)
    colour = look.mean + look.deviation * level[..., None] + dark + height * (bright - dark)
    return rounded(colour)


def _clouds(rng: np.random.Generator, size: float) -> Singles:
    """Smooth noise of mean 0 and deviation 1 with this scale in pixels, `[SIDE, SIDE]`."""
    cells = round(SIDE / size) + 3
    noise = cv2.resize(rng.standard_normal((cells, cells), np.float32), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return np.asarray((noise - noise.mean()) / noise.std())


def _cover(rng: np.random.Generator, size: float, share: float) -> Singles:
    """Patches with soft borders that cover this share, from 0 to 1, `[SIDE, SIDE]`."""
    clouds = _clouds(rng, size)
    edge = np.float32(np.quantile(clouds, 1 - share))
    return np.asarray(1 / (1 + np.exp(-4 * (clouds - edge))), np.float32)


def _blades(length: float, rng: np.random.Generator) -> Singles:
    """Ice of thin blades that lie in patches of one direction each, `[SIDE, SIDE]` in [0, 1]; length in pixels."""
    best = np.full((SIDE, SIDE), -np.inf, np.float32)
    ice = np.zeros((SIDE, SIDE), np.float32)
    reach = int(length)
    for direction in np.arange(DIRECTIONS) * (np.pi / DIRECTIONS) + rng.uniform(0, np.pi):
        kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.uint8)
        middle, end = reach * (1 + 1j), reach * np.exp(1j * direction)
        line = _fixed(np.array([middle - end, middle + end]))
        cv2.polylines(kernel, [line], False, 255, 1, cv2.LINE_AA, SHIFT)
        blades = cv2.filter2D(rng.random((SIDE, SIDE), np.float32) ** 24, -1, kernel.astype(np.float32))
        blades = (blades - blades.mean()) / blades.std()
        patch = _clouds(rng, length) + 0.5 * blades
        ahead = patch > best
        np.copyto(ice, blades, where=ahead)
        np.copyto(best, patch, where=ahead)
    return np.asarray(1 / (1 + np.exp(-ice)), np.float32)


def _crystals(look: Look, rng: np.random.Generator) -> Singles:
    """Thickness of the ice, `[SIDE, SIDE]` in [0, 1]: blades, and fans of crystals on them, the largest first."""
    least, most = look.length
    ice = np.rint(40 + 90 * _blades(look.blade, rng)).astype(np.uint8)
    bare = _cover(rng, 60, look.clear) > 0.5
    lengths = np.sort(least + (most - least) * rng.random(look.fans) ** 2.5)[::-1]
    for length in lengths:
        centre = rng.uniform(0, SIDE, 2)
        if bare[tuple(centre[::-1].astype(int))] and rng.random() < 0.7:
            continue
        heading, opening = rng.uniform(-np.pi, np.pi), rng.uniform(0.4, 1.4)
        for _ in range(int(rng.integers(3, 8))):
            start = complex(*(centre + rng.normal(0, 0.06 * length, 2)))
            angle = heading + opening * rng.uniform(-1, 1)
            _crystal(ice, start, angle, float(length * rng.uniform(0.5, 1)), look, rng)
    return np.asarray(ice, np.float32) / np.float32(255)


def _crystal(ice: Pixels, start: complex, angle: float, length: float, look: Look, rng: np.random.Generator) -> None:
    """Draw a crystal: a bent axis with barbs on both sides, which shorten towards its tip.

    Points are complex numbers, x + iy.
    """
    spacing = look.spacing * rng.uniform(0.8, 1.3)
    along = np.arange(0, 1, spacing / length)
    if len(along) < 3:
        return
    direction = np.exp(1j * (angle + rng.normal(0, 0.3) * along))
    axis = start + spacing * np.cumsum(direction)
    shape = np.sin(np.pi * np.maximum(along, 0.04) ** 0.6) ** 0.8
    reach = look.width * length * shape * rng.uniform(0.5, 1.0, (2, len(along)))
    turn = np.exp(1j * np.deg2rad(look.spread * rng.uniform(0.85, 1.15)))
    left, right = axis + reach * direction * np.array([[turn], [turn.conjugate()]])
    base = int(rng.integers(70, 130))
    if rng.random() < look.solid:
        outline = np.concatenate([axis + 0.7 * (left - axis), axis[-1:], (axis + 0.7 * (right - axis))[::-1]])
        cv2.fillPoly(ice, [_fixed(outline)], base, cv2.LINE_AA, SHIFT)
    for side in (left, right):
        shade = base + int(rng.integers(15, 80))
        barbs = _fixed(np.stack([axis, side], 1).reshape(-1)).reshape(-1, 2, 2)
        cv2.polylines(ice, list(barbs), False, shade, 1, cv2.LINE_AA, SHIFT)
    cv2.polylines(ice, [_fixed(axis)], False, min(base + int(rng.integers(40, 120)), 255), 1, cv2.LINE_AA, SHIFT)


def _fixed(points: Array) -> Array:
    """Complex points `[N]` as the fixed-point numbers that OpenCV draws with, `[N, 2]`."""
    return np.asarray(np.rint(points.view(np.float64).reshape(-1, 2) * 2**SHIFT), np.int32)
