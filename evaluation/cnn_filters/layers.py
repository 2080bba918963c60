"""Measure the filters of one layer: variety, emptiness, orthogonality, smoothness.

The measures of CNN Filter DB (Gavrikov & Keuper, CVPR 2022, arXiv 2203.15331), from their formulas. The entropy
is that of the filters that aren't sparse, a direction without variance adds nothing to it, and a measure that doesn't
apply to a layer is None.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Singles

SPARSE = 0.01
"""Filters whose weights are all below this share of the layer's largest one are sparse."""
FITTED = 3
"""Side of the filters that the entropy of random ones is known for."""
GRID = 32
"""Side of the grid on which a filter's spectrum is computed, around it zeros."""


def sparse_filters(filters: Singles) -> Bools:
    """Return which filters `[n, k²]` of a layer are sparse, `[n]`: all their weights are below `SPARSE` of the largest.

    Filters of zeros are, whatever the others.
    """
    sizes = np.abs(filters.astype(np.float64)).max(axis=1)
    found: Bools = (sizes == 0) | (sizes < SPARSE * sizes.max(initial=0))
    return found


def variance_entropy(filters: Singles) -> float | None:
    """Entropy of the variance of filters `[n, k²]` over its principal directions, in decimal digits.

    0 means that all filters differ in one direction only; `log10(k²)`, which is 0.954 for 3 × 3, that they differ in
    all directions alike. None if they don't differ.
    """
    if len(filters) < 2:
        return None
    values = filters.astype(np.float64)
    variances = np.linalg.svd(values - values.mean(axis=0), compute_uv=False) ** 2
    if not variances.sum() > 0:
        return None
    shares = variances / variances.sum()
    shares = shares[shares > 0]
    return float(-(shares * np.log10(shares)).sum()) + 0.0


def random_entropy(count: int) -> float:
    """Variance entropy that this many random 3 × 3 filters have, by the fit of the paper; never below 0."""
    fit = 1.2618047 / (1 + math.exp(-0.88767525 * (math.log2(count) - 2.30436435))) - 0.31050834
    return max(0.0, fit)


def orthogonality(weights: Singles) -> float | None:
    """Measure the orthogonality of a layer's rows `[outputs, inputs · k²]`: 1 at right angles, 0 if all are parallel.

    Rows are compared at length 1, and rows of zeros are left out. None for fewer than two rows.
    """
    lengths = np.linalg.norm(weights.astype(np.float64), axis=1)
    rows = weights[lengths > 0].astype(np.float64) / lengths[lengths > 0, None]
    if len(rows) < 2:
        return None
    products = np.abs(rows @ rows.T)
    np.fill_diagonal(products, 0)
    return float(1 - products.sum() / (len(rows) * (len(rows) - 1)))


def variation(filters: Singles) -> float:
    """Median total variation of filters `[n, k, k]` that aren't zero: Σ|Δw| between neighbours by Σ|w|, NaN for none.

    0 for equal weights; independent normal weights have about 1.9 for k = 3 and 2.3 for k = 5.
    """
    down, across = (np.abs(np.diff(filters.astype(np.float64), axis=axis)).sum(axis=(1, 2)) for axis in (1, 2))
    return _median(down + across, np.abs(filters).sum(axis=(1, 2), dtype=np.float64))


def high_frequencies(filters: Singles) -> float:
    """Median share of the energy of filters `[n, k, k]` above half the Nyquist frequency; 0.80 for random weights."""
    power = np.abs(np.fft.fft2(filters.astype(np.float64), (GRID, GRID))) ** 2
    along = np.fft.fftfreq(GRID)
    return _median(power[:, np.hypot(along[:, None], along) > 0.25].sum(axis=1), power.sum(axis=(1, 2)))


def _median(parts: Floats, wholes: Floats) -> float:
    return float(np.median(parts[wholes > 0] / wholes[wholes > 0])) if wholes.any() else math.nan
