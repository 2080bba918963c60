"""Labels made wrong on purpose, and the handwritten digits that they are tried on.

A wrong label is always another class than the true one. Drawing the replacement from all K classes, as some
published code does, would leave the share `rate / K` of the "flipped" right.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def symmetric(y: NDArray[np.int64], rate: float, k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`round(rate * N)` samples get one of the other `k - 1` classes, each as likely."""
    noisy = y.copy()
    chosen = _chosen(len(y), rate, rng)
    noisy[chosen] = (y[chosen] + rng.integers(1, k, len(chosen))) % k
    return noisy


def asymmetric(y: NDArray[np.int64], rate: float, k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`round(rate * N)` samples of class c are called c + 1 (modulo `k`)."""
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
