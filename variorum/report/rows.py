"""An edition's table as reports read it: each unit's table is opened once, and every row knows its shard."""

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
"""What reports show; a unit that curation hasn't touched lacks the last four, which are null then."""
SPLIT_OF: Mapping[str, Split] = {"accepted": "test", "quarantined": "quarantine"}
"""In which split the pictures of a status lie; the others lie in none."""


def edition_rows(manifest: Manifest, store: Store) -> Any:
    """One row per picture, made or not, with `COLUMNS` and `shard`: its shard's index in its split, -1 for none."""
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
            passed[status] += bool(mine.any())  # a unit has one shard per split, unless it has no such picture
        tables.append(table.append_column("shard", pa.array(shard)))
    return pa.concat_tables(tables, promote_options="default")


def variants(rows: Any) -> list[str]:
    """The edition's variants in the order in which they were made, without those that have no picture."""
    pairs = zip(rows.column("variant").to_pylist(), rows.column("start").to_pylist(), strict=True)
    return list(dict.fromkeys(variant for variant, start in pairs if start >= 0))
