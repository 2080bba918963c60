"""Names for array types, and conversion of arrays to Arrow columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

Array: TypeAlias = NDArray[Any]
Bools: TypeAlias = NDArray[np.bool_]
Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Singles: TypeAlias = NDArray[np.float32]
"""32-bit floats, as models return them."""
Reals: TypeAlias = NDArray[np.floating[Any]]
"""Floats of any width."""
Pixels: TypeAlias = NDArray[np.uint8]
"""RGB `[H, W, 3]`, or a mask `[H, W]`."""


def class_tiers(y: NDArray[np.int64]) -> NDArray[np.int64]:
    """Tier of each picture's class by size, `[n]`: 0 head, 1 mid, 2 tail.

    Tail classes are those whose mid-rank by size is in the lowest third, head classes those in the highest. Mid-ranks
    put classes of equal size into one tier, so all classes of a balanced edition are mid.

    Args:
        y: class of each picture, `[n]`.
    """
    if not len(y):
        return np.zeros(0, np.int64)
    classes, which, sizes = np.unique(y, return_inverse=True, return_counts=True)
    smaller = np.searchsorted(np.sort(sizes), sizes, side="left")
    not_larger = np.searchsorted(np.sort(sizes), sizes, side="right")
    rank = (smaller + not_larger) / 2 / len(classes)
    return np.where(rank < 1 / 3, 2, np.where(rank > 2 / 3, 0, 1))[which].astype(np.int64)


def arrow_column(values: Any) -> pa.Array:
    """An Arrow column from an array `[N]` or `[N, d]`, or a list of bytes or strings."""
    import pyarrow as pa

    array = np.asarray(values) if not isinstance(values, list) else None
    if array is not None and array.ndim == 2:
        flat = pa.array(np.ascontiguousarray(array).reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, array.shape[1])
    if array is not None and array.dtype != object:
        return pa.array(array)
    return pa.array(list(values))


TAKEN = 1 << 18
"""Rows that `taken` takes at a time."""


def taken(table: pa.Table, rows: NDArray[np.int64]) -> pa.Table:
    """Rows of a table in any order; -1 stands for a row of nulls.

    Arrow's own `take` joins the chunks of a column before it takes from them, which needs memory for a copy and fails
    where a column has more than 2 GiB of text.
    """
    import pyarrow as pa

    batches = table.to_batches() or [pa.RecordBatch.from_pylist([], table.schema)]
    ends = np.cumsum([len(batch) for batch in batches])
    found = [table.schema.empty_table()]
    for start in range(0, len(rows), TAKEN):
        some = rows[start : start + TAKEN]
        home = np.searchsorted(ends[:-1], some, side="right")
        order, pieces = np.argsort(home, kind="stable"), []
        for place in np.unique(home).tolist():
            local = some[home == place] - (ends[place] - len(batches[place]))
            pieces.append(batches[place].take(pa.array(local, mask=some[home == place] < 0)))
        block = pa.Table.from_batches(pieces)
        found.append(block if len(pieces) == 1 else block.combine_chunks().take(pa.array(np.argsort(order))))
    return pa.concat_tables(found)


def scalar_columns(schema: pa.Schema) -> list[str]:
    """Names of the columns that are neither vectors nor raw bytes; these are what `decide` gets."""
    import pyarrow as pa

    def scalar(kind: Any) -> bool:
        return not pa.types.is_fixed_size_list(kind) and not pa.types.is_binary(kind)

    return [field.name for field in schema if scalar(field.type)]
