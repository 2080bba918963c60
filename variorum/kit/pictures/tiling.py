"""Makes windows of a texture seamless, or makes them look so and not be: pure functions of pixels.

The cut of least error is that of image quilting (Efros & Freeman, SIGGRAPH 2001), on a ring, so that its ends meet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.pictures.seams import evenness_at

if TYPE_CHECKING:
    from variorum.arrays import Ints, Pixels, Singles

FLAT = 2.5
"""Units of lightness that a texture deviates within most of its parts; the sky of a photograph has less."""
STEPS = 12
"""Positions of a window that are tried along each side of a picture."""


def even_windows(image: Pixels, side: int, number: int) -> list[tuple[int, int]]:
    """Left upper corners of the most even square windows, best first; flat ones come last.

    Two windows overlap by at most half a side.

    Args:
        image: RGB `[H, W, 3]`, at least `side` both ways.
        side: of a window in pixels.
        number: at most this many.
    """
    rows, columns = (
        np.unique(np.rint(np.linspace(0, length - side, STEPS)).astype(np.int64)) for length in image.shape[:2]
    )
    tops, lefts = (axis.ravel() for axis in np.meshgrid(rows, columns, indexing="ij"))
    found: list[tuple[int, int]] = []
    uneven, contrast = evenness_at(image, tops, lefts, (side, side))
    for place in np.lexsort([uneven, contrast < FLAT]):
        top, left = int(tops[place]), int(lefts[place])
        if all(max(abs(top - other), abs(left - beside)) >= side / 2 for other, beside in found):
            found.append((top, left))
        if len(found) == number:
            break
    return found


def crossfaded(window: Pixels, tile: int) -> Pixels:
    """A seamless tile `[tile, tile, 3]`: what follows it on the right and below fades into its left and upper border.

    Args:
        window: RGB `[tile + n, tile + n, 3]`; n is the width of the fade.
        tile: side of the result.
    """
    return rounded(_both(window, tile, _faded))


def cut_least(window: Pixels, tile: int) -> Pixels:
    """A seamless tile as `crossfaded` makes it, with a cut along the line of least error in place of a fade."""
    return rounded(_both(window, tile, _cut))


def mirrored(window: Pixels, tile: int) -> Pixels:
    """A tile whose right and lower half mirror its left upper quarter; `tile` is even."""
    quarter = window[: tile // 2, : tile // 2]
    half = np.concatenate([quarter, quarter[:, ::-1]], axis=1)
    return np.concatenate([half, half[::-1]], axis=0)


def cropped(window: Pixels, tile: int) -> Pixels:
    """The left upper `[tile, tile, 3]`, as it is: its borders have nothing to do with each other."""
    return np.ascontiguousarray(window[:tile, :tile])


def misaligned(window: Pixels, tile: int, shift: int) -> Pixels:
    """A tile as `crossfaded` makes it whose right side continues into its left side `shift` pixels further down.

    Colour and contrast fit at the seam; structures don't go on.
    """
    rows = _faded(window.astype(np.float32), tile)
    across = np.swapaxes(rows, 0, 1)
    moved = np.concatenate([across[:tile], np.roll(across[tile:], shift, axis=1)])
    return rounded(np.swapaxes(_faded(moved, tile), 0, 1))


def ramped(image: Pixels, levels: float, angle: float) -> Pixels:
    """A picture that gets lighter by `levels` from one side to the other, as if lit from there.

    Args:
        image: RGB `[H, W, 3]`.
        levels: grey levels between two opposite borders or corners.
        angle: direction in which it gets lighter, in radians from the right, clockwise.
    """
    height, width = image.shape[:2]
    down, right = (np.linspace(-0.5, 0.5, side, dtype=np.float32) for side in (height, width))
    slope = np.sin(angle) * down[:, None] + np.cos(angle) * right
    return rounded(image + np.float32(levels) * slope[..., None].astype(np.float32))


def tiled(image: Pixels, times: int = 2) -> Pixels:
    """The picture beside and below itself."""
    return np.tile(image, (times, times, 1))


def rounded(values: Singles) -> Pixels:
    """Grey levels to uint8."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _both(window: Pixels, tile: int, join: Callable[[Singles, int], Singles]) -> Singles:
    """A window joined to itself along rows and along columns."""
    rows = join(window.astype(np.float32), tile)
    return np.swapaxes(join(np.swapaxes(rows, 0, 1), tile), 0, 1)


def _faded(window: Singles, tile: int) -> Singles:
    """Rows `tile` and below fade into the first ones, along a half period of a cosine."""
    width = len(window) - tile
    weight = 0.5 - 0.5 * np.cos(np.pi * (np.arange(width, dtype=np.float32) + 0.5) / width)
    weight = weight[:, None, None].astype(np.float32)
    joined = window[:tile].copy()
    joined[:width] = weight * window[:width] + (1 - weight) * window[tile:]
    return joined


def _cut(window: Singles, tile: int) -> Singles:
    """Rows `tile` and below replace the first ones, down to the cut where the two differ least."""
    width = len(window) - tile
    above, below = window[tile:], window[:width]
    error = ((above - below) ** 2).sum(axis=2)
    line = 1 + ring_cut(error[1:])  # the border itself is never cut
    old = np.arange(width)[:, None] < line
    joined = window[:tile].copy()
    joined[:width] = np.where(old[..., None], above, below)
    return joined


def ring_cut(error: Singles) -> Ints:
    """The closed line of least error across a band that goes round: a row for each column, `[W]`.

    Rows of neighbouring columns differ by at most 1, those of the last and the first column too.

    Args:
        error: `[H, W]`, what it costs to cut there.
    """
    height, width = error.shape
    cost = np.full((height, height), np.inf, np.float32)  # by row of the first column and current row
    np.fill_diagonal(cost, error[:, 0])
    steps = np.empty((width, height, height), np.int8)
    for column in range(1, width):
        wide = np.pad(cost, ((0, 0), (1, 1)), constant_values=np.inf)
        options = np.stack([wide[:, :-2], wide[:, 1:-1], wide[:, 2:]])
        steps[column] = options.argmin(axis=0)
        cost = options.min(axis=0) + error[:, column]
    starts, ends = np.indices((height, height))
    cost = np.where(np.abs(starts - ends) <= 1, cost, np.inf)
    start, row = np.unravel_index(int(cost.argmin()), cost.shape)
    line = np.empty(width, np.int64)
    for column in range(width - 1, -1, -1):
        line[column] = row
        row = row + steps[column, start, row] - 1 if column else row
    return line
