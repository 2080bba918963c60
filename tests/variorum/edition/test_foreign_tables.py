"""Tables that lie: other columns, other types, numbers of rows that aren't there, more than the memory holds."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from variorum.edition.columns import EDITION_COLUMNS, NEW, column_kinds
from variorum.edition.store import Store
from variorum.edition.tables import read_keyed, read_part, read_rows, read_table, read_texts, read_unit
from variorum.edition.verdicts import read_verdicts
from variorum.schemas.errors import CorruptShard
from variorum.schemas.manifest import ShardInfo


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(str(tmp_path / "store"))


def kept(store: Store, table: pa.Table, samples: int | None = None) -> ShardInfo:
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return store.keep_bytes(out.getvalue(), ".parquet", samples=len(table) if samples is None else samples)


def unit(rows: int = 3, **columns: Any) -> pa.Table:
    """A unit's table; `columns` replace some, None removes one."""
    kinds = {name: kind for name, kind in column_kinds().items() if name in (*EDITION_COLUMNS, *NEW)}
    value = {"string": "", "int64": -1, "int32": 1, "bool": False, "list<element: string>": ["a"]}
    made = {name: pa.array([value.get(str(kind), ["a"])] * rows, kind) for name, kind in kinds.items()}
    made |= {"id": pa.array([f"{k:032x}" for k in range(rows)]), "status": pa.array(["failed"] * rows), **columns}
    return pa.table({name: column for name, column in made.items() if column is not None})


def test_a_units_table_is_read(store):
    assert read_unit(store, kept(store, unit()), classes=0).num_rows == 3


TEXT = pa.array(["x"] * 3)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        *(({name: None}, f"no column '{name}'") for name in (*EDITION_COLUMNS, "split", "annotated")),
        *(
            ({name: pa.array([1.5] * 3)}, f"'{name}' is of type double")
            for name in ("id", "label", "labels", "start", "config")
        ),
        ({"labels": TEXT}, "'labels' is of type string"),
        ({"labels": pa.array([["a"], [None], []], pa.list_(pa.string()))}, "'labels' lacks values"),
        ({"origin": pa.array(["a", None, "b"])}, "'origin' lacks values"),
        ({"status": pa.array(["burnt"] * 3)}, "'status' has 'burnt'"),
        ({"split": pa.array(["../x"] * 3)}, "'split' has"),
        ({"config": pa.array(["../x"] * 3)}, "'config' has"),
        ({"label": pa.array([0, 1, 2])}, "'label' has 2"),
        ({"start": pa.array([-2, 0, 0])}, "'start' has -2"),
        ({"gate.sharp": TEXT}, "'gate.sharp' is of type string"),
    ],
)
def test_a_table_that_no_unit_has_is_one_line(store, columns, says):
    with pytest.raises(CorruptShard, match=says) as caught:
        read_unit(store, kept(store, unit(**columns)), classes=2)
    assert "\n" not in str(caught.value)


READERS = [
    lambda store, info: read_unit(store, info),
    lambda store, info: read_part(store, info, lambda schema: schema.names),
    lambda store, info: read_rows(store, info, ["id"], 0, 1),
    lambda store, info: read_table(store, [info], ["id", "status"]),
]


@pytest.mark.parametrize("reader", READERS)
def test_two_columns_of_one_name(store, reader):
    table = unit()
    with pytest.raises(CorruptShard, match="two columns 'id'"):
        reader(store, kept(store, table.append_column("id", table.column("id"))))


@pytest.mark.parametrize("reader", READERS)
def test_a_text_that_is_not_utf_8(store, reader):
    raw = pa.array([b"failed", b"fail\xffd", b"failed"])
    odd = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    with pytest.raises(CorruptShard, match=r"(?i)utf-?8"):
        reader(store, kept(store, unit(id=odd)))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("samples", [0, 2, 4, 10**9, 2**53 - 1])
def test_numbers_of_rows_that_are_not_there(store, reader, samples):
    with pytest.raises(CorruptShard, match=f"it has 3 rows, and {samples} belong there"):
        reader(store, kept(store, unit(), samples))


@pytest.mark.parametrize("reader", READERS)
def test_rows_that_cost_nothing_on_disk_and_the_memory_when_read(store, reader):
    """Twenty million rows in a few thousand bytes."""
    rows = 20_000_000
    empty = pa.DictionaryArray.from_arrays(pa.array([0] * 1, pa.int8()).take(pa.array([0])), pa.array([""]))
    table = pa.table(
        {"id": pa.chunked_array([pa.repeat(empty[0], rows // 20)] * 20), "status": pa.nulls(rows, pa.null())}
    )
    info = kept(store, table)
    assert info.size < 1_000_000
    with pytest.raises(CorruptShard, match=r"can't be named in|would take"):
        reader(store, info)


def test_values_that_swell(store, monkeypatch):
    """Zeros, in a file of some kilobytes."""
    monkeypatch.setattr("variorum.edition.columns.LARGE", 1 << 22)
    table = pa.table({"x": pa.array([bytes(1 << 20)] * 5, pa.large_binary())})
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd", use_dictionary=False)
    info = store.keep_bytes(out.getvalue(), ".parquet", samples=5)
    assert info.size < 5_000
    with pytest.raises(CorruptShard, match=r"its \d+ bytes would take \d+ in memory"):
        read_part(store, info, lambda schema: schema.names)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 9, bytes(5000), b"\x89PNG" * 99])
@pytest.mark.parametrize("reader", [*READERS, lambda store, info: read_verdicts(info, store)])
def test_what_is_no_table(store, reader, content):
    with pytest.raises(CorruptShard, match="can't be read") as caught:
        reader(store, store.keep_bytes(content, ".parquet", samples=3))
    assert "\n" not in str(caught.value)


def test_tables_of_detectors_and_verdicts(store):
    keys = {"id": TEXT, "sha256": TEXT}
    assert read_texts(store, kept(store, pa.table({**keys, "a.keeper": TEXT})), "a.keeper").num_rows == 3
    for columns, says in (
        ({"id": TEXT}, "no column 'sha256'"),
        ({**keys, "a.keeper": TEXT, "id": pa.array([1, 2, 3])}, "'id' is of type int64"),
        (keys, "no column 'a.keeper'"),
        ({**keys, "a.keeper": pa.array([1, 2, 3])}, "'a.keeper' is of type int64"),
    ):
        with pytest.raises(CorruptShard, match=says):
            read_texts(store, kept(store, pa.table(columns)), "a.keeper")
    with pytest.raises(CorruptShard, match="no column"):
        read_keyed(store, kept(store, pa.table({"x": TEXT})), lambda schema: schema.names)
    with pytest.raises(CorruptShard, match="aren't those of verdicts"):
        read_verdicts(kept(store, unit()), store)
