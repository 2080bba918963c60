"""Whole columns and single votes are read alike."""

from __future__ import annotations

import csv

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_panels import picture

from variorum.people.votes import files
from variorum.people.votes.columns import Doubtful
from variorum.people.votes.files import read_votes
from variorum.schemas.errors import SourceError

ODD = ["", " ", "\x07", "\u2028", "\u202e", "'=1", "é" * 101, "maybe", "nan", "1", "2", "-1", "1e3", "inf", "x\x1fy"]
COLUMNS = {
    "vote": ["v1", "v 2", "v" * 65],
    "kind": ["label", "problem", "edit", "box"],
    "id": [picture(0)[0], "a/b.jpg", "p" * 65],
    "sha256": [picture(0)[1], "F" * 64],
    "subject": ["heron", "Zoë", "s" * 501],
    "reviewer": ["Ann", "@ben"],
    "answer": ["yes", "no", "unclear"],
    "round": ["1", "2", "3", "1.0"],
    "category": ["fine_grained", "odd"],
    "severity": ["major"],
    "reason": ["collage", "artefact"],
    "comment": ["two\nlines", "c" * 2001],
    "box": ["1 2 3 4", "1 2 3", "1 2 0 4", "1 2 x 4"],
    "seconds": ["2.5", "1e9"],
    "at": ["1700000000.5", "1e12"],
    "replaces": ["v0"],
    "question": ["0" * 32],
    "task": ["3", "3.5", str(1 << 40)],
    "number": ["12"],
    "truth": ["yes", "no", "maybe"],
}
NEEDED = {"id": picture(0)[0], "subject": "heron", "reviewer": "Ann", "answer": "yes"}


def cells(name):
    common = [NEEDED.get(name, ""), *COLUMNS[name][:1]]
    return st.one_of(st.sampled_from(common), st.sampled_from(common), st.sampled_from([*COLUMNS[name], *ODD]))


@st.composite
def rows(draw):
    names = [
        *NEEDED,
        *draw(st.lists(st.sampled_from([n for n in COLUMNS if n not in NEEDED]), max_size=5, unique=True)),
    ]
    made = st.fixed_dictionaries({name: cells(name) for name in names})
    return draw(st.lists(made, min_size=1, max_size=4))


def outcome(read):
    try:
        return read()
    except SourceError as error:
        return str(error)


def known(name: str) -> str | None:
    return picture(0)[0] if name == "a/b.jpg" else None


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows(), st.sampled_from(["csv", "parquet"]), st.sampled_from([None, known]))
def test_columns_are_read_as_single_votes_are(tmp_path, given_rows, ending, pictures):
    path = tmp_path / f"votes.{ending}"
    if ending == "csv":
        with path.open("w", newline="") as file:
            out = csv.DictWriter(file, list(given_rows[0]))
            out.writeheader()
            out.writerows(given_rows)
    else:
        pq.write_table(pa.Table.from_pylist(given_rows), path)
    found, single = (
        outcome(read)
        for read in (lambda: read_votes(path, pictures=pictures), lambda: files._one_by_one(path, pictures))
    )
    if isinstance(single, str):
        assert found == single
    else:
        assert str(found.to_pylist()) == str(single.to_pylist())
        assert found.schema.equals(single.schema)


TYPED = [
    pa.array([1, None], pa.int8()),
    pa.array([1.0, float("nan")]),
    pa.array([None, None]),
    pa.array([True, False]),
    pa.array(["a", None]).dictionary_encode(),
    pa.array(["a", "2"], pa.large_string()),
    pa.array([b"a", b"b"]),
    pa.array([[1.0, 2.0, 3.0, 4.0], None]),
]


@pytest.mark.parametrize("name", ["vote", "subject", "round", "seconds", "box", "task", "question"])
@pytest.mark.parametrize("column", TYPED, ids=[str(one.type) for one in TYPED])
def test_columns_of_other_types(tmp_path, name, column):
    path = tmp_path / "votes.parquet"
    given = {key: pa.array([value, value]) for key, value in {**NEEDED, "sha256": picture(0)[1]}.items()}
    pq.write_table(pa.table({**given, name: column}), path)
    found, single = (outcome(read) for read in (lambda: read_votes(path), lambda: files._one_by_one(path, None)))
    assert str(found if isinstance(found, str) else found.to_pylist()) == str(
        single if isinstance(single, str) else single.to_pylist()
    )


def test_what_is_right_is_read_as_columns(tmp_path):
    path = tmp_path / "votes.csv"
    path.write_text("id,label,answer,reviewer,box\np1,heron,yes,'@ben,\n\np1,heron,no,Ann,1 2 3 4\n")
    found = files._as_columns(path, files._csv_columns, None).to_pylist()
    assert [(row["reviewer"], row["box"]) for row in found] == [("@ben", None), ("Ann", [1.0, 2.0, 3.0, 4.0])]
    path.write_text("id,label,answer,reviewer\np1,heron,perhaps,Ann\n")
    with pytest.raises(Doubtful):
        files._as_columns(path, files._csv_columns, None)
