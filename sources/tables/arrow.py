"""Types and values of Arrow tables: what a column can be used for, and rows as Python has them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from variorum.sources.exports.texts import NoValue
from variorum.sources.tars.bytes import LARGEST_VALUE


class Unread(NamedTuple):
    """In place of a row that isn't read: a word for its `Failure`, and a sentence."""

    reason: str
    detail: str


def features(schema: pa.Schema) -> Mapping[str, Any]:
    """The columns' types as `datasets` describes them in the files that it writes; empty for others."""
    try:
        known = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}


def rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | Unread]:
    """The rows of a batch, but for those whose values besides bytes take more than `LARGEST_VALUE`.

    The texts of a column that has one that isn't UTF-8 are bytes, so that no row is lost.
    """
    if (size := sum(map(_size, batch.columns))) > LARGEST_VALUE:
        if len(batch) == 1:
            yield Unread("too_large", f"its texts and numbers take {size} bytes, more than can be read at once")
        for number in range(len(batch) if len(batch) > 1 else 0):
            yield from rows(batch.slice(number, 1))
        return
    columns = [_values(column) for column in batch.columns]
    for row in zip(*columns, strict=True):
        yield dict(zip(batch.schema.names, row, strict=True))


def leaves(array: pa.Array) -> Iterator[pa.Array]:
    """The arrays of single values that an array of lists and structs holds."""
    if is_list(array.type):
        yield from leaves(array.flatten())
    elif pa.types.is_struct(array.type):
        for part in array.flatten():
            yield from leaves(part)
    else:
        yield array


def _size(array: pa.Array) -> int:
    """Bytes of all values but bytes, unfolded."""
    total = 0
    for part in leaves(array):
        if pa.types.is_dictionary(part.type) and is_text(part.type.value_type):
            lengths = pc.binary_length(part.dictionary.cast(pa.large_string()))
            total += pc.sum(lengths.take(part.indices)).as_py() or 0
        elif not _is_bytes(part.type):
            total += (part.cast(pa.large_string()) if pa.types.is_string_view(part.type) else part).nbytes
    return total


def kind_of_label(given: pa.DataType) -> str:
    """`text` or `integers`, or `""`."""
    if pa.types.is_boolean(given) or pa.types.is_integer(given):
        return "integers"
    return "text" if is_text(given) else ""


def kind_of_text(given: pa.DataType) -> str:
    """`text`, also for lists of texts, or `""`."""
    inner = given.value_type if is_list(given) else given
    return "text" if is_text(inner) or _is_bytes(inner) or pa.types.is_null(inner) else ""


def kind_of_objects(given: pa.DataType) -> str:
    """`objects` or `""`."""
    inner = given.value_type if is_list(given) else given
    return "objects" if pa.types.is_struct(inner) else ""


def kind_of_picture(given: pa.DataType) -> str:
    """`pictures`, stored as bytes or as a struct with bytes, or `""`."""
    if pa.types.is_struct(given):
        held = [given.field(number) for number in range(given.num_fields)]
        return "pictures" if any(one.name == "bytes" and _is_bytes(one.type) for one in held) else ""
    return "pictures" if _is_bytes(given) else ""


def kind_of_metadata(given: pa.DataType) -> str:
    """`values` for what JSON can hold in some form, or `""` for bytes at any depth."""
    if pa.types.is_nested(given):
        inner = [given.field(number).type for number in range(given.num_fields)]
        return "values" if all(map(kind_of_metadata, inner)) else ""
    return "" if _is_bytes(given) else "values"


def is_text(given: pa.DataType) -> bool:
    """Return whether it is a type of texts."""
    return bool(pa.types.is_string(given) or pa.types.is_large_string(given) or pa.types.is_string_view(given))


def _is_bytes(given: pa.DataType) -> bool:
    kinds = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
    return any(kind(given) for kind in kinds)


def is_list(given: pa.DataType) -> bool:
    """Return whether it is a type of lists."""
    return bool(pa.types.is_list(given) or pa.types.is_large_list(given) or pa.types.is_fixed_size_list(given))


def _values(array: pa.Array) -> list[Any]:
    try:
        return list(array.to_pylist())
    except UnicodeDecodeError:
        return _one_by_one(array.cast(_bytes_for_texts(array.type)))
    except (ValueError, OverflowError, pa.ArrowException):
        return _one_by_one(array)


def _one_by_one(array: pa.Array) -> list[Any]:
    """The values, where one may be out of the range of Python's dates and times."""
    return [_value(scalar) for scalar in array]


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError, pa.ArrowException) as error:
        return NoValue(f"a value of the type {scalar.type} can't be read: {error}")


def _bytes_for_texts(given: pa.DataType) -> pa.DataType:
    """The type with bytes in place of texts."""
    if is_text(given):
        return pa.large_binary()
    if pa.types.is_dictionary(given):
        return _bytes_for_texts(given.value_type)
    if is_list(given):
        return pa.large_list(_bytes_for_texts(given.value_type))
    if pa.types.is_struct(given):
        held = [given.field(number) for number in range(given.num_fields)]
        return pa.struct([(one.name, _bytes_for_texts(one.type)) for one in held])
    return given
