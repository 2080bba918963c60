"""Artificial label noise, and the handwritten digits for testing it.

A wrong label always differs from the true class. Drawing the replacement from all K classes, as some published code
does, would leave a share `rate / K` of the "flipped" labels right.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def symmetric(y: NDArray[np.int64], rate: float, k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`round(rate * N)` samples get one of the other `k - 1` classes, with equal probability."""
    noisy = y.copy()
    chosen = _chosen(len(y), rate, rng)
    noisy[chosen] = (y[chosen] + rng.integers(1, k, len(chosen))) % k
    return noisy


def asymmetric(y: NDArray[np.int64], rate: float, k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`round(rate * N)` samples of class c are labelled c + 1 (modulo `k`)."""
    noisy = y.copy()
    chosen = _chosen(len(y), rate, rng)
    noisy[chosen] = (y[chosen] + 1) % k
    return noisy


def digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """scikit-learn's 1797 handwritten digits: `x [1797, 64]` in [0, 1] and `y [1797]` in 0..9."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return data.data / 16.0, data.target.astype(np.int64)


def _chosen(n: int, rate: float, rng: np.random.Generator) -> NDArray[np.int64]:
    return rng.permutation(n)[: round(rate * n)]
