"""Find the picture that stays instead of a dropped copy, and what found the copy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from variorum.edition.pulled import without
from variorum.edition.store import Store
from variorum.edition.tables import read_keyed
from variorum.reports.figures import seen
from variorum.schemas.canonical import Json
from variorum.schemas.manifest import Manifest

COLUMNS = ("keeper", "layer", "distance")
"""Of a detector that proves copies."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The picture that stays instead of a copy.

    Attributes:
        id: its own.
        layer: the strongest evidence: `file`, `pixels`, `hash` or `embedding`.
        distance: of that evidence: 0 for files and pixels, bits of 256, or 1 - cosine.
    """

    id: str
    layer: str
    distance: float

    @property
    def found_by(self) -> str:
        """The evidence in words: `hash: 3 of 256 bits differ`."""
        if self.layer == "hash":
            return f"hash: {self.distance:.0f} of 256 bits differ"
        if self.layer == "embedding":
            return f"embedding: cosine {1 - self.distance:.3f}"
        return {"file": "the same file", "pixels": "the same pixels"}.get(self.layer, seen(self.layer))

    def record(self) -> dict[str, Json]:
        """All of it as JSON values."""
        return {"id": self.id, "layer": self.layer, "distance": self.distance}


def kept_instead(manifest: Manifest, ids: Sequence[str], store: Store) -> dict[str, Kept]:
    """By id of a copy, the picture that stays instead of it by the ledger of a release.

    Args:
        manifest: the release; without a ledger, or without the tables of it, nothing is known.
        ids: of the pictures that it lacks.
        store: has the tables.

    Raises:
        CorruptShard: a table is damaged.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if manifest.ledger is None or without(manifest, store) or not ids:
        return {}
    found, wanted = dict[str, Kept](), pa.array(ids, pa.string())
    for step in dict.fromkeys(column.partition(".")[0] for column in manifest.ledger.copies):
        if (info := manifest.ledger.scored.get(step)) is None:
            continue
        names = [f"{step}.{column}" for column in COLUMNS]
        table = read_keyed(store, info, partial(_named, names))
        if not set(names) <= set(table.column_names):
            continue
        rows: list[Mapping[str, Any]] = table.filter(pc.is_in(table["id"], value_set=wanted)).to_pylist()
        for row in rows:
            keeper, layer, distance = (row[name] for name in names)
            if keeper and keeper != row["id"] and isinstance(distance, float) and math.isfinite(distance):
                found.setdefault(row["id"], Kept(keeper, layer, distance))
    return found


def _named(names: Sequence[str], schema: Any) -> list[str]:
    return [name for name in names if name in schema.names]
