"""Files of marks: what is read, and what is refused by its line."""

import json

import pytest

from variorum.kit.raters.marks import LARGEST, NOTE, Mark, read_marks
from variorum.schemas.errors import SourceError

HEAD = {"marks": 1, "edition": "street@1.0.0", "digest": "ab"}


def written(path, *lines):
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return path


def test_marks_are_read_in_order(tmp_path):
    lines = [
        {"id": "b", "ask": True},
        {"id": "a", "tags": ["x", "y", "x"], "note": "n"},
        "\n",
        {"id": "c", "ask": True},
    ]
    marks = read_marks(written(tmp_path / "m.jsonl", HEAD, *lines))
    assert (marks.edition, marks.digest, marks.asked) == ("street@1.0.0", "ab", ["b", "c"])
    assert marks.by_id["a"] == Mark(False, ("x", "y"), "n")
    marks.check(["a", "b", "c", "d"], "street@1.0.0", "marks")
    with pytest.raises(SourceError, match=r"^marks: 2 of 3 .* aren't in town@1\.0\.0: b, a; the marks are of street"):
        marks.check(["c"], "town@1.0.0", "marks")


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ((), "isn't a file of marks"),
        (({"marks": 2, "edition": "e", "digest": "d"},), "isn't a file of marks"),
        (({"id": "a"},), "isn't a file of marks"),
        (("id,ask\na,1\n",), "line 1: not JSON"),
        ((HEAD, "[1]\n"), "line 2: not an object"),
        ((HEAD, {"id": "a"}, '{"id": NaN}\n'), "line 3: not JSON"),
        ((HEAD, {"id": "a", "ask": 1}), "line 2: ask is 1; it is true or false"),
        ((HEAD, {"ask": True}), "line 2: it names no picture"),
        ((HEAD, {"id": "a"}, {"id": "a"}), "line 3: picture 'a' is there already"),
        ((HEAD, {"id": "a", "tags": "x"}), "line 2: tags are a list of up to 20 texts"),
        ((HEAD, {"id": "a", "tags": ["x" * 61]}), "line 2: tags are"),
        ((HEAD, {"id": "a", "note": "x" * (NOTE + 1)}), "line 2: a note is"),
        ((HEAD, "[" * 100_000 + "\n"), "line 2: not JSON"),
    ],
)
def test_anything_else_is_refused(tmp_path, lines, why):
    with pytest.raises(SourceError, match=f"marks: .*m.jsonl.*{why}"):
        read_marks(written(tmp_path / "m.jsonl", *lines))


def test_a_file_that_is_too_large_isn_t_read_whole(tmp_path):
    with (tmp_path / "m.jsonl").open("wb") as file:
        file.truncate(LARGEST + 1)  # sparse
    with pytest.raises(SourceError, match="larger than 64 MB"):
        read_marks(tmp_path / "m.jsonl")
    with pytest.raises(SourceError, match="can't be read"):
        read_marks(tmp_path / "none.jsonl")
