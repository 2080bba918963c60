"""Radii around pictures within which a smoothed classifier's answer is certified, from votes under noise.

A classifier's answer under Gaussian noise is a vote, and the class of most votes is the smoothed answer. A lower bound
on its probability, from fresh draws, gives the radius.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from variorum.arrays import Floats


def lower(votes: ArrayLike, n: int, alpha: float) -> Floats:
    """Lower bounds on a probability (Clopper and Pearson, one-sided) from votes of n, true but for `alpha` of draws."""
    from scipy.special import betaincinv

    k = np.asarray(votes, np.float64)
    return np.asarray(np.where(k > 0, betaincinv(np.maximum(k, 1), n - k + 1, alpha), 0.0), np.float64)


def radii(votes: ArrayLike, n: int, alpha: float, sigma: float) -> Floats:
    """Certified ℓ2 radii `[N]`, in the unit of the noise; 0 where the smoothed classifier abstains.

    With one column, R = σ Φ⁻¹(p) for the lower bound p (Cohen et al., ICML 2019, arXiv 1902.02918).

    With two, each is of a classifier that sees one half of the pixels, and the smoothed answer is the class with the
    larger sum of probabilities (after Xia et al., ICLR 2024, arXiv 2404.09586). Each bound has half of
    the error, and R = σ (a₀ + a₁) / √2 with aᵢ = Φ⁻¹(pᵢ): a change of length d moves the halves by d₀² + d₁² = d², and
    the class keeps a sum of at least 1 as long as d₀ + d₁ ≤ σ (a₀ + a₁), which is hardest for d₀ = d₁. One pᵢ may be
    below ½.

    Args:
        votes: for the class that is certified, of draws that didn't choose it, `[N]`, `[N, 1]` or `[N, 2]`.
        n: number of draws, of each half; ValueError if even n votes of n certify nothing.
        alpha: error of each certificate.
        sigma: standard deviation of the noise.
    """
    from scipy.special import ndtri

    columns = np.asarray(votes, np.float64).reshape(len(np.atleast_1d(votes)), -1)
    if largest(n, alpha, sigma, columns.shape[1]) <= 0:
        raise ValueError(f"{n} votes certify nothing at an error of {alpha:g}: take more votes, or a larger error")
    parts = columns.shape[1]
    sums = ndtri(lower(columns, n, alpha / parts)).sum(1)
    return np.asarray(np.maximum(sigma * sums / np.sqrt(parts), 0.0), np.float64)


def largest(n: int, alpha: float, sigma: float, parts: int = 1) -> float:
    """The radius of n votes of n, beyond which nothing is certified: σ Φ⁻¹(α^(1/n)) for one part."""
    from scipy.special import ndtri

    return float(sigma * ndtri((alpha / parts) ** (1 / n)) * np.sqrt(parts))
