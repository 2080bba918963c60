"""Fréchet distance of two sets of embeddings, each taken as Gaussian (Heusel et al., NeurIPS 2017, arXiv 1706.08500).

It is biased upwards for small sets, more so for wider embeddings (Chong & Forsyth, CVPR 2020, arXiv 1911.07023).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Array, Floats

ENOUGH = 10_000
"""Smaller sets get a warning about the bias. The authors of the distance recommend this number as the minimum."""


def frechet_distance(a: Array, b: Array) -> float:
    """`|μa - μb|² + tr(Σa + Σb - 2 (Σa Σb)^½)` of embeddings `[n, d]` and `[m, d]`; NaN if n or m is below 2.

    The trace of the square root is computed from the eigenvalues of `Σa^½ Σb Σa^½`. That matrix is symmetric, so
    singular covariances don't lead to complex numbers.
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


def moments(x: Array) -> tuple[Floats, Floats]:
    """Mean `[d]` and unbiased covariance `[d, d]` of embeddings `[n, d]`, in double precision."""
    rows = np.asarray(x, np.float64)
    mean = rows.mean(axis=0)
    centred = rows - mean
    return mean, centred.T @ centred / (len(rows) - 1)


def too_few(n: int, d: int) -> str:
    """Why the distance of sets of `n` embeddings of width `d` is unreliable; empty if it is reliable."""
    if n <= d:
        return f"{n} pictures are no more than the embedding's {d} numbers, so covariances are singular"
    return f"{n} pictures are fewer than {ENOUGH}" if n < ENOUGH else ""
