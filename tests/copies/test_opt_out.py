"""Pictures that somebody wants taken out, and all that was made of them."""

from __future__ import annotations

import pyarrow as pa
import pytest

from variorum.curation.copies.opt_out import OptOut, read_list
from variorum.edition.editions import read_manifest
from variorum.edition.tables import read_table
from variorum.edition.verify import verify
from variorum.pipeline import Job, build, curate, release
from variorum.schemas.component import Context
from variorum.schemas.errors import SourceError
from variorum.schemas.recipe import Recipe
from variorum.schemas.table import Table

PHOTOGRAPHS = ("a" * 64, "b" * 64, "a place", "a place")
IDS = tuple(f"{number:032x}" for number in range(8))
"""Of four photographs, each as it is and edited."""


def edition(**more):
    """Four photographs and an edit of each; two are of one place, and the last edit is a copy of the first original."""
    columns = {
        "id": list(IDS),
        "sha256": [f"{number:064x}" for number in range(8)],
        "source": [IDS[2 * (number // 2)] for number in range(8)],
        "photograph": [PHOTOGRAPHS[number // 2] for number in range(8)],
        "origin": [f"https://example.org/{number // 2}.jpg" for number in range(8)],
    }
    return Table(pa.table(columns | more), "opt_out")


def taken(tmp_path, text, name="list.txt", **more):
    """Rows that are taken out."""
    path = tmp_path / name
    path.write_text(text)
    rows = []
    for found in OptOut(list=path).decide(edition(**more), Context(0, None, None)):
        assert (found.action, found.reason, found.by) == ("withhold", "opt_out", "opt_out")
        rows += found.rows.tolist()
    return rows


@pytest.mark.parametrize(
    "entry",
    ["A" * 64, f"{2:064x}", f"{3:064X}", IDS[2], IDS[3].upper(), "https://example.org/1.jpg", "# nobody\n\nb.jpg # x"],
)
def test_an_entry_takes_out_everything_of_its_photograph(tmp_path, entry):
    expected = {"A" * 64: [0, 1], "# nobody\n\nb.jpg # x": []}.get(entry, [2, 3])
    assert taken(tmp_path, entry) == expected


def test_of_a_group_of_photographs_only_the_one_that_is_meant_goes(tmp_path):
    assert taken(tmp_path, IDS[4]) == [4, 5]
    assert taken(tmp_path, "photograph\na place\n", "list.csv") == [4, 5, 6, 7]


def test_proved_copies_go_too(tmp_path):
    copies = {"duplicates.copy_of": ["", "", "", "", "", "", "", IDS[0]]}
    assert taken(tmp_path, IDS[6], **copies) == [0, 1, 6, 7]
    assert taken(tmp_path, IDS[1], **copies) == [0, 1, 6, 7]
    assert taken(tmp_path, IDS[2], **copies) == [2, 3]


def test_a_csv_has_columns(tmp_path):
    text = f"reason,id,sha256,origin\nasked,{IDS[0]},,\nby letter,,{5:064x},\n,,,https://example.org/3.jpg\n"
    assert taken(tmp_path, text, "list.csv") == [0, 1, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("list.txt", f"{IDS[0]}\nsomebody\n", "line 2: 'somebody' is no sha256"),
        ("list.txt", "a" * 63, "line 1: 'aaa"),
        ("list.csv", f"id\n{IDS[0]}\n\nabc\n", "line 4: 'abc' is no id"),
        ("list.csv", f"id,origin\n{IDS[0]},\n,\n", "line 3: it has no sha256 or photograph or id or origin"),
        ("list.csv", "name\nsomebody\n", "has none of the columns sha256, photograph, id, origin"),
        ("list.csv", "", "has none of the columns"),
        ("list.txt", b"\xff\xfe", "it isn't UTF-8 text"),
        ("list.txt", None, "No such file"),
    ],
)
def test_a_list_that_cant_be_followed_is_refused_before_any_work(tmp_path, name, text, says):
    if text is not None:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SourceError, match=r"curate\.opt_out\.list") as error:
        OptOut(list=tmp_path / name).check(Context(0, None, None))
    assert says in str(error.value)


def test_where_the_list_lies_is_in_no_digest(tmp_path):
    assert OptOut(list=tmp_path / "a").fingerprint() == OptOut(list=tmp_path / "b").fingerprint()
    (tmp_path / "a").write_text("﻿" + IDS[0].upper())
    assert read_list(tmp_path / "a")["id"] == {IDS[0]}


@pytest.mark.usefixtures("own_cache")
def test_a_longer_list_makes_another_release_without_them(photos, tmp_path):
    keeps = {"when": [{"column": "variant", "equals": "original"}], "action": "keep", "reason": "people_said_so"}
    listed, parts = tmp_path / "list.txt", [{"name": "policy", "rules": [keeps]}]
    recipe = Recipe.parse(
        {
            "dataset": "d",
            "version": "1.0.0",
            "source": {"name": "image_folder", "path": str(photos)},
            "generate": [{"name": "probe"}],
            "curate": [*parts, {"name": "opt_out", "list": str(listed)}],
        }
    )
    listed.write_text("coffee/0.jpg\n")
    job = Job(recipe, str(tmp_path / "store"))
    manifest = build(job)
    first = release(job, manifest, *curate(job, manifest))
    assert first.counts["original"] == {"accepted": 11, "withheld:opt_out": 1}
    assert first.counts["negative_0"] == {"accepted": 11, "withheld:opt_out": 1}
    assert first.ledger.figures["opt_out"] == {
        "taken_out": 2,
        "findings": ["2 pictures were taken out because somebody asked for it."],
    }
    assert str(listed) not in first.model_dump_json()
    listed.write_text("coffee/0.jpg\ncoffee/1.jpg\n")
    again = Job(recipe, str(tmp_path / "store"))
    second = release(again, manifest, *curate(again, manifest))
    assert (second.version, second.counts["original"]["withheld:opt_out"]) == ("1.0.0-r2", 2)
    assert verify(second, job.store) == []
    gone = {row["origin"] for row in read_table(job.store, second.rows).to_pylist() if row["status"] == "withheld"}
    assert gone == {"coffee/0.jpg", "coffee/1.jpg"}
    assert read_manifest("d", "1.0.0-r1", job.store) == first
