"""What somebody may do to the votes on purpose or by accident: names, URLs, lost databases, files that swell."""

from __future__ import annotations

import json
import os
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_panels import NOW, PANEL, ballot, make_panel

from variorum.people.votes.ballots import cast, counted
from variorum.people.votes.database import open_database, reading
from variorum.people.votes.files import by_origin, read_votes
from variorum.people.votes.parquet_file import LONGEST
from variorum.people.votes.reviewers import NameRefused, join
from variorum.schemas.errors import SourceError, StoreError, TemporaryError

# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────────

ALIKE = ("ann", "ANN", "a\u200bnn", "ａｎｎ", "\ufeffann", "a\u034fnn", "an n", "ann\ufe0f", "a\u2060nn")


@pytest.mark.parametrize("name", ALIKE)
def test_nobody_joins_under_a_name_that_looks_taken(tmp_path, name):
    engine = open_database(str(tmp_path / "votes.sqlite"))
    make_panel(engine)
    join(engine, PANEL, "Ann", NOW)
    with pytest.raises(NameRefused, match="Ann has joined already"):
        join(engine, PANEL, name, NOW)
    with pytest.raises(NameRefused, match="Ann has joined already"):  # nor does the administrator mix them up
        join(engine, PANEL, name, NOW, again=True)
    assert join(engine, PANEL, "Ann", NOW, again=True)[0] == "Ann"
    engine.dispose()


@pytest.mark.parametrize("name", ["\u200b", "\u3164\u2800", "\ufeff \u2060"])
def test_a_name_can_be_seen(tmp_path, name):
    engine = open_database(str(tmp_path / "votes.sqlite"))
    make_panel(engine)
    with pytest.raises(NameRefused, match="seen"):
        join(engine, PANEL, name, NOW)
    engine.dispose()


def test_names_of_all_scripts_stay_as_they_are(tmp_path):
    engine = open_database(str(tmp_path / "votes.sqlite"))
    make_panel(engine)
    for name in ("Zoë", "علی‌رضا", "李雷", "Ann 2", "👩‍🔬 Bo", "Straße"):
        assert join(engine, PANEL, name, NOW)[0] == name
    engine.dispose()


# ── databases ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "url",
    [":memory:", "sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true", "sqlite:///x?mode=ro"],
)
def test_votes_are_never_kept_in_memory(url):
    with pytest.raises(StoreError, match="kept in a file"):
        open_database(url)


@pytest.mark.parametrize("url", ["sqlite+aiosqlite:///x", "mysql://h/d", "postgresql+asyncpg://h/d", "foo://x"])
def test_other_databases_are_refused(url):
    with pytest.raises(StoreError, match="isn't supported; give a SQLite file"):
        open_database(url)


def test_no_part_of_a_password_is_taken_for_a_host():
    with pytest.raises(StoreError, match="%40") as error:
        open_database("postgresql://ann:pass@word@127.0.0.1:1/x")
    assert "word@" not in str(error.value).replace("password", "")


@pytest.mark.skipif(os.name != "posix", reason="an open file can't be removed")
@pytest.mark.parametrize("replaced", [False, True])
def test_a_vote_is_not_kept_in_a_file_that_is_gone(tmp_path, replaced):
    path = tmp_path / "votes.sqlite"
    engine = open_database(str(path))
    make_panel(engine)
    assert cast(engine, PANEL, [ballot()], NOW)[0].state == "kept"
    if replaced:
        shutil.copy(path, tmp_path / "copy")
        os.replace(tmp_path / "copy", path)
    else:
        path.unlink()
    for _ in range(2):
        with pytest.raises(StoreError, match="removed or replaced"):
            cast(engine, PANEL, [ballot("bob")], NOW)
    with pytest.raises(StoreError, match="removed or replaced"):
        counted(engine, PANEL)
    engine.dispose()  # without a connection, another file would be made
    with pytest.raises(StoreError, match="removed or replaced"):
        counted(engine, PANEL)
    assert path.exists() == replaced
    engine.dispose()


def test_the_name_of_a_file_does_not_say_what_its_trouble_is(tmp_path, monkeypatch):
    monkeypatch.setattr("variorum.people.votes.database.BUSY_SECONDS", 0)
    path = tmp_path / "no such, readonly" / "votes.sqlite"
    path.parent.mkdir()
    engine, other = open_database(str(path)), open_database(str(path))
    make_panel(engine)
    with other.begin(), pytest.raises(TemporaryError, match="locked"):
        cast(engine, PANEL, [ballot()], NOW)
    with reading(engine):
        pass
    engine.dispose()
    other.dispose()


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────

FINE = {"id": ["a"], "subject": ["b"], "answer": ["yes"], "reviewer": ["ann"]}


def repeated(value, rows):
    """A column that takes no place in a file."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([value]))


def test_a_small_file_of_huge_texts_is_refused_before_they_are_unfolded(tmp_path):
    rows = 3000
    columns = {name: repeated(one, rows) for name, (one,) in FINE.items()} | {"comment": repeated("x" * 10**6, rows)}
    pq.write_table(pa.table(columns), tmp_path / "votes.parquet", compression="zstd")
    assert (tmp_path / "votes.parquet").stat().st_size < 10_000
    before = pa.total_allocated_bytes()
    with pytest.raises(SourceError, match=f"comment has a text of 1000000 bytes; none may have {LONGEST}"):
        read_votes(tmp_path / "votes.parquet")
    assert pa.total_allocated_bytes() - before < 10**8


def test_a_cell_of_millions_of_numbers_is_refused(tmp_path):
    box = pa.array([[1.0] * 1000])
    pq.write_table(pa.table({**FINE, "box": box}), tmp_path / "votes.parquet")
    with pytest.raises(SourceError, match="box has more than 16 values"):
        read_votes(tmp_path / "votes.parquet")


@pytest.mark.parametrize("column", [pa.array(["ü" * 2000]), repeated("x", 1), pa.array([b"x"]), pa.array([[["x"]]])])
def test_columns_that_could_not_fill_the_memory(tmp_path, column):
    pq.write_table(pa.table({**FINE, "other": column}), tmp_path / "votes.parquet")
    assert len(read_votes(tmp_path / "votes.parquet")) == 1


def test_an_endless_address_takes_no_endless_time(tmp_path):
    find = by_origin(lambda: {"a/b.png": "1", "c.png": "2"})
    long = "x/" * 300_000
    assert [find(long), find(long + "a/b.png"), find(long + "c.png"), find("https://h/a/b.png?x"), find("b.png")] == [
        None,
        "1",
        "2",
        "1",
        None,
    ]
    task = {"data": {"image": long}, "annotations": []}
    (tmp_path / "export.json").write_text(json.dumps([task]))
    assert len(read_votes(tmp_path / "export.json", pictures=find)) == 0
