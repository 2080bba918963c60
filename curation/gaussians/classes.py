"""Classes as Gaussians with one covariance, from features some of whose labels are wrong.

What the representation calibration and the out-of-distribution score share. Everything goes through the features in
blocks, so that a million float16 rows never become float64 at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 4096
"""Rows that are taken up at a time."""
FIT_ON = 25_000
"""Rows that a covariance is estimated on, at most: many more than it has dimensions."""
MEDIAN_ON = 5_000
"""Rows of one class that its median is taken of, at most."""
FLOOR = 1e-6
"""Least variance of any direction, as a share of the mean: a feature that never fired isn't infinitely telling."""


@dataclass(frozen=True, slots=True)
class ClassGaussians:
    """`K` Gaussians that share a covariance.

    Attributes:
        means: `[K, d]`; NaN where a class has no sample.
        counts: `[K]` samples behind each mean.
        factor: `[d, d]` lower Cholesky factor of the covariance.
        trace: of the covariance: the expected squared distance of a sample from its class's mean.
    """

    means: NDArray[np.float64]
    counts: NDArray[np.int64]
    factor: NDArray[np.float64]
    trace: float


def blocks(features: NDArray[Any], rows: NDArray[np.int64]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """The rows of the features as float64, a block at a time, with where in `rows` the block lies."""
    for start in range(0, len(rows), BLOCK):
        where = slice(start, start + BLOCK)
        yield where, features[rows[where]].astype(np.float64)


def finite_rows(features: NDArray[Any]) -> NDArray[np.bool_]:
    """`[N]`: whether a row has neither NaN nor infinity."""
    finite = np.empty(len(features), dtype=bool)
    for start in range(0, len(features), BLOCK):
        finite[start : start + BLOCK] = np.isfinite(features[start : start + BLOCK]).all(axis=1)
    return finite


def class_means(
    features: NDArray[Any], y: NDArray[np.int64], rows: NDArray[np.int64], k: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean of each class over the `rows`, `[K, d]` (NaN for none), and how many there were, `[K]`."""
    from scipy.sparse import csr_matrix

    total = np.zeros((k, features.shape[1]))
    for where, block in blocks(features, rows):
        size = len(block)
        total += csr_matrix((np.ones(size), (y[rows[where]], np.arange(size))), shape=(k, size)) @ block
    counts = np.bincount(y[rows], minlength=k)
    means = np.divide(total, counts[:, None], out=np.full_like(total, np.nan), where=counts[:, None] > 0)
    return means, counts


def class_medians(features: NDArray[Any], y: NDArray[np.int64], rows: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """Median of each feature over each class's `rows`, `[K, d]`; NaN for none."""
    medians = np.full((k, features.shape[1]), np.nan)
    ordered = rows[np.argsort(y[rows], kind="stable")]
    ends = np.cumsum(np.bincount(y[rows], minlength=k))
    for label, members in enumerate(np.split(ordered, ends[:-1])):
        if len(members):
            medians[label] = np.median(features[thinned(members, MEDIAN_ON)].astype(np.float64), axis=0)
    return medians


def nearest(features: NDArray[Any], centres: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each of the `rows`, the centre (of `[K, d]`, NaN for none) at the least Euclidean distance."""
    there = np.flatnonzero(np.isfinite(centres).all(axis=1))
    offset = (centres[there] ** 2).sum(axis=1)
    found = np.empty(len(rows), dtype=np.int64)
    for where, block in blocks(features, rows):
        found[where] = there[np.argmin(offset - 2 * block @ centres[there].T, axis=1)]
    return found


def presumed_clean(features: NDArray[Any], y: NDArray[np.int64], rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Those of the `rows` whose label is that of the nearest class median: a vote of the pictures on their labels.

    It needs no noise rate, and the median stands wrong labels up to a half of a class. A class that would be left
    with none keeps all. Trimming the farthest share of every class instead would cut off what is merely unusual, and
    a discriminant that was fitted on the labels agrees with all of them once there are more features than samples.
    """
    agree = nearest(features, class_medians(features, y, rows, k), rows) == y[rows]
    kept = np.bincount(y[rows][agree], minlength=k)
    return np.asarray(rows[agree | (kept[y[rows]] == 0)])


def fit_gaussians(features: NDArray[Any], y: NDArray[np.int64], rows: NDArray[np.int64], k: int) -> ClassGaussians:
    """Means of the classes and their common covariance over the `rows`, shrunk after Ledoit and Wolf (2004).

    The shrinkage is what lets there be fewer samples than features. The covariance is the identity where nothing
    varies: every class a single sample, or all alike.
    """
    means, counts = class_means(features, y, rows, k)
    few = thinned(rows, FIT_ON)
    factor, trace = covariance_factor(block - means[y[few[where]]] for where, block in blocks(features, few))
    return ClassGaussians(means, counts, factor, trace)


def covariance_factor(centred: Iterable[NDArray[np.float64]]) -> tuple[NDArray[np.float64], float]:
    """Lower Cholesky factor `[d, d]` and trace of a covariance, shrunk towards a multiple of the identity.

    The shrinkage is Ledoit and Wolf's (2004), as in scikit-learn, which makes three products of the samples with
    themselves and holds all of them twice: the sum of the fourth moments it needs is that of `||x||^4`.

    Args:
        centred: samples `[n, d]` about their own class's mean, in blocks.
    """
    scatter, fourth, n = np.zeros((1, 1)), 0.0, 0
    for block in centred:
        scatter = scatter + block.T @ block
        fourth += float(((block**2).sum(axis=1) ** 2).sum())
        n += len(block)
    d = len(scatter)
    covariance = scatter / max(n, 1)
    trace = float(np.trace(covariance))
    if trace == 0:
        return np.eye(d), 0.0
    squared = float((covariance**2).sum())
    spread = squared - trace**2 / d
    noise = (fourth / n - squared) / n
    shrinkage = min(noise / spread, 1.0) if spread > 0 else 1.0
    covariance *= 1 - shrinkage
    covariance[np.diag_indices(d)] += (shrinkage + FLOOR) * trace / d
    return np.linalg.cholesky(covariance).astype(np.float64), trace


def squared_distances(block: NDArray[np.float64], gaussians: ClassGaussians) -> NDArray[np.float64]:
    """Squared Mahalanobis distances `[n, K]` of samples `[n, d]` to the classes; infinite to one without a mean."""
    from scipy.linalg import solve_triangular

    there = np.flatnonzero(gaussians.counts)
    # Centring first keeps the difference of squares from cancelling where the features lie far from the origin.
    centre = gaussians.means[there].mean(axis=0)
    means = solve_triangular(gaussians.factor, (gaussians.means[there] - centre).T, lower=True).T
    white = solve_triangular(gaussians.factor, (block - centre).T, lower=True).T
    squared = (white**2).sum(axis=1)[:, None] - 2 * white @ means.T + (means**2).sum(axis=1)
    distances = np.full((len(block), len(gaussians.counts)), np.inf)
    distances[:, there] = np.maximum(squared, 0)
    return distances


def thinned(rows: NDArray[np.int64], at_most: int) -> NDArray[np.int64]:
    """The rows, or as many of them as allowed, evenly spaced."""
    if len(rows) <= at_most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, at_most).astype(np.int64)]
