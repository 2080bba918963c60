"""Writing and reading of all parquet tables of an edition.

rows        one per unit: a row for each picture, made or not
columns     one per shard or edition: a detector's measurements or scores, keyed by (id, sha256)
verdicts    one per ledger; see `variorum.edition.verdicts`

A table that others may have written is checked as `variorum.edition.columns` says.
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

from variorum.arrays import arrow_column
from variorum.edition.columns import (
    EDITION_COLUMNS,
    JUDGED,
    NEW,
    check_claims,
    check_columns,
    check_names_once,
    check_values,
    column_kinds,
    reading,
)
from variorum.edition.shards import naming
from variorum.edition.store import Store
from variorum.machine.parquet_pages import check_pages
from variorum.machine.retrying import hash_content
from variorum.schemas.errors import RecipeError, cut
from variorum.schemas.manifest import FORMAT, ShardInfo
from variorum.schemas.sample import BASELINES, LABEL_STATES, MADE_OF

KEYS = ("id", "sha256")
"""Columns that identify a row's picture."""
BLOCK = 1 << 17
"""Rows of a long table that are read at a time."""
GROUP = 256
"""Rows in a row group of a table with file contents, so that a release reads only those of one unit."""
SOME = 1_000_000
"""Rows that are counted at a time."""
LONG_GROUP = 1 << 18
"""Rows in a row group of any other table: one of them is in memory while it is written."""
COUNTED = ["source", "variant", "status", "reason", "licence"]
"""Columns that a manifest's counts come from."""
HIDDEN = ("ops", "detail", "start", "width", "height", "captions", "states", "annotated")
"""Columns that detectors don't get: they would fill the memory, or detectors measure them themselves."""


def rows_to_parquet(rows: list[dict[str, Any]], format: int = FORMAT, *, part: str = "") -> bytes:
    """The table of a unit: fixed columns first, then one column per gate, `gate.<name>`, sorted by name.

    A unit in which a picture is made of others has a column for that, one that withholds pictures with states of labels
    one for these, a released unit with verdicts some for these.
    """
    import pyarrow as pa

    kinds = column_kinds()
    fixed = {name: kinds[name] for name in (EDITION_COLUMNS if format == 3 else (*EDITION_COLUMNS, *NEW))}
    gates = sorted({name for row in rows for name in row if name.startswith("gate.")})
    fixed |= {name: kinds[name] for name in (MADE_OF, LABEL_STATES) if any(row.get(name) for row in rows)}
    if any("action" in row for row in rows):
        fixed |= {name: kinds[name] for name in JUDGED}
    schema = pa.schema([*fixed.items(), *((name, pa.float64()) for name in gates)])
    if part:  # its key makes it a file of its own, which nothing else names
        schema = schema.with_metadata({"part": part})
    return _written(pa.Table.from_pylist(rows, schema=schema))


def joined_rows(tables: Sequence[Any], order: Sequence[int], starts: Sequence[int]) -> bytes:
    """The tables of a unit's parts as the table of the unit.

    Args:
        tables: of the parts.
        order: for each row of the result, its number among the rows of all parts.
        starts: for each row of the result, its `start`.
    """
    import pyarrow as pa

    table = pa.concat_tables(tables, promote_options="default").take(pa.array(order, pa.int64()))
    gates = sorted(name for name in table.column_names if name.startswith("gate."))
    fixed = (*EDITION_COLUMNS, *NEW, MADE_OF, LABEL_STATES)
    table = table.select([*(name for name in fixed if name in table.column_names), *gates])
    table = table.replace_schema_metadata(None).combine_chunks()
    place = table.column_names.index("start")
    return _written(table.set_column(place, table.field(place), pa.array(starts, table.field(place).type)))


def _written(table: Any) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def read_table(store: Store, rows: Iterable[ShardInfo], columns: list[str] | None = None) -> Any:
    """The tables of an edition's units as one `pyarrow.Table`; a gate that a unit lacks is null there.

    Raises:
        CorruptShard: as `read_part`; a column is missing, or one of the edition's own is of another type.
    """
    import pyarrow as pa

    rows = list(rows)
    tables = [read_part(store, info, lambda schema: columns or schema.names) for info in rows]
    for info, table in zip(rows, tables, strict=True):
        with reading(store, info):
            check_columns(table)
    with reading(store, rows[0]) if rows else nullcontext():
        return pa.concat_tables(tables, promote_options="default")


