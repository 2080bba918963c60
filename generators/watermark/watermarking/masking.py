"""Move values of a picture where that is seen least: busy places take more of the change, smooth ones hardly any.

Only marking knows of it. A detector reads a picture as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import numpy as np

from variorum.generators.watermark.watermarking.blocks import added, levels_of, low_band, low_band_of
from variorum.generators.watermark.watermarking.lattice import error_of
from variorum.generators.watermark.watermarking.quality import psnr
from variorum.generators.watermark.watermarking.spread import deviation
from variorum.kit.corrupt.digital import as_jpeg

if TYPE_CHECKING:
    from variorum.arrays import Floats, Pixels, Singles

BUSY, MOST = 2.0, 8.0
"""Local deviation in levels that hides as much as flat ground once more, and the most that a place hides."""
MORE = 1.25
"""By how much the change of flat ground grows where JPEG takes the mark."""
QUALITY, SPARE = 50, 1.0
"""Of that JPEG, and the dB above the wanted PSNR at which a change may still grow for it."""
PASSES, FURTHER = 3, 1.5
"""Tries to put right what black and white have taken, and how far beyond its limit a tile may go for it."""
OFF = 1 / 6
"""Of a lattice's step: how far a value may lie off before another pass."""


def hidden(
    image: Pixels,
    pattern: Singles,
    side: int,
    measure: Callable[[Singles], Floats],
    wanted: Callable[[Floats], Floats],
    step: float,
    decibels: float,
    flat: float,
    survives: Callable[[Pixels], bool],
) -> Pixels:
    """A picture whose tiles have the values that are wanted, or as near to them as its PSNR allows.

    Each tile's change has a limit, the same multiple in all of what the tile hides, so that the picture has its PSNR.
    Where nearly all is flat, it is changed less than that, unless JPEG then takes the mark.

    Args:
        image: RGB `[H, W, 3]` uint8.
        pattern: the change of its low band, `[h, w]`, that moves the values; of length 1 in each tile.
        side: of a tile in pixels.
        measure: values `[N]` of a low band; linear.
        wanted: the values that tiles with these values shall have.
        step: of the values' lattice.
        decibels: the wanted PSNR.
        flat: the change of flat ground to begin with, as a share of the change that the PSNR stands for.
        survives: whether the mark is read in a picture.
    """
    unit = levels_of(pattern * np.float32(side) * hiding(image, side))
    gain, before = measure(low_band_of(unit)), measure(low_band(image, side))
    moves = (wanted(before) - before) / gain
    error = error_of(decibels)
    most = ceiling(moves, _sums(unit * unit, side), error * image.shape[0] * image.shape[1])
    limit = min(most, flat * float(np.sqrt(error)))
    while True:
        marked = _settled(image, before, moves, limit, unit, side, gain, measure, step * OFF)
        spent = limit >= most and psnr(image, marked) < decibels + SPARE
        enough = survives(marked) and (spent or survives(as_jpeg(marked, QUALITY)))
        if enough or limit >= np.abs(moves).max():
            return marked
        limit = limit * MORE if limit >= most else min(most, limit * MORE)


def hiding(image: Pixels, side: int) -> Singles:
    """How many times as much each place of the low band hides as flat ground does, `[h, w]`, 1 to 8.

    Places next to an edge count as smooth, since changes are seen beside it.
    """
    high, wide = (length // side * side for length in image.shape[:2])
    busy = cv2.resize(deviation(image[:high, :wide]), (wide // 2, high // 2), interpolation=cv2.INTER_AREA)
    smooth = cv2.erode(busy, np.ones((3, 3), np.uint8))
    return np.asarray(cv2.blur(np.minimum(1 + smooth / np.float32(BUSY), np.float32(MOST)), (3, 3)), np.float32)


def ceiling(moves: Floats, energies: Floats, allowed: float) -> float:
    """The limit of all moves at which they have the energy that is allowed; their largest if they don't reach it.

    Args:
        moves: `[N]`.
        energies: of a move by 1, `[N]`.
        allowed: sum of squared moves times energies.
    """
    order = np.argsort(np.abs(moves))
    sizes, energies = np.abs(moves)[order], energies[order]
    below = np.cumsum(sizes**2 * energies) - sizes**2 * energies
    beyond = np.cumsum(energies[::-1])[::-1]
    place = int(np.searchsorted(below + sizes**2 * beyond, allowed))
    return float(sizes[-1] if place == len(sizes) else np.sqrt((allowed - below[place]) / beyond[place]))


def _settled(
    image: Pixels,
    before: Floats,
    moves: Floats,
    limit: float,
    unit: Singles,
    side: int,
    gain: Floats,
    measure: Callable[[Singles], Floats],
    off: float,
) -> Pixels:
    """The picture with its tiles moved, again where black and white have taken a part."""
    change = np.clip(moves, -limit, limit)
    goal = before + change * gain
    for _ in range(PASSES):
        tiles = change.astype(np.float32).reshape(unit.shape[0] // side, unit.shape[1] // side)
        marked = added(image, unit * np.repeat(np.repeat(tiles, side, 0), side, 1))
        missing = goal - measure(low_band(marked, side))
        if np.abs(missing).max() < off:
            break
        change = np.clip(change + missing / gain, -limit * FURTHER, limit * FURTHER)
    return marked


def _sums(values: Singles, side: int) -> Floats:
    high, wide = values.shape[0] // side, values.shape[1] // side
    return np.asarray(values.reshape(high, side, wide, side).sum((1, 3), np.float64).ravel())
