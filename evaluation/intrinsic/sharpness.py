"""Label sharpness: how close pictures of different classes come to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from variorum.arrays import Array, Bools, Floats, Ints

ROWS = 64
"""Points whose distances to all later ones are computed at a time."""
CLOSEST = 8
"""Pairs whose distances are computed again from their differences, of each block."""
HIGH = 0.99


class Sharpness(NamedTuple):
    """Closeness of unlike pictures.

    Attributes:
        value: the largest 1/distance of a pair with different labels.
        high: the 99th percentile of 1/distance of these pairs, which doesn't rest on one of them.
        pairs: number of these pairs.
        points: number of points with a label.
    """

    value: float
    high: float
    pairs: int
    points: int


def label_sharpness(points: Array, labels: Sequence[tuple[str, ...]], scale: float = 1.0) -> Sharpness | None:
    """Sharpness of labelled points; None without two that have different labels.

    K̂_F of Konz and Mazurowski (ICLR 2024, arXiv 2401.08865), as their paper defines it: the maximum over pairs of
    1(y_j ≠ y_k) / ‖x_j - x_k‖. The code that they released counts pairs of equal labels instead. Pairs at distance 0
    are left out; take copies out before.

    Args:
        points: `[N, d]`; uint8 pixels need no conversion, and are never all floats at once.
        labels: by point. Points with no label in common are unlike; those without a label don't count.
        scale: distances are multiplied by it: 1/255 makes pixels lie in [0, 1].
    """
    rows = np.array([place for place, own in enumerate(labels) if own], np.int64)
    unlike = _unlike([labels[place] for place in rows.tolist()])
    found, least = [np.zeros(0, np.float32)], np.inf
    centre = points[rows].mean(axis=0, dtype=np.float64).astype(np.float32) if len(rows) else np.float32(0)
    norms = np.array([_norm(points[row] - centre) for row in rows.tolist()])
    for start in range(0, len(rows), ROWS):
        here = points[rows[start : start + ROWS]].astype(np.float32) - centre
        squares = np.concatenate(
            [
                norms[start : start + len(here), None]
                + norms[None, other : other + ROWS]
                - 2.0 * (here @ (points[rows[other : other + ROWS]].astype(np.float32) - centre).T)
                for other in range(start, len(rows), ROWS)
            ],
            axis=1,
        )
        counted = np.triu(unlike[start : start + len(here), start:], 1)
        one, two = np.nonzero(counted)
        near = squares[one, two]
        closest = np.argpartition(near, min(CLOSEST, len(near)) - 1)[:CLOSEST] if len(near) else np.zeros(0, np.int64)
        for place in closest.tolist():
            exact = _norm(points[rows[start + one[place]]].astype(np.float64) - points[rows[start + two[place]]])
            near[place] = exact
            least = min(least, exact) if exact > 0 else least
        found.append(near[near > 0].astype(np.float32))
    pairs = np.concatenate(found)
    if not len(pairs) or not np.isfinite(least):
        return None
    high = float(np.quantile(1 / (scale * np.sqrt(pairs)), HIGH))
    return Sharpness(1 / (scale * float(np.sqrt(least))), high, len(pairs), len(rows))


def _unlike(labels: Sequence[tuple[str, ...]]) -> Bools:
    """Return whether two points have no label in common, `[N, N]`."""
    names = {name: place for place, name in enumerate(sorted({name for own in labels for name in own}))}
    has = np.zeros((len(labels), len(names)), np.float32)
    for place, own in enumerate(labels):
        has[place, [names[name] for name in own]] = 1
    return np.asarray(has @ has.T == 0)


def _norm(vector: Floats | Ints) -> float:
    flat = np.asarray(vector, np.float64).ravel()
    return float(flat @ flat)