def read_unit(
    store: Store, info: ShardInfo, wanted: Callable[[str], bool] = lambda _: True, *, classes: int = 2**31
) -> Any:
    """The wanted columns of a unit's table.

    Args:
        store: has the table.
        info: names it.
        wanted: whether a column is; tables of older formats lack some.
        classes: number of classes of the edition.

    Raises:
        CorruptShard: as `read_part`; it is no table of a unit, or has a value that no unit has.
    """

    def pick(schema: Any) -> list[str]:
        new = [name for name in NEW if name in schema.names]
        if missing := [name for name in (*EDITION_COLUMNS, *(NEW if new else ())) if name not in schema.names]:
            raise ValueError(f"no column {missing[0]!r}")
        gates = [name for name in schema.names if name.startswith("gate.")]
        if odd := [name for name in gates if str(schema.field(name).type) != "double"]:
            raise ValueError(f"column {cut(repr(odd[0]))} is of type {schema.field(odd[0]).type}, not double")
        return [name for name in schema.names if wanted(name)]

    table = read_part(store, info, pick)
    with reading(store, info):
        check_columns(table)
        check_values(table, classes)
    return table


def read_keyed(store: Store, info: ShardInfo, pick: Callable[[Any], list[str]]) -> Any:
    """`read_part` of a detector's table, which has the columns `KEYS`. Raises CorruptShard if it hasn't."""
    table = read_part(store, info, lambda schema: [*KEYS, *(name for name in pick(schema) if name not in KEYS)])
    with reading(store, info):
        check_columns(table.select(KEYS))
    return table


def read_texts(store: Store, info: ShardInfo, column: str) -> Any:
    """Ids, and a column of texts, of a detector's table. Raises CorruptShard if it has no such column."""
    table = read_keyed(store, info, lambda schema: [column]).select(["id", column])
    with reading(store, info):
        if str(table.schema.field(column).type) != "string":
            raise ValueError(f"column {cut(repr(column))} is of type {table.schema.field(column).type}, not string")
    return table


def read_part(store: Store, info: ShardInfo, pick: Callable[[Any], list[str]]) -> Any:
    """The columns of one table that `pick` chooses from its schema.

    Raises:
        CorruptShard: it is damaged, or has other columns or another number of rows than it should.
    """
    path = store.path(info, ".parquet")
    with reading(store, info), _opened(path, info) as file:
        names = _picked(file.schema_arrow, pick)
        table = file.read(names).select(names)
        table.validate(full=True)  # texts must be UTF-8
        return table


@contextmanager
def _opened(path: Path, info: ShardInfo) -> Iterator[Any]:
    """A table's file, checked as far as it can be before its columns are read."""
    import pyarrow.parquet as pq

    check_pages(path)
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        check_claims(file.metadata, info)
        check_names_once(file.schema_arrow.names)
        yield file


def _picked(schema: Any, pick: Callable[[Any], list[str]]) -> list[str]:
    names = pick(schema)
    if missing := [name for name in names if name not in schema.names]:
        raise ValueError(f"no column {cut(repr(missing[0]))}")
    return names


def read_blocks(store: Store, info: ShardInfo, pick: Callable[[Any], list[str]]) -> Iterator[Any]:
    """`read_part` in blocks of `BLOCK` rows, so that a long table is never in memory as a whole; at least one block.

    Raises:
        CorruptShard: as `read_part`.
    """
    import pyarrow as pa

    path = store.path(info, ".parquet")
    with reading(store, info), _opened(path, info) as file:
        names = _picked(file.schema_arrow, pick)
        if not info.samples:
            yield file.schema_arrow.empty_table().select(names)
        for batch in file.iter_batches(BLOCK, columns=names):
            block = pa.Table.from_batches([batch]).select(names)
            block.validate(full=True)
            yield block


