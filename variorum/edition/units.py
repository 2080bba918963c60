"""The units of a sealed edition, from its manifest and tables alone: which shards and rows each has."""

from __future__ import annotations

from typing import Any

from variorum.edition.store import Store
from variorum.edition.tables import read_unit
from variorum.schemas.errors import CorruptShard
from variorum.schemas.manifest import QUARANTINE, Manifest, Receipt, ShardInfo, ordered

PLACES = ("status", "start", "config", "split")
"""Columns that say in which shard a picture lies."""


def edition_units(manifest: Manifest, store: Store) -> list[Receipt]:
    """The units of an edition in order; only an edition of format 3 is asked for its rows.

    Raises:
        CorruptShard: the manifest's units, shards and tables don't fit together.
    """
    found: list[dict[str, ShardInfo]] = [{} for _ in manifest.units]
    if len(manifest.rows) != len(found):
        raise _unfit(manifest, f"{len(found)} units and {len(manifest.rows)} tables")
    if manifest.format == 3:
        passed = dict.fromkeys(manifest.shards, 0)
        for mine, info in zip(found, manifest.rows, strict=True):
            for group in groups_of(read_unit(store, info, PLACES.__contains__)):
                place = passed.get(group, 0)
                if place >= len(manifest.shards.get(group, ())):
                    raise _unfit(manifest, f"more units with pictures in {group} than shards")
                mine[group], passed[group] = manifest.shards[group][place], place + 1
    else:
        for group in ordered(manifest.shards):
            for shard in manifest.shards[group]:
                if shard.unit is None or not 0 <= shard.unit < len(found) or group in found[shard.unit]:
                    raise _unfit(manifest, f"a shard of {group} that belongs to no unit")
                found[shard.unit][group] = shard
    step = int(manifest.recipe.get("samples_per_shard", 1))
    return [
        Receipt(
            unit=key,
            start=place * step,
            stop=min((place + 1) * step, manifest.sources),
            shards={group: ShardInfo(**info.model_dump(exclude={"unit"})) for group, info in mine.items()},
            members=manifest.members if mine else [],
            rows=rows,
        )
        for place, (key, mine, rows) in enumerate(zip(manifest.units, found, manifest.rows, strict=True))
    ]


def groups_of(table: Any) -> list[str]:
    """The groups of a unit's pictures, in order."""
    return ordered({group for group in row_groups(table).unique().to_pylist() if group})


def row_groups(table: Any) -> Any:
    """The group of each row's picture as an Arrow array; `""` for a row whose picture isn't in a shard."""
    import pyarrow as pa
    import pyarrow.compute as pc

    accepted: Any = pa.scalar("test")  # in an edition of format 3
    if "split" in table.column_names:
        config, split = (pc.fill_null(table.column(name), "") for name in ("config", "split"))
        accepted = pc.if_else(pc.equal(config, ""), split, pc.binary_join_element_wise(config, split, "/"))
    group = pc.if_else(pc.equal(table.column("status"), "accepted"), accepted, QUARANTINE)
    found = pc.if_else(pc.greater_equal(table.column("start"), 0), group, "")
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def with_splits(table: Any) -> Any:
    """An edition's rows with the columns that those of format 3 lack: all is `test`, and copies aren't known."""
    import pyarrow as pa

    if "split" in table.column_names:
        return table
    rows = len(table)
    table = table.append_column("split", pa.array(["test"] * rows, pa.string()))
    table = table.append_column("config", pa.array([""] * rows, pa.string()))
    return table.append_column("photograph", table.column("source"))


def _unfit(manifest: Manifest, why: str) -> CorruptShard:
    return CorruptShard(
        f"the manifest of {manifest.dataset}@{manifest.version} has {why}; it is damaged or no manifest of this "
        f"project: run the recipe again to make it anew"
    )
