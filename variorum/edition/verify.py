"""Recompute every hash of an edition."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from itertools import groupby
from typing import Any

from variorum.edition.editions import check_data, tables_of
from variorum.edition.samples import ANNOTATIONS, annotation_digest, annotation_fields, encode_record, picture_ending
from variorum.edition.shards import read_shard, stored_size
from variorum.edition.store import Store
from variorum.edition.tables import COUNTED, counts, licences, read_part, read_table
from variorum.edition.units import edition_units, row_groups
from variorum.machine.progress import Advance
from variorum.schemas.errors import CorruptShard
from variorum.schemas.manifest import QUARANTINE, Manifest, ShardInfo, ordered, split_of
from variorum.schemas.sample import NOTHING

COLUMNS = ("id", "sha256", "annotated", "status", "start", "config", "split")
NO_ANNOTATIONS = encode_record(annotation_fields(NOTHING, {}))


def verify(manifest: Manifest, store: Store, advance: Advance = lambda _: None) -> list[str]:
    """Check an edition; returns the problems, one line each.

    Checked are: each shard and table against its name; each picture and its annotations against the hashes in its row
    and its record; that each unit's rows and shards have the same pictures, in the same order, places, splits and
    configurations; the manifest's numbers of pictures; and that the files in `data/`, which users load, are those
    shards.
    """
    problems: list[str] = []
    for info in tables_of(manifest):
        problems += _verify_file(store, info, ".parquet", advance)
    if problems:
        return problems
    try:
        units = edition_units(manifest, store)
    except CorruptShard as error:
        return [str(error)]
    passed = dict.fromkeys(manifest.shards, 0)
    for unit in units:
        rows, order = _rows(unit.rows, store)
        if manifest.format > 3 and order != ordered(order):
            problems.append(f"table {unit.rows.sha256[:12]}: its rows aren't in the order of the unit's shards")
        for group, info in unit.shards.items():
            passed[group] += 1
            there = rows.pop(group, [])
            problems += _verify_file(store, info, ".tar", advance) or _verify_shard(group, info, there, store)
        problems += [f"picture {row['id']} has a row and no place in a shard" for left in rows.values() for row in left]
    for group, number in passed.items():
        problems += [f"shard {x.sha256[:12]}: no row is about its pictures" for x in manifest.shards[group][number:]]
    table = read_table(store, manifest.rows, COUNTED)
    if (counts(table), licences(table)) != (manifest.counts, manifest.licences):
        problems.append("the manifest's numbers of pictures aren't those of its tables")
    return problems or check_data(manifest, store)


def _rows(info: ShardInfo, store: Store) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """The rows of a unit whose pictures are in shards, by group; and the groups in the order of the rows."""
    table = read_part(store, info, lambda schema: [name for name in COLUMNS if name in schema.names])
    found: dict[str, list[dict[str, Any]]] = {}
    groups = row_groups(table).to_pylist()
    for group, row in zip(groups, table.to_pylist(), strict=True):
        if group:
            found.setdefault(group, []).append(row)
    return found, [group for group, _ in groupby(group for group in groups if group)]


def _verify_shard(group: str, info: ShardInfo, rows: list[dict[str, Any]], store: Store) -> Iterator[str]:
    """Compare the pictures of a shard with their rows."""
    name, start, samples = f"shard {info.sha256[:12]}", 0, 0
    left = {row["id"]: {**row, "place": place} for place, row in enumerate(rows)}
    for key, members in read_shard(store.path(info)):
        image, record, row = members[picture_ending(members)], json.loads(members["json"]), left.pop(key, None)
        if row is None:
            yield f"{name}: picture {key} lies in {group}, and no row of the unit says so"
        elif not sha256(image).hexdigest() == row["sha256"] == record["sha256"]:
            yield f"{name}: picture {key} isn't the one its record and row name"
        elif group != QUARANTINE and record.get("split", "test") != split_of(group):
            yield f"{name}: picture {key} lies in {group}, and its record says {record['split']}"
        elif row["start"] != start:
            yield f"{name}: picture {key} begins at byte {start}, and its row says {row['start']}"
        elif row["place"] != samples:
            yield f"{name}: picture {key} is number {samples + 1}, and its row is number {row['place'] + 1}"
        elif (row.get("annotated") or _without(members)) != annotation_digest(members):
            yield f"{name}: the annotations of {key} aren't those that its row names"
        start, samples = start + stored_size(members), samples + 1
    if samples != info.samples:
        yield f"{name}: it has {samples} pictures, and the manifest says {info.samples}"
    yield from (f"{name}: picture {key} has a row and no place in the shard" for key in left)


def _without(members: dict[str, bytes]) -> str:
    """The digest of the annotations of a sample without any."""
    return annotation_digest({ANNOTATIONS: NO_ANNOTATIONS} if ANNOTATIONS in members else {})


def _verify_file(store: Store, info: ShardInfo, suffix: str, advance: Advance) -> list[str]:
    try:
        actual = store.hash(info, suffix, advance)
    except CorruptShard as error:
        return [str(error)]
    if actual != info.sha256:
        name = store.object(info, suffix)
        return [f"{name}: content doesn't match its name; delete it and run the recipe again to remake it"]
    return []
