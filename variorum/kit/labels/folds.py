"""Deals an edition's pictures into folds, for every detector that fits on some of them and judges the others.

A copy of a picture, or another variant of its source photograph, carries the same label: if one is fitted on and the
other judged, a wrong label confirms itself. So copies and variants share a fold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.copies.grouping import fold_groups
from variorum.kit.labels.classes import photographs

if TYPE_CHECKING:
    from variorum.arrays import Array, Ints
    from variorum.schemas.table import Table


def dealt_folds(table: Table, y: Array, count: int, rng: np.random.Generator, *, copies: bool) -> Ints:
    """Fold `[N]` in 0..count-1 of each picture, whatever the order of the rows; every class is spread evenly.

    Args:
        table: the edition.
        y: class `[N]`; negative for pictures without one, which are spread evenly too.
        count: number of folds; with fewer groups, there is one fold per group.
        rng: deals.
        copies: whether the groups of `duplicates` stay in one fold; variants of one photograph always do.
    """
    import pyarrow.compute as pc

    group = table["duplicates.group"] if copies else np.arange(len(table))
    whole = fold_groups(group, photographs(table))
    order = pc.sort_indices(table.column("id")).to_numpy().astype(np.int64)
    order = order[np.argsort(y[order] < 0, kind="stable")]  # a group's class is that of its first labelled picture
    fold = np.empty(len(table), dtype=np.int64)
    fold[order] = deal(y[order], whole[order], count, rng)
    return fold


def deal(y: Array, group: Ints, count: int, rng: np.random.Generator) -> Ints:
    """Folds `[N]` in 0..count-1: each group is in one fold, and every class is spread evenly, however small it is.

    Groups are dealt like cards, class by class (a group's class is that of its first sample), large groups first. A
    class with fewer groups than folds is in as many folds as it has groups.
    """
    _, first, member, size = np.unique(group, return_index=True, return_inverse=True, return_counts=True)
    turn = np.lexsort((rng.permutation(len(y))[first], -size, y[first]))
    fold = np.empty(len(first), dtype=np.int64)
    fold[turn] = np.arange(len(first)) % count
    return fold[member]
