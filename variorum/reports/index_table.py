"""The index of an edition's pictures, `index.parquet`: one table that any reader opens beside the shards.

The tables of the units lie in the store, which readers of a published edition don't have.
"""

from __future__ import annotations

import io
from typing import Any

from variorum.edition.columns import column_kinds
from variorum.edition.editions import shard_name
from variorum.schemas.manifest import Manifest

FILE = "index.parquet"
COLUMNS = (
    "id",
    "sha256",
    "status",
    "reason",
    "shard",
    "split",
    "config",
    "variant",
    "label",
    "labels",
    "licence",
    "origin",
    "width",
    "height",
    "digital_source_type",
)
"""Columns of the index."""
OF_PICTURES = ("shard", "config", "origin", "width", "height", "digital_source_type")
"""Columns that are null for a withheld picture."""


def index_table(manifest: Manifest, rows: Any) -> Any:
    """The accepted and the withheld pictures of an edition, one row each, as a `pyarrow.Table` with `COLUMNS`.

    `shard` is the file below the edition's folder, `label` the index of the first class, -1 without one. What an
    edition of format 3 doesn't know is null. A withheld picture has its hash, labels, licence and reason only.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kept = pc.is_in(rows["status"], value_set=pa.array(["accepted", "withheld"]))
    rows = rows if pc.all(kept).as_py() else rows.filter(kept)  # a copy takes as much memory again
    withheld = pc.equal(rows["status"], "withheld")
    shards = [
        shard_name(manifest, group, number) if number >= 0 else None
        for group, number in zip(rows["group"].to_pylist(), rows["shard"].to_pylist(), strict=True)
    ]
    places = {identity: place for place, (identity, _) in enumerate(manifest.classes)}
    labels = [places.get(named[0], -1) if named else -1 for named in rows["labels"].to_pylist()]
    made = {"shard": pa.array(shards, pa.string()), "label": pa.array(labels, pa.int64())}
    columns = {}
    for name in COLUMNS:
        kind = column_kinds()[name] if name not in made else made[name].type
        column = made.get(name, rows[name] if name in rows.column_names else pa.nulls(len(rows), kind))
        columns[name] = pc.if_else(withheld, pa.scalar(None, kind), column) if name in OF_PICTURES else column
    return pa.table(columns).combine_chunks()


def encode_index(table: Any) -> bytes:
    """The index as parquet."""
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd", write_page_checksum=True)
    return out.getvalue()
