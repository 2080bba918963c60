"""Recompute every hash of an edition."""

from __future__ import annotations

import json
from hashlib import sha256

from variorum.edition.editions import check_data, tables_of
from variorum.edition.samples import annotation_digest, picture_ending
from variorum.edition.shards import read_shard
from variorum.edition.store import Store
from variorum.edition.tables import read_part
from variorum.edition.units import row_groups
from variorum.machine.progress import Advance
from variorum.schemas.errors import CorruptShard
from variorum.schemas.manifest import QUARANTINE, Manifest, ShardInfo, split_of

COLUMNS = ("id", "sha256", "annotated", "status", "start", "config", "split")


def verify(manifest: Manifest, store: Store, advance: Advance = lambda _: None) -> list[str]:
    """Check an edition; returns the problems, one line each.

    Checked are: each shard and table against its name; each picture and its annotations against the hashes in its row
    and its record; that rows and shards have the same pictures, in the same splits and configurations; and that the
    files in `data/`, which users load, are those shards.
    """
    problems: list[str] = []
    for info in tables_of(manifest):
        problems += _verify_file(store, info, ".parquet", advance)
    if problems:
        return problems
    expected: dict[str, tuple[str, str, str]] = {}
    for info in manifest.rows:
        table = read_part(store, info, lambda schema: [name for name in COLUMNS if name in schema.names])
        names = [name for name in ("id", "sha256", "annotated") if name in table.column_names]
        rows = zip(row_groups(table).to_pylist(), *(table.column(name).to_pylist() for name in names), strict=True)
        expected |= {
            sample_id: (group, image_hash, *rest, "")[:3] for group, sample_id, image_hash, *rest in rows if group
        }
    for group, info in ((group, info) for group, infos in manifest.shards.items() for info in infos):
        if damage := _verify_file(store, info, ".tar", advance):
            problems += damage
            continue
        for key, members in read_shard(store.path(info)):
            image, record = members[picture_ending(members)], json.loads(members["json"])
            place, wanted, annotated = expected.pop(key, ("", "", ""))
            if not sha256(image).hexdigest() == wanted == record["sha256"]:
                problems.append(f"shard {info.sha256[:12]}: picture {key} isn't the one its record and row name")
            elif place != group or (group != QUARANTINE and record.get("split", "test") != split_of(group)):
                problems.append(f"shard {info.sha256[:12]}: picture {key} lies in {group}, and its row says {place}")
            elif annotated and annotation_digest(members) != annotated:
                problems.append(f"shard {info.sha256[:12]}: the annotations of {key} aren't those that its row names")
    if problems:  # pictures of a damaged shard would be reported as missing too
        return problems
    return [f"picture {key} has a row and no place in a shard" for key in expected] + check_data(manifest, store)


def _verify_file(store: Store, info: ShardInfo, suffix: str, advance: Advance) -> list[str]:
    try:
        actual = store.hash(info, suffix, advance)
    except CorruptShard as error:
        return [str(error)]
    if actual != info.sha256:
        name = store.object(info, suffix)
        return [f"{name}: content doesn't match its name; delete it and run the recipe again to remake it"]
    return []
