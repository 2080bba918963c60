"""An edition's columns side by side, each read from its tables when somebody asks for it.

All columns of ten million pictures don't fit the memory of a desktop computer, but no step needs them all at once. So
only what every step reads stays in memory. What has been read last stays too, up to a limit, so that the columns of a
small edition are read once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.arrays import scalar_columns
from variorum.edition.store import Store
from variorum.edition.tables import BLOCK, HIDDEN, KEYS, joined, keyed_blocks, read_blocks, read_part, read_unit
from variorum.machine.scratch import in_file, scratch
from variorum.schemas.errors import CorruptShard
from variorum.schemas.manifest import ShardInfo

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools

HELD = (*KEYS, "label")
"""Columns that stay in memory: every step reads them."""
AT_ONCE = 1 << 25
"""Columns of a table in many files are read together, up to this many bytes, so that no file is opened for each."""
RECENT, RECENT_FILES = 1 << 26, 1 << 30
"""Bytes of the columns that stay after they have been read: in memory, and of vectors in files."""
TEXT = 40
"""Bytes that a text or a list is presumed to take."""


@dataclass(frozen=True, eq=False, slots=True)
class Parts:
    """A table in one or several files, with the rows of an edition's pictures in order.

    Attributes:
        where: what its errors begin with.
        store: has the files.
        infos: name them.
        schema: of all of them together; a column that one of them lacks is null there.
        chosen: `[R]` which of the rows count; None for all.
    """

    where: str
    store: Store
    infos: Sequence[ShardInfo]
    schema: Any
    chosen: Bools | None = None

    def read(self, names: Sequence[str]) -> Any:
        """These columns as a `pyarrow.Table`, a vector's values in one piece."""
        if len(names) == 1 and (vectors := self._vectors(names[0])) is not None:
            return vectors
        tables, row = [self._empty(names)], 0
        for info in self.infos:
            tables.append(self._piece(info, names, row))
            row += info.samples
        return joined(self.where, tables).combine_chunks()

    def together(self, name: str) -> list[str]:
        """The columns that are read together with this one: itself alone if it is large or the table is one file."""
        names, rows = scalar_columns(self.schema), sum(info.samples for info in self.infos)
        if name not in names or len(self.infos) < 2:
            return [name]
        ends = np.cumsum([rows * _width(self.schema.field(one).type) for one in names])
        group = (ends - 1) // AT_ONCE
        return [one for one, other in zip(names, group, strict=True) if other == group[names.index(name)]]

    def blocks(self, names: Sequence[str], size: int) -> Iterator[Any]:
        """These columns in tables of `size` rows, the last one shorter; only as many are in memory at a time."""
        held, rows, row = [self._empty(names)], 0, 0
        for info in self.infos:
            for block in read_blocks(self.store, info, lambda schema: [name for name in names if name in schema.names]):
                held.append(self._fitted(block, names, row))
                rows, row = rows + len(held[-1]), row + len(block)
                while rows >= size:
                    whole = joined(self.where, held)
                    yield whole.slice(0, size)
                    held, rows = [whole.slice(size)], rows - size
        if rows:
            yield joined(self.where, held)

    def _piece(self, info: ShardInfo, names: Sequence[str], row: int) -> Any:
        found = read_part(self.store, info, lambda schema: [name for name in names if name in schema.names])
        return self._fitted(found, names, row)

    def _fitted(self, found: Any, names: Sequence[str], row: int) -> Any:
        """Return what was read from row `row` on, with nulls for columns that its file lacks; only rows that count."""
        import pyarrow as pa

        lacking = [name for name in names if name not in found.column_names]
        if lacking:
            new = {name: pa.nulls(len(found), self.schema.field(name).type) for name in lacking}
            found = pa.table({name: new[name] if name in new else found.column(name) for name in names})
        if self.chosen is None:
            return found
        mine = self.chosen[row : row + len(found)]
        return found if mine.all() else found.filter(pa.array(mine))

    def vector(self, name: str) -> bool:
        """Return whether a column's values are vectors, which lie in a file if they are large."""
        import pyarrow as pa

        return pa.types.is_fixed_size_list(self.schema.field(name).type) and self.chosen is None

    def _vectors(self, name: str) -> Any:
        """A column of vectors, filled file by file so that it is never in memory twice; None for any other column.

        A large one is in memory only as far as there is room: see `scratch`.
        """
        import pyarrow as pa

        if not self.vector(name):
            return None
        kind = self.schema.field(name).type
        size = sum(info.samples for info in self.infos) * kind.list_size
        folder = str(self.store.local) if self.store.local and self.store.writable else ""
        flat = scratch((size,), kind.value_type.to_pandas_dtype(), folder)
        place = 0
        for values in self._values(name):
            if values is None:
                return None
            flat[place : place + len(values)] = values
            place += len(values)
        values = pa.FixedSizeListArray.from_arrays(pa.array(flat), type=kind)
        return pa.table({name: values}, schema=pa.schema([self.schema.field(name)]))

    def _values(self, name: str) -> Iterator[Array | None]:
        """The values of a column of vectors in order; None where some are missing or of another type."""
        kind = self.schema.field(name).type
        for info in self.infos:
            for block in read_blocks(self.store, info, lambda schema: [one for one in schema.names if one == name]):
                if not block.num_columns or block.schema.field(0).type != kind:
                    yield None
                    return
                for chunk in block.column(0).chunks:
                    values = chunk.flatten()
                    yield None if chunk.null_count or values.null_count else values.to_numpy(zero_copy_only=False)

    def _empty(self, names: Sequence[str]) -> Any:
        import pyarrow as pa

        return pa.schema([self.schema.field(name) for name in names]).empty_table()


