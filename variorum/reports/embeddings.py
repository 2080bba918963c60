"""The embeddings that curation measured of an edition's pictures, for the page's map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from variorum.arrays import Reals
from variorum.edition.store import Store
from variorum.edition.tables import joined, read_keyed
from variorum.schemas.manifest import Ledger

STEP, COLUMN = "features", "features.embedding"
"""The detector with the embeddings, and its column."""


def embeddings(ledger: Ledger, ids: Sequence[str], store: Store) -> Reals | None:
    """The embeddings of these pictures `[N, d]`, NaN where there is none; None if curation measured none.

    Raises:
        CorruptShard: a table is damaged.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted, tables = pa.array(ids, pa.string()), []
    for info in ledger.measured.get(STEP, []):
        table = read_keyed(store, info, lambda schema: [COLUMN] if COLUMN in schema.names else [])
        if COLUMN in table.column_names:
            tables.append(table.filter(pc.is_in(table["id"], value_set=wanted)))
    table = joined(f"curate.{STEP}", tables) if tables else None
    if table is None or not pa.types.is_fixed_size_list(table.schema.field(COLUMN).type):
        return None
    kind = table.schema.field(COLUMN).type
    if not pa.types.is_floating(kind.value_type) or kind.list_size < 2:
        return None
    row = pc.index_in(wanted, value_set=table["id"].combine_chunks())
    there = row.is_valid().to_numpy(zero_copy_only=False)
    column = table[COLUMN].combine_chunks()
    if column.null_count:
        return None
    values = column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), kind.list_size)
    found = np.full((len(ids), kind.list_size), np.nan, np.float32)
    found[there] = values[row.drop_null().to_numpy()]
    return found
