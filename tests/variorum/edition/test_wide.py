"""Columns that are read when asked for are those of the tables read as a whole, whatever stays in memory."""

import hashlib
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from variorum import arrays
from variorum.arrays import arrow_column, taken
from variorum.edition import lazy_columns as wide
from variorum.edition import tables
from variorum.edition.columns import EDITION_COLUMNS, NEW, column_kinds
from variorum.edition.lazy_columns import WideTable, detector_parts, edition_parts
from variorum.edition.store import Store
from variorum.edition.tables import HIDDEN, keep_columns, keep_file
from variorum.edition.verdicts import VERDICT, keep_verdicts, rows_of, settle, verdict_table
from variorum.machine import scratch
from variorum.schemas.errors import CorruptShard, RecipeError
from variorum.schemas.table import Table
from variorum.schemas.verdict import Verdicts
from variorum.stages.queue import review_queue

UNITS = (3, 5, 1, 4)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(str(tmp_path / "store"))


def unit(number: int, rows: int) -> pa.Table:
    """A unit's table; every third picture failed, and odd units have a gate."""
    kinds = {name: kind for name, kind in column_kinds().items() if name in (*EDITION_COLUMNS, *NEW)}
    value = {"string": "", "int64": number % 2, "int32": 1, "bool": False, "list<element: string>": ["a"]}
    made = {name: pa.array([value.get(str(kind), ["a"])] * rows, kind) for name, kind in kinds.items()}
    made["id"] = pa.array([f"{number}{k}" for k in range(rows)])
    made["sha256"] = pa.array([f"hash {number}{k}" for k in range(rows)])
    made["origin"] = pa.array([f"{number}/{k}.png" for k in range(rows)])
    made["variant"] = pa.array(["original"] * rows)
    made["status"] = pa.array(["failed" if k % 3 == 2 else "accepted" for k in range(rows)])
    if number % 2:
        made["gate.p"] = pa.array(np.arange(rows) / 10)
    return pa.table(made)


def kept(store: Store, table: pa.Table):
    return keep_file(store, len(table), lambda file: pq.write_table(table, file, write_page_checksum=True))


def edition(store: Store) -> tuple[WideTable, pa.Table]:
    """An edition, and the same as one table."""
    units = [unit(number, rows) for number, rows in enumerate(UNITS)]
    whole = pa.concat_tables(units, promote_options="default")
    accepted = whole.filter(pa.compute.equal(whole["status"], "accepted"))
    return edition_parts(store, [kept(store, one) for one in units], classes=2), accepted


def detector(store: Store, whole: pa.Table, sizes=(2, 3, 5)) -> tuple[list, dict]:
    """A detector's tables, the last of which lacks a column, and its columns."""
    rng, start, infos = np.random.default_rng(0), 0, []
    columns = {"x": rng.random(len(whole)), "text": [f"t{k % 2}" for k in range(len(whole))]}
    columns |= {"v": rng.random((len(whole), 3)).astype(np.float16), "late": np.arange(len(whole))}
    for size in sizes:
        part = slice(start, start := start + size)
        some = {name: values[part] for name, values in columns.items() if name != "late" or part.stop < len(whole)}
        keys = {name: whole[name][part].combine_chunks() for name in ("id", "sha256")}
        infos.append(keep_columns("step", {**keys, **some}, size, store))
    return infos, columns


@contextmanager
def limits(monkeypatch, **values):
    with monkeypatch.context() as patch:
        for name, value in values.items():
            patch.setattr(next(module for module in (wide, scratch, tables) if hasattr(module, name)), name, value)
        yield


LIMITS = [{}, {"AT_ONCE": 1}, {"RECENT": 0}, {"AT_ONCE": 500, "RECENT": 300}, {"BLOCK": 2}, {"IN_MEMORY": 0}]


@pytest.mark.parametrize("small", LIMITS)
def test_an_editions_columns_are_those_of_its_tables(store, monkeypatch, small):
    with limits(monkeypatch, **small):
        table, whole = edition(store)
        assert len(table) == len(whole) == 10
        assert table.column_names == [name for name in whole.column_names if name not in HIDDEN]
        for name in (*table.column_names, *reversed(table.column_names)):
            assert table.column(name).equals(whole[name]), name
            assert table.schema.field(name).type == whole.schema.field(name).type


def test_an_edition_without_a_picture_has_a_queue_of_its_head(store):
    failed = unit(0, 3)
    failed = failed.set_column(failed.schema.get_field_index("status"), "status", pa.array(["failed"] * 3))
    table = edition_parts(store, [kept(store, failed)], classes=2)
    (head,) = review_queue(verdict_table([], table), table)
    assert head.startswith("id,sha256,")
    assert head.count("\n") == 1


