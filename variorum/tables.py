"""An edition's table: one row a picture made or not made, kept per unit as parquet beside the shards."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import lru_cache
from itertools import accumulate
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

    tables = [read_part(store, info, lambda schema: columns or schema.names) for info in rows]
    return pa.concat_tables(tables, promote_options="default")


def read_part(store: Store, info: ShardInfo, pick: Callable[[Any], list[str]]) -> Any:
    """The columns of one table in the store that `pick` takes from its schema.

    Raises:
        CorruptShard: it is damaged. It is removed then, so that the command that makes it makes it again.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = store.path(info, ".parquet")
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            names = pick(file.schema_arrow)
            return file.read(names).select(names)
    except (pa.ArrowInvalid, OSError) as error:
        raise store.damaged(info, ".parquet", error) from None


def read_rows(store: Store, info: ShardInfo, columns: list[str], start: int, stop: int) -> Any:
    """Rows `start` to `stop - 1` of a table in the store, without the groups that hold none; None without the columns.

    Raises:
        CorruptShard: as `read_part`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = store.path(info, ".parquet")
    try:
        contents, ends = _contents(str(path))
        if not set(columns) <= set(contents.schema.to_arrow_schema().names):
            return None
        groups = range(bisect_right(ends, start), min(bisect_left(ends, stop) + 1, len(ends)))
        with pq.ParquetFile(path, metadata=contents, page_checksum_verification=True) as file:
            rows = file.read_row_groups(list(groups), columns=columns)
        return rows.slice(start - (ends[groups[0] - 1] if groups and groups[0] else 0), stop - start)
    except (pa.ArrowInvalid, OSError) as error:
        raise store.damaged(info, ".parquet", error) from None


def filled_rows(store: Store, info: ShardInfo, column: str) -> tuple[int, int]:
    """How many rows a table in the store has, and how many of them something in a column of bytes; 0, 0 without it.

    Raises:
        CorruptShard: as `read_part`.
    """
    import pyarrow as pa

    path = store.path(info, ".parquet")
    try:
        contents, _ = _contents(str(path))
    except (pa.ArrowInvalid, OSError) as error:
        raise store.damaged(info, ".parquet", error) from None
    names = [contents.schema.column(place).path for place in range(contents.num_columns)]
    if column not in names:
        return 0, 0
    groups = (contents.row_group(number) for number in range(contents.num_row_groups))
    found = [(group.num_rows, group.column(names.index(column)).statistics) for group in groups]
    # a column of nothing but nulls has no statistics
    return contents.num_rows, sum(rows - counted.null_count for rows, counted in found if counted)


@lru_cache(maxsize=8)
def _contents(path: str) -> tuple[Any, list[int]]:
    """A parquet file's table of contents, which may be long, and where its groups end; such files never change."""
    import pyarrow.parquet as pq

    contents = pq.read_metadata(path)
    return contents, list(accumulate(contents.row_group(place).num_rows for place in range(contents.num_row_groups)))


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
