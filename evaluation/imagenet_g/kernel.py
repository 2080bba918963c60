"""Kernel distance of two sets of embeddings (KID: Bińkowski et al., ICLR 2018, arXiv 1801.01401).

The squared maximum mean discrepancy with the kernel `(x·y / d + 1)³`, estimated without bias: its expectation doesn't
depend on the number of pictures, and it can be slightly below 0 for sets that are alike.

The published estimator assumes independent pictures. That fails for sets with fixed numbers per class: two pictures of
one set share a class less often than two pictures of different sets, which lowers the estimate by a term proportional
to the class differences over n. So the estimate is made class by class here; with one class the two are the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.sets.pictures import ranks

if TYPE_CHECKING:
    from variorum.arrays import Array, Floats, Ints

BLOCK = 1024


def kernel_distance(
    a: Array, of_a: Ints, b: Array, of_b: Ints, rng: np.random.Generator, halves: int = 50
) -> tuple[float, float]:
    """The distance of `[n, d]` and `[m, d]`, and its standard error from random halves of each class of both sets.

    Classes are weighted as in `a`. Half-samples without replacement vary around the estimate as the estimate varies
    around the true value (Shao & Wu, Annals of Statistics 1989); for sets that are alike the error is up to twice too
    large. If any class has one picture only in either set, all pictures count as one class.

    Args:
        a: embeddings of one set.
        of_a: its classes, `[n]` in 0..K-1.
        b: embeddings of the other set.
        of_b: its classes `[m]`; they include all classes of `of_a`.
        rng: draws the halves.
        halves: number of halves.

    Returns:
        Estimate and error. Both are NaN for sets of fewer than 2, the error also if a class has fewer than 4.
    """
    if min(len(a), len(b)) < 2:
        return float("nan"), float("nan")
    k = int(max(of_a.max(), of_b.max())) + 1
    counts = np.stack([np.bincount(of_a, minlength=k), np.bincount(of_b, minlength=k)])
    if (counts[:, counts[0] > 0] < 2).any():
        of_a, of_b, k = np.zeros_like(of_a), np.zeros_like(of_b), 1
        counts = np.array([[len(a)], [len(b)]])
    share = counts[0] / counts[0].sum()
    draws = halves if (counts[:, share > 0] >= 4).all() else 0
    in_a, in_b = (subsets(y, count // 2, draws, rng) for y, count in zip((of_a, of_b), counts, strict=True))
    in_a, in_b = weights(of_a, in_a, share), weights(of_b, in_b, share)
    estimates = within(a, of_a, in_a) + within(b, of_b, in_b) - 2 * weighted_sums(a, b, in_a, in_b)
    return float(estimates[0]), float(estimates[1:].std(ddof=1)) if draws > 1 else float("nan")


def subsets(y: Ints, numbers: Ints, draws: int, rng: np.random.Generator) -> Floats:
    """`[n, 1 + draws]`: a column of ones, then columns with 1 for `numbers[k]` random pictures of each class k."""
    drawn = [ranks(y, rng) < numbers[y] for _ in range(draws)]
    return np.column_stack([np.ones(len(y)), *drawn]).astype(float)


def weights(y: Ints, chosen: Floats, share: Floats) -> Floats:
    """`chosen [n, R]` scaled so that each column's weights in class k sum to `share[k]`."""
    return chosen * (share / np.maximum(class_sums(y, chosen, len(share)).T, 1)).T[y]


def class_sums(y: Ints, values: Floats, k: int) -> Floats:
    """Sums of `values [n, R]` over each class `[K, R]`."""
    sums = np.zeros((k, values.shape[1]))
    np.add.at(sums, y, values)
    return sums


def within(x: Array, y: Ints, u: Floats) -> Floats:
    """Mean kernel of two different pictures `[R]`, class by class; picture i has the weight `u[i, r]`."""
    total = weighted_sums(x, x, u, u)
    for k in np.unique(y):
        own = u[y == k]
        if not own.any():
            continue
        count = (own > 0).sum(axis=0)
        together = weighted_sums(x[y == k], x[y == k], own, own)
        total += (together - diagonal_sums(x[y == k], own**2)) * count / (count - 1) - together
    return total


def weighted_sums(a: Array, b: Array, in_a: Floats, in_b: Floats) -> Floats:
    """`Σ_ij u_ir k(a_i, b_j) v_jr` `[R]` for weights u `in_a [n, R]` and v `in_b [m, R]`, in blocks of rows."""
    rows, columns = np.asarray(a, np.float64), np.asarray(b, np.float64)
    total = np.zeros(in_a.shape[1])
    for start in range(0, len(rows), BLOCK):
        stop = start + BLOCK
        base = rows[start:stop] @ columns.T / rows.shape[1] + 1
        total += (in_a[start:stop] * ((base * base * base) @ in_b)).sum(axis=0)
    return total


def diagonal_sums(a: Array, in_a: Floats) -> Floats:
    """`Σ_i u_ir k(a_i, a_i)` `[R]`."""
    rows = np.asarray(a, np.float64)
    own: Floats = ((rows**2).sum(axis=1) / rows.shape[1] + 1) ** 3
    return own @ in_a
