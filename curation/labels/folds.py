"""Deals an edition's pictures into folds, for every step that fits on some of them and judges the others.

A picture whose copy was fitted on, or another variant of the photograph that it was made of, is judged by its own
label: a wrong one vouches for itself. So neither straddles two folds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curation.fingerprints.grouping import fold_groups
from variorum.columns import vector

if TYPE_CHECKING:
    import pyarrow as pa

Ints = NDArray[np.int64]


def dealt_folds(table: pa.Table, y: NDArray[Any], count: int, rng: np.random.Generator, *, copies: bool) -> Ints:
    """Fold `[N]` in 0..count-1 of each picture, whatever the order of the rows; every class is spread evenly.

    Args:
        table: of the edition.
        y: class `[N]`, negative for what is in none; that is spread evenly too.
        count: folds; with fewer groups there are as many as groups.
        rng: deals.
        copies: whether the groups of the step `duplicates` stay whole; variants of one photograph always do.
    """
    ids, source = vector(table, "id"), vector(table, "source")
    group = vector(table, "duplicates.group") if copies else np.arange(len(ids))
    whole = fold_groups(group, np.where(source == "", ids, source))
    order = np.argsort(ids, kind="stable")
    order = order[np.argsort(y[order] < 0, kind="stable")]  # a group's class is that of its first picture with one
    fold = np.empty(len(ids), dtype=np.int64)
    fold[order] = deal(y[order], whole[order], count, rng)
    return fold


def deal(y: NDArray[Any], group: Ints, count: int, rng: np.random.Generator) -> Ints:
    """Folds `[N]` in 0..count-1: a group is in one fold, every class spread evenly however small it is.

    Groups are dealt out like cards, class by class (a group's is its first sample's), large ones first. A class with
    fewer groups than folds is in as many folds as it has groups.
    """
    _, first, member, size = np.unique(group, return_index=True, return_inverse=True, return_counts=True)
    turn = np.lexsort((rng.permutation(len(y))[first], -size, y[first]))
    fold = np.empty(len(first), dtype=np.int64)
    fold[turn] = np.arange(len(first)) % count
    return fold[member]
