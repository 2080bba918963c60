"""An edition's table: one row a picture made or not made, kept per unit as parquet beside the shards."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from schemas.manifest import Manifest, ShardInfo
from schemas.sample import Failure
from variorum.store import Store


def failure_row(failure: Failure) -> dict[str, Any]:
    """The row of a picture that wasn't made: no hash, no place in a shard, the gates that it got to."""
    row = {name: value for name, value in asdict(failure).items() if name != "gates"}
    row.update(labels=list(failure.labels), label=-1, sha256="", ops="[]", start=-1)
    row.update({f"gate.{name}": float(gate["value"]) for name, gate in failure.gates.items()})
    return row


def rows_to_parquet(rows: list[dict[str, Any]]) -> bytes:
    """The table of a unit: fixed columns first, then one `gate.<name>` column a gate, in order of name."""
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
        for key, number in counts.items():
            totals[key.partition(":")[0]] += number
        reasons = sorted(((n, key.partition(":")[2]) for key, n in counts.items() if ":" in key), reverse=True)
        why = ", ".join(f"{reason} {number}" for number, reason in reasons)
        rows.append({"variant": variant, **totals, "reasons": why})
    return rows
