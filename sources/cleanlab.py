"""A table of pictures with labels, and what cleanlab's Datalab found in it: `Datalab.get_issues()` as a CSV file."""

from __future__ import annotations

import csv
import io
import math
import re
from functools import cached_property
from pathlib import Path

from variorum.schemas.canonical import Json
from variorum.schemas.component import place_of
from variorum.schemas.errors import SourceError, cut
from variorum.sources.exports.annotated_folder import LICENCES, Told, ToldPictures, listed, read_file_of
from variorum.sources.exports.annotated_source import ToldSource

NAMES = ("file_name", "path", "filepath", "image")
"""Columns that may have the pictures' paths."""
WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")


class Cleanlab(ToldSource):
    """A sample for each row of the table, with the issues of the same row as metadata.

    The issues don't change labels: `issues` in a picture's metadata has the columns of Datalab, such as
    `is_label_issue` and `label_score`, where lower is worse. `predicted` gives flagged pictures Datalab's label.
    """

    path: Path
    """The folder with the pictures and the files."""
    table: str = "metadata.csv"
    """CSV with the pictures' paths (`file_name`, `path`, `filepath` or `image`) and labels."""
    label: str = "label"
    """The column with the labels."""
    issues: str = "issues.csv"
    """CSV of `Datalab.get_issues()`, in the order of the table, with or without its index; `""` for none."""
    predicted: bool = False
    """Whether a picture with `is_label_issue` gets `predicted_label` for its label."""
    licence: str = "unknown"
    """Licence of pictures without one: an SPDX id or the terms in a few words."""

    def place(self) -> str:
        """The folder and the files."""
        return place_of(self, ["path", "table", "issues"])

    @cached_property
    def _pictures(self) -> ToldPictures:
        root = self.path.expanduser()
        listing = listed(root, "cleanlab", ())
        data, pinned = read_file_of(root, self.table, "cleanlab")
        rows, pins = _rows(data, f"cleanlab: {root / self.table}"), {self.table: pinned}
        name = next((column for column in NAMES if rows and column in rows[0]), "")
        if not name or self.label not in rows[0]:
            raise SourceError(
                f"cleanlab: {root / self.table} needs rows with a column {' or '.join(NAMES)} and one {self.label}; "
                f"there are: {cut(', '.join(rows[0])) if rows else 'no rows'}"
            )
        issues: list[dict[str, str]] = []
        if self.issues:
            more, pins[self.issues] = read_file_of(root, self.issues, "cleanlab")
            issues = _rows(more, f"cleanlab: {root / self.issues}")
            if len(issues) != len(rows):
                raise SourceError(
                    f"cleanlab: {root / self.issues} has {len(issues)} rows and {self.table} has {len(rows)}; a row of "
                    'one is about the same row of the other. Set issues to "" to read none'
                )
        told = [self._told(row, name, issues[number] if issues else {}) for number, row in enumerate(rows)]
        return ToldPictures("cleanlab", listing, told, pins, (), self.licence)

    def _told(self, row: dict[str, str], name: str, issue: dict[str, str]) -> Told:
        found = {column: _value(cell) for column, cell in issue.items() if column}
        label = row[self.label]
        if self.predicted and found.get("is_label_issue") is True and issue.get("predicted_label"):
            label = issue["predicted_label"]
        own = {name, self.label, "split", "photograph", *LICENCES, ""}
        metadata: dict[str, Json] = {column: _value(cell) for column, cell in row.items() if column not in own}
        if found:
            metadata["issues"] = found
        licence = next((row[column] for column in LICENCES if row.get(column)), "")
        labels = (label,) if label else ()
        return Told(row[name], labels, (), (), licence, row.get("split") or "", row.get("photograph") or "", metadata)


def _rows(data: bytes, where: str) -> list[dict[str, str]]:
    """The rows of a CSV file by column."""
    try:
        text = io.StringIO(data.decode("utf-8-sig"), newline="")
        return [dict(row) for row in csv.DictReader(text, strict=True, restkey="", restval="")]
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{where} can't be read as CSV in UTF-8: {error}") from None


def _value(cell: str) -> Json:
    """A cell as a truth value or a number, if it is one; None for an empty one."""
    if cell in ("True", "False"):
        return cell == "True"
    if not isinstance(cell, str) or not cell:
        return None
    if WHOLE.fullmatch(cell):
        return int(cell)
    try:
        number = float(cell)
    except ValueError:
        return cell
    return number if math.isfinite(number) and repr(number) == cell else cell
