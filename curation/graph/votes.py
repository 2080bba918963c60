"""What a sample's nearest neighbours say of its label: weighted votes, counted over the labels that occur among them.

Both kinds of votes are fair to small classes: a vote for a large class weighs less, and a sample of a class of n looks
at n / 2 neighbours at most, as there are but n - 1 that could agree with it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Indices = NDArray[np.integer[Any]]


def plain_votes(index: Indices, y: Ints, prior_power: float) -> tuple[Ints, Floats]:
    """One vote a neighbour: labels and weights `[N, k]`, the weight of label c divided by n_c^prior_power.

    Deep kNN (Bahri, Jiang, Gupta, "Deep k-NN for Noisy Labels", ICML 2020) has `prior_power` 0.
    """
    return _fair(y[index], (index >= 0).astype(float), y, prior_power, least=1)


def similarity_votes(index: Indices, similarity: Floats, y: Ints, prior_power: float) -> tuple[Ints, Floats]:
    """Votes by similarity, the sample's own first and then those of k - 1 neighbours: labels and weights `[N, k]`.

    At its distance 0 the sample would drown the others, so its own distance is taken as where the first two
    neighbours' lead back to, 2 d_1 - d_2 (SimiFeat: Zhu, Dong, Liu, "Detecting Corrupted Labels Without Training a
    Model to Predict", ICML 2022). Every sample needs two neighbours at least.
    """
    distance = 1 - similarity[:, :-1]
    own = np.maximum(2 * (1 - similarity[:, 0]) - (1 - similarity[:, 1]), 0)
    weights = np.clip(1 - np.column_stack([own, distance]), 0, None)
    labels = np.column_stack([y, y[index[:, :-1]]])
    return _fair(labels, np.nan_to_num(weights), y, prior_power, least=2)


def count_votes(labels: Ints, weights: Floats, y: Ints) -> tuple[Floats, Floats, Ints]:
    """What the votes say of the label y.

    Args:
        labels: what each vote is for, `[N, k]`.
        weights: `[N, k]`, 0 or more.
        y: the given labels `[N]`.

    Returns:
        `share [N]` of the votes for y in all votes, `unit [N]` the same in the histogram scaled to length one, and
        `winner [N]`: y if nothing has more votes, else the lowest of the labels with most. NaN and -1 without votes.
    """
    mass = sum(weights[:, [m]] * (labels == labels[:, [m]]) for m in range(labels.shape[1]))
    total = weights.sum(axis=1)
    given = (weights * (labels == y[:, None])).sum(axis=1)
    largest = np.max(mass * (weights > 0), axis=1, initial=0)
    nearly = 1e-9 * total  # sums of the same weights in another order
    wins = (mass >= (largest - nearly)[:, None]) & (weights > 0)
    lowest = np.where(wins, labels, np.iinfo(np.int64).max).min(axis=1, initial=np.iinfo(np.int64).max)
    winner = np.where(given >= largest - nearly, y, lowest)
    length = np.sqrt((weights * mass).sum(axis=1))
    voted = total > 0
    share = np.divide(given, total, out=np.full(len(y), np.nan), where=voted)
    unit = np.divide(given, length, out=np.full(len(y), np.nan), where=voted)
    return share, unit, np.where(voted, winner, -1)


def _fair(labels: Ints, weights: Floats, y: Ints, prior_power: float, least: int) -> tuple[Ints, Floats]:
    sizes = np.maximum(np.bincount(y), 1)
    looked_at = np.arange(labels.shape[1]) < np.maximum(least, sizes[y] // 2)[:, None]
    return labels, weights * looked_at / (sizes[labels] / sizes.max(initial=1)) ** prior_power
