"""People's answers to an audit: reads them, checks them against the current pictures, and counts them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.kit.raters.agreement import answer_counts, krippendorff_alpha
from variorum.machine.parquet_pages import check_pages
from variorum.schemas.errors import SourceError
from variorum.schemas.vote import TOGETHER

if TYPE_CHECKING:
    from variorum.arrays import Floats

Judged = tuple[str, str, str, str]
"""The picture that an answer is about: id, sha256, labels, and new labels if relabelled; labels joined by spaces."""

ANSWER = {"": None, "0": 0.0, "0.0": 0.0, "false": 0.0, "1": 1.0, "1.0": 1.0, "true": 1.0}
"""Values allowed in the columns `wrong` and `new_wrong`, in upper or lower case; empty means not answered yet."""
VOTED = {"no": 1.0, "unclear": 0.5, "yes": 0.0}
"""How wrong a label is by a vote on it."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers matched with pictures.

    Attributes:
        wrong: `[n]` 0 or 1 by majority, 0.5 if reviewers are split, NaN without an answer.
        new_wrong: `[n]` the same for the new label of relabelled pictures, NaN for all others.
        unknown: number of answers on unknown pictures.
        changed: number of answers on pictures whose image or labels have changed since.
        alpha: Krippendorff's α between reviewers, NaN if no picture has two.
    """

    wrong: Floats
    new_wrong: Floats
    unknown: int
    changed: int
    alpha: float


def read_answers(path: Path, where: str = "curate.audit.answers") -> list[dict[str, Any]]:
    """Rows of a file of answers, or of votes; `wrong` and `new_wrong` become 0.0, 0.5, 1.0 or None.

    A CSV or parquet file of answers has the columns `id`, `sha256` and `wrong`, and may have `new_wrong`, `reviewer`,
    `labels` and `new_labels`. Any other file is read as votes. A row then has a class in `subject`, which may be one of
    the picture's labels or of its new ones. No is 1, yes 0, and unclear 0.5: whoever can't tell has answered, and a
    sample without its hard pictures wouldn't be random any more.

    Raises:
        SourceError: file missing or unreadable, column missing, answer other than 0, 1 or empty.
    """
    try:
        if not path.is_file():  # opening a pipe could wait forever
            raise FileNotFoundError("no such file")
        if path.suffix == ".json":
            return _voted(path, where)
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            check_pages(path)
            table = pq.read_table(path)
            names, rows = table.column_names, list(table.to_pylist())
        else:
            with path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file)
                rows, names = list(reader), list(reader.fieldnames or ())
    except (OSError, ValueError, csv.Error) as error:
        raise SourceError(
            f"{where}: {path} can't be read ({error}); leave the field out until there are answers"
        ) from None
    if "answer" in names and "wrong" not in names:
        return _voted(path, where)
    missing = [name for name in ("id", "sha256", "wrong") if name not in names]
    if missing:
        raise SourceError(f"{where}: {path} has no column {', '.join(missing)}; it has {', '.join(names)}")
    for number, row in enumerate(rows, start=1):
        for name in ("wrong", "new_wrong"):
            given = str("" if row.get(name) is None else row[name]).strip().lower()
            if given not in ANSWER:
                raise SourceError(f"{where}: {path}, answer {number}: {name} is {given!r}; write 0, 1 or nothing")
            row[name] = ANSWER[given]
    return rows


def _voted(path: Path, where: str) -> list[dict[str, Any]]:
    """Rows of people's votes on labels; the decision of a discussion stands for all of them."""
    from variorum.kit.raters.valid_votes import last_votes, read, standing

    votes = read(path, where)
    rows = [row for row in last_votes(votes.filter(standing(votes))).to_pylist() if row["kind"] == "label"]
    together = {(row["id"], row["subject"]) for row in rows if row["round"] == TOGETHER}
    rows = [row for row in rows if row["round"] == TOGETHER or (row["id"], row["subject"]) not in together]
    return [
        {
            "id": row["id"],
            "sha256": row["sha256"],
            "subject": row["subject"],
            "reviewer": "" if row["round"] == TOGETHER else row["reviewer"],
            "wrong": VOTED[row["answer"]],
            "new_wrong": None,
        }
        for row in rows
    ]


def match_answers(rows: Sequence[Mapping[str, Any]], pictures: Sequence[Judged]) -> Answers:
    """Answers on the current pictures: the last one of each reviewer, and the majority of reviewers.

    A reviewer who calls the label right thereby calls the new label wrong, unless they answer that too. A vote doesn't,
    because a picture may show both. Of several labels the worst counts.

    Args:
        rows: from `read_answers`. If a row has `labels`, the answer counts only while they are the picture's labels;
            `new_labels` work the same for the answer on the new label.
        pictures: the `n` pictures.
    """
    place = {picture[0]: number for number, picture in enumerate(pictures)}
    said: dict[tuple[int, str], float] = {}
    said_of_new: dict[tuple[int, str], float] = {}
    unknown = changed = 0
    for row in rows:
        if row["wrong"] is None:
            continue
        number = place.get(row["id"])
        if number is None:
            unknown += 1
            continue
        _, sha256, labels, new = pictures[number]
        if row["sha256"] not in ((sha256, "") if "subject" in row else (sha256,)):
            changed += 1
            continue
        by = number, str(row.get("reviewer") or "")
        if "subject" in row:
            for about, listed in ((said, labels), (said_of_new, new)):
                if row["subject"] in listed.split():
                    about[by] = max(about.get(by, 0.0), row["wrong"])
            continue
        if _text(row.get("labels", labels)) != labels:
            changed += 1
            continue
        said[by] = row["wrong"]
        if new:
            answer = row["new_wrong"] if _text(row.get("new_labels", new)) == new else None
            said_of_new.pop(by, None)
            if answer is not None or not row["wrong"]:
                said_of_new[by] = 1.0 if answer is None else answer
    wrong, alpha = _majority(said, len(pictures))
    return Answers(wrong, _majority(said_of_new, len(pictures))[0], unknown, changed, alpha)


def _majority(said: Mapping[tuple[int, str], float], n: int) -> tuple[Floats, float]:
    """The majority's answer `[n]` from answers by picture and reviewer, and Krippendorff's α."""
    items = np.array([number for number, _ in said], np.int64)
    counts = answer_counts(items, np.rint(2 * np.array(list(said.values()))).astype(np.int64), n, 3)
    votes = counts.sum(axis=1)
    wrong = np.where(votes > 0, (np.sign(counts[:, 2] - counts[:, 0]) + 1) / 2, np.nan)
    return wrong, krippendorff_alpha(counts)


def _text(labels: Any) -> str:
    """Labels as the review queue writes them, without the quote that keeps spreadsheets from reading a formula."""
    return labels.removeprefix("'") if isinstance(labels, str) else " ".join(labels or ())
