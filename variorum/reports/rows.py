"""An edition's table for reports: each unit's table is opened once, and each row has its shard."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from variorum.edition.columns import NEW
from variorum.edition.store import Store
from variorum.edition.tables import read_unit
from variorum.edition.units import row_groups, with_splits
from variorum.schemas.errors import CorruptShard
from variorum.schemas.manifest import Manifest

COLUMNS = (
    "id",
    "sha256",
    "source",
    "variant",
    "status",
    "reason",
    "labels",
    "origin",
    "licence",
    "start",
    *NEW,
    "action",
    "by",
    "why",
    "given",
)
"""Columns of reports. The last four are null for units without verdicts."""
PLACE = ("source", "status", "start", "split", "config")
"""Columns that are always read: they say where a picture lies."""


def edition_rows(manifest: Manifest, store: Store, columns: Sequence[str] = COLUMNS) -> Any:
    """One row per picture, made or not: these columns as far as the edition has them, and `PLACE`.

    Added are its `group`, and `shard`, the shard's index in the group, or -1.

    Raises:
        CorruptShard: a table is damaged, or has pictures for which the manifest has no shard.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    tables, wanted = [], {*columns, *PLACE}
    passed = dict.fromkeys(manifest.shards, 0)
    for info in manifest.rows:
        table = read_unit(store, info, wanted.__contains__, classes=len(manifest.classes))
        groups, shard = row_groups(table), np.full(len(table), -1)
        for group in groups.unique().to_pylist():
            if group:  # a unit has at most one shard in a group
                if passed.get(group, 0) >= len(manifest.shards.get(group, ())):
                    raise CorruptShard(
                        f"{manifest.dataset}@{manifest.version} has pictures in {group} that aren't in its shards; "
                        f"look at it with: variorum verify {manifest.dataset}@{manifest.version}"
                    )
                shard[pc.equal(groups, group).to_numpy(zero_copy_only=False)] = passed[group]
                passed[group] += 1
        tables.append(table.append_column("group", groups).append_column("shard", pa.array(shard)))
    return with_splits(pa.concat_tables(tables, promote_options="default"))


def variants(manifest: Manifest) -> list[str]:
    """The edition's variants as they were made, except those without a picture; `fog_5` comes before `fog_10`."""
    statuses = {name: {key.partition(":")[0] for key in counts} for name, counts in manifest.counts.items()}
    shown = [name for name, found in statuses.items() if found & {"accepted", "quarantined"}]
    alike = {name: re.fullmatch(r"(.+?)_(\d{1,9})|(.+)", name, re.DOTALL) for name in shown}
    stems = {name: (found[1] or found[3], int(found[2] or -1)) for name, found in alike.items() if found}
    first = {stem: place for place, (stem, _) in reversed([*enumerate(stems.values())])}
    return sorted(shown, key=lambda name: (first[stems[name][0]], stems[name][1]))
