"""Measures of models on a sealed edition, shard by shard, kept like units are: a re-run computes only what is new."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from schemas.canonical import Json, digest
from schemas.component import Context, Evaluation
from schemas.manifest import Manifest, ShardInfo
from variorum.measure import AHEAD, Advance, pins, shard_samples
from variorum.models import refuse_filters
from variorum.pipeline import prefetch
from variorum.progress import QUIET, Progress
from variorum.store import Store


def check_judges(evaluation: Evaluation, manifest: Manifest, ctx: Context) -> None:
    """A model that decided what is in an edition may not be measured on it. Raises RecipeError naming the alias."""
    refuse_filters(pins(evaluation, ctx), manifest.filters)


def measure_key(shard: ShardInfo, evaluation: Evaluation, ctx: Context) -> str:
    """Digest of all that decides the rows that an evaluation makes of a shard."""
    return digest([shard.sha256, evaluation.fingerprint(), pins(evaluation, ctx)])


def run_measure(
    shard: ShardInfo, evaluation: Evaluation, ctx: Context, store: Store, advance: Advance = lambda _: None
) -> ShardInfo:
    """The rows of one shard, computed and kept first if there are none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    key = measure_key(shard, evaluation, ctx)
    if kept := store.measure(key):
        advance(shard.samples)
        return kept
    with closing(prefetch(shard_samples(shard, store, advance), AHEAD)) as samples:
        rows = [dict(row) for row in evaluation.measure((sample for sample, _ in samples), ctx)]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink, compression="zstd")
    info = store.keep_bytes(sink.getvalue(), ".parquet", samples=len(rows))
    store.put_measure(key, info)
    return info


def summarise(
    manifest: Manifest, evaluation: Evaluation, parts: list[ShardInfo], ctx: Context, store: Store
) -> dict[str, Json]:
    """The evaluation's figures over the accepted pictures of an edition, kept beside its manifest."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables: list[Any] = [pq.read_table(store.path(part, ".parquet")) for part in parts]
    seed = manifest.recipe.get("seed", 0)
    assert isinstance(seed, int)
    figures = evaluation.summarise(pa.concat_tables(tables, promote_options="default"), seed)
    record = {"edition": manifest.digest(), "models": pins(evaluation, ctx), "figures": figures}
    kept = json.dumps(record, indent=1, sort_keys=True, allow_nan=False)
    store.write_beside(manifest, f"evaluation-{evaluation.component_name()}.json", kept.encode())
    return figures


def evaluate(
    manifest: Manifest,
    evaluation: Evaluation,
    ctx: Context,
    store: Store,
    *,
    workers: int = 1,
    progress: Progress = QUIET,
) -> dict[str, Json]:
    """One evaluation of one edition, in a plain loop over its shards on `workers` threads."""
    check_judges(evaluation, manifest, ctx)
    shards = manifest.shards.get("test", [])
    progress.start(f"{evaluation.component_name()} on", sum(shard.samples for shard in shards))
    with ThreadPoolExecutor(workers) as pool:
        parts = list(pool.map(lambda shard: run_measure(shard, evaluation, ctx, store, progress.advance), shards))
    return summarise(manifest, evaluation, parts, ctx, store)
