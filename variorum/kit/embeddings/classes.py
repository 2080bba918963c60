"""Classes as Gaussians with one shared covariance, fitted to embeddings some of whose labels are wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.embeddings.rows import blocks, thinned

if TYPE_CHECKING:
    from variorum.arrays import Array, Floats, Ints

FIT_ON = 25_000
"""At most this many rows estimate a covariance; that is many more than it has dimensions."""
MEDIAN_ON = 5_000
"""At most this many rows of a class give its median."""
COLUMNS = 64
"""Features whose medians are computed at a time."""
FLOOR = 1e-6
"""Least variance in any direction, as a share of the mean variance: keeps a constant feature from dominating."""


@dataclass(frozen=True, slots=True)
class ClassGaussians:
    """`K` Gaussians that share a covariance.

    Attributes:
        means: `[K, d]`; NaN for a class without samples.
        counts: `[K]` samples behind each mean.
        factor: `[d, d]` lower Cholesky factor of the covariance.
        trace: trace of the covariance: the expected squared distance of a sample from its class mean.
    """

    means: Floats
    counts: Ints
    factor: Floats
    trace: float


def class_means(features: Array, y: Ints, rows: Ints, k: int) -> tuple[Floats, Ints]:
    """Mean `[K, d]` of each class over the given `rows` (NaN for an empty class), and the counts `[K]`."""
    from scipy.sparse import csr_matrix

    total = np.zeros((k, features.shape[1]))
    for part, block in blocks(features, rows):
        size = len(block)
        total += csr_matrix((np.ones(size), (y[rows[part]], np.arange(size))), shape=(k, size)) @ block
    counts = np.bincount(y[rows], minlength=k)
    means = np.divide(total, counts[:, None], out=np.full_like(total, np.nan), where=counts[:, None] > 0)
    return means, counts


def class_medians(features: Array, y: Ints, rows: Ints, k: int) -> Floats:
    """Median `[K, d]` of each feature over the given `rows` of each class; NaN for an empty class."""
    medians = np.full((k, features.shape[1]), np.nan)
    ordered = rows[np.argsort(y[rows], kind="stable")]
    ends = np.cumsum(np.bincount(y[rows], minlength=k))
    for label, members in enumerate(np.split(ordered, ends[:-1])):
        if len(members):
            some = features[thinned(members, MEDIAN_ON)]
            for start in range(0, some.shape[1], COLUMNS):
                part = slice(start, start + COLUMNS)
                medians[label, part] = np.median(some[:, part].astype(np.float64), axis=0)
    return medians


def nearest_class(features: Array, centres: Floats, rows: Ints) -> Ints:
    """Class of the nearest centre (`[K, d]`, NaN for none) by Euclidean distance, for each of the given `rows`."""
    present = np.flatnonzero(np.isfinite(centres).all(axis=1))
    offset = (centres[present] ** 2).sum(axis=1)
    found = np.empty(len(rows), dtype=np.int64)
    for part, block in blocks(features, rows):
        found[part] = present[np.argmin(offset - 2 * block @ centres[present].T, axis=1)]
    return found


def presumed_clean(features: Array, y: Ints, rows: Ints, k: int) -> Ints:
    """Those of the given `rows` whose label is that of the nearest class median.

    No noise rate is needed, and a median tolerates wrong labels up to half of a class. A class that would lose all its
    rows keeps them all. Trimming the farthest share of every class would also cut off unusual pictures. A discriminant
    fitted on the labels would agree with all of them once there are more features than samples.
    """
    agree = nearest_class(features, class_medians(features, y, rows, k), rows) == y[rows]
    kept = np.bincount(y[rows][agree], minlength=k)
    return np.asarray(rows[agree | (kept[y[rows]] == 0)])


def fit_gaussians(features: Array, y: Ints, rows: Ints, k: int) -> ClassGaussians:
    """Class means and their common covariance over the given `rows`, shrunk after Ledoit and Wolf (2004).

    Shrinkage allows fewer samples than features. The covariance is the identity where nothing varies, for example
    when every class has a single sample.
    """
    means, counts = class_means(features, y, rows, k)
    few = thinned(rows, FIT_ON)
    factor, trace = covariance_factor(block - means[y[few[part]]] for part, block in blocks(features, few))
    return ClassGaussians(means, counts, factor, trace)


def covariance_factor(centred: Iterable[Floats]) -> tuple[Floats, float]:
    """Lower Cholesky factor `[d, d]` and trace of a covariance, shrunk towards a multiple of the identity.

    The shrinkage is Ledoit and Wolf's (2004), as in scikit-learn, but in one pass: the sum of fourth moments that it
    needs equals the sum of `||x||^4`, where scikit-learn multiplies the samples three times and holds them twice.

    Args:
        centred: samples `[n, d]` minus the mean of their class, in blocks.
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


def squared_distances(block: Floats, gaussians: ClassGaussians) -> Floats:
    """Squared Mahalanobis distances `[n, K]` of samples `[n, d]` to the classes; infinite to an empty class."""
    from scipy.linalg import solve_triangular

    present = np.flatnonzero(gaussians.counts)
    # Centring first keeps the difference of squares from cancelling where the features lie far from the origin.
    centre = gaussians.means[present].mean(axis=0)
    means = solve_triangular(gaussians.factor, (gaussians.means[present] - centre).T, lower=True).T
    white = solve_triangular(gaussians.factor, (block - centre).T, lower=True).T
    squared = (white**2).sum(axis=1)[:, None] - 2 * white @ means.T + (means**2).sum(axis=1)
    distances = np.full((len(block), len(gaussians.counts)), np.inf)
    distances[:, present] = np.maximum(squared, 0)
    return distances


def two_least(distances: Floats) -> tuple[Ints, Floats, Floats]:
    """Class with the least of the distances `[n, K]`, that distance, and how much the second least exceeds it.

    The excess is infinite with a single class; a class with an infinite distance counts as none.
    """
    nearest = distances.argmin(axis=1)
    two = np.sort(np.column_stack([distances, np.full(len(distances), np.inf)]), axis=1)[:, :2]
    return nearest, two[:, 0], two[:, 1] - two[:, 0]
