"""An edition's columns as NumPy arrays: what curation's functions of arrays are fed with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import RecipeError

if TYPE_CHECKING:
    import pyarrow as pa


def vector(table: pa.Table, name: str) -> NDArray[Any]:
    """A scalar column `[N]`; missing numbers are NaN, missing strings are empty.

    Raises:
        RecipeError: no such column, naming those there are.
    """
    import pyarrow as pa

    column = _column(table, name)
    if pa.types.is_string(column.type):
        return np.array([value or "" for value in column.to_pylist()], dtype=object)
    if pa.types.is_boolean(column.type):
        return np.asarray(column.fill_null(False).to_numpy(zero_copy_only=False), dtype=bool)
    if pa.types.is_integer(column.type) and not column.null_count:
        return np.asarray(column.to_numpy())
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    return np.array(column.to_pylist(), dtype=object)


def matrix(table: pa.Table, name: str) -> NDArray[Any]:
    """A vector column as `[N, d]` in its own type, without a copy where the table is in one piece.

    Raises:
        RecipeError: no such column, or one without vectors.
    """
    import pyarrow as pa

    column = _column(table, name)
    if not pa.types.is_fixed_size_list(column.type):
        raise RecipeError(f"column {name} holds {column.type}, not vectors")
    width = column.type.list_size
    pieces = [np.asarray(piece.flatten().to_numpy(zero_copy_only=False)) for piece in column.chunks]
    flat = pieces[0] if len(pieces) == 1 else np.concatenate(pieces or [np.empty(0)])
    return flat.reshape(-1, width)


def given_labels(table: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labels as detectors want them: `y [N]` in 0..K-1 over the classes that occur, -1 unlabelled, and `classes [K]`.

    `classes[y]` is the index in the edition's class list, which `label` and `proposed` columns hold.
    """
    label = np.asarray(_column(table, "label").to_numpy(), dtype=np.int64)
    classes = np.unique(label[label >= 0])
    y = np.searchsorted(classes, label).astype(np.int64)
    y[label < 0] = -1
    return y, classes


def class_tiers(y: NDArray[np.int64]) -> NDArray[np.int64]:
    """0 head, 1 mid, 2 tail for each picture `[n]`, by the size of its class among the classes.

    A class is of the tail if its mid-rank by size is in the lowest third, so that classes of one size are never torn
    apart and a balanced edition is all mid.
    """
    if not len(y):
        return np.zeros(0, np.int64)
    classes, which, sizes = np.unique(y, return_inverse=True, return_counts=True)
    smaller = np.searchsorted(np.sort(sizes), sizes, side="left")
    not_larger = np.searchsorted(np.sort(sizes), sizes, side="right")
    rank = (smaller + not_larger) / 2 / len(classes)
    return np.where(rank < 1 / 3, 2, np.where(rank > 2 / 3, 0, 1))[which].astype(np.int64)


def arrow_column(values: Any) -> pa.Array:
    """A column for a table: `[N]` or `[N, d]` arrays, lists of bytes or strings."""
    import pyarrow as pa

    array = np.asarray(values) if not isinstance(values, list) else None
    if array is not None and array.ndim == 2:
        flat = pa.array(np.ascontiguousarray(array).reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, array.shape[1])
    if array is not None and array.dtype != object:
        return pa.array(array)
    return pa.array(list(values))


def scalar_columns(schema: pa.Schema) -> list[str]:
    """Names of the columns that are neither vectors nor raw bytes: what `decide` sees."""
    import pyarrow as pa

    def scalar(kind: Any) -> bool:
        return not pa.types.is_fixed_size_list(kind) and not pa.types.is_binary(kind)

    return [field.name for field in schema if scalar(field.type)]


def _column(table: pa.Table, name: str) -> Any:
    if name not in table.column_names:
        step = name.partition(".")[0]
        raise RecipeError(
            f"no column {name!r}; is the step {step!r} in the recipe's curate list, before the one that asks? "
            f"There are: {', '.join(table.column_names)}"
        )
    return table.column(name)
