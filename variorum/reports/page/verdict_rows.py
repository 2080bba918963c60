"""Measurements and verdicts on a page's pictures, from the tables of a ledger alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from variorum.arrays import scalar_columns
from variorum.edition.store import Store
from variorum.edition.tables import KEYS, joined, read_keyed
from variorum.edition.verdicts import VERDICT, read_verdicts, settle
from variorum.reports.page.table import column, texts, uninformative
from variorum.schemas.canonical import Json
from variorum.schemas.manifest import Ledger, ShardInfo

MOST = 300
"""Columns of detectors that a page has."""
CLASSES = ("proposed", "predicted")
"""Detectors' columns with the index of a class, -1 for none."""
FIRST = ("score", "flag", "proposed", "weight")
"""Columns with a known meaning, which come first; a score or a flag is shown even if it is the same for all."""
KNOWN = ("width", "height")
"""Columns that repeat the edition's own."""
SILENT = ("keep", "note", "weight")
"""Actions that don't make a picture notable."""


@dataclass(frozen=True, slots=True)
class Said:
    """Verdicts of a ledger.

    Attributes:
        every: table of all of them.
        settled: table with one for each picture.
        waiting: whether they aren't applied yet: the edition isn't the release made with them.
    """

    every: Any
    settled: Any
    waiting: bool

    def spoken_of(self, ids: Any) -> Any:
        """Arrow booleans: whether each of these ids has a verdict other than `SILENT`."""
        import pyarrow as pa
        import pyarrow.compute as pc

        loud = pc.invert(pc.is_in(self.settled["action"], value_set=pa.array(SILENT)))
        return pc.is_in(ids, value_set=self.settled.filter(loud)["id"])

    def of(self, ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """By id, all verdicts on a picture, for its record."""
        import pyarrow as pa
        import pyarrow.compute as pc

        mine = self.every.filter(pc.is_in(self.every["id"], value_set=pa.array(ids, pa.string())))
        found: dict[str, list[dict[str, Any]]] = {}
        for row in mine.select([name for name in VERDICT if name != "sha256"]).to_pylist():
            kept = {name: value for name, value in row.items() if name != "id" and _is_something(value)}
            found.setdefault(row["id"], []).append(kept)
        return found

    def one_each(self, ids: Sequence[str]) -> list[Mapping[str, Any] | None]:
        """The final verdict on each picture; None where there is none."""
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = pa.array(ids, pa.string())
        mine = self.settled.filter(pc.is_in(self.settled["id"], value_set=wanted))
        by_id: dict[str, Mapping[str, Any]] = {row["id"]: row for row in mine.to_pylist()}
        return [by_id.get(one) for one in ids]


def read_said(ledger: Ledger, store: Store, *, waiting: bool) -> Said:
    """The verdicts of a ledger. Raises CorruptShard if their table is damaged."""
    every = read_verdicts(ledger.verdicts, store)
    return Said(every, settle(every), waiting)


def detector_columns(
    ledger: Ledger, ids: Sequence[str], classes: Sequence[str], store: Store
) -> tuple[list[dict[str, Json]], bool]:
    """The columns of a ledger's detectors for each of these pictures, except vectors and raw bytes.

    Args:
        ledger: names their tables.
        ids: of the page's rows; one that isn't in the tables has no values.
        classes: names of the edition's classes, in index order.
        store: has the tables.

    Returns:
        Columns, named `detector.column`, and whether that is all of them.

    Raises:
        CorruptShard: a table is damaged.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    found, wanted = list[dict[str, Json]](), pa.array(ids, pa.string())
    for step, infos in _tables(ledger):
        table = joined(f"curate.{step}", [_rows(store, info, wanted) for info in infos])
        row = pc.index_in(wanted, value_set=table["id"].combine_chunks())
        for name in sorted(table.column_names, key=lambda name: _short(name) not in FIRST):
            short = _short(name)
            if name in KEYS or short in KNOWN:
                continue
            values = table[name].take(row).combine_chunks()
            if short in CLASSES and pa.types.is_integer(values.type):
                one: dict[str, Json] | None = texts(name, _names(values, classes))
            else:
                one = column(name, values)
            if one is None or uninformative(one) or (short not in FIRST and _is_constant(table[name])):
                continue
            found.append(one)
    return found[:MOST], len(found) <= MOST


def _tables(ledger: Ledger) -> Iterator[tuple[str, Sequence[ShardInfo]]]:
    for step in dict.fromkeys([*ledger.measured, *ledger.scored]):
        for infos in (ledger.measured.get(step, []), [ledger.scored[step]] if step in ledger.scored else []):
            if infos:
                yield step, infos


def _rows(store: Store, info: ShardInfo, wanted: Any) -> Any:
    """The rows of a detector's table that are about these pictures, with the columns that aren't vectors."""
    import pyarrow.compute as pc

    table = read_keyed(store, info, scalar_columns)
    return table.filter(pc.is_in(table["id"], value_set=wanted))


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _is_constant(values: Any) -> bool:
    """Return whether a column has the same value for all pictures that it is about."""
    return len(values) > 1 and len(values.unique()) == 1


def _names(indices: Any, classes: Sequence[str]) -> list[str]:
    return [classes[i] if i is not None and 0 <= i < len(classes) else "" for i in indices.to_pylist()]


def _is_something(value: Any) -> bool:
    return not (value is None or value == [] or (isinstance(value, float) and not math.isfinite(value)))
