"""A set of pictures as arrays, and draws from it that are nested and follow the balance of another set's classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pictures:
    """Some pictures of one set.

    Attributes:
        x: embeddings `[n, d]`.
        y: classes `[n]` in 0..K-1.
        rank: place of each in a random order of its class `[n]`, from 0, so that draws of different size are nested.
        right: whether a classifier sees the class `[n]`; NaN where that wasn't or can't be asked.
        looks: embeddings `[n, d]` whose squared distances are LPIPS; None where that isn't measured.
    """

    x: NDArray[Any]
    y: Ints
    rank: Ints
    right: NDArray[np.float64]
    looks: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.y)

    def counts(self, classes: int) -> Ints:
        """How many there are of each class `[K]`."""
        return np.bincount(self.y, minlength=classes)

    def first(self, numbers: Ints) -> Pictures:
        """Up to `numbers[k]` of each class k, the first in the random order."""
        return self.where(self.rank < numbers[self.y])

    def where(self, chosen: NDArray[np.bool_]) -> Pictures:
        """Those that are chosen `[n]`."""
        looks = None if self.looks is None else self.looks[chosen]
        return Pictures(self.x[chosen], self.y[chosen], self.rank[chosen], self.right[chosen], looks)


def ranks(y: Ints, rng: np.random.Generator) -> Ints:
    """A random order within each class: places `[n]` from 0 for classes `[n]`."""
    order = np.lexsort((rng.permutation(len(y)), y))
    counts = np.bincount(y)
    rank = np.empty(len(y), dtype=np.int64)
    rank[order] = np.arange(len(y)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rank


def matched(wanted: Ints, available: Ints, most: int | None = None) -> Ints:
    """The largest numbers `[K]` in the proportions of `wanted [K]` that are there, about `most` in all at the most.

    At least one of each class that is wanted and there.
    """
    usable = np.where(available > 0, wanted, 0)
    if not usable.any():
        return usable
    share = usable / usable.sum()
    total = float((available[usable > 0] / share[usable > 0]).min())
    # rounding: 0.3 * 10 is a little less than 3
    numbers = np.floor(min(total, most or np.inf) * share + 1e-9).astype(np.int64)
    return np.where(usable > 0, np.maximum(numbers, 1), 0)


def part_of(numbers: Ints, fraction: float) -> Ints:
    """A share of each class's number, at least one where there is any."""
    return np.where(numbers > 0, np.maximum(np.floor(numbers * fraction + 1e-9).astype(np.int64), 1), 0)
