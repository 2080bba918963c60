"""Recompute every hash of an edition."""

from __future__ import annotations

import json
from hashlib import sha256

from variorum.edition.editions import check_data, tables_of
from variorum.edition.shards import read_shard
from variorum.edition.store import Store
from variorum.edition.tables import read_table
from variorum.machine.progress import Advance
from variorum.schemas.errors import CorruptShard
from variorum.schemas.manifest import Manifest, ShardInfo


def verify(manifest: Manifest, store: Store, advance: Advance = lambda _: None) -> list[str]:
    """Check an edition; returns the problems, one line each.

    Checked are: each shard and table against its name; each picture against the hash in its row and in its record; that
    rows and shards have the same pictures; and that the files in `data/`, which users load, are those shards.
    """
    problems: list[str] = []
    for info in tables_of(manifest):
        problems += _verify_file(store, info, ".parquet", advance)
    if problems:
        return problems
    table = read_table(store, manifest.rows, ["id", "sha256", "start"])
    expected = {
        sample_id: image_sha256
        for sample_id, image_sha256, start in zip(*(column.to_pylist() for column in table.columns), strict=True)
        if start >= 0
    }
    for info in (info for infos in manifest.shards.values() for info in infos):
        if damage := _verify_file(store, info, ".tar", advance):
            problems += damage
            continue
        for key, members in read_shard(store.path(info)):
            actual = sha256(members["png"]).hexdigest()
            if not actual == expected.pop(key, "") == json.loads(members["json"])["sha256"]:
                problems.append(f"shard {info.sha256[:12]}: picture {key} isn't the one its record and row name")
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
