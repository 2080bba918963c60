"""The rows of an edition by class, and tie-breaking that doesn't depend on the order of rows."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from variorum.machine.scratch import scratch

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints
    from variorum.schemas.canonical import Json
    from variorum.schemas.table import Table

LARGE = 200_000
"""With more samples, models are fitted on this many of them."""
FEWEST = 50
"""A model of more samples than that is fitted on at least this many of each class that has them."""
MEDIAN_OF = 5
"""A class needs this many samples for its median to be used."""


def by_class(y: NDArray[np.integer[Any]], classes: int) -> tuple[Ints, Ints]:
    """Row numbers sorted by class, in order within each, and where each class starts, `[K + 1]`; all y are >= 0."""
    order = np.argsort(y, kind="stable")
    return order, np.searchsorted(y, np.arange(classes + 1), sorter=order)


def places(y: NDArray[np.integer[Any]], classes: int) -> Ints:
    """For each row, how many rows of the same class come before it, `[N]`."""
    order, ends = by_class(y, classes)
    place = np.empty(len(y), dtype=np.int64)
    place[order] = np.arange(len(y)) - np.repeat(ends[:-1], np.diff(ends))
    return place


def same_share(y: Ints, most: int, rng: np.random.Generator, least: int = 1) -> Bools:
    """Mask `[N]` of about `most` samples: the same share of every class, but at least `least` if it has as many.

    With very many classes, `least` is lowered so that there are at most three times as many samples.
    """
    if len(y) <= most:
        return np.ones(len(y), dtype=bool)
    order = np.lexsort((rng.permutation(len(y)), y))
    counts = np.bincount(y)
    least = max(1, min(least, 2 * most // int(np.count_nonzero(counts))))
    place = np.arange(len(y)) - np.repeat(np.cumsum(counts) - counts, counts)
    taken = np.zeros(len(y), dtype=bool)
    taken[order] = place < np.maximum(counts * most // len(y), least)[y[order]]
    return taken


def id_ranks(table: Table) -> Ints:
    """Position `[N]` of each row's id in sorted order, to break ties and name groups whatever the order of the rows."""
    import pyarrow.compute as pc

    ranks = np.empty(len(table), dtype=np.int64)
    ranks[pc.sort_indices(table.column("id")).to_numpy()] = np.arange(len(table))
    return ranks


def photographs(table: Table) -> Ints:
    """Number `[N]` of the photograph that each picture was made from: of itself, if it is one."""
    import pyarrow.compute as pc

    ids, source = table.column("id"), table.column("source")
    found = pc.if_else(pc.equal(pc.fill_null(source, ""), ""), ids, source)
    return np.asarray(found.dictionary_encode().combine_chunks().indices.to_numpy(), np.int64)


def class_ids(table: Table) -> dict[int, str]:
    """Class id by index in the edition's class list, for the classes that occur as a first label."""
    label, first = np.unique(table.column("label").to_numpy(), return_index=True)
    ids = table.column("labels").take(first).to_pylist()
    return {int(index): labels[0] for index, labels in zip(label, ids, strict=True) if index >= 0}


def most_flagged(table: Table, flag: Bools, most: int = 10, *, judged: Bools | None = None) -> dict[str, float]:
    """Flagged share of each class's pictures by class id, for the classes with the largest shares, largest first.

    Args:
        table: the edition.
        flag: `[N]`.
        most: number of classes.
        judged: `[N]` pictures that count; None counts all.
    """
    y, classes = table.labels()
    counted = (y >= 0) if judged is None else (y >= 0) & judged
    counts = np.bincount(y[counted], minlength=len(classes))
    shares = np.bincount(y[flag & counted], minlength=len(classes)) / np.maximum(counts, 1)
    ids = class_ids(table)
    largest = np.argsort(-shares, kind="stable")[:most].tolist()
    return {ids[int(classes[k])]: round(float(shares[k]), 4) for k in largest if shares[k] > 0}


def flag_figures(table: Table, judged: Bools) -> dict[str, Json]:
    """Counts of the judged and flagged pictures, the flagged share as the noise rate, the most flagged classes."""
    flag = table["flag"]
    return {
        "judged": int(judged.sum()),
        "flagged": int(flag.sum()),
        "estimated_noise_rate": round(float(flag[judged].mean()), 4),
        "most_flagged_classes": most_flagged(table, flag, judged=judged),
    }


def less_class_median(values: Floats, y: Ints) -> Floats:
    """Values `[N]` minus the median of their given class, so that a hard class isn't mistaken for a wrong one.

    NaN in a class with fewer than `MEDIAN_OF` samples, whose median would be the value itself or halfway to another.

    Args:
        values: `[N]`; NaN stays NaN.
        y: `[N]` given labels in 0..K-1; an unlabelled sample (-1) becomes NaN.
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
    """Silences scikit-learn's warning that classes with one or two pictures each look like a regression target."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        yield


def spread(values: Array, rows: Ints, total: int) -> Array:
    """A column `[N]` or `[N, d]` with the values at the given rows, and NaN, False or -1 elsewhere."""
    column = blank(values, total)
    column[rows] = values
    return column


def blank(values: Array, total: int, store: str = "") -> Array:
    """A column for values like these, with NaN, False or -1 in all `total` rows; `store` as for `scratch`."""
    column = scratch((total, *values.shape[1:]), values.dtype, store)
    column.fill({"f": np.nan, "b": False, "i": -1}[values.dtype.kind])
    return column