@pytest.mark.parametrize("small", LIMITS)
def test_a_detectors_columns_stand_beside_it(store, monkeypatch, small):
    with limits(monkeypatch, **small):
        table, whole = edition(store)
        infos, columns = detector(store, whole)
        parts = detector_parts("step", store, infos, table)
        assert parts.schema.names == ["id", "sha256", "step.x", "step.text", "step.v", "step.late"]
        seen = Table(table.beside(parts, ["step.x", "step.text", "step.v", "step.late"]), "step")
        assert np.array_equal(seen["x"], columns["x"])
        assert seen["text"].tolist() == columns["text"]
        assert seen["v"].dtype == np.float16
        assert np.array_equal(seen["v"], columns["v"])
        assert seen["late"].tolist()[:5] == [0, 1, 2, 3, 4]
        assert np.isnan(seen["late"][5:]).all()
        assert seen["variant"].tolist() == ["original"] * 10
        assert "step.nothing" not in seen
        more = Table(seen.arrow.append_column("new", pa.array(np.arange(10))))
        assert more["new"].tolist() == list(range(10))
        assert "new" not in seen


@pytest.mark.parametrize("size", [1, 3, 10, 99])
def test_blocks_are_the_columns_cut_at_the_same_rows(store, monkeypatch, size):
    with limits(monkeypatch, BLOCK=2):
        table, whole = edition(store)
        infos, columns = detector(store, whole)
        table = table.beside(detector_parts("step", store, infos, table), [f"step.{name}" for name in columns])
        names = ["step.late", "origin", "id", "gate.p", "step.text"]
        blocks = list(table.blocks(names, size))
        assert [len(block) for block in blocks] == [size] * (10 // size) + ([10 % size] if 10 % size else [])
        assert pa.concat_tables(blocks).column_names == names
        for name in names:
            assert pa.concat_tables(blocks)[name].equals(table.column(name)), name
        seen = Table(table, "step")
        assert [block.to_pydict() for block in seen.blocks(["late", "id"])] == [
            {"late": [0, 1, 2, 3, 4, *[None] * 5], "id": whole["id"].to_pylist()}
        ]
        with pytest.raises(RecipeError, match="no column 'nothing'"):
            list(seen.blocks(["id", "nothing"]))


def test_what_was_read_last_is_not_read_again_while_there_is_room(store, monkeypatch):
    table, whole = edition(store)
    infos, columns = detector(store, whole)
    table = table.beside(detector_parts("step", store, infos, table), [f"step.{name}" for name in columns])
    opened, part = [], wide.read_part

    def counted(*given):
        opened.append(given[1])
        return part(*given)

    monkeypatch.setattr(wide, "read_part", counted)
    for name in ("id", "sha256", "label"):
        table.column(name)
    assert not opened
    for name in ("step.x", "step.text", "step.x"):
        table.column(name)
    assert opened == infos  # all three columns at once
    with limits(monkeypatch, RECENT=0):
        table.column("origin")
        assert len(opened) == len(infos) + len(UNITS)
        table.column("origin")
        assert len(opened) == len(infos) + 2 * len(UNITS)


def test_vectors_are_in_memory_once(store):
    table, whole = edition(store)
    infos, _ = detector(store, whole)
    column = table.beside(detector_parts("step", store, infos, table), ["step.v"]).column("step.v")
    assert column.num_chunks == 1
    lacking = pa.array([[1.0, 2], None, [3, None], *[[4, 5]] * 7], pa.list_(pa.float32(), 2))
    keys = {name: whole[name].combine_chunks() for name in ("id", "sha256")}
    info = kept(store, pa.table({**keys, "step.v": lacking}))
    assert (
        table.beside(detector_parts("step", store, [info], table), ["step.v"])
        .column("step.v")
        .equals(pa.chunked_array([lacking]))
    )


@pytest.mark.parametrize("name", ["id", "sha256"])
@pytest.mark.parametrize("row", [0, 9])
def test_a_table_of_other_pictures_is_refused_wherever_they_differ(store, monkeypatch, name, row):
    table, whole = edition(store)
    keys = {key: whole[key].to_pylist() for key in ("id", "sha256")}
    keys[name][row] = "another"
    info = keep_columns("step", {**keys, "x": np.arange(10)}, 10, store)
    with limits(monkeypatch, BLOCK=2), pytest.raises(CorruptShard, match="isn't of the edition's pictures; delete it"):
        detector_parts("step", store, [info], table)


def test_a_column_of_two_types_is_refused(store):
    table, whole = edition(store)
    infos = []
    for part, values in ((slice(0, 4), np.arange(4)), (slice(4, 10), ["a"] * 6)):
        keys = {name: whole[name][part].combine_chunks() for name in ("id", "sha256")}
        infos.append(keep_columns("step", {**keys, "x": values}, len(values), store))
    with pytest.raises(RecipeError, match=r"curate\.step: a column differs in its type"):
        detector_parts("step", store, infos, table)


def test_a_table_that_is_damaged_after_it_was_opened(store):
    table, _ = edition(store)
    for path in store.local.glob("objects/*.parquet"):
        path.write_bytes(bytes(path.stat().st_size))
    assert len(table.column("id")) == 10
    with pytest.raises(CorruptShard):
        table.column("origin")


def test_equal_texts_are_one_object():
    column = pa.chunked_array([["long enough", None], ["other", "long enough"]])
    values = Table(pa.table({"x": column}))["x"]
    assert values.tolist() == ["long enough", "", "other", "long enough"]
    assert values[0] is values[3]


@given(st.lists(st.integers(0, 30), unique=True), st.lists(st.integers(0, 40)))
def test_rows_by_id(ids, wanted):
    column = pa.chunked_array([[str(one) for one in ids]], pa.string())
    found = rows_of(column, pa.chunked_array([[str(one) for one in wanted]], pa.string())).to_pylist()
    assert found == [ids.index(one) if one in ids else None for one in wanted]


def test_verdicts_are_written_in_pieces_as_in_one(store, monkeypatch):
    ids = pa.array([hashlib.sha256(bytes([k])).hexdigest() for k in range(200)])
    pictures = pa.table({"id": ids, "sha256": ids})
    given_ = [Verdicts(np.arange(200)[::-1], "note", "a", "r", None, np.zeros(200), np.zeros(200)) for _ in range(2)]
    said = verdict_table(given_, pictures)
    whole = keep_verdicts(said, store)
    monkeypatch.setattr("variorum.edition.verdicts.GROUP", 37)
    pieces = keep_verdicts(said, store)
    path = store.path(pieces, ".parquet")
    assert pq.read_metadata(path).num_row_groups == 11
    assert pq.read_table(path).equals(pq.read_table(store.path(whole, ".parquet")))
    assert pq.read_table(path)["id"].to_pylist() == sorted(ids.to_pylist() * 2)


def test_an_arrow_column_is_kept_as_a_list_is(store):
    texts = [f"{k}" for k in range(1000)]
    info = keep_columns("step", {"id": texts, "sha256": texts}, 1000, store)
    arrow = arrow_column(texts)
    assert keep_columns("step", {"id": arrow, "sha256": arrow}, 1000, store) == info


# ── more text than a column holds in one piece ───────────────────────────────────────────────────────────────────────


@given(st.lists(st.lists(st.text(max_size=2), max_size=4), max_size=4), st.integers(1, 5), st.data())
def test_rows_are_taken_across_chunks(chunks, most, data):
    texts = [text for chunk in chunks for text in chunk]
    table = pa.table({"a": pa.chunked_array(chunks, pa.string()), "b": [[one] for one in texts]})
    rows = data.draw(st.lists(st.integers(-1, len(texts) - 1), max_size=12))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "TAKEN", most)
        found = taken(table, np.array(rows, np.int64)).to_pylist()
    assert found == [{"a": None, "b": None} if row < 0 else {"a": texts[row], "b": [texts[row]]} for row in rows]


