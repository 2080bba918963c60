"""Compute how often chance alone gives what a detector found.

Over keys these are exact, whatever the picture: what is read from an unmarked picture depends on it and on parts of the
key that say nothing of the payload, so the payload's bits are coins. With a mark whose key is the same in all pictures
they hold for a key drawn at random, not for each key.
"""

from __future__ import annotations

from functools import lru_cache
from math import comb, erfc, sqrt
from typing import TYPE_CHECKING

import numpy as np

from variorum.schemas.watermark import Detected

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from variorum.arrays import Floats
    from variorum.schemas.watermark import Bools

LEVELS = 100
"""Of the weights of soft bits."""


@lru_cache(maxsize=64)
def binomial_tails(bits: int) -> tuple[float, ...]:
    """P(at least r of `bits` coins show heads), for r = 0 to `bits`."""
    tails, total = [], 0
    for right in range(bits, -1, -1):
        total += comb(bits, right)
        tails.append(total / 2**bits)
    return tuple(reversed(tails))


def bits_p_values(found: Bools, payloads: Bools) -> Floats:
    """Compute how often a random payload agrees with as many of the bits found, `[N]`, for two arrays `[N, bits]`."""
    tails = np.array(binomial_tails(payloads.shape[1]))
    return np.asarray(tails[(found == payloads).sum(1)], np.float64)


def agreement(sums: Floats, payloads: Bools) -> Detected:
    """Read soft bits: each speaks for 1 if it is positive, and the louder the surer.

    The score is the payload's agreement weighted by how sure each bit is, in standard deviations of what random
    payloads give. It separates marked from unmarked pictures better than the share of right bits does, as bits that an
    attack has half erased weigh less. Its p-value is exact: the share of all payloads that agree as well.

    Args:
        sums: `[N, bits]`; weights are rounded to hundredths of the largest.
        payloads: `[N, bits]`.
    """
    largest = np.abs(sums).max(1, keepdims=True)
    weights = np.rint(np.abs(sums) / np.where(largest > 0, largest, 1) * LEVELS).astype(np.int64)
    agrees = (sums > 0) == payloads
    reached = (weights * agrees).sum(1)
    length = np.sqrt((weights**2).sum(1))
    scores = (2 * reached - weights.sum(1)) / np.maximum(length, 1)
    p_values = np.array([_share(*one) for one in zip(weights, reached, strict=True)])
    return Detected(scores, sums > 0, p_values)


def _share(weights: NDArray[np.int64], reached: int) -> float:
    """The share of all subsets of the weights that sum to at least this."""
    shares = np.zeros(int(weights.sum()) + 1)
    shares[0] = 1
    for weight in weights:
        shares *= 0.5
        shares[weight:] += shares[: len(shares) - weight].copy()
    return min(1.0, float(shares[reached:].sum()))


def normal_tail(score: float) -> float:
    """P(a standard normal number is at least this)."""
    return 0.5 * erfc(score / sqrt(2))