def keyed_blocks(store: Store, info: ShardInfo) -> Iterator[tuple[Any, Any]]:
    """The schema of a detector's table and, in blocks, its columns `KEYS`. Raises CorruptShard as `read_keyed`."""
    schemas = list[Any]()

    def pick(schema: Any) -> list[str]:
        schemas.append(schema)
        return [*KEYS]

    for block in read_blocks(store, info, pick):
        with reading(store, info):
            check_columns(block)
        yield schemas[0], block


def read_rows(store: Store, info: ShardInfo, columns: list[str], start: int, stop: int) -> Any:
    """Rows `start` to `stop - 1` of a table, reading only the row groups that hold them; None if a column is missing.

    Raises:
        CorruptShard: as `read_part`.
    """
    import pyarrow.parquet as pq

    path = store.path(info, ".parquet")
    with reading(store, info):
        contents, ends = _contents(str(path))
        check_claims(contents, info)
        names = contents.schema.to_arrow_schema().names
        check_names_once(names)
        if not set(columns) <= set(names):
            return None
        groups = range(bisect_right(ends, start), min(bisect_left(ends, stop) + 1, len(ends)))
        with pq.ParquetFile(path, metadata=contents, page_checksum_verification=True) as file:
            rows = file.read_row_groups(list(groups), columns=columns)
        rows.validate(full=True)
        return rows.slice(start - (ends[groups[0] - 1] if groups and groups[0] else 0), stop - start)


def filled_rows(store: Store, info: ShardInfo, column: str) -> tuple[int, int]:
    """Number of rows of a table, and of rows in which a column of bytes isn't null; (0, 0) without that column.

    Raises:
        CorruptShard: as `read_part`.
    """
    path = store.path(info, ".parquet")
    with reading(store, info):
        contents, _ = _contents(str(path))
        check_claims(contents, info)
        names = [contents.schema.column(place).path for place in range(contents.num_columns)]
        if column not in names:
            return 0, 0
        groups = (contents.row_group(number) for number in range(contents.num_row_groups))
        found = [(group.num_rows, group.column(names.index(column)).statistics) for group in groups]
        # a column with only nulls has no statistics
        return contents.num_rows, sum(rows - counted.null_count for rows, counted in found if counted)


@lru_cache(maxsize=8)
def _contents(path: str) -> tuple[Any, list[int]]:
    """A parquet file's metadata and the ends of its row groups; cached, because it may be long and never changes."""
    import pyarrow.parquet as pq

    check_pages(Path(path))
    contents = pq.read_metadata(path)
    return contents, list(accumulate(contents.row_group(place).num_rows for place in range(contents.num_row_groups)))


def keep_columns(step: str, columns: Mapping[str, Any], rows: int, store: Store) -> ShardInfo:
    """Keep what a detector measured or scored; `id` and `sha256` keep their names, the others get the detector's.

    Raises:
        RecipeError: a column is of mixed shape or type, or has another length.
    """
    arrays = {}
    for name, values in columns.items():
        arrays[name if name in KEYS else f"{step}.{name}"] = _column(f"curate.{step}", name, values)
        if len(values) != rows:
            raise RecipeError(f"curate.{step}: column {name!r} has {len(values)} values for {rows} samples")
    return _keep_table(arrays, rows, store)


def check_names(step: str, names: Iterable[str]) -> None:
    """Raise RecipeError when a detector gives a column the name of one of the edition's own, its keys included."""
    taken = [name for name in names if name in (*EDITION_COLUMNS, *NEW) and name not in HIDDEN]
    if taken:
        raise RecipeError(f"curate.{step}: column {taken[0]!r} has the name of a column of every edition; rename it")


def joined(where: str, tables: Sequence[Any]) -> Any:
    """The parts of a component's table as one. Raises RecipeError when a column's type differs between them."""
    import pyarrow as pa

    try:
        return pa.concat_tables(tables, promote_options="default")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise RecipeError(f"{where}: a column differs in its type from one shard to another: {error}") from None


def keep_rows(evaluation: str, rows: Sequence[Mapping[str, Any]], store: Store) -> ShardInfo:
    """Keep what an evaluation measured. Raises RecipeError as `columns_of` and `keep_columns`."""
    where = f"evaluate.{evaluation}"
    columns = {name: _column(where, name, values) for name, values in columns_of(where, rows).items()}
    return _keep_table(columns, len(rows), store)