class WideTable:
    """Reads like a `pyarrow.Table`, as far as columns and rows are concerned.

    Args:
        rows: number of pictures.
        columns: by name, an Arrow column in memory or the table that has it.
        recent: what has been read last.
    """

    def __init__(self, rows: int, columns: Mapping[str, Any], recent: Recent | None = None) -> None:
        self.num_rows = rows
        self._columns = dict(columns)
        self._recent = recent or Recent()

    def __len__(self) -> int:
        return self.num_rows

    def __getitem__(self, name: str) -> Any:
        return self.column(name)

    @property
    def column_names(self) -> list[str]:
        """Full names, in order."""
        return list(self._columns)

    @property
    def schema(self) -> Any:
        """Names and types."""
        import pyarrow as pa

        return pa.schema([(name, _type(name, column)) for name, column in self._columns.items()])

    def column(self, name: str) -> Any:
        """A column, as `pyarrow.Table` gives it. Raises KeyError, or CorruptShard if its table is damaged."""
        found = self._columns[name]
        return self._recent.column(found, name) if isinstance(found, Parts) else found

    def blocks(self, names: Sequence[str], size: int = BLOCK) -> Iterator[Any]:
        """Columns as tables of `size` rows in order, read side by side, so that no column is in memory as a whole.

        Args:
            names: full names of scalar columns, in the order that they shall have.
            size: rows in each table; the last one may be shorter.
        """
        import pyarrow as pa

        places: dict[Parts, list[str]] = {}
        for name in names:
            if isinstance(found := self._columns[name], Parts):
                places.setdefault(found, []).append(name)
        streams = [parts.blocks(mine, size) for parts, mine in places.items()]
        for start in range(0, self.num_rows, size):
            tables = [next(stream) for stream in streams]
            read = {name: table.column(name) for table in tables for name in table.column_names}
            yield pa.table({n: read[n] if n in read else self._columns[n].slice(start, size) for n in names})

    def append_column(self, name: str, values: Any) -> WideTable:
        """With one more column, in memory."""
        import pyarrow as pa

        column = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])
        return WideTable(self.num_rows, {**self._columns, name: column}, self._recent)

    def beside(self, parts: Parts, names: Sequence[str]) -> WideTable:
        """With these columns of a table of the same rows."""
        return WideTable(self.num_rows, {**self._columns, **dict.fromkeys(names, parts)}, self._recent)


