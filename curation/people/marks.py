"""Puts the marks that people set on an edition's page beside the records: whether to ask people, tags, notes.

`variorum curate RECIPE --marks FILE` puts this step, and a rule that asks people, into the recipe.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from variorum.kit.raters.marks import Marks as Found
from variorum.kit.raters.marks import read_marks
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Detector, column_kinds

if TYPE_CHECKING:
    from variorum.schemas.table import Table

WHERE = "curate.marks.file"


class Marks(Detector):
    """Columns `ask`, `tags` (separated by ", ", sorted) and `note` from a file of marks."""

    gives: ClassVar[Mapping[str, str]] = column_kinds(flags="ask", texts="tags note")
    location: ClassVar[frozenset[str]] = frozenset({"file"})

    file: Path | None = None
    """JSON lines that a page of `variorum view` has saved. Null while there are none; then all columns are empty."""

    def check(self, ctx: Context) -> None:
        """Raise SourceError unless the marks can be read."""
        self._read()

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """The columns; False and `""` for pictures without a mark.

        Raises:
            SourceError: the file can't be read, or marks a picture that the edition doesn't have.
        """
        ids: list[str] = table.column("id").to_pylist()
        marks = self._read()
        columns: dict[str, Any] = {"ask": np.zeros(len(ids), bool), "tags": [""] * len(ids), "note": [""] * len(ids)}
        if marks is None or not ids:
            return columns
        marks.check(ids, "this edition", WHERE)
        for row, identity in enumerate(ids):
            if mark := marks.by_id.get(identity):
                columns["ask"][row] = mark.ask
                columns["tags"][row] = ", ".join(sorted(mark.tags))
                columns["note"][row] = mark.note
        return columns

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Count marks and tags; nothing without a file."""
        marks = self._read()
        if self.file is None or marks is None:
            return {}
        tags = Counter(tag for mark in marks.by_id.values() for tag in mark.tags)
        return {
            "marks_sha256": hashlib.sha256(self.file.read_bytes()).hexdigest(),
            "edition": marks.edition,
            "ask": len(marks.asked),
            "tags": {tag: tags[tag] for tag in sorted(tags)},
        }

    def _read(self) -> Found | None:
        return None if self.file is None else read_marks(self.file, WHERE)