def columns_of(where: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Measured rows as columns. Raises RecipeError if not all rows have the same ones."""
    names = list(rows[0]) if rows else []
    if odd := next((row for row in rows if list(row) != names), None):
        differ = f"{', '.join(names)} in one, {', '.join(odd)} in another"
        raise RecipeError(f"{where}: measure's rows differ in their columns: {differ}")
    return {name: [row[name] for row in rows] for name in names}


def _keep_table(arrays: Mapping[str, Any], rows: int, store: Store) -> ShardInfo:
    import pyarrow as pa
    import pyarrow.parquet as pq

    group = GROUP if any(pa.types.is_binary(array.type) for array in arrays.values()) else LONG_GROUP
    table = pa.table(dict(arrays))
    options = {"compression": "zstd", "row_group_size": group, "write_page_checksum": True}
    return keep_file(store, rows, lambda file: pq.write_table(table, file, **options))


def keep_file(store: Store, rows: int, write: Callable[[Any], object]) -> ShardInfo:
    """Keep the parquet file that `write` writes, which may be larger than the memory."""
    with store.temporary(".parquet") as path:
        with naming(path), path.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        return store.keep(path, sha256=hash_content(path), samples=rows)


def _column(where: str, name: str, values: Any) -> Any:
    import numpy as np
    import pyarrow as pa

    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    vectors = isinstance(values, list) and values and isinstance(values[0], np.ndarray)
    try:
        return arrow_column(np.stack(values) if vectors else values)
    except (ValueError, TypeError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
        why = cut(" ".join(str(error).split()))
        raise RecipeError(f"{where}: column {name!r} isn't of one shape and type: {why}") from None


def totals(store: Store, rows: Sequence[ShardInfo]) -> dict[str, Any]:
    """What a manifest says of the tables of its units: its fields `counts`, `sources_edited` and `licences`.

    Tables are read some at a time, so the memory doesn't grow with the edition. A source sample belongs to one unit, so
    the numbers add up.

    Raises:
        CorruptShard: as `read_table`.
    """
    found: dict[str, Counter[str]] = {}
    licences: Counter[str] = Counter()
    edited, some, held = 0, list[ShardInfo](), 0
    for place, info in enumerate(rows, 1):
        some.append(info)
        held += info.samples
        if held < SOME and place < len(rows):
            continue
        table = read_table(store, some, COUNTED)
        for variant, statuses in _counts(table).items():
            found.setdefault(variant, Counter()).update(statuses)
        licences.update(_licences(table))
        edited += _sources_edited(table)
        some, held = [], 0
    # in the order of making, but rows of configurations are in the order of their names
    order = sorted(found, key=lambda variant: variant != "original")
    return {
        "counts": {variant: dict(sorted(found[variant].items())) for variant in order},
        "sources_edited": edited,
        "licences": dict(sorted(licences.items())),
    }


def _counts(table: Any) -> dict[str, Counter[str]]:
    """Number of rows by variant and status (with `:reason` if it has one)."""
    found: dict[str, Counter[str]] = {}
    kinds = table.group_by(["variant", "status", "reason"], use_threads=False).aggregate([([], "count_all")])
    for kind in kinds.to_pylist():
        status, reason = kind["status"], kind["reason"]
        found.setdefault(kind["variant"], Counter())[f"{status}:{reason}" if reason else status] += kind["count_all"]
    return found


def _sources_edited(table: Any) -> int:
    """Number of source samples with an accepted picture that isn't a baseline."""
    import pyarrow as pa
    import pyarrow.compute as pc

    edited = pc.invert(pc.is_in(table["variant"], value_set=pa.array(BASELINES)))
    kept = table["source"].filter(pc.and_(edited, pc.equal(table["status"], "accepted")))
    return int(pc.count_distinct(kept).as_py())


def _licences(table: Any) -> dict[str, int]:
    """Number of accepted pictures by licence."""
    import pyarrow.compute as pc

    found = table["licence"].filter(pc.equal(table["status"], "accepted")).value_counts()
    return {one["values"]: one["counts"] for one in found.to_pylist()}
