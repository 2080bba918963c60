"""Finds the pictures and the labels among the columns of a table: of `datasets`, pandas, Polars or Arrow."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import PurePath
from typing import Any

from variorum.machine.retrying import printable
from variorum.pixels import MAGIC
from variorum.schemas.errors import SourceError
from variorum.schemas.lookup import cut

AUTO = "auto"
"""The labels are those that the pictures come with, if it is clear which these are."""
LABELS = ("label", "labels", "class", "class_name", "class_label", "category", "target", "cls", "y")
"""Names of columns that are clearly the label, in any case."""
PLAUSIBLE = ("class", "text", "number")
"""What labels are, the likeliest first."""
ENDINGS = (".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Of texts that are paths of pictures."""
MOST = 20
"""Columns that an error lists."""
FRAMES = ("pandas", "polars", "pyarrow")
"""Libraries of tables whose columns can be read as lists."""


@dataclass(frozen=True)
class Found:
    """Pictures and labels, as far as it is known where they are.

    Attributes:
        pictures: can be iterated several times.
        labels: one per picture, or None.
        names: of the classes, or None.
        paths: of each picture, where all have one.
        note: what is different from what one may expect, for the report.
    """

    pictures: Any
    labels: Any = None
    names: Any = None
    paths: tuple[str, ...] | None = None
    note: str = ""


def of_table(pictures: Any, labels: Any, names: Any) -> Found | None:
    """Find the columns of a table; None if it isn't one.

    Args:
        pictures: anything.
        labels: `auto`, the name of a column, a label per picture, or None.
        names: of the classes, or None.

    Raises:
        SourceError: it isn't clear which columns have the pictures and the labels.
    """
    if of_datasets(pictures):
        if isinstance(pictures, Mapping):
            splits = ", ".join(map(str, pictures))
            first = next(iter(pictures), "train")
            raise SourceError(f"curate: pictures has several splits ({splits}); give one: pictures[{first!r}]")
        if not hasattr(pictures, "__len__"):
            return None  # a stream
        return _of_hub(pictures, labels, names)
    if (library := _library(pictures)) not in FRAMES or not hasattr(pictures, "columns"):
        return None
    columns = list(getattr(pictures, "column_names", pictures.columns))
    if twice := [name for name in columns if columns.count(name) > 1]:
        raise SourceError(f"curate: pictures has several columns {cut(repr(twice[0]))}; leave out all but one of them")
    keys = {str(name): name for name in columns}  # pandas also has numbers as names

    def read(name: str) -> list[Any]:
        column = pictures[keys[name]]
        return list(column.to_pylist() if library == "pyarrow" else column)

    kinds = {name: kind_of_value(next((one for one in read(name) if present(one)), None)) for name in keys}
    picture = picture_column(kinds)
    label = label_column(kinds, picture, labels)
    cells = read(picture)
    return Found([picture_in(cell) for cell in cells], read(label) if label else given(labels), names, paths_of(cells))


def _library(value: Any) -> str:
    return type(value).__module__.partition(".")[0]


# ── which column ─────────────────────────────────────────────────────────────────────────────────────────────────────


def kind_of_value(value: Any) -> str:
    """What a column with this value may hold: `picture`, `path`, `text`, `number`, `class` or nothing of these."""
    if isinstance(value, str | PurePath):
        return "path" if str(value).lower().endswith(ENDINGS) else "text"
    if isinstance(value, bytes):
        return "picture" if value.startswith(MAGIC) else "text"
    if isinstance(value, Mapping):
        return "picture" if {"bytes", "path"} >= value.keys() and value else ""
    if hasattr(value, "__array_interface__") and getattr(value, "ndim", 2) >= 2:  # PIL images have no ndim
        return "picture"
    return "number" if hasattr(value, "__index__") else ""


def picture_column(kinds: Mapping[str, str]) -> str:
    """The column with the pictures, or else with their paths. Raises SourceError unless there is exactly one."""
    for kind in ("picture", "path"):
        found = [name for name, one in kinds.items() if one == kind]
        if len(found) == 1:
            return found[0]
        if found:
            what = "with pictures" if kind == "picture" else "with paths of pictures"
            raise SourceError(
                f"curate: pictures has {len(found)} columns {what}: {_listed(found)}; leave out all but one of them"
            )
    raise SourceError(
        f"curate: pictures has no column with pictures or with paths of them; its columns are {_listed(kinds)}"
    )


