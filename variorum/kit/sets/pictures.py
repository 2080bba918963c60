"""A set of pictures as arrays, and nested draws from it in given class proportions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints


@dataclass(frozen=True, slots=True)
class Pictures:
    """Some pictures of one set.

    Attributes:
        x: embeddings `[n, d]`.
        y: classes `[n]` in 0..K-1.
        rank: position `[n]` of each picture in a random order of its class, from 0. Draws by rank are nested.
        right: whether a classifier recognises the class `[n]`, 1 or 0; NaN if unknown.
        looks: embeddings `[n, d]` with LPIPS as their squared distances; None if LPIPS isn't measured.
        grey: grey levels `[n, p]` of small pictures, for networks that learn from pixels; None if none learns.
    """

    x: Array
    y: Ints
    rank: Ints
    right: Floats
    looks: Array | None = None
    grey: Array | None = None

    def __len__(self) -> int:
        return len(self.y)

    def counts(self, classes: int) -> Ints:
        """Number of pictures of each class `[K]`."""
        return np.bincount(self.y, minlength=classes)

    def first(self, numbers: Ints) -> Pictures:
        """Up to `numbers[k]` pictures of each class k, the first by rank."""
        return self.where(self.rank < numbers[self.y])

    def between(self, first: Ints, last: Ints) -> Pictures:
        """The pictures of each class k whose rank is in `first[k]` … `last[k] - 1`."""
        return self.where((self.rank >= first[self.y]) & (self.rank < last[self.y]))

    def where(self, chosen: Bools) -> Pictures:
        """The pictures chosen by a mask `[n]`."""
        looks, grey = (None if part is None else part[chosen] for part in (self.looks, self.grey))
        return Pictures(self.x[chosen], self.y[chosen], self.rank[chosen], self.right[chosen], looks, grey)


def ranks(y: Ints, rng: np.random.Generator) -> Ints:
    """A random order within each class: positions `[n]` from 0, for classes `[n]`."""
    order = np.lexsort((rng.permutation(len(y)), y))
    counts = np.bincount(y)
    rank = np.empty(len(y), dtype=np.int64)
    rank[order] = np.arange(len(y)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rank


def matched(wanted: Ints, available: Ints, most: int | None = None) -> Ints:
    """The largest available numbers `[K]` in the proportions of `wanted [K]`, together at most about `most`.

    At least one of each class that is both wanted and available.
    """
    usable = np.where(available > 0, wanted, 0)
    if not usable.any():
        return usable
    share = usable / usable.sum()
    total = float((available[usable > 0] / share[usable > 0]).min())
    # 1e-9: a product such as 0.3 * 10 may be slightly below 3
    numbers = np.floor(min(total, most or np.inf) * share + 1e-9).astype(np.int64)
    return np.where(usable > 0, np.maximum(numbers, 1), 0)


def part_of(numbers: Ints, fraction: float) -> Ints:
    """A share of each class's number, at least one where the number isn't 0."""
    return np.where(numbers > 0, np.maximum(np.floor(numbers * fraction + 1e-9).astype(np.int64), 1), 0)