class Recent:
    """The columns that have been read last, as many as `RECENT` and `RECENT_FILES` allow."""

    def __init__(self) -> None:
        self._tables: OrderedDict[tuple[Parts, str], Any] = OrderedDict()

    def column(self, parts: Parts, name: str) -> Any:
        """A column of a table, read with the others of `Parts.together` if it hasn't been read lately."""
        names = parts.together(name)
        key = parts, names[0]
        table = self._tables.pop(key, None)
        if table is None:
            table = parts.read(names)
        self._tables[key] = table
        left = {False: RECENT, True: RECENT_FILES}
        for other, held in reversed([*self._tables.items()]):
            kind = in_file(held.nbytes) and other[0].vector(other[1])
            if held.nbytes > left[kind]:
                del self._tables[other]
            else:
                left[kind] -= held.nbytes
        return table.column(name)


def edition_parts(store: Store, infos: Sequence[ShardInfo], classes: int) -> WideTable:
    """An edition's table of accepted pictures, in the order of the units; all that it holds is checked.

    Raises:
        CorruptShard: as `read_unit`.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    schemas, chosen, held = list[Any](), list[Any](), {name: list[Any]() for name in HELD}
    for info in infos:
        table = read_unit(store, info, lambda name: name not in HIDDEN, classes=classes)
        _note(schemas, table.schema)
        accepted = pc.equal(table.column("status"), "accepted")
        for name in HELD:
            held[name] += table.column(name).filter(accepted).chunks
        chosen.append(accepted.to_numpy())
    # a unit's table lacks the columns of gates that none of its pictures has
    schema = joined("edition", [one.empty_table() for one in schemas]).schema
    parts = Parts("edition", store, infos, schema, np.concatenate(chosen))
    own = {}
    for name in HELD:  # one by one, so that no more than one column is in memory twice
        column = pa.chunked_array(held.pop(name), schema.field(name).type)
        own[name] = pa.table({name: column}).combine_chunks().column(name)
    return WideTable(len(own["id"]), {name: own.get(name, parts) for name in schema.names})


def detector_parts(step: str, store: Store, infos: Sequence[ShardInfo], table: Any) -> Parts:
    """A detector's table beside an edition's.

    Args:
        step: name of the detector.
        store: has the files.
        infos: name them, in the order of the edition's rows.
        table: the edition's, with the columns `KEYS`.

    Raises:
        CorruptShard: the table isn't about the edition's pictures.
        RecipeError: a column differs in its type between the files.
    """
    schemas, row = list[Any](), 0
    keys = {name: table.column(name) for name in KEYS}
    for info in infos:
        for schema, block in keyed_blocks(store, info):
            _note(schemas, schema)
            if any(not block.column(name).equals(keys[name].slice(row, len(block))) for name in KEYS):
                raise CorruptShard(
                    f"{store.object(info, '.parquet')}: this table of curate.{step} isn't of the edition's pictures; "
                    f"delete it and curate again"
                )
            row += len(block)
    if row != len(table):
        raise CorruptShard(f"curate.{step} has tables of {row} pictures, the edition of {len(table)}; curate again")
    where = f"curate.{step}"
    return Parts(where, store, infos, joined(where, [one.empty_table() for one in schemas]).schema)


def _note(schemas: list[Any], schema: Any) -> None:
    """Add a schema that isn't there yet."""
    if not any(schema.equals(one) for one in schemas):
        schemas.append(schema)


def _type(name: str, column: Any) -> Any:
    return column.schema.field(name).type if isinstance(column, Parts) else column.type


def _width(kind: Any) -> int:
    import pyarrow as pa

    return max(1, kind.bit_width // 8) if pa.types.is_primitive(kind) else TEXT
