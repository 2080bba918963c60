"""Votes of a sample's nearest neighbours on its label, counted over the labels that occur among them.

Both kinds of votes are fair to small classes. A vote for a large class weighs less, and a sample of a class of n asks
at most n / 2 neighbours, as only n - 1 could agree with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from variorum.arrays import Ints, Reals

Indices = NDArray[np.integer[Any]]

ALL = slice(None)


def plain_votes(index: Indices, y: Ints, prior_power: float, rows: slice = ALL) -> tuple[Ints, Reals]:
    """One vote per neighbour: labels and weights `[n, k]` of `rows`; a vote for class c weighs 1 / n_c^prior_power.

    Deep kNN (Bahri, Jiang, Gupta, "Deep k-NN for Noisy Labels", ICML 2020) uses a `prior_power` of 0.
    """
    index = index[rows]
    return _fair(y[index], (index >= 0).astype(float), y, prior_power, rows, least=1)


def similarity_votes(
    index: Indices, similarity: Reals, y: Ints, prior_power: float, rows: slice = ALL
) -> tuple[Ints, Reals]:
    """Votes weighted by similarity, of the sample itself and k - 1 neighbours: labels and weights `[n, k]` of `rows`.

    At distance 0 the sample would outvote the others, so its distance is extrapolated from those of the first two
    neighbours: 2 d_1 - d_2 (SimiFeat: Zhu, Dong, Liu, "Detecting Corrupted Labels Without Training a Model to
    Predict", ICML 2022). Every sample needs at least two neighbours.
    """
    index, similarity = index[rows], similarity[rows]
    distance = 1 - similarity[:, :-1]
    own = np.maximum(2 * (1 - similarity[:, 0]) - (1 - similarity[:, 1]), 0)
    weights = np.clip(1 - np.column_stack([own, distance]), 0, None)
    labels = np.column_stack([y[rows], y[index[:, :-1]]])
    return _fair(labels, np.nan_to_num(weights), y, prior_power, rows, least=2)


def count_votes(labels: Ints, weights: Reals, y: Ints) -> tuple[Reals, Reals, Ints]:
    """Support of the votes for the label y.

    Args:
        labels: the class that each vote is for, `[N, k]`.
        weights: `[N, k]`, 0 or more.
        y: the given labels `[N]`.

    Returns:
        `share [N]` of all votes that are for y; `unit [N]`, the same with the vote histogram scaled to unit length; and
        `winner [N]`: y unless another class has more votes, then the lowest of those with most. NaN and -1 without
        votes.
    """
    mass = sum(weights[:, [m]] * (labels == labels[:, [m]]) for m in range(labels.shape[1]))
    total = weights.sum(axis=1)
    given = (weights * (labels == y[:, None])).sum(axis=1)
    largest = np.max(mass * (weights > 0), axis=1, initial=0)
    nearly = 1e-9 * total  # the same weights summed in another order differ by rounding
    wins = (mass >= (largest - nearly)[:, None]) & (weights > 0)
    lowest = np.where(wins, labels, np.iinfo(np.int64).max).min(axis=1, initial=np.iinfo(np.int64).max)
    winner = np.where(given >= largest - nearly, y, lowest)
    length = np.sqrt((weights * mass).sum(axis=1))
    voted = total > 0
    share = np.divide(given, total, out=np.full(len(y), np.nan), where=voted)
    unit = np.divide(given, length, out=np.full(len(y), np.nan), where=voted)
    return share, unit, np.where(voted, winner, -1)


def _fair(labels: Ints, weights: Reals, y: Ints, prior_power: float, rows: slice, least: int) -> tuple[Ints, Reals]:
    sizes = np.maximum(np.bincount(y), 1)
    looked_at = np.arange(labels.shape[1]) < np.maximum(least, sizes[y[rows]] // 2)[:, None]
    return labels, weights * looked_at / (sizes[labels] / sizes.max(initial=1)) ** prior_power
