"""Precision, recall, density and coverage: how generated pictures overlap with real ones, by nearest-neighbour balls.

Precision and recall: Kynkäänniemi et al., NeurIPS 2019, arXiv 1904.06991. Density and coverage, which are less
sensitive to an outlier with a large ball: Naeem et al., ICML 2020, arXiv 2002.09797. The ball around a picture reaches
to the k-th nearest picture of the same set.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Array, Floats

BLOCK = 1024


class Manifold(NamedTuple):
    """Overlap of two sets; all but density are in [0, 1].

    Attributes:
        precision: share of the generated pictures that lie in any real ball.
        recall: share of the real pictures that lie in any generated ball.
        density: mean number of real balls that a generated picture lies in, divided by k; about 1 for sets alike.
        coverage: share of the real balls that contain a generated picture.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def manifold(real: Array, generated: Array, k: int = 5) -> Manifold:
    """All four, from embeddings `[n, d]` and `[m, d]`; NaN unless both sets have more than k pictures."""
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


def radii(x: Array, k: int) -> Floats:
    """Squared distance `[n]` of each row `[n, d]` to its k-th nearest other row."""
    found = np.empty(len(x))
    for rows, distance in distances(x, x):
        distance[np.arange(len(distance)), np.arange(len(x))[rows]] = 0  # the row itself, exactly
        found[rows] = np.partition(distance, k, axis=1)[:, k]
    return found


def distances(a: Array, b: Array) -> Iterator[tuple[slice, Floats]]:
    """Squared Euclidean distances of blocks of rows of `a` to all rows of `b`, in double precision."""
    from sklearn.metrics.pairwise import euclidean_distances

    rows, columns = np.asarray(a, np.float64), np.asarray(b, np.float64)
    norms = (columns**2).sum(axis=1)
    for start in range(0, len(rows), BLOCK):
        block = slice(start, min(start + BLOCK, len(rows)))
        yield block, euclidean_distances(rows[block], columns, squared=True, Y_norm_squared=norms)
