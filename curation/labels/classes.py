"""An edition's rows class by class, and in an order that doesn't depend on how the table came about."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from variorum.columns import given_labels

if TYPE_CHECKING:
    import pyarrow as pa

Ints = NDArray[np.int64]
MEDIAN_OF = 5
"""Samples of a class that its median takes."""


def by_class(y: NDArray[np.integer[Any]], classes: int) -> tuple[Ints, Ints]:
    """Row numbers sorted by class, in order within each, and where each class starts `[K + 1]`; all y are >= 0."""
    order = np.argsort(y, kind="stable")
    return order, np.searchsorted(y, np.arange(classes + 1), sorter=order)


def places(y: NDArray[np.integer[Any]], classes: int) -> Ints:
    """How many rows of the same class come before each row, `[N]`."""
    order, ends = by_class(y, classes)
    place = np.empty(len(y), dtype=np.int64)
    place[order] = np.arange(len(y)) - np.repeat(ends[:-1], np.diff(ends))
    return place


def id_ranks(table: pa.Table) -> Ints:
    """Each row's place in the order of ids, `[N]`: what settles ties, whatever the order of the rows."""
    import pyarrow.compute as pc

    ranks = np.empty(table.num_rows, dtype=np.int64)
    ranks[pc.sort_indices(table.column("id")).to_numpy()] = np.arange(table.num_rows)
    return ranks


def class_ids(table: pa.Table) -> dict[int, str]:
    """Index in the edition's class list to class id, of the classes that occur as a first label."""
    label, first = np.unique(table.column("label").to_numpy(), return_index=True)
    ids = table.column("labels").take(first).to_pylist()
    return {int(index): labels[0] for index, labels in zip(label, ids, strict=True) if index >= 0}


def most_flagged(
    table: pa.Table, flag: NDArray[np.bool_], most: int = 10, *, judged: NDArray[np.bool_] | None = None
) -> dict[str, float]:
    """Class id to the flagged share of its pictures, of the classes with the largest share, those first.

    `judged` `[N]` are the pictures that shares are taken of; None takes all.
    """
    y, classes = given_labels(table)
    there = (y >= 0) if judged is None else (y >= 0) & judged
    counts = np.bincount(y[there], minlength=len(classes))
    shares = np.bincount(y[flag & there], minlength=len(classes)) / np.maximum(counts, 1)
    ids = class_ids(table)
    largest = np.argsort(-shares, kind="stable")[:most].tolist()
    return {ids[int(classes[k])]: round(float(shares[k]), 4) for k in largest if shares[k] > 0}


def less_class_median(values: NDArray[np.float64], y: NDArray[np.int64]) -> NDArray[np.float64]:
    """Values `[N]` less the median of their given class, so that a hard class isn't taken for a wrong one.

    NaN in a class with fewer than `MEDIAN_OF`: the median would be the value itself, or lie halfway to another.

    Args:
        values: `[N]`, NaN where there is none.
        y: `[N]` given labels in 0..K-1; that of an unlabelled sample (-1) becomes NaN.
    """
    centred = np.full(len(values), np.nan)
    order = np.argsort(y, kind="stable")
    order = order[(y[order] >= 0) & np.isfinite(values[order])]
    for rows in np.split(order, np.flatnonzero(np.diff(y[order])) + 1):
        if len(rows) >= MEDIAN_OF:
            centred[rows] = values[rows] - np.median(values[rows])
    return centred


@contextmanager
def rare_classes() -> Iterator[None]:
    """No warning of scikit-learn's meanwhile that a picture or two of each class may be no classes but numbers."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        yield


def spread(values: NDArray[Any], rows: Ints, total: int) -> NDArray[Any]:
    """A column `[N]` or `[N, d]` with values at some rows, and NaN, False or -1 at the others."""
    nothing = {"f": np.nan, "b": False, "i": -1}[values.dtype.kind]
    column = np.full((total, *values.shape[1:]), nothing, dtype=values.dtype)
    column[rows] = values
    return column