def huge_column() -> pa.ChunkedArray:
    """2,400 texts of 1,000,000 zeros in three chunks, whose memory nobody has touched."""
    ends = np.arange(801, dtype=np.int32) * 1_000_000
    memory = np.zeros(ends[-1], np.uint8)
    chunk = pa.StringArray.from_buffers(800, pa.py_buffer(ends), pa.py_buffer(memory))
    return pa.chunked_array([chunk] * 3)


def test_a_column_of_verdicts_may_have_more_text_than_arrow_joins():
    reasons = huge_column()
    with pytest.raises(pa.ArrowInvalid, match="offset overflow"):
        reasons.take(pa.array([0, 2399]))
    count = len(reasons)
    same = {name: pa.array([f"{name} of one"] * count) for name in ("id", "sha256", "by")}
    numbers = {name: np.full(count, np.nan) for name in ("value", "worth")}
    actions = ["note"] * (count - 1) + ["drop"]
    said = pa.table({**same, **numbers, "action": actions, "labels": [["x"]] * count, "reason": reasons})
    (last,) = settle(said.select(VERDICT)).to_pylist()
    assert last["action"] == "drop"
    assert last["reason"] == "\0" * 1_000_000


def test_the_review_queue_is_of_an_edition_with_more_text_than_arrow_joins():
    origins = huge_column()
    ids = pa.array([f"{number:04}" for number in range(len(origins))])
    columns = {"id": ids, "sha256": ids, "variant": ids, "labels": [["x"]] * len(ids), "origin": origins}
    rows, missing = np.array([2399, 0]), np.full(2, np.nan)
    asked = Verdicts(rows, "review", "policy", "odd", None, np.array([0.1, 0.2]), missing)
    table = pa.table(columns)
    _, *lines = "".join(review_queue(verdict_table([asked], table), table)).splitlines()
    assert [line.split(",")[0] for line in lines] == ["0000", "2399"]
    assert lines[0].split(",")[4] == "\0" * 1_000_000
