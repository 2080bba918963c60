"""Rank a gallery by similarity to each query, and find the rank of the relevant pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from variorum.arrays import Array, Bools, Floats, Singles

AT_ONCE = 1 << 22
"""Similarities that are ranked at a time."""
DIGITS = 5
"""Similarities that agree in this many decimals are ties: the last bits of a product depend on how it is computed."""
DEEPEST = 10
"""Rank up to which MRR counts."""


@dataclass(frozen=True, slots=True)
class Answers:
    """The results of each query, `[Q]` each; all are 0 where nothing is relevant.

    Attributes:
        answerable: whether anything in the gallery is relevant.
        first: whether a relevant picture ranks first.
        fifth: whether one is among the first five.
        reciprocal: 1/rank of the first relevant picture; 0 beyond rank 10.
        precision: average precision.
    """

    answerable: Bools
    first: Floats
    fifth: Floats
    reciprocal: Floats
    precision: Floats


def answers(queries: Singles, gallery: Singles, relevance: Callable[[slice], tuple[Bools, Bools]]) -> Answers:
    """Rank the gallery for each query by cosine similarity.

    A picture that ties with others has the mean of their ranks, so the order in which a gallery lists equal pictures
    decides nothing.

    Args:
        queries: `[Q, d]` of unit length.
        gallery: `[G, d]` of unit length.
        relevance: for a slice of the queries, which pictures are `relevant [q, G]`, and which are `hidden [q, G]` from
            a query as if they weren't in the gallery.
    """
    found = np.zeros((5, len(queries)))
    step = max(1, AT_ONCE // max(1, len(gallery)))
    for start in range(0, len(queries) if len(gallery) else 0, step):
        rows = slice(start, min(start + step, len(queries)))
        relevant, hidden = relevance(rows)
        similar = np.round((queries[rows] @ gallery.T).astype(np.float64), DIGITS)
        found[:, rows] = measures(mean_ranks(np.where(hidden, -np.inf, similar)), relevant & ~hidden)
    return Answers(found[0] > 0, *found[1:])


def mean_ranks(similar: Floats) -> Floats:
    """Ranks `[Q, G]` from 1 for the most similar; ties have their mean rank."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(-similar, method="average", axis=1), np.float64)


def measures(ranks: Floats, relevant: Bools) -> Array:
    """`[5, Q]`: the fields of `Answers` from ranks `[Q, G]` and what is relevant `[Q, G]`.

    Average precision is the mean over the relevant pictures of their rank among the relevant ones over their rank.
    """
    own = np.where(relevant, ranks, np.inf)
    number, best = relevant.sum(axis=1), own.min(axis=1)
    among = mean_ranks(-own)
    precision = np.where(relevant, among / ranks, 0).sum(axis=1) / np.maximum(number, 1)
    reciprocal = np.where(best <= DEEPEST, 1 / best, 0)
    return np.stack([number > 0, best <= 1, best <= 5, reciprocal, precision]).astype(np.float64)
