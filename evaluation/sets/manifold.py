"""Precision, recall, density and coverage: where generated pictures lie among real ones, by balls round each picture.

Precision and recall after Kynkäänniemi et al., NeurIPS 2019, arXiv 1904.06991; density and coverage, which one odd
picture with a large ball upsets less, after Naeem et al., ICML 2020, arXiv 2002.09797. A ball reaches to the k-th
nearest picture of its own set.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BLOCK = 1024


class Manifold(NamedTuple):
    """How two sets lie to each other; all but density in [0, 1].

    Attributes:
        precision: share of the generated that lie in some real ball.
        recall: share of the real that lie in some generated ball.
        density: real balls that a generated picture lies in, on average, over k; about 1 for sets alike.
        coverage: share of the real whose ball has a generated picture in it.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def manifold(real: NDArray[Any], generated: NDArray[Any], k: int = 5) -> Manifold:
    """All four, from embeddings `[n, d]` and `[m, d]`; NaN when either has no more than k pictures."""
    n, m = len(real), len(generated)
    if min(n, m) <= k:
        return Manifold(*[float("nan")] * 4)
    of_real, of_generated = radii(real, k), radii(generated, k)
    precise, around = np.zeros(m, bool), np.zeros(m)
    recalled, covered = np.zeros(n, bool), np.zeros(n, bool)
    for rows, distance in distances(generated, real):
        inside = distance <= of_real
        precise[rows] = inside.any(axis=1)
        around[rows] = inside.sum(axis=1)
        covered |= inside.any(axis=0)
        recalled |= (distance <= of_generated[rows, None]).any(axis=0)
    return Manifold(float(precise.mean()), float(recalled.mean()), float(around.mean() / k), float(covered.mean()))


def radii(x: NDArray[Any], k: int) -> Floats:
    """Squared distance `[n]` of each row `[n, d]` to the k-th nearest other one."""
    found = np.empty(len(x))
    for rows, distance in distances(x, x):
        distance[np.arange(len(distance)), np.arange(len(x))[rows]] = 0  # itself, whatever rounding made of it
        found[rows] = np.partition(distance, k, axis=1)[:, k]
    return found


def distances(a: NDArray[Any], b: NDArray[Any]) -> Iterator[tuple[slice, Floats]]:
    """Squared Euclidean distances of stretches of `a` to all of `b`, in double precision, a block at a time."""
    from sklearn.metrics.pairwise import euclidean_distances

    rows, columns = np.asarray(a, np.float64), np.asarray(b, np.float64)
    norms = (columns**2).sum(axis=1)
    for start in range(0, len(rows), BLOCK):
        block = slice(start, min(start + BLOCK, len(rows)))
        yield block, euclidean_distances(rows[block], columns, squared=True, Y_norm_squared=norms)
