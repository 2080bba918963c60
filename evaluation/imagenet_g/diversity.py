"""Measure how much the pictures of a set differ from each other, without comparison to real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.embeddings.rows import normalised

if TYPE_CHECKING:
    from variorum.arrays import Array, Floats


def vendi_score(x: Array) -> float:
    """Effective number of different pictures in a set `[n, d]`, from 1 to n.

    Friedman & Dieng, The Vendi Score, TMLR 2023, arXiv 2210.02410: the exponential of the entropy of the eigenvalues
    of `K / n`, where K holds the cosines. It grows with n, so only sets of the same size can be compared. Rows of
    length 0 are left out; NaN if no rows remain.
    """
    rows = directions(x)
    if not len(rows):
        return float("nan")
    # rows @ rows.T and rows.T @ rows have the same nonzero eigenvalues, so take the smaller one
    gram = rows.T @ rows if len(rows) > rows.shape[1] else rows @ rows.T
    values = np.linalg.eigvalsh(gram / len(rows))
    values = values[values > 1e-12]
    values /= values.sum()
    return float(np.exp(-(values * np.log(values)).sum()))


def spread(x: Array) -> float:
    """Mean cosine distance of two different rows of `[n, d]`, in [0, 2]; NaN for fewer than two rows."""
    rows = directions(x)
    n = len(rows)
    if n < 2:
        return float("nan")
    pairs = (np.linalg.norm(rows.sum(axis=0)) ** 2 - n) / (n * (n - 1))
    return float(1 - pairs)


def apart(x: Array) -> float:
    """Mean squared distance of two different rows of `[n, d]`; NaN for fewer than two rows.

    For embeddings by `perceptual` this is the mean LPIPS distance.
    """
    rows = np.asarray(x, np.float64)
    return 2 * float(((rows - rows.mean(axis=0)) ** 2).sum()) / (len(rows) - 1) if len(rows) > 1 else float("nan")


def directions(x: Array) -> Floats:
    """The rows with a length above 0, scaled to length 1, in double precision."""
    rows = normalised(x).astype(np.float64)
    rows = rows[~np.isnan(rows[:, 0])] if rows.size else rows[:0]
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))
