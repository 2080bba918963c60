"""Differences between two editions: pictures added, dropped, changed or relabelled, and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from variorum.edition.store import Store
from variorum.report.rows import edition_rows
from variorum.schemas.manifest import Manifest

COLUMNS = ["id", "sha256", "variant", "status", "reason", "labels", "origin"]


@dataclass(frozen=True, slots=True)
class Change:
    """One picture that differs between two editions.

    Attributes:
        kind: `added`, `dropped`, `changed` (other content under the same id) or `relabelled`.
        why: step and reason of the verdict, or the picture's status in the other edition; `""` if unknown.
        before: the labels in the first edition.
        after: the labels in the second.
    """

    kind: str
    id: str
    variant: str
    origin: str
    why: str
    before: tuple[str, ...]
    after: tuple[str, ...]


def diff(first: Manifest, second: Manifest, store: Store) -> list[Change]:
    """All differences in the accepted pictures of two editions, in order of kind, reason and id.

    Args:
        first: the earlier edition.
        second: the later edition.
        store: the store of both.
    """
    before, after = _rows(first, store), _rows(second, store)
    changes = []
    for sample_id in before.keys() | after.keys():
        old, new = before.get(sample_id), after.get(sample_id)
        was, now = _accepted(old), _accepted(new)
        row = new if now or old is None else old
        assert row is not None
        labels = tuple(old["labels"] or ()) if was and old else (), tuple(new["labels"] or ()) if now and new else ()
        if was and not now:
            changes.append(_change("dropped", row, _why(new), *labels))
        elif now and not was:
            changes.append(_change("added", row, _why(old), *labels))
        elif was and now and old and new:
            if old["sha256"] != new["sha256"]:
                changes.append(_change("changed", row, "", *labels))
            if labels[0] != labels[1]:
                changes.append(_change("relabelled", row, _why(new), *labels))
    return sorted(changes, key=lambda change: (change.kind, change.why, change.id))


def change_counts(changes: list[Change]) -> list[tuple[str, str, int]]:
    """(kind, why, number of pictures), by kind, then most frequent first."""
    found = Counter((change.kind, change.why) for change in changes)
    return sorted(((kind, why, number) for (kind, why), number in found.items()), key=lambda x: (x[0], -x[2], x[1]))


def _rows(manifest: Manifest, store: Store) -> dict[str, dict[str, Any]]:
    table = edition_rows(manifest, store)
    names = [*COLUMNS, *(name for name in ("by", "why") if name in table.column_names)]
    return {row["id"]: row for row in table.select(names).to_pylist()}


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
