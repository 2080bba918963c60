"""Finds visible marks whose key is known: a matched filter, and how often chance gives such a match.

The key says which of many equally likely drawings lies at which of many equally likely places. A picture that knows
nothing of the key matches all of them alike, so the share of them that match at least as well as the key's is a p-value
for any picture, without a model of pictures. It can't be smaller than one over their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Floats, Ints, Pixels, Singles
    from variorum.generators.watermark.watermarking.drawing import Drawn, Ink

SIGMA = 3.0
"""Of the blur in pixels; what it leaves is taken away."""
WINDOW = 15
"""Side in pixels of the square in which detail is measured."""
LEAST = 3.0
"""Grey levels of detail that count as none."""
SAME = 1e-4
"""Matches that differ by less are equal."""


class Match(NamedTuple):
    """The match at the key's place, in deviations of all matches, and the share of those as good."""

    score: float
    p_value: float


def residual(image: Pixels) -> Singles:
    """Luminance without its coarse part, over the local detail, so that busy places don't outweigh all others."""
    light = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY).astype(np.float32)
    fine = light - cv2.GaussianBlur(light, (0, 0), SIGMA)
    detail = np.sqrt(np.maximum(cv2.boxFilter(fine * fine, -1, (WINDOW, WINDOW)), 0))
    return np.asarray(fine / (detail + np.float32(LEAST)), np.float32)


def template(drawn: Drawn, ink: Ink) -> Singles:
    """Make the template of a drawing: what it adds to a residual, of norm 1."""
    light = drawn.fill - drawn.edge if ink == "white" else drawn.edge - drawn.fill
    fine = light - cv2.GaussianBlur(light, (0, 0), SIGMA, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(fine / max(float(np.linalg.norm(fine)), 1e-9), np.float32)


def placed_matches(window: Singles, templates: Sequence[Singles]) -> Singles:
    """Match each template at each place where it fits, `[drawings, down, across]`."""
    return np.stack([np.asarray(cv2.matchTemplate(window, one, cv2.TM_CCORR), np.float32) for one in templates])


def folded(plane: Singles, degrees: float, period: tuple[int, int]) -> Singles:
    """A residual summed up over a pattern's repetitions, `[down, across]`: their sum over pixels of the same place."""
    across, down = pattern_places(plane.shape, degrees)
    rows, columns = (np.rint(one).astype(np.int64) % side for one, side in zip((down, across), period, strict=True))
    sums = np.bincount((rows * period[1] + columns).ravel(), plane.ravel().astype(np.float64), period[0] * period[1])
    return np.asarray(sums.reshape(period) / np.sqrt(plane.size / sums.size), np.float32)


def pattern_places(shape: tuple[int, ...], degrees: float) -> tuple[Singles, Singles]:
    """Where each pixel lies in a pattern turned to the left, in pixels across and down, `[H, W]` each."""
    down, across = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    cosine, sine = np.float32(np.cos(np.radians(degrees))), np.float32(np.sin(np.radians(degrees)))
    return across * cosine - down * sine, across * sine + down * cosine


def tiled_matches(plane: Singles, templates: Sequence[Singles]) -> Singles:
    """Match each template with a folded residual of its size, by the phase down and across."""
    spectrum = np.conj(np.fft.rfft2(plane))
    found = [np.fft.irfft2(spectrum * np.fft.rfft2(one), s=plane.shape) for one in templates]
    return np.asarray(found, np.float32)


def judged(matches: Singles, row: int, column: int) -> Match:
    """The match of the first drawing at a place, among all drawings and places."""
    own = float(matches[0, row, column])
    spread = float(matches.std(dtype=np.float64))
    score = (own - float(matches.mean(dtype=np.float64))) / spread if spread > SAME else 0.0
    return Match(score, float(np.mean(matches >= own - SAME)))


def best_letters(window: Singles, templates: Sequence[Singles], cells: Sequence[Singles]) -> Ints:
    """For each cell the number of the template that matches best in it.

    Args:
        window: part of a residual, `[h, w]`.
        templates: `[h, w]` each; one per letter, which stands in all cells.
        cells: weights `[h, w]` in [0, 1], which say where each cell is.
    """
    waves = np.stack([one.ravel() for one in templates]).astype(np.float64)
    where = np.stack([one.ravel() for one in cells]).astype(np.float64)
    sums: Floats = (waves * window.ravel()) @ where.T
    norms = np.sqrt((waves * waves) @ where.T) + 1e-9
    return np.asarray((sums / norms).argmax(0))
