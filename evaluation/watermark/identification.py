"""Compute how often a marked picture leads to the right one of N users, if each user has a key of their own.

The picture is said to be of the user whose key fits best. The others' keys say nothing of it, so their scores are those
of unmarked pictures: with null distribution F the accuracy is E[F(s)^(N-1)] over the scores s of the right keys (WAVES,
An et al., ICML 2024, arXiv 2401.08573).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Floats, Ints

USERS = (100, 1_000, 1_000_000)


def by_bits(right: Ints, bits: int, users: int) -> Floats:
    """The chance `[n]` that the right one of `users` is found, if this many of the bits are read right.

    F is that of fair coins. Of several users with the same number of right bits one is picked at random, so for q the
    share of payloads that fit worse and p that of equally good ones, it is ((q + p)^N - q^N) / (N p).
    """
    from scipy.stats import binom

    same = binom.pmf(right, bits, 0.5)
    top = np.exp(users * np.log1p(-np.minimum(binom.sf(right, bits, 0.5), 1 - 1e-16)))
    with np.errstate(divide="ignore"):  # nothing is worse than no right bit
        fewer = -np.expm1(users * np.log1p(-np.minimum(same / binom.cdf(right, bits, 0.5), 1.0)))
    return np.asarray(top * fewer / (users * same))


def by_p_values(p_values: Floats, users: int) -> Floats:
    """The same `[n]` for a mark without bits, from the p-values of the right keys: (1 - p)^(N-1)."""
    chances: Floats = np.exp((users - 1) * np.log1p(-np.minimum(np.asarray(p_values, np.float64), 1 - 1e-16)))
    return chances
