"""The table of what a recipe asks for, written before a model is loaded: a row a picture, whatever becomes of it.

It follows from the recipe and the source's labels alone, so the same recipe gives the same bytes. A picture, or the
reason why there is none, has the row's id in the edition's table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING

from schemas.canonical import Json, digest
from schemas.component import Context, Generator
from schemas.manifest import ShardInfo
from schemas.recipe import Recipe
from schemas.sample import Sample
from variorum.progress import QUIET, Progress
from variorum.store import Store, hash_file

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
"""Bumped when the table of an unchanged recipe would come out differently."""
GROUP = 65_536
"""Rows of a row group, which is what is held in memory."""
COLUMNS: Mapping[str, str] = {
    "id": "string",
    "source": "string",
    "origin": "string",
    "route": "string",
    "class": "string",
    "k": "int32",
    "variant": "string",
    "template": "string",
    "group": "string",
    "prompt": "string",
    "negative": "string",
    "guidance": "float64",
    "strength": "float64",
    "steps": "int32",
    "size": "int32",
    "sampler": "string",
    "seed": "int64",
    "reason": "string",
}
"""What a plan's rows may have, and null where a route hasn't; `reason` says why a picture can't be made at all."""


def keep_plan(recipe: Recipe, ctx: Context, store: Store, progress: Progress = QUIET) -> ShardInfo | None:
    """The recipe's plan, written to the store first if it isn't there; None for a generator that works without one.

    Only the first generator plans: the others work on what it makes.

    Raises:
        SourceError: the source is missing.
        RecipeError: the generator can't work on this source.
    """
    if not recipe.generate or not plans(recipe.generate[0]):
        return None
    key = plan_key(recipe, ctx)
    if kept := store.measure(key):
        return kept
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in COLUMNS.items()])
    rows, written = plan_rows(recipe, ctx, progress), 0
    with store.temporary(".parquet") as path:
        with pq.ParquetWriter(path, kinds, compression="zstd") as writer:
            while group := list(islice(rows, GROUP)):
                writer.write_table(_table(group, kinds))
                written += len(group)
        info = store.keep(path, sha256=hash_file(path), samples=written)
    store.put_measure(key, info)
    return info


def plan_rows(recipe: Recipe, ctx: Context, progress: Progress = QUIET) -> Iterator[Mapping[str, Json]]:
    """The plan row by row, from the source's labels; no picture is opened."""
    size = _size(recipe, ctx)
    progress.start("planning", size)

    def told() -> Iterator[Sample]:
        for sample in recipe.source.outline(0, size, ctx):
            yield sample
            progress.advance(1)

    return recipe.generate[0].planned(told(), ctx)


def plan_key(recipe: Recipe, ctx: Context) -> str:
    """Digest of all that decides the plan: the models aren't among it."""
    source, classes = recipe.source, recipe.source.classes(ctx)
    names: list[Json] = [[info.id, info.name] for info in classes]
    parts: list[Json] = [FORMAT, recipe.seed, source.fingerprint(), source.pin(ctx), _size(recipe, ctx), names]
    return digest(["plan", *parts, recipe.generate[0].fingerprint()])


def plans(generator: Generator) -> bool:
    """Whether a generator says beforehand what it will make."""
    return type(generator).planned is not Generator.planned


def first_rows(info: ShardInfo, store: Store, number: int) -> list[dict[str, Json]]:
    """The first rows of a plan."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(store.path(info, ".parquet")) as file:
        for batch in file.iter_batches(batch_size=number):
            found: list[dict[str, Json]] = batch.to_pylist()
            return found
    return []


def _size(recipe: Recipe, ctx: Context) -> int:
    size = recipe.source.size(ctx)
    return min(size, recipe.limit or size)


def _table(rows: list[Mapping[str, Json]], kinds: pa.Schema) -> pa.Table:
    import pyarrow as pa

    if unknown := {name for row in rows[:1] for name in row} - set(COLUMNS):
        raise ValueError(f"a plan has no column {min(unknown)!r}")
    return pa.Table.from_pydict({name: [row.get(name) for row in rows] for name in COLUMNS}, schema=kinds)
