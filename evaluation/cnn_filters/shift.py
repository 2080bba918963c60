"""Measure the distance between the filters of two networks, as distributions over common principal directions.

After CNN Filter DB (Gavrikov & Keuper, CVPR 2022, arXiv 2203.15331): filters are divided by their largest weight, and
the coefficients of two sets along each direction are compared by a symmetric Kullback-Leibler divergence. Bins and
smoothing are this project's own, so values can be compared with each other and not with published ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from variorum.arrays import Floats, Singles

BINS = 64
"""Of a coefficient's histogram, from its least to its greatest value in all sets."""
SMOOTHING = 0.5
"""Added to each bin's count, so that an empty bin isn't infinitely far."""


class Directions(NamedTuple):
    """Principal directions of filters.

    Attributes:
        mean: `[k²]`.
        axes: `[k², k²]`, a direction in each row.
        shares: of the variance, `[k²]`, largest first; all 0 if the filters don't differ.
    """

    mean: Floats
    axes: Floats
    shares: Floats


def normalised(filters: Singles) -> Singles:
    """Filters `[n, k²]`, each divided by its largest weight in size. None of them may be all zeros."""
    found: Singles = filters / np.abs(filters).max(axis=1, keepdims=True)
    return found


def directions(filters: Singles) -> Directions:
    """The principal directions of filters `[n, k²]`, n at least 1."""
    values = filters.astype(np.float64)
    mean = values.mean(axis=0)
    variances, axes = np.linalg.eigh((values - mean).T @ (values - mean))
    variances, axes = np.maximum(variances[::-1], 0), axes.T[::-1]
    total = variances.sum()
    return Directions(mean, axes, variances / total if total > 0 else np.zeros_like(variances))


def histograms(filters: Singles, common: Directions, edges: Sequence[Floats]) -> Floats:
    """Smoothed shares `[k², BINS]` of the filters' coefficients along common directions."""
    coefficients = (filters.astype(np.float64) - common.mean) @ common.axes.T
    counts = [
        np.histogram(np.clip(column, edge[0], edge[-1]), edge)[0]
        for column, edge in zip(coefficients.T, edges, strict=True)
    ]
    found = np.asarray(counts, np.float64) + SMOOTHING
    shares: Floats = found / found.sum(axis=1, keepdims=True)
    return shares


def bin_edges(filters: Singles, common: Directions) -> list[Floats]:
    """Edges of the bins along each direction, for all sets together `[n, k²]`."""
    coefficients = (filters.astype(np.float64) - common.mean) @ common.axes.T
    low, high = coefficients.min(axis=0), coefficients.max(axis=0)
    return [
        np.linspace(one, max(other, one + 1e-9), BINS + 1)
        for one, other in zip(low.tolist(), high.tolist(), strict=True)
    ]


def divergence(one: Floats, other: Floats, shares: Floats) -> float:
    """Symmetric KL divergence of two sets of histograms in nats, its mean over directions weighted by their shares."""
    each = ((one - other) * np.log(one / other)).sum(axis=1)
    return float((each * shares).sum())
