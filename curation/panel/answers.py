"""People's answers to an audit: read, checked against the pictures as they are now, and counted."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.panel.agreement import answer_counts, krippendorff_alpha
from schemas.errors import SourceError

Floats = NDArray[np.float64]

Judged = tuple[str, str, str, str]
"""What an answer is about: id, sha256, labels and, of a picture that is relabelled, new labels; by spaces."""

ANSWER = {"": None, "0": 0.0, "0.0": 0.0, "false": 0.0, "1": 1.0, "1.0": 1.0, "true": 1.0}
"""What may stand in the columns `wrong` and `new_wrong`, in any case; nothing is not answered yet."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers matched with pictures.

    Attributes:
        wrong: `[n]` 0 or 1 by majority, 0.5 where reviewers are split, NaN without an answer.
        new_wrong: `[n]` the same of the new label of those that are relabelled, NaN for all others.
        unknown: answers on pictures that aren't there.
        changed: answers on pictures whose image or labels have changed since.
        alpha: Krippendorff's α between reviewers, NaN where no picture has two.
    """

    wrong: Floats
    new_wrong: Floats
    unknown: int
    changed: int
    alpha: float


def read_answers(path: Path) -> list[dict[str, Any]]:
    """Rows of a CSV or parquet with `id`, `sha256`, `wrong`, perhaps `new_wrong`, `reviewer`, `labels`, `new_labels`.

    `wrong` and `new_wrong` become 0.0, 1.0 or None.

    Raises:
        SourceError: no such file, a missing column, an answer that is neither 0 nor 1 nor empty.
    """
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            table = pq.read_table(path)
            names, rows = table.column_names, list(table.to_pylist())
        else:
            with path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file)
                rows, names = list(reader), list(reader.fieldnames or ())
    except (OSError, ValueError) as error:
        raise SourceError(
            f"curate.audit.answers: {path} can't be read ({error}); leave it out until there are"
        ) from None
    missing = [name for name in ("id", "sha256", "wrong") if name not in names]
    if missing:
        raise SourceError(f"curate.audit.answers: {path} has no column {', '.join(missing)}; it has {', '.join(names)}")
    for number, row in enumerate(rows, start=1):
        for name in ("wrong", "new_wrong"):
            given = str("" if row.get(name) is None else row[name]).strip().lower()
            if given not in ANSWER:
                raise SourceError(
                    f"curate.audit.answers: {path}, answer {number}: {name} is {given!r}; write 0, 1 or nothing"
                )
            row[name] = ANSWER[given]
    return rows


def match_answers(rows: Sequence[Mapping[str, Any]], pictures: Sequence[Judged]) -> Answers:
    """Answers on the pictures as they are now, each reviewer's last one; the majority counts.

    Who says that a label is right says that the new one is wrong, unless they say otherwise.

    Args:
        rows: of `read_answers`. Where they have `labels`, these are what was judged, and others now void the answer;
            other `new_labels` void what was said of those.
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
        if sha256 != row["sha256"] or _text(row.get("labels", labels)) != labels:
            changed += 1
            continue
        by = number, str(row.get("reviewer") or "")
        said[by] = row["wrong"]
        if new:
            answer = row["new_wrong"] if _text(row.get("new_labels", new)) == new else None
            said_of_new.pop(by, None)
            if answer is not None or not row["wrong"]:
                said_of_new[by] = 1.0 if answer is None else answer
    wrong, alpha = _majority(said, len(pictures))
    return Answers(wrong, _majority(said_of_new, len(pictures))[0], unknown, changed, alpha)


def _majority(said: Mapping[tuple[int, str], float], n: int) -> tuple[Floats, float]:
    """Of answers by picture and reviewer, what the majority says of each `[n]`, and Krippendorff's α."""
    items = np.array([number for number, _ in said], np.int64)
    counts = answer_counts(items, np.array(list(said.values()), np.int64), n, 2)
    votes = counts.sum(axis=1)
    wrong = np.where(votes > 0, (np.sign(counts[:, 1] - counts[:, 0]) + 1) / 2, np.nan)
    return wrong, krippendorff_alpha(counts)


def _text(labels: Any) -> str:
    """Labels as the review queue writes them, less the mark that keeps a spreadsheet from reading a formula."""
    return labels.removeprefix("'") if isinstance(labels, str) else " ".join(labels or ())
