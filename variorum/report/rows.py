"""An edition's table for reports: each unit's table is opened once, and each row has its shard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from variorum.edition.store import Store
from variorum.edition.tables import read_part
from variorum.schemas.manifest import Manifest, Split

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
    "action",
    "by",
    "why",
    "given",
)
"""Columns of reports. The last four are null for units without verdicts."""
SPLIT_OF: Mapping[str, Split] = {"accepted": "test", "quarantined": "quarantine"}
"""The split of the pictures with a status; other statuses have none."""


def edition_rows(manifest: Manifest, store: Store) -> Any:
    """One row per picture, made or not, with `COLUMNS` and `shard`, the shard's index in its split, or -1."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    tables = []
    passed = dict.fromkeys(SPLIT_OF, 0)
    for info in manifest.rows:
        table = read_part(store, info, lambda schema: [name for name in COLUMNS if name in schema.names])
        shard = np.full(len(table), -1)
        there = pc.greater_equal(table.column("start"), 0)
        for status in SPLIT_OF:
            mine = pc.and_(pc.equal(table.column("status"), status), there).to_numpy()
            shard[mine] = passed[status]
            passed[status] += bool(mine.any())  # a unit has at most one shard per split
        tables.append(table.append_column("shard", pa.array(shard)))
    return pa.concat_tables(tables, promote_options="default")


def variants(manifest: Manifest) -> list[str]:
    """The edition's variants in the order in which they were made, except those without a picture."""
    statuses = {name: {key.partition(":")[0] for key in counts} for name, counts in manifest.counts.items()}
    return [name for name, found in statuses.items() if found & SPLIT_OF.keys()]
