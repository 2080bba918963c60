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

WRONG = {"": None, "0": 0.0, "0.0": 0.0, "false": 0.0, "1": 1.0, "1.0": 1.0, "true": 1.0}
"""What may stand in the column `wrong`, in any case; nothing is not answered yet."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers matched with pictures.

    Attributes:
        wrong: `[n]` 0 or 1 by majority, 0.5 where reviewers are split, NaN without an answer.
        unknown: answers on pictures that aren't there.
        changed: answers on pictures whose image or labels have changed since.
        alpha: Krippendorff's α between reviewers, NaN where no picture has two.
    """

    wrong: Floats
    unknown: int
    changed: int
    alpha: float


def read_answers(path: Path) -> list[dict[str, Any]]:
    """Rows of a CSV or parquet with `id`, `sha256`, `wrong`, perhaps `reviewer` and `labels`; `wrong` 0.0, 1.0 or None.

    Raises:
        SourceError: no such file, a missing column, a `wrong` that is neither 0 nor 1 nor empty.
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
        given = str("" if row["wrong"] is None else row["wrong"]).strip().lower()
        if given not in WRONG:
            raise SourceError(
                f"curate.audit.answers: {path}, answer {number}: wrong is {given!r}; write 0, 1 or nothing"
            )
        row["wrong"] = WRONG[given]
    return rows


def match_answers(rows: Sequence[Mapping[str, Any]], pictures: Sequence[tuple[str, str, str]]) -> Answers:
    """Answers on the pictures as they are now, each reviewer's last one; the majority counts.

    Args:
        rows: of `read_answers`. Where they have `labels`, these are what was judged, and others now void the answer.
        pictures: id, sha256 and labels, separated by spaces, of the `n` pictures.
    """
    place = {sample_id: number for number, (sample_id, _, _) in enumerate(pictures)}
    last: dict[tuple[int, str], float] = {}
    unknown = changed = 0
    for row in rows:
        if row["wrong"] is None:
            continue
        number = place.get(row["id"])
        if number is None:
            unknown += 1
            continue
        _, sha256, labels = pictures[number]
        if sha256 != row["sha256"] or _text(row.get("labels", labels)) != labels:
            changed += 1
        else:
            last[number, str(row.get("reviewer") or "")] = row["wrong"]
    items = np.array([number for number, _ in last], np.int64)
    counts = answer_counts(items, np.array(list(last.values()), np.int64), len(pictures), 2)
    votes = counts.sum(axis=1)
    wrong = np.where(votes > 0, (np.sign(counts[:, 1] - counts[:, 0]) + 1) / 2, np.nan)
    return Answers(wrong, unknown, changed, krippendorff_alpha(counts))


def _text(labels: Any) -> str:
    """Labels as the review queue writes them, less the mark that keeps a spreadsheet from reading a formula."""
    return labels.removeprefix("'") if isinstance(labels, str) else " ".join(labels or ())
