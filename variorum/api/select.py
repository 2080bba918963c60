"""Selecting pictures of an edition, and finding where they lie."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any

from variorum.edition.store import Store
from variorum.reports.rows import edition_rows
from variorum.schemas.errors import StoreError
from variorum.schemas.lookup import cut
from variorum.schemas.manifest import Manifest

COLUMNS = ("id", "sha256", "variant", "reason", "label", "labels")
"""Besides those that say where a picture lies."""
STATUSES = ("accepted", "quarantined")
"""Of pictures that exist."""
SHORTEST = 6
"""Digits of an id that are enough to look for it."""
BATCH = 256
"""Rows that become Python objects at a time."""
MOST = 20
"""Names that an error lists."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Choice:
    """A selection of pictures; see `Edition.samples`. Raises StoreError for what the edition doesn't have."""

    manifest: Manifest
    variant: str | Collection[str] | None
    split: str | Collection[str] | None
    config: str | Collection[str] | None
    label: str | Collection[str] | None
    status: str
    where: Callable[[Row], object] | None

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise StoreError(f"status={self.status!r}: pictures are {' or '.join(STATUSES)}; table() has all rows")
        if self.where is not None and not callable(self.where):
            raise StoreError(f"where: must be a function of a row, not {type(self.where).__name__}")

    def filters(self) -> dict[str, list[str]]:
        """By column, the values that are selected; of several labels, one must be among them."""
        classes = {name: name for name, _ in self.manifest.classes}
        named = {**{name: identity for identity, name in self.manifest.classes}, **classes}
        groups = [("variant", self.variant, dict.fromkeys(self.manifest.counts))]
        groups.append(("split", self.split, dict.fromkeys(self.manifest.splits())))
        groups.append(("config", self.config, dict.fromkeys(self.manifest.configs())))
        found = {what: _known(what, asked, list(names)) for what, asked, names in groups if asked is not None}
        if self.label is not None:
            found["labels"] = [named[one] for one in _known("label", self.label, list(named))]
        return {"status": [self.status], **found}


class Places:
    """Where each picture of an edition lies: a table without pictures, read once.

    Args:
        manifest: the edition.
        store: its store.
    """

    def __init__(self, manifest: Manifest, store: Store) -> None:
        self._table = edition_rows(manifest, store, COLUMNS)

    @property
    def ids(self) -> Any:
        """Ids of all rows, as an Arrow column."""
        return self._table.column("id")

    def row(self, place: int) -> Row:
        """A row as a mapping."""
        found: Row = self._table.slice(place, 1).to_pylist()[0]
        return found

    def accepted(self, place: int) -> Row:
        """The row of an accepted picture by its position among them."""
        return self.row(int(self._accepted[place]))

    def holds(self, name: str) -> bool:
        """Return whether a picture with this id exists."""
        import pyarrow.compute as pc

        found = self._table.filter(pc.equal(self.ids, name))
        return bool(len(found)) and found.column("shard")[0].as_py() >= 0

    def chosen(self, choice: Choice, table: Callable[[], Any] | None = None) -> Iterator[Row]:
        """The selected rows, in order.

        Args:
            choice: the selection.
            table: gives the edition's whole table, if the choice has a function of its rows.
        """
        return self._rows(self._mask(choice), choice.where, table() if table else None)

    def table(self, choice: Choice, table: Callable[[], Any] | None = None) -> Any:
        """The selected rows as an Arrow table, in order; arguments as for `chosen`."""
        import pyarrow as pa

        mask = self._mask(choice)
        rows = self._table.filter(mask)
        if table is None or choice.where is None:
            return rows
        whole = table().filter(mask)
        parts = (whole.slice(start, BATCH).to_pylist() for start in range(0, len(whole), BATCH))
        return rows.filter(pa.array([bool(choice.where(row)) for part in parts for row in part], pa.bool_()))

    def _mask(self, choice: Choice) -> Any:
        """Which rows are selected, apart from the choice's function."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        mask = pc.greater_equal(self._table.column("shard"), 0)
        for name, values in choice.filters().items():
            column = self._table.column(name)
            if name == "labels":
                flat = column.combine_chunks()
                hit = pc.list_parent_indices(flat).filter(pc.is_in(flat.flatten(), pa.array(values, pa.string())))
                fits = np.zeros(len(column), bool)
                fits[hit.to_numpy()] = True
                mask = pc.and_(mask, pa.array(fits))
            else:
                mask = pc.and_(mask, pc.is_in(column, pa.array(values, pa.string())))
        return pc.fill_null(mask, False)

    def _rows(self, mask: Any, where: Callable[[Row], object] | None, table: Any) -> Iterator[Row]:
        rows, whole = self._table.filter(mask), None if table is None else table.filter(mask)
        for start in range(0, len(rows), BATCH):
            found = rows.slice(start, BATCH).to_pylist()
            seen = found if whole is None else whole.slice(start, BATCH).to_pylist()
            yield from (row for row, shown in zip(found, seen, strict=True) if where is None or where(shown))

    @cached_property
    def _accepted(self) -> Any:
        import numpy as np
        import pyarrow.compute as pc

        exists = pc.greater_equal(self._table.column("shard"), 0)
        return np.flatnonzero(pc.and_(exists, pc.equal(self._table.column("status"), "accepted")))


def find_id(key: str, ids: Any, edition: str) -> int:
    """The row whose id is or begins with `key`.

    Raises:
        StoreError: there is none, there are several, or fewer than `SHORTEST` digits are given.
    """
    import numpy as np
    import pyarrow.compute as pc

    known = len(key) >= SHORTEST and key.isascii()  # ids are hexadecimal digits
    found = np.flatnonzero(pc.starts_with(ids, key)) if known else np.zeros(0, int)
    if len(found) == 1:
        return int(found[0])
    if len(key) < SHORTEST:
        raise StoreError(f"{edition}[{cut(key)!r}]: give at least {SHORTEST} digits of an id")
    if not len(found):
        raise StoreError(f"{edition} has no picture with an id that begins with {cut(key)!r}; table() lists all ids")
    more = ", ".join(ids[int(place)].as_py() for place in found[:3])
    raise StoreError(f"{edition} has {len(found)} pictures with an id that begins with {cut(key)!r}: {more}; give more")


def _known(what: str, asked: str | Collection[str], names: list[str]) -> list[str]:
    """The selected names as a list. Raises StoreError if one isn't among the edition's."""
    found = [asked] if isinstance(asked, str) else list(asked) if isinstance(asked, Collection) else [asked]
    for one in found:
        if one not in names:
            near = get_close_matches(one, names, 1) if isinstance(one, str) else []
            hint = f"; did you mean {near[0]}?" if near else "; there are:"
            more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
            listed = "" if near else f" {', '.join(map(cut, names[:MOST])) or 'none'}{more}"
            raise StoreError(f"no {what} {cut(repr(one))}{hint}{listed}")
    return found
