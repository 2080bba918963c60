"""How different the pictures of a set are from each other, whatever real ones look like."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.features import normalised


def vendi_score(x: NDArray[Any]) -> float:
    """How many wholly different pictures a set `[n, d]` is worth, 1 to n.

    After Friedman & Dieng, The Vendi Score, TMLR 2023, arXiv 2210.02410: the exponential of the
    entropy of the eigenvalues of `K / n`, K the cosines. It grows with n, so sets of different size can't be compared
    by it. Rows without a direction are left out; NaN for no rows.
    """
    rows = directions(x)
    if not len(rows):
        return float("nan")
    # K = rows rows' and rows' rows have the same eigenvalues but for zeros
    gram = rows.T @ rows if len(rows) > rows.shape[1] else rows @ rows.T
    values = np.linalg.eigvalsh(gram / len(rows))
    values = values[values > 1e-12]
    values /= values.sum()
    return float(np.exp(-(values * np.log(values)).sum()))


def spread(x: NDArray[Any]) -> float:
    """Mean cosine distance of two different rows of `[n, d]`, in [0, 2]; NaN for fewer than two."""
    rows = directions(x)
    n = len(rows)
    if n < 2:
        return float("nan")
    pairs = (np.linalg.norm(rows.sum(axis=0)) ** 2 - n) / (n * (n - 1))
    return float(1 - pairs)


def apart(x: NDArray[Any]) -> float:
    """Mean squared distance of two different rows of `[n, d]`; NaN for fewer than two.

    Of `perceptual` embeddings it is LPIPS.
    """
    rows = np.asarray(x, np.float64)
    return 2 * float(((rows - rows.mean(axis=0)) ** 2).sum()) / (len(rows) - 1) if len(rows) > 1 else float("nan")


def directions(x: NDArray[Any]) -> NDArray[np.float64]:
    """The rows that have a direction, at length 1, in double precision."""
    rows = normalised(x).astype(np.float64)
    rows = rows[~np.isnan(rows[:, 0])] if rows.size else rows[:0]
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))
