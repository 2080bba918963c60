"""Differences between two editions: pictures added, dropped, changed, relabelled, moved or annotated, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from variorum.edition.store import Store
from variorum.reports.rows import edition_rows
from variorum.schemas.manifest import Manifest

COLUMNS = ("id", "sha256", "variant", "status", "reason", "labels", "origin", "annotated", "by", "why")
ALIKE = ("sha256", "labels", "group", "annotated")
"""What two accepted pictures with the same id may differ in."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One picture that differs between two editions.

    Attributes:
        kind: `added`, `dropped`, `withheld` (only its row is left), `changed` (other content under the same id),
            `relabelled`, `moved` (to another split or configuration) or `annotated` (other objects, texts or label
            states).
        why: step and reason of the verdict, or the picture's status in the other edition; `""` if unknown.
        before: the labels in the first edition; if `moved`, split and configuration there, `size_0.05/test`.
        after: the same in the second.
    """

    kind: str
    id: str
    variant: str
    origin: str
    why: str
    before: tuple[str, ...]
    after: tuple[str, ...]


def diff(first: Manifest, second: Manifest, store: Store, other: Store | None = None) -> list[Change]:
    """All differences in the accepted pictures of two editions, in order of kind, reason and id.

    Args:
        first: the earlier edition.
        second: the later edition.
        store: the store of both, or of the first.
        other: the store of the second, if it is another one.
    """
    pairs = _unlike(_rows(first, store), _rows(second, other or store))
    changes = [change for old, new in pairs for change in _changes(old, new)]
    return sorted(changes, key=lambda change: (change.kind, change.why, change.id))


def _changes(old: Row | None, new: Row | None) -> Iterator[Change]:
    """The changes of one picture, from its rows in both editions."""
    was, now = _accepted(old), _accepted(new)
    row = new if now or old is None else old
    assert row is not None
    before, after = (tuple(one["labels"] or ()) if one and there else () for one, there in ((old, was), (new, now)))
    if was and not now:
        withheld = new is not None and new["status"] == "withheld"
        yield _change("withheld" if withheld else "dropped", row, _why(new), before, after)
    elif now and not was:
        yield _change("added", row, _why(old), before, after)
    elif was and now and old and new:
        if old["sha256"] != new["sha256"]:
            yield _change("changed", row, "", before, after)
        if before != after:
            yield _change("relabelled", row, _why(new), before, after)
        if old["group"] != new["group"]:
            yield _change("moved", row, "", (old["group"],), (new["group"],))
        if old["annotated"] != new["annotated"]:
            yield _change("annotated", row, "", before, after)


def change_counts(changes: list[Change]) -> list[tuple[str, str, int]]:
    """(kind, why, number of pictures), by kind, then most frequent first."""
    found = Counter((change.kind, change.why) for change in changes)
    return sorted(((kind, why, number) for (kind, why), number in found.items()), key=lambda x: (x[0], -x[2], x[1]))


def _rows(manifest: Manifest, store: Store) -> Any:
    """The rows of an edition; in format 3 no picture has annotations."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = edition_rows(manifest, store, COLUMNS)
    names = table.column_names
    annotated = pc.fill_null(table.column("annotated"), "") if "annotated" in names else pa.array([""] * len(table))
    kept = table.select([name for name in (*COLUMNS, "group") if name in names and name != "annotated"])
    return kept.append_column("annotated", annotated).combine_chunks()


def _unlike(before: Any, after: Any) -> Iterator[tuple[Row | None, Row | None]]:
    """The rows of pictures that may differ, in both editions. They are few, so only they become Python objects."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def accepted(table: Any) -> Any:
        return pc.equal(table.column("status"), "accepted")

    def text(table: Any, name: str) -> Any:
        column = table.column(name)
        return pc.binary_join(column, "\0") if pa.types.is_list(column.type) else column

    place = pc.index_in(after.column("id"), value_set=before.column("id"))
    was, now = pc.fill_null(pc.take(accepted(before), place), False), accepted(after)
    unlike = pc.xor(was, now)
    for name in ALIKE:
        other = pc.not_equal(pc.take(text(before, name), place), text(after, name))
        unlike = pc.or_(unlike, pc.and_(pc.and_(was, now), pc.fill_null(other, False)))
    place = place.filter(unlike)
    old = iter(before.take(place.drop_null()).to_pylist())
    for known, new in zip(place.is_valid().to_pylist(), after.filter(unlike).to_pylist(), strict=True):
        yield next(old) if known else None, new
    gone = pc.is_null(pc.index_in(before.column("id"), value_set=after.column("id")))
    for row in before.filter(pc.and_(gone, accepted(before))).to_pylist():
        yield row, None


def _accepted(row: dict[str, Any] | None) -> bool:
    return row is not None and row["status"] == "accepted"


def _why(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    if row.get("by"):
        return f"{row['by']}: {row['why']}"
    return f"{row['status']}: {row['reason']}" if row["status"] != "accepted" else ""


def _change(kind: str, row: dict[str, Any], why: str, before: tuple[str, ...], after: tuple[str, ...]) -> Change:
    return Change(kind, row["id"], row["variant"], row["origin"], why, before, after)
