"""Intrinsic dimension of points: of how many coordinates they seem to be made, judged by distances to neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Floats, Ints, Singles

SPARE = 8
"""Further candidates of the search, whose distances are rounded; the nearest by exact distance are kept."""
BLOCK = 512
"""Points whose distances to all are computed at a time."""
AT_ONCE = 1 << 24
"""Numbers whose differences are computed at a time."""
DISCARDED = 0.1
"""Share of the points with the largest ratios that TwoNN leaves out, as its authors do."""


def neighbours(points: Singles, k: int) -> tuple[Ints, Floats]:
    """The k nearest other points of each point, nearest first.

    Candidates come from matrix products. Their distances are computed again from the differences, because those of a
    product are rounded where points are much closer to each other than to the origin.

    Args:
        points: `[N, d]` float32, N > k.
        k: number of neighbours, at least 1.

    Returns:
        Row numbers `[N, k]` and Euclidean distances `[N, k]`.
    """
    points = np.ascontiguousarray(points - points.mean(axis=0, dtype=np.float64).astype(np.float32))
    found = _candidates(points, min(k + 1 + SPARE, len(points)))
    squares = np.empty(found.shape)
    step = max(1, AT_ONCE // (found.shape[1] * points.shape[1]))
    for start in range(0, len(points), step):
        rows = slice(start, start + step)
        difference = points[found[rows]] - points[rows, None]
        squares[rows] = np.einsum("nkd,nkd->nk", difference, difference, dtype=np.float64)
    squares[found == np.arange(len(points))[:, None]] = np.inf
    order = np.argsort(squares, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(found, order, axis=1), np.sqrt(np.take_along_axis(squares, order, axis=1))


def _candidates(points: Singles, k: int) -> Ints:
    """The k points nearest to each point by rounded distances, itself included, in the order of their numbers."""
    squares = np.einsum("nd,nd->n", points, points)
    found = np.empty((len(points), k), np.int64)
    for start in range(0, len(points), BLOCK):
        rows = slice(start, start + BLOCK)
        near = squares - 2 * (points[rows] @ points.T)
        found[rows] = np.sort(np.argpartition(near, k - 1, axis=1)[:, :k], axis=1)
    return found


def distinct(found: Ints, distances: Floats, same: float) -> Ints:
    """Rows of points without copies of an earlier point, in order.

    Args:
        found: `[N, k]`, the neighbours.
        distances: `[N, k]`, how far away they are.
        same: points that are no farther apart are copies, and so are copies of copies.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    row, place = np.nonzero(distances <= same)
    edges = coo_array((np.ones(len(row), bool), (row, found[row, place])), shape=(len(found), len(found)))
    _, group = connected_components(edges, directed=False)
    return np.sort(np.unique(group, return_index=True)[1]).astype(np.int64)


def maximum_likelihood(distances: Floats) -> float:
    """Intrinsic dimension by maximum likelihood, from distances `[N, k]` to each point's neighbours, nearest first.

    Levina and Bickel (NIPS 2004), averaged over the points as MacKay and Ghahramani advise (2005): the inverse of the
    mean over all points of Σ_{j<k} ln(T_k/T_j) / (k - 1), where T_j is the distance to the j-th neighbour. It says too
    little in high dimensions, the more so the fewer the points. Infinity if all neighbours are equally far away.
    """
    mean = float(np.log(distances[:, -1:] / distances[:, :-1]).mean())
    return 1 / mean if mean > 0 else float("inf")


def two_nearest(distances: Floats) -> float:
    """Intrinsic dimension by TwoNN, from distances `[N, k]` to each point's neighbours, nearest first; k >= 2.

    Facco et al. (Scientific Reports 7, 2017): the ratio T_2/T_1 has the distribution function 1 - x^-d, so d is the
    slope of -ln(1 - F) over ln(T_2/T_1), fitted through the origin without the tenth of the points with the largest
    ratios. Infinity if the two nearest are always equally far away.
    """
    ratios = np.sort(np.log(distances[:, 1] / distances[:, 0]))
    below = np.arange(1, len(ratios) + 1) / len(ratios)
    kept = slice(0, int(len(ratios) * (1 - DISCARDED)))
    x, y = ratios[kept], -np.log(1 - below[kept])
    squares = float(x @ x)
    return float(x @ y) / squares if squares > 0 else float("inf")