def label_column(kinds: Mapping[str, str], picture: str, labels: Any) -> str | None:
    """The column with the labels; None if none is wanted, there is no other column, or labels are given.

    Raises:
        SourceError: it isn't clear which one it is, or there is none of the given name.
    """
    others = [name for name in kinds if name != picture]
    if not isinstance(labels, str):
        return None
    if labels != AUTO:
        if labels not in others:
            near = get_close_matches(labels, others, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are: {_listed(others)}"
            raise SourceError(f"curate: labels: pictures has no column {cut(repr(labels))}{hint}")
        return labels
    found = [name for name in others if kinds[name] == "class" or (name.lower() in LABELS and kinds[name] in PLAUSIBLE)]
    if len(found) == 1 or not others:
        return found[0] if found else None
    what = "several columns that may be the label" if found else "no column that is clearly the label, among"
    example = min(found or others, key=lambda name: PLAUSIBLE.index(kinds[name]) if kinds[name] in PLAUSIBLE else 9)
    raise SourceError(
        f"curate: pictures has {what}: {_listed(found or others)}; say which one, as in labels={cut(example)!r}, or "
        f"labels=None for pictures without labels"
    )


def given(labels: Any) -> Any:
    """Labels that aren't the name of a column."""
    return None if isinstance(labels, str) else labels


def picture_in(cell: Any) -> Any:
    """The picture in a cell: bytes or the path of a file from what `datasets` stores, anything else as it is."""
    if isinstance(cell, Mapping):
        return cell.get("bytes") or (PurePath(cell["path"]) if cell.get("path") else b"")
    return cell


def path_in(cell: Any) -> str | None:
    """Where the picture in a cell comes from, if the cell says so."""
    found = cell.get("path") if isinstance(cell, Mapping) else cell
    return os.fspath(found) if isinstance(found, str | os.PathLike) else getattr(found, "filename", None) or None


def paths_of(cells: Any) -> tuple[str, ...] | None:
    """Where the pictures come from; None unless all cells say so."""
    found = [path_in(cell) for cell in cells]
    return tuple(one for one in found if one) if all(found) else None


def present(value: Any) -> bool:
    """Return whether a cell has a value: not None, NaN or pandas' missing value."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return False
    return not (isinstance(value, float) and value != value)


def _listed(names: Any) -> str:
    names = [printable(cut(name)) for name in names]
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return (", ".join(names[:MOST]) or "none") + more


# ── datasets ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Hub:
    """The pictures of a `datasets.Dataset`, as stored: bytes, or the path of a file."""

    def __init__(self, cells: Any, column: str) -> None:
        self.cells, self.column = cells, column

    def __len__(self) -> int:
        return len(self.cells)

    def __iter__(self) -> Iterator[Any]:
        return (picture_in(row[self.column]) for row in self.cells)


def of_datasets(pictures: Any) -> bool:
    """Return whether these are rows of the library `datasets`, of one split or of several."""
    library = sys.modules.get("datasets")  # whoever has such rows has imported it
    kinds = ("Dataset", "DatasetDict", "IterableDataset", "IterableDatasetDict")
    return library is not None and isinstance(pictures, tuple(getattr(library, kind) for kind in kinds))


def undecoded(rows: Any) -> Any:
    """Rows of `datasets` with pictures as they are stored."""
    from datasets import Image

    for name, feature in (rows.features or {}).items():
        if isinstance(feature, Image):
            rows = rows.cast_column(name, Image(decode=False))
    return rows


def hub_kinds(rows: Any, first: Mapping[str, Any]) -> dict[str, str]:
    """What the columns of `datasets` hold, as their features and the first row say."""
    kinds = {"Image": "picture", "ClassLabel": "class"}
    features = {name: kinds.get(type(one).__name__) for name, one in (rows.features or {}).items()}
    return {name: features.get(name) or kind_of_value(value) for name, value in first.items()}


def hub_names(rows: Any, column: str | None) -> Any:
    """Names of the classes that a column of `datasets` declares."""
    return getattr((rows.features or {}).get(column), "names", None)


def _of_hub(rows: Any, labels: Any, names: Any) -> Found | None:
    """Find the columns of rows on this machine; None if `datasets` must fetch or unpack their pictures."""
    rows = undecoded(rows.with_format(None))
    first = rows[0] if len(rows) else dict.fromkeys(rows.column_names)
    kinds = hub_kinds(rows, first)
    picture = picture_column(kinds)
    if "://" in (path_in(first[picture]) or ""):
        return None
    label = label_column(kinds, picture, labels)
    cells = rows.select_columns([picture])
    values = list(rows[label]) if label else given(labels)
    return Found(_Hub(cells, picture), values, names or hub_names(rows, label), _hub_paths(cells, picture))


def _hub_paths(cells: Any, column: str) -> tuple[str, ...] | None:
    """Where the pictures come from, without reading the pictures."""
    import pyarrow as pa

    found: list[str | None] = []
    for batch in cells.with_format("arrow").iter(batch_size=1000):
        values = batch.column(column)
        parts = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        found += (parts.field("path") if pa.types.is_struct(parts.type) else parts).to_pylist()
    return tuple(one for one in found if one) if all(found) else None
