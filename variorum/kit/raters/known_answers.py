"""Known answers in a file. They check reviewers and anchor a consensus.

The file is a list of answers, a file of votes on which people agree, or the questions of a published panel.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from variorum.machine.parquet_pages import check_pages
from variorum.schemas.errors import SourceError
from variorum.schemas.lookup import cut
from variorum.schemas.secrets import shown
from variorum.schemas.vote import KINDS

TRUTHS = {"yes": 1, "1": 1, "1.0": 1, "true": 1, "no": 0, "0": 0, "0.0": 0, "false": 0}
"""Known answers in a file, in upper or lower case."""
UNANIMOUS = 2
"""People who must agree before their votes count as a known answer."""
COLUMNS = ("kind", "id", "origin", "sha256", "subject", "truth")


def read_known(path: Path, where: str = "gold") -> Any:
    """Known answers in a CSV or parquet file, an Arrow table with the texts `COLUMNS`; `""` for what the file lacks.

    Its columns are `id` or `origin`, `label` or `subject`, `truth` (yes or no), and `kind` where it isn't always
    `label`. A file of votes, with `answer` and `reviewer` instead of `truth`, is read too: an answer is known if at
    least two people gave it and nobody gave another one. So are a panel's questions; an answer that is only presumed
    isn't known.

    Raises:
        SourceError: the file can't be read, lacks a column, or has another truth than yes and no.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    name = f"{where}: {shown(str(path))}"
    rows = _rows(path, name)
    if {"reviewer", "answer"} <= {*rows.column_names}:
        rows = _unanimous(rows)
    elif {"presumed", "why"} <= {*rows.column_names}:
        asked = pc.or_(pc.not_equal(_column(rows, "why"), "gold"), pc.equal(_column(rows, "presumed"), "true"))
        rows = rows.filter(pc.invert(asked))
    names = {*rows.column_names}
    if not {"id", "origin"} & names or not {"label", "subject"} & names or "truth" not in names:
        raise SourceError(
            f"{name} needs the columns id or origin, label or subject, and truth; it has "
            f"{', '.join(rows.column_names) or 'none'}"
        )
    truth = pc.utf8_lower(pc.utf8_trim_whitespace(_column(rows, "truth")))
    kind = pc.if_else(pc.equal(_column(rows, "kind"), ""), "label", _column(rows, "kind"))
    for what, values, known in (("truth", truth, TRUTHS), ("kind", kind, KINDS)):
        odd = pc.invert(pc.is_in(values, value_set=pa.array(list(known), pa.string())))
        if (at := pc.index(odd, True).as_py()) >= 0:
            raise SourceError(
                f"{name}, answer {at + 1}: {what} is {cut(repr(values[at].as_py()))}; known are "
                f"{', '.join(known) if what == 'kind' else 'yes and no'}"
            )
    subject = _column(rows, "label" if "label" in names else "subject")
    columns = {one: _column(rows, one) for one in ("id", "origin", "sha256")}
    return pa.table({"kind": kind, **columns, "subject": subject, "truth": truth})


def _column(rows: Any, name: str) -> Any:
    """A column as texts, with `""` for what is missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if name not in rows.column_names:
        return pa.repeat(pa.scalar("", pa.string()), len(rows))
    return pc.fill_null(rows[name].cast(pa.string()), "").combine_chunks()


def _rows(path: Path, name: str) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if not path.is_file():  # opening a pipe could wait forever
            raise FileNotFoundError("no such file")
        if path.suffix == ".parquet":
            check_pages(path)
            return pq.read_table(path)
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
        names = list(reader.fieldnames or ())
        return pa.table({one: pa.array([row.get(one) or "" for row in rows], pa.string()) for one in names})
    except (OSError, ValueError, csv.Error) as error:
        raise SourceError(f"{name} can't be read ({error}); leave it out without known answers") from None


def _unanimous(votes: Any) -> Any:
    """The questions on which people agree, from a table of votes, as known answers.

    Votes that were replaced or taken back don't count, nor do decisions of a discussion.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    answer = _column(votes, "answer")
    valid = pc.is_in(answer, value_set=pa.array(["yes", "no", "unclear"], pa.string()))
    if {"vote", "replaces"} <= {*votes.column_names}:
        earlier = _column(votes, "replaces")
        earlier = earlier.filter(pc.not_equal(earlier, ""))
        valid = pc.and_(valid, pc.invert(pc.is_in(_column(votes, "vote"), value_set=earlier)))
    if "round" in votes.column_names:
        valid = pc.and_(valid, pc.is_in(_column(votes, "round"), value_set=pa.array(["", "1"], pa.string())))
    votes = votes.filter(valid)
    keys = [name for name in ("kind", "id", "origin", "sha256", "subject", "label") if name in votes.column_names]
    counted = votes.group_by(keys).aggregate([("answer", "min"), ("answer", "max"), ("reviewer", "count_distinct")])
    same = pc.equal(counted["answer_min"], counted["answer_max"])
    sure = pc.is_in(counted["answer_min"], value_set=pa.array(["yes", "no"], pa.string()))
    enough = pc.greater_equal(counted["reviewer_count_distinct"], UNANIMOUS)
    found = counted.filter(pc.and_(pc.and_(same, sure), enough))
    return found.select(keys).append_column("truth", found["answer_min"])
