"""From two editions to what the page of their differences shows: each changed picture before and after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from variorum.edition.outgoing import outgoing
from variorum.edition.store import Store
from variorum.reports.diff import Change, diff
from variorum.reports.page.choice import choose
from variorum.reports.page.facts import title_of
from variorum.reports.page.kept_copies import Kept, kept_instead
from variorum.reports.page.parts import Parts, Where, class_names, name_of, side_for
from variorum.reports.page.picture_records import Entry, Place
from variorum.reports.page.table import numbers, texts
from variorum.reports.rows import edition_rows
from variorum.schemas.canonical import Json
from variorum.schemas.manifest import Manifest
from variorum.schemas.outgoing import Outgoing

COLUMNS = ("id", "sha256", "source", "variant", "status", "labels", "origin", "licence")
LABELS = 20
"""Labels of a picture that are named."""


def diff_page(one: tuple[Manifest, Store], other: tuple[Manifest, Store], *, most: int, blur: bool) -> Parts:
    """Prepare the page of the differences between two editions, before pictures are read.

    Raises:
        CorruptShard: a table is damaged, or a shard is missing.
    """
    (first, store), (second, other_store) = one, other
    changes = diff(first, second, store, other_store)
    counted = Counter(change.kind for change in changes)
    counts: list[Json] = [[kind, number] for kind, number in sorted(counted.items())]
    total, changes = len(changes), _chosen(changes, most)
    notes = [f"{len(changes):,} of {total:,} changes, evenly from all kinds."] if len(changes) < total else []
    dropped = [change.id for change in changes if change.kind == "dropped"]
    kept = kept_instead(second, dropped, other_store)
    shown = [*(change.id for change in changes), *(one.id for one in kept.values())]
    sides = [(manifest, _rows(manifest, shown, where)) for manifest, where in (one, other)]
    kept = {copy: one for copy, one in kept.items() if _is_there(sides[1][1].get(one.id))}
    gate = Outgoing(outgoing(*one).withheld | outgoing(*other).withheld)
    places = [(Where(*pair, gate=gate), rows) for pair, (_, rows) in zip((one, other), sides, strict=True)]
    entries = _entries(changes, places, kept)
    pictures, side = side_for(entries)
    warning = second.warning or first.warning
    facts: dict[str, Json] = {
        "kind": "diff",
        "title": name_of(first),
        "subtitle": title_of(second, other_store) or title_of(first, store),
        "digest": first.digest(),
        "other": {"title": name_of(second), "digest": second.digest()},
        "notes": list(notes),
        "findings": [],
        "counts": counts,
        "thumbnail": side,
        "links": [],
        "plots": [],
        "limits": {},
        "map": None,
        "blur": blur,
        "warning": warning,
    }
    columns = _columns(changes, sides, kept)
    return Parts(facts, {"rows": len(changes), "columns": list(columns)}, entries, pictures, warning)


def _chosen(changes: list[Change], most: int) -> list[Change]:
    if len(changes) <= most:
        return changes
    kinds = [f"{change.kind}\0{change.why}\0{change.variant}" for change in changes]
    _, groups = np.unique(kinds, return_inverse=True)
    _, families = np.unique([change.origin for change in changes], return_inverse=True)
    return [changes[i] for i in choose(groups, families, np.zeros(len(changes), bool), most)]


def _rows(manifest: Manifest, shown: Sequence[str], store: Store) -> Mapping[str, Mapping[str, Any]]:
    """By id, an edition's rows of some pictures."""
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = edition_rows(manifest, store, COLUMNS)
    ids = pa.array(shown, pa.string())
    return {row["id"]: row for row in rows.filter(pc.is_in(rows["id"], value_set=ids)).to_pylist()}


def _is_there(row: Mapping[str, Any] | None) -> bool:
    return row is not None and row["status"] == "accepted"


def _entries(
    changes: Sequence[Change], where: Sequence[tuple[Where, Mapping[str, Mapping[str, Any]]]], kept: Mapping[str, Kept]
) -> list[Entry]:
    """The rows of the page. After a dropped copy comes the picture that stays instead."""

    def place(there: Where, row: Mapping[str, Any] | None) -> Place | None:
        return there.place(row) if row and _is_there(row) else None

    entries = []
    for change in changes:
        instead = kept.get(change.id)
        sides = [rows.get(change.id) for _, rows in where]
        hidden = any(row and row["status"] == "withheld" for row in sides)  # in one edition, so in both
        if instead:
            sides[1] = where[1][1][instead.id]
        places = tuple(None if hidden else place(there, row) for (there, _), row in zip(where, sides, strict=True))
        what: dict[str, Any] = {
            "change": change.kind,
            "why": change.why,
            "before": list(change.before),
            "after": list(change.after),
        }
        what |= {"kept_instead": instead.record()} if instead else {}
        entries.append(Entry(places, {"difference": {name: value for name, value in what.items() if value}}))
    return entries


def _columns(
    changes: Sequence[Change],
    sides: Sequence[tuple[Manifest, Mapping[str, Mapping[str, Any]]]],
    kept: Mapping[str, Kept],
) -> list[dict[str, Json]]:
    (first, before), (second, after) = sides
    instead = [kept.get(change.id) for change in changes]
    copies = [
        texts("kept instead", [after[one.id]["origin"] or one.id if one else None for one in instead]),
        texts("found by", [one.found_by if one else None for one in instead]),
        numbers("distance", [one.distance if one else None for one in instead]),
    ]
    rows = [after.get(change.id) or before[change.id] for change in changes]
    named, named_before = class_names(second), class_names(first)
    there = {change.id: i for i, change in enumerate(changes)}

    def spoken(change: Change, labels: Sequence[str], name: Any) -> str:
        return ", ".join(name(label) if change.kind != "moved" else label for label in labels[:LABELS])

    def class_of(change: Change, row: Mapping[str, Any]) -> str:
        labels = row["labels"]
        return (named if change.id in after else named_before)(labels[0]) if labels else ""

    pairs = list(zip(changes, rows, strict=True))
    return [
        texts("id", [change.id for change in changes]),
        *(texts(name, [row[name] for row in rows]) for name in ("variant", "status", "split")),
        texts("class", [class_of(change, row) for change, row in pairs]),
        *(texts(name, [row[name] for row in rows]) for name in ("origin", "licence")),
        numbers("source", [there.get(row["source"], -1) for row in rows]),
        texts("change", [change.kind for change in changes]),
        texts("why", [change.why for change in changes]),
        texts("before", [spoken(change, change.before, named_before) for change in changes]),
        texts("after", [spoken(change, change.after, named) for change in changes]),
        *(copies if kept else ()),
    ]
