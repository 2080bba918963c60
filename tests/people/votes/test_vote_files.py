"""Votes in files come back exactly, files of other origin are read, and what can't be right is named."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_panels import CLASSES, NOW, PANEL, ballot, counted_again, counters, make_panel, picture

from variorum.people.votes.ballots import cast, counted, recount, withdraw
from variorum.people.votes.checks import fault
from variorum.people.votes.database import open_database
from variorum.people.votes.files import import_votes, read_votes, write_votes
from variorum.people.votes.tables import COLUMNS, of_votes, schema, to_votes, with_place
from variorum.schemas.errors import SourceError, StoreError
from variorum.schemas.vote import ANSWERS, CATEGORIES, KINDS, REASONS, SEVERITIES, Vote

TRAPS = [
    "",
    "=1+1",
    "'=1",
    "''+x",
    "'tis",
    "-5",
    "@a",
    "\ttab",
    "\rcr",
    'say "a, b"',
    "l1\nl2\r\nl3",
    "é\u0301𝄞",
    " x ",
]
letters = st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\u2028\u2029")
line = st.text(letters, max_size=12).filter(
    lambda text: not set(text) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
)
comments = st.one_of(st.sampled_from(TRAPS), st.text(letters | st.sampled_from("\t\n\r"), max_size=30))
edges = st.floats(-1e6, 1e6)
sizes = st.floats(0.001, 1e6)


@st.composite
def any_vote(draw) -> Vote:
    kind = draw(st.sampled_from(KINDS))
    return Vote(
        vote=draw(st.uuids().map(str)),
        kind=kind,
        id=draw(st.one_of(st.sampled_from(["=a", "'-b"]), line.filter(str.strip))),
        sha256=draw(st.integers(0, 2**256 - 1).map(lambda number: f"{number:064x}")),
        subject="" if kind == "problem" else draw(st.one_of(st.sampled_from(["", "=a", "00123"]), line)),
        reviewer=draw(st.one_of(st.sampled_from(["=cmd()", "O'Hara", "张"]), line.filter(str.strip))),
        answer=draw(st.sampled_from(ANSWERS)),
        round=draw(st.sampled_from([1, 2])),
        category=draw(st.sampled_from(["", *CATEGORIES])),
        severity=draw(st.sampled_from(["", *SEVERITIES])),
        reason=draw(st.sampled_from(["", *REASONS.get(kind, ())])),
        comment=draw(comments),
        box=draw(st.none() | st.tuples(edges, edges, sizes, sizes)),
        seconds=draw(st.just(math.nan) | st.floats(0, 1e6)),
        at=draw(st.floats(0, 4e9)),
        replaces=draw(st.just("") | st.uuids().map(str)),
    )  # fmt: skip


def same(one, other) -> bool:
    """Equal tables; a NaN equals a NaN."""
    return one.schema == other.schema and repr(one.to_pylist()) == repr(other.to_pylist())


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("files")


places = st.none() | st.integers(0, 2**31 - 1)


@settings(max_examples=30)
@given(st.lists(st.tuples(any_vote(), places, places), max_size=4))
@example([])
@example([(ballot(comment=text), 0, 1) for text in TRAPS])
def test_files_come_back_exactly(folder, given_):
    assert all(fault(vote) == ("", "") for vote, _, _ in given_)
    table = with_place(of_votes([vote for vote, _, _ in given_]), [(task, number) for _, task, number in given_])
    for ending in (".parquet", ".csv"):
        path, again = folder / f"a{ending}", folder / f"b{ending}"
        write_votes(table, path)
        back = read_votes(path)
        assert same(table, back)
        write_votes(back, again)
        assert path.read_bytes() == again.read_bytes()
    votes = [vote for part in to_votes(table) for vote in part]
    assert repr(votes) == repr([vote for vote, _, _ in given_])


def test_columns_keep_their_order_and_types(tmp_path):
    write_votes(of_votes([ballot()]), tmp_path / "a.parquet")
    assert tuple(pq.read_schema(tmp_path / "a.parquet").names) == COLUMNS
    assert pq.read_schema(tmp_path / "a.parquet").equals(schema())
    write_votes(of_votes([ballot()]), tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text().splitlines()[0] == ",".join(COLUMNS)


def test_a_spreadsheet_sees_no_formula(tmp_path):
    """Every cell, as another reader of CSV finds it."""
    write_votes(
        of_votes([ballot("=HYPERLINK(1)", comment=text, box=(-1, 2, 3, 4)) for text in TRAPS]), tmp_path / "a.csv"
    )
    table = pyarrow.csv.read_csv(
        tmp_path / "a.csv", parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(COLUMNS, pa.string())),
    )  # fmt: skip
    assert len(table) == len(TRAPS)
    for row in table.to_pylist():
        assert not any(cell[:1] in tuple("=+-@\t\r") for cell in row.values() if cell)


def test_a_file_of_four_columns_is_enough(engine, tmp_path):
    path = tmp_path / "votes.csv"
    path.write_text("\ufeffreviewer,label,id,answer,notes\nann,heron,picture0,yes,x\nben,heron,picture0,no,\n")
    table = read_votes(path)
    done = import_votes(engine, PANEL, table, NOW)
    assert (done.kept, done.known, done.refused) == (2, 0, {})
    rows = counted(engine, PANEL).to_pylist()
    assert [(row["sha256"], row["at"], row["task"]) for row in rows] == [(picture(0)[1], NOW, 0)] * 2
    before = counters(engine)
    done = import_votes(engine, PANEL, read_votes(path), NOW + 50)
    assert (done.kept, done.known, done.refused) == (0, 2, {})
    assert counters(engine) == before == counted_again(engine)
    pq.write_table(
        pa.table({"id": ["picture1"], "subject": ["heron"], "answer": ["yes"], "reviewer": ["ann"]}),
        tmp_path / "p.parquet",
    )
    assert import_votes(engine, PANEL, read_votes(tmp_path / "p.parquet"), NOW).kept == 1


def test_an_export_fills_an_empty_panel(engine, tmp_path):
    """With replaced votes, withdrawn ones, problems, boxes and decisions."""
    first, taken_back = ballot("ann", seconds=3.25), ballot("cem")
    votes = [
        first,
        taken_back,
        ballot("ann", answer="no", category="fine_grained", severity="major", replaces=first.vote, comment="=1\n'"),
        ballot("ben"), ballot("ann", "stork"), ballot("ben", "stork"),
        ballot("ben", "", kind="problem", reason="collage", number=1),
        ballot("ben", "0", "no", kind="box", box=(0.1, 2, 3, 4)),
        ballot("ben", answer="unclear", round=2),
    ]  # fmt: skip
    cast(engine, PANEL, votes[:-1], NOW)
    withdraw(engine, PANEL, taken_back.vote, "cem", NOW, "w")
    assert cast(engine, PANEL, votes[-1:], NOW + 0.125)[0].state == "kept"
    table = counted(engine, PANEL)
    for ending in (".csv", ".parquet"):
        write_votes(table, tmp_path / f"votes{ending}")
        other = open_database(str(tmp_path / f"other{ending}.sqlite"))
        make_panel(other)
        for expected in ((7, 0), (0, 7)):
            done = import_votes(other, PANEL, read_votes(tmp_path / f"votes{ending}"), NOW + 999)
            assert (done.kept, done.known, done.refused) == (*expected, {})
        back = counted(other, PANEL)
        assert same(back.drop_columns(["number"]), table.drop_columns(["number"]))
        assert recount(other, PANEL) == []
        other.dispose()


def test_what_is_refused_is_counted(engine, tmp_path):
    mine = ballot("ann")
    cast(engine, PANEL, [mine], NOW)
    given_ = [
        ballot("ann", answer="no"),
        replace(mine, answer="no"),
        ballot(number=77),
        replace(ballot("ben"), sha256="a" * 64),
        ballot("ben", "crane"),
        ballot("ben", "dodo"),
        ballot("ben"),
    ]
    write_votes(of_votes(given_), tmp_path / "a.csv")
    done = import_votes(engine, PANEL, read_votes(tmp_path / "a.csv"), NOW, classes=CLASSES)
    assert (done.kept, done.known) == (2, 0)
    assert done.refused == {"second": 1, "id": 1, "unknown_picture": 1, "changed_picture": 1, "unknown_question": 1}
    assert done.examples[2] == (3, "picture picture77 isn't in this panel")


def write(path: Path, *rows: dict) -> Path:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(out.getvalue())
    return path


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("answer", "maybe", "'maybe'; known are no, unclear, yes"),
        ("seconds", "soon", "'soon', which isn't a number"),
        ("seconds", "-1", "seconds is -1.0"),
        ("round", "1.5", "isn't a whole number"),
        ("round", "7", "round is 7"),
        ("box", "1 2 3", "left, top, width and height"),
        ("box", "1 2 3 nan", "finite"),
        ("sha256", "xyz", "64 digits"),
        ("comment", "x" * 2001, "2001 characters"),
        ("reviewer", "", "reviewer is empty"),
        ("question", "0" * 32, "leave the column out"),
        ("task", "1e400", "isn't a whole number"),
        ("category", "typo", "known are fine_grained"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, column, value, said):
    good = {name: str(text) for name, text in asdict(ballot()).items() if name not in ("box", "seconds")}
    path = write(tmp_path / "a.csv", good | {column: ""} if column not in good else good, good | {column: value})
    with pytest.raises(SourceError) as error:
        read_votes(path)
    assert f"{path}, row 2, column {column}: " in str(error.value)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_are_none(tmp_path):
    def said(name: str, content: bytes | None) -> str:
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(SourceError) as error:
            read_votes(path)
        assert str(path) in str(error.value)
        return str(error.value)

    assert "no such file" in said("none.csv", None)
    assert "ends in '.txt'" in said("votes.txt", b"x")
    assert "has no column id, subject, answer, reviewer" in said("empty.csv", b"")
    assert "has no column answer; it has id, subject, reviewer, anwser" in said(
        "typo.csv", b"id,subject,reviewer,anwser\n"
    )
    assert "has column id twice" in said("twice.csv", b"id,id,subject,reviewer,answer\n")
    assert "row 2" in said("short.csv", b"id,subject,reviewer,answer\na,b,c,yes\na,b\n")
    assert "can't be read" in said("latin.csv", "id,subject,reviewer,answer\na,é,c,yes\n".encode("latin-1"))
    assert "can't be read" in said("cut.csv", b'id,subject,reviewer,answer\na,b,c,"yes')
    assert "can't be read" in said("broken.parquet", b"PAR1 and then nothing")
    table = pa.table({"id": ["a"], "subject": ["b"], "answer": [{"x": 1}], "reviewer": ["c"]})
    pq.write_table(table, tmp_path / "odd.parquet")
    assert "row 1, column answer" in said("odd.parquet", None)
    (tmp_path / "folder.csv").mkdir()
    assert "no such file" in said("folder.csv", None)
    with pytest.raises(StoreError, match=r"ends in '\.txt'"):
        write_votes(of_votes([]), tmp_path / "a.txt")
    with pytest.raises(StoreError, match="can't be written"):
        write_votes(of_votes([]), tmp_path / "nowhere" / "a.csv")


def test_ids_that_a_file_has_as_numbers(engine, tmp_path):
    """As pandas writes them."""
    table = pa.table(
        {
            "id": ["picture0"] * 2,
            "label": ["heron", "stork"],
            "answer": ["yes", "no"],
            "reviewer": [7, 7],
            "seconds": [1, 2],
            "round": [1.0, 1.0],
            "box": pa.nulls(2),
            "comment": [None, None],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    done = import_votes(engine, PANEL, read_votes(tmp_path / "a.parquet"), NOW)
    assert (done.kept, done.refused) == (2, {})
    assert counted(engine, PANEL)["reviewer"].to_pylist() == ["7", "7"]
