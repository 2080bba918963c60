"""An edition as a table for cleanlab's Datalab, and the findings of its detectors as Datalab's issues.

<folder>/metadata.csv      a row for each picture: file, label, split, licence, ids
<folder>/issues.csv        the newest ledger in the columns of `Datalab.get_issues()`, in the same order
<folder>/images/<id>.png
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from variorum.edition.ledgers import ledger_numbers, read_ledger
from variorum.edition.store import Store
from variorum.edition.tables import read_keyed
from variorum.exchange.folders import Exported, exported
from variorum.exchange.lines import Lines, as_json
from variorum.exchange.selection import ExportedPicture, Selection
from variorum.schemas.manifest import ShardInfo

REVISION = 1
METADATA, ISSUES, IMAGES = "metadata.csv", "issues.csv", "images"
COLUMNS = (
    "file_name",
    "label",
    "id",
    "sha256",
    "converted",
    "parent",
    "photograph",
    "variant",
    "split",
    "labels",
    "origin",
    "license",
    "digital_source_type",
    "metadata",
)
DETECTORS: Mapping[str, tuple[str, Sequence[str]]] = {
    "confident_learning": ("label", ("flag", "score", "proposed")),
    "out_of_distribution": ("outlier", ("flag", "p_value")),
    "duplicates": ("near_duplicate", ("flag", "score", "keeper")),
}
"""By detector, the kind of issue that it finds, as Datalab calls it, and the columns that are read."""


def write(folder: Path, selection: Selection, pictures: Iterator[ExportedPicture]) -> list[Exported]:
    """Write the pictures, their table and, if the edition has a ledger with such detectors, the issues."""
    (folder / IMAGES).mkdir()
    found = _found(selection)
    header = [name for issue in found for name in issue.header]
    number = 0
    with Lines() as lines:
        lines.add(folder / METADATA, _row(COLUMNS))
        if found:
            lines.add(folder / ISSUES, _row(header))
        for one in pictures:
            (folder / IMAGES / one.file).write_bytes(one.data)
            said = one.provenance()
            labels = said["labels"]
            said |= {"file_name": f"{IMAGES}/{one.file}", "label": labels[0] if labels else ""}
            said["labels"] = as_json(labels)
            lines.add(folder / METADATA, _row([said[name] for name in COLUMNS]))
            if found:
                given = said["label"]
                lines.add(folder / ISSUES, _row([cell for issue in found for cell in issue.cells(said["id"], given)]))
            number += 1
    tables = [METADATA, *([ISSUES] if found else [])]
    return [exported(folder, ".", tables, pictures=number)]


@dataclass(frozen=True)
class Issues:
    """One detector's findings by picture.

    Attributes:
        kind: of issue, as Datalab calls it.
        rows: the detector's columns by the picture's id.
        classes: ids in index order.
    """

    kind: str
    rows: Mapping[str, tuple[Any, ...]]
    classes: Sequence[str]

    @property
    def header(self) -> list[str]:
        """Names of the columns."""
        more = {"label": ["given_label", "predicted_label"], "near_duplicate": ["near_duplicate_of"]}
        return [f"is_{self.kind}_issue", f"{self.kind}_score", *more.get(self.kind, [])]

    def cells(self, identity: str, given: str) -> list[Any]:
        """The values of one picture. Scores are in [0, 1], and lower is worse, as Datalab's are."""
        row = self.rows.get(identity)
        if row is None:
            return ["False", "", *[""] * (len(self.header) - 2)]
        flag, score = bool(row[0]), row[1]
        quality = score if self.kind == "outlier" else 1 - score
        cells = [str(flag), "" if quality != quality else repr(min(max(float(quality), 0.0), 1.0))]
        if self.kind == "label":
            proposed = self.classes[row[2]] if 0 <= row[2] < len(self.classes) else ""
            return [*cells, given, proposed]
        return [*cells, row[2]] if self.kind == "near_duplicate" else cells


def _found(selection: Selection) -> list[Issues]:
    """The findings of the edition's newest ledger."""
    manifest, store = selection.manifest, selection.store
    if not ledger_numbers(manifest, store):
        return []
    _, ledger = read_ledger(manifest, store)
    classes = [one.id for one in selection.classes]
    return [
        Issues(kind, _read(store, info, [f"{step}.{name}" for name in columns]), classes)
        for step, info in ledger.scored.items()
        if step in DETECTORS
        for kind, columns in [DETECTORS[step]]
    ]


def _read(store: Store, info: ShardInfo, columns: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    table = read_keyed(store, info, lambda schema: list(columns))
    values = [table.column(name).to_pylist() for name in columns]
    return dict(zip(table.column("id").to_pylist(), zip(*values, strict=True), strict=True))


def _row(cells: Sequence[Any]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()
