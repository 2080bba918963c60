"""Measurements of a sealed edition, shard by shard, kept like units are: a re-run computes only what is new.

A shard is read and decoded once for all the steps that still have to look at it.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar

from schemas.canonical import Json, digest
from schemas.component import Component, Context, CurationStep, Source
from schemas.errors import RecipeError, SourceError
from schemas.manifest import ShardInfo
from schemas.sample import Failure, Sample
from variorum.columns import arrow_column
from variorum.engine import decoded
from variorum.images import decode
from variorum.models.memory import running_out
from variorum.pipeline import prefetch
from variorum.records import read_sample
from variorum.shards import read_shard
from variorum.store import Store

Advance = Callable[[int], None]
T = TypeVar("T")
log = logging.getLogger(__name__)

AHEAD = 8
GROUP = 256
"""Rows in a group of a table that holds the content of files: a release reads those of one unit."""
STRETCH = 32
"""Samples that a curation step sees at a time. Fixed, because the last bits of a model's floats depend on the batch."""


def shard_samples(shard: ShardInfo, store: Store, advance: Advance = lambda _: None) -> Iterator[tuple[Sample, str]]:
    """The shard's samples with decoded pixels and encoded extras, each with the sha256 of its picture."""
    path = store.path(shard)
    for key, members in read_shard(path):
        sample, sha256 = read_sample(f"{path}, sample {key}", members)
        assert isinstance(sample.image, bytes)
        yield replace(sample, image=decode(sample.image)), sha256
        advance(1)


def source_pictures(
    name: str, source: Source, start: int, stop: int, ctx: Context, advance: Advance = lambda _: None
) -> Iterator[Sample]:
    """Samples `start` to `stop - 1` of a source with decoded pixels; what can't be read is left out, with a warning.

    Args:
        name: what the source is called in messages.
        source: whose pictures.
        start: position of the first.
        stop: position after the last.
        ctx: what the source may use.
        advance: called with 1 for each.

    Raises:
        SourceError: none of them can be read, or the source has no pictures.
    """
    read, why = 0, "it gives none"
    for item in decoded(source.read(start, stop, ctx), advance):
        if isinstance(item, Failure):
            why = item.detail or item.reason
            log.warning("%s: %s is left out: %s", name, item.origin or item.id, why)
        elif isinstance(item.image, bytes):
            raise SourceError(f"{name}: {source.component_name()} has no pictures, only what to make")
        else:
            read += 1
            yield item
    if not read:
        raise SourceError(f"{name}: no sample of {start} to {stop - 1} can be read: {why}")


def measures(step: CurationStep) -> bool:
    """Whether a step looks at pictures at all."""
    return type(step).measure is not CurationStep.measure


def measure_key(shard: ShardInfo, step: CurationStep, ctx: Context) -> str:
    """Digest of all that decides what a step measures on a shard."""
    fields = {name: value for name, value in step.identity().items() if name in step.measured_by}
    seen = context_of(step, ctx)
    classes: list[Json] = [[one.id, one.name] for one in seen.source.classes(ctx)] if seen.source else []
    return digest([shard.sha256, step.component_name(), step.revision, fields, seen.seed, classes, pins(step, ctx)])


def context_of(step: CurationStep, ctx: Context) -> Context:
    """The context with which a step measures: without what it doesn't name, which its key doesn't cover."""
    used = step.measured_with
    return replace(ctx, seed=ctx.seed if "seed" in used else 0, source=ctx.source if "classes" in used else None)


def pins(component: Component, ctx: Context) -> dict[str, str]:
    """Alias to pin of the models that a component asks for."""
    return {alias: ctx.models.pin(alias) for alias in component.aliases()}


@running_out()
def measure_shard(
    shard: ShardInfo, steps: Sequence[CurationStep], ctx: Context, store: Store, advance: Advance = lambda _: None
) -> dict[str, ShardInfo]:
    """Each step's table of one shard, by the step's name; what isn't kept yet is measured in one pass over the shard.

    Raises:
        RecipeError: a step doesn't give one row a sample, or gives a column another shape halfway.
    """
    keys = {step.component_name(): measure_key(shard, step, ctx) for step in steps}
    kept = {name: info for name, key in keys.items() if (info := store.measure(key))}
    todo = [step for step in steps if step.component_name() not in kept]
    if not todo:
        advance(shard.samples)
        return kept
    rows: dict[str, list[Mapping[str, Any]]] = {step.component_name(): [] for step in todo}
    with closing(prefetch(shard_samples(shard, store, advance), AHEAD)) as samples:
        for stretch in batched(samples, STRETCH):
            pictures = [sample for sample, _ in stretch]
            for step in todo:
                name = step.component_name()
                found = list(step.measure(pictures, context_of(step, ctx)))
                if len(found) != len(stretch):
                    raise RecipeError(f"curate.{name}: measured {len(found)} of {len(stretch)} samples, not each")
                rows[name] += [
                    {"id": sample.id, "sha256": sha256, **row}
                    for (sample, sha256), row in zip(stretch, found, strict=True)
                ]
    for name, found in rows.items():
        info = keep_columns(name, {column: [row[column] for row in found] for column in found[0]}, len(found), store)
        store.put_measure(keys[name], info)
        kept[name] = info
    return kept


def keep_columns(step: str, columns: Mapping[str, Any], rows: int, store: Store) -> ShardInfo:
    """Keep a step's columns as a parquet table; `id` and `sha256` keep their names, the others get the step's."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {}
    for name, values in columns.items():
        full = name if name in ("id", "sha256") else f"{step}.{name}"
        vectors = isinstance(values, list) and values and isinstance(values[0], np.ndarray)
        try:
            arrays[full] = arrow_column(np.stack(values) if vectors else values)
        except (ValueError, TypeError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise RecipeError(f"curate.{step}: column {name!r} isn't of one shape and type: {error}") from None
        if len(arrays[full]) != rows:
            raise RecipeError(f"curate.{step}: column {name!r} has {len(arrays[full])} values for {rows} samples")
    group = GROUP if any(pa.types.is_binary(array.type) for array in arrays.values()) else None
    sink = io.BytesIO()
    pq.write_table(pa.table(arrays), sink, compression="zstd", row_group_size=group, write_page_checksum=True)
    return store.keep_bytes(sink.getvalue(), ".parquet", samples=rows)


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of up to `size` items."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
