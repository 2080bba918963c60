"""Neighbours of each sample in the other folds, where no copy and no variant of it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.embeddings.rows import normalised, thinned

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints, Singles

AMONG = 25_000
"""At most this many samples of the other folds are searched, so that the time is proportional to N."""
BLOCK = 256
"""Samples that are compared with all of them at a time."""


def neighbours_across_folds(
    features: Array, y: Ints, fold: Ints, own: Bools, k: int = 10, *, sample: Ints | None = None
) -> tuple[Floats, Floats]:
    """Measure the distance to the nearest samples of the classes, and the share of the nearest labels that agree.

    Args:
        features: `[N, d]`; a row without a direction gets NaN and is nobody's neighbour.
        y: `[N]` given labels, -1 unlabelled.
        fold: `[N]`.
        own: `[N]` samples that distances are taken to: those that surely belong to a class.
        k: neighbours.
        sample: rows that others are compared with, in the order of their ids; None for all.

    Returns:
        The mean cosine distance `[N]`, in [0, 2], to the k nearest of `own` in other folds, and the share `[N]` of
        the k nearest labelled samples in other folds that have the sample's label; NaN without any, or without a label.
        A sample of a class of n asks at most n / 2, as only n - 1 could agree with it, and all as near as the last one.
    """
    distance, share = np.full(len(y), np.nan), np.full(len(y), np.nan)
    sizes = np.bincount(y[y >= 0], minlength=1)
    asks = np.clip(np.where(y >= 0, sizes[y] // 2, 1), 1, k)
    known = np.arange(len(y)) if sample is None else sample
    known = known[(y[known] >= 0) | own[known]]
    for one in np.unique(fold):
        others = thinned(known[fold[known] != one], AMONG)
        rows = normalised(features, others)
        usable = ~np.isnan(rows).any(axis=1)
        others, rows = others[usable], rows[usable]
        of_own, labelled = own[others], y[others] >= 0
        asked = np.flatnonzero(fold == one)
        for start in range(0, len(asked), BLOCK):
            here = asked[start : start + BLOCK]
            similar = normalised(features, here) @ rows.T
            if of_own.any():
                near = largest(similar[:, of_own], k).astype(np.float64)
                distance[here] = np.clip(1 - near.mean(axis=1), 0, 2)
            if labelled.any():
                same = y[others[labelled]] == y[here, None]
                share[here] = np.where(y[here] >= 0, support(similar[:, labelled], same, asks[here]), np.nan)
    return distance, share


def support(similarity: Singles, same: Bools, asks: Ints) -> Floats:
    """Share `[n]` of each row's most similar samples that are the `same`; NaN without any.

    Args:
        similarity: `[n, m]`, NaN for a row without a direction.
        same: `[n, m]`.
        asks: `[n]` samples that each row asks, at least 1; more if others are as similar as the last of them.
    """
    nearest_first = np.sort(largest(similarity, int(asks.max())), axis=1)[:, ::-1]
    last = np.minimum(asks, nearest_first.shape[1])[:, None] - 1
    votes = similarity >= np.take_along_axis(nearest_first, last, axis=1)
    count = votes.sum(axis=1)
    share = np.full(len(count), np.nan)
    np.divide((votes & same).sum(axis=1), count, out=share, where=count > 0)
    return share


def largest(values: Singles, k: int) -> Singles:
    """The k largest values of each row `[n, m]`, or all m if there are fewer, in any order."""
    m = values.shape[1]
    return values if m <= k else np.partition(values, m - k, axis=1)[:, m - k :]
