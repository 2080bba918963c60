"""Joins copied pixels by their gradients, so that no outline stands where copies from different places meet.

After Perez et al., Poisson Image Editing, SIGGRAPH 2003, with a weak pull towards the copied colours, which keeps
colours from bleeding in at strong edges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Bools, Ints, Singles

PULL = 0.02
"""Weight of the copied colour beside that of one gradient."""
TOLERANCE = 0.01
"""Root mean square of the residual, in grey levels times the weights' sum, at which the solver stops."""
MOST_STEPS = 400
NEIGHBOURS = ((0, 1), (0, -1), (1, 0), (-1, 0))


def blended(image: Singles, hole: Bools, origins: Ints) -> Singles:
    """Colours `[n, 3]` of the hole's pixels, row by row.

    Args:
        image: `[H, W, 3]`; only known pixels are read.
        hole: `[H, W]`.
        origins: for each of the n pixels the index into `H * W` of the known pixel that it copies.
    """
    width = hole.shape[1]
    flat, known = image.reshape(-1, 3), ~hole.ravel()
    rows, columns = np.nonzero(hole)
    number = np.full(hole.size + 1, len(rows), np.int64)  # one beyond the last pixel stands for none
    place = rows * width + columns
    number[place] = np.arange(len(rows))
    origin = np.append(origins, 0)
    copies = flat[origins]
    fixed, total = PULL * copies, np.full(len(rows), PULL, np.float32)
    links, weights = [], []
    for down, right in NEIGHBOURS:
        step = down * width + right
        inside = _inside(rows + down, columns + right, hole.shape)
        beside = np.where(inside, place + step, hole.size)
        link = number[beside]
        # the neighbour's difference as it stands beside the pixel's own origin, and beside the neighbour's origin
        own, seen = _difference(flat, known, origins, down, right, hole.shape)
        other, also = _difference(flat, known, origin[link], -down, -right, hole.shape)
        also &= link < len(rows)
        votes = seen.astype(np.float32) + also
        slope = (own * seen[:, None] - other * also[:, None]) / np.maximum(votes, 1)[:, None]
        weight = ((votes > 0) & inside).astype(np.float32)
        outer = weight * (link == len(rows))
        fixed += weight[:, None] * slope + outer[:, None] * flat[np.minimum(beside, hole.size - 1)]
        total += weight
        links.append(link)
        weights.append(weight - outer)
    return _solved(copies, fixed, total, links, weights)


def _inside(rows: Ints, columns: Ints, shape: tuple[int, ...]) -> Bools:
    return (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])


def _difference(
    flat: Singles, known: Bools, here: Ints, down: int, right: int, shape: tuple[int, ...]
) -> tuple[Singles, Bools]:
    """Colour of known pixels minus that of their neighbours, and where the neighbour is known too."""
    inside = _inside(here // shape[1] + down, here % shape[1] + right, shape)
    beside = np.where(inside, here + down * shape[1] + right, 0)
    return flat[here] - flat[beside], inside & known[beside]


def _solved(start: Singles, fixed: Singles, total: Singles, links: list[Ints], weights: list[Singles]) -> Singles:
    """Solve total * u - sum of weight * u[link] = fixed by conjugate gradients, for all channels at once."""

    def applied(values: Singles) -> Singles:
        padded = np.vstack([values, np.zeros((1, values.shape[1]), np.float32)])
        out = total[:, None] * values
        for link, weight in zip(links, weights, strict=True):
            out -= weight[:, None] * padded[link]
        return out

    values = start.copy()
    residual = fixed - applied(values)
    direction = residual.copy()
    energy = (residual * residual).sum(axis=0)  # no BLAS, whose sums depend on the number of threads
    for _ in range(MOST_STEPS):
        if energy.max() <= len(start) * TOLERANCE**2:
            break
        image = applied(direction)
        step = energy / np.maximum((direction * image).sum(axis=0), 1e-20)
        values += step * direction
        residual -= step * image
        before, energy = energy, (residual * residual).sum(axis=0)
        direction = residual + energy / np.maximum(before, 1e-20) * direction
    return values
