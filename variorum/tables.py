"""An edition's table: one row a picture made or not made, kept per unit as parquet beside the shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from schemas.errors import StoreError
from schemas.manifest import Manifest, ShardInfo
from schemas.sample import BASELINES, Failure
from variorum.store import Store

COUNTED = ["source", "variant", "status", "reason", "licence"]
"""Columns that a manifest's counts are made of."""


def failure_row(failure: Failure) -> dict[str, Any]:
    """The row of a picture that wasn't made: no hash, no place in a shard, the gates that it got to."""
    row = {name: value for name, value in asdict(failure).items() if name != "gates"}
    row.update(labels=list(failure.labels), label=-1, sha256="", ops="[]", start=-1)
    row.update({f"gate.{name}": float(gate["value"]) for name, gate in failure.gates.items()})
    return row


def rows_to_parquet(rows: list[dict[str, Any]]) -> bytes:
    """The table of a unit: fixed columns first, then one `gate.<name>` column a gate, in order of name.

    A unit that curation has touched has its verdicts' columns too.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    fixed = {
        "id": pa.string(),
        "sha256": pa.string(),
        "parent": pa.string(),
        "source": pa.string(),
        "variant": pa.string(),
        "status": pa.string(),
        "reason": pa.string(),
        "detail": pa.string(),
        "label": pa.int64(),
        "labels": pa.list_(pa.string()),
        "origin": pa.string(),
        "licence": pa.string(),
        "start": pa.int64(),
        "ops": pa.string(),
    }
    gates = sorted({name for row in rows for name in row if name.startswith("gate.")})
    if any("action" in row for row in rows):
        fixed |= {"action": pa.string(), "by": pa.string(), "why": pa.string(), "value": pa.float64()}
        fixed |= {"given": pa.list_(pa.string())}
    schema = pa.schema([*fixed.items(), *((name, pa.float64()) for name in gates)])
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink, compression="zstd")
    return bytes(sink.getvalue())


def read_table(store: Store, rows: Iterable[ShardInfo], columns: list[str] | None = None) -> Any:
    """The tables of an edition's units as one `pyarrow.Table`; a gate that a unit hasn't is null there."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [pq.read_table(store.path(info, ".parquet"), columns=columns) for info in rows]
    return pa.concat_tables(tables, promote_options="default")


def summary_rows(manifest: Manifest) -> list[dict[str, Any]]:
    """The edition's counts for people: a row a variant with accepted, the other statuses, and why."""
    rows = []
    for variant, counts in manifest.counts.items():
        totals: dict[str, int] = {"accepted": 0, "quarantined": 0, "ineligible": 0, "failed": 0}
        if manifest.ledger:
            totals["dropped"] = 0
        for key, number in counts.items():
            totals[key.partition(":")[0]] += number
        reasons = sorted(((n, key.partition(":")[2]) for key, n in counts.items() if ":" in key), reverse=True)
        why = ", ".join(f"{reason} {number}" for number, reason in reasons)
        rows.append({"variant": variant, **totals, "reasons": why})
    return rows


def counts(table: Any) -> dict[str, dict[str, int]]:
    """Variant to status (with `:reason` if there is one) to number of rows."""
    found: dict[str, Counter[str]] = {}
    columns = (table.column(name).to_pylist() for name in ("variant", "status", "reason"))
    for variant, status, reason in zip(*columns, strict=True):
        found.setdefault(variant, Counter())[f"{status}:{reason}" if reason else status] += 1
    return {variant: dict(sorted(statuses.items())) for variant, statuses in found.items()}


def sources_edited(table: Any) -> int:
    """How many source samples have an accepted picture that isn't a baseline."""
    columns = (table.column(name).to_pylist() for name in ("source", "variant", "status"))
    rows = zip(*columns, strict=True)
    return len({source for source, variant, status in rows if status == "accepted" and variant not in BASELINES})


def licences(table: Any) -> dict[str, int]:
    """Licence to number of accepted pictures."""
    columns = (table.column(name).to_pylist() for name in ("licence", "status"))
    return dict(sorted(Counter(lic for lic, status in zip(*columns, strict=True) if status == "accepted").items()))


def same_members(*members: Sequence[str]) -> list[str]:
    """File endings of the samples. Every shard must have the same, as loaders take the first one's for all."""
    found = {tuple(endings) for endings in members if endings}
    if len(found) > 1:
        sets = "; ".join(", ".join(endings) for endings in sorted(found))
        raise StoreError(f"shards differ in their samples' members ({sets}); a source must give all or none an extra")
    return list(next(iter(found), ()))
