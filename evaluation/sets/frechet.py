"""Fréchet distance of two sets of embeddings, as if each were Gaussian (Heusel et al., NeurIPS 2017, arXiv 1706.08500).

It is biased upwards in small sets, the more so the wider the embedding (Chong & Forsyth, CVPR 2020, arXiv 1911.07023).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

ENOUGH = 10_000
"""Pictures below which the bias is warned of; the number that the distance's authors recommend as the least."""


def frechet_distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    """`|μa - μb|² + tr(Σa + Σb - 2 (Σa Σb)^½)` of embeddings `[n, d]` and `[m, d]`; NaN when either has fewer than 2.

    The square root's trace is the sum of the roots of the eigenvalues of `Σa^½ Σb Σa^½`, which is symmetric, so no
    complex numbers come up where a covariance is singular.
    """
    if min(len(a), len(b)) < 2:
        return float("nan")
    (mean_a, cov_a), (mean_b, cov_b) = moments(a), moments(b)
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    product = root @ cov_b @ root
    crossed = np.sqrt(np.maximum(np.linalg.eigvalsh((product + product.T) / 2), 0)).sum()
    distance = ((mean_a - mean_b) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * crossed
    return float(max(distance, 0.0))


def moments(x: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean `[d]` and unbiased covariance `[d, d]` of embeddings `[n, d]`, in double precision."""
    rows = np.asarray(x, np.float64)
    mean = rows.mean(axis=0)
    centred = rows - mean
    return mean, centred.T @ centred / (len(rows) - 1)


def too_few(n: int, d: int) -> str:
    """Why the distance of sets of `n` embeddings of width `d` isn't to be relied on; empty when it is."""
    if n <= d:
        return f"{n} pictures are no more than the embedding's {d} numbers, so covariances are singular"
    return f"{n} pictures are fewer than {ENOUGH}" if n < ENOUGH else ""
