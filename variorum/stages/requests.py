"""The table of requests: one row per picture that a recipe asks for, written before any model is loaded.

It depends only on the recipe and the source's labels, so the same recipe gives the same bytes. In the edition's table,
the picture or the reason why it is missing has the same id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING

from variorum.edition.store import Store
from variorum.machine.progress import QUIET, Progress
from variorum.machine.retrying import hash_content
from variorum.schemas.canonical import Json, digest
from variorum.schemas.component import Context, Generator
from variorum.schemas.errors import RecipeError
from variorum.schemas.manifest import ShardInfo
from variorum.schemas.more import PlansRequests
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import Sample

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
"""Increased when the table of an unchanged recipe would change."""
GROUP = 65_536
"""Rows of a row group, the most that are in memory."""
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
"""Columns of the table, null if the generator has no such setting. `reason` says why a picture can't be made."""
MEANINGS: Mapping[str, str] = {
    "id": "that of the picture or failure that results",
    "source": "id of the source's sample",
    "origin": "where the source's sample comes from",
    "route": "the generator's way of making pictures",
    "class": "id of the class that is asked for",
    "k": "number among the pictures of one sample",
    "variant": "name to group by",
    "template": "the prompt's template",
    "group": "of pictures that share their noise or their prompt",
    "prompt": "the prompt in full",
    "negative": "the negative prompt",
    "guidance": "weight of the prompt or the class",
    "strength": "how much of the picture is replaced by noise, from 0 to 1",
    "steps": "number of denoising steps",
    "size": "width and height in pixels",
    "sampler": "how noise is removed",
    "seed": "of this picture",
    "reason": "why it can't be made",
}
"""What the columns hold."""


def keep_requests(recipe: Recipe, ctx: Context, store: Store, progress: Progress = QUIET) -> ShardInfo | None:
    """The recipe's table of requests, written first if missing; None if the generator has no `requests`.

    Only the first generator is asked, because the others work on its output.

    Raises:
        SourceError: the source is missing.
        RecipeError: the generator can't work on this source.
    """
    if not recipe.generate or not makes_requests(recipe.generate[0]):
        return None
    key = requests_key(recipe, ctx)
    kept = store.table(key)
    if kept and store.whole([(kept, ".parquet")]):
        return kept
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in COLUMNS.items()])
    rows, written = request_rows(recipe, ctx, progress), 0
    with store.temporary(".parquet") as path:
        with pq.ParquetWriter(path, kinds, compression="zstd") as writer:
            while group := list(islice(rows, GROUP)):
                writer.write_table(_table(group, kinds))
                written += len(group)
        info = store.keep(path, sha256=hash_content(path), samples=written)
    store.put_table(key, info)
    return info


def request_rows(recipe: Recipe, ctx: Context, progress: Progress = QUIET) -> Iterator[Mapping[str, Json]]:
    """The requests one by one, from the source's labels. No picture is opened."""
    size = _size(recipe, ctx)
    progress.start("listing requests", size)

    def outlines() -> Iterator[Sample]:
        for sample in recipe.source.outline(0, size, ctx):
            yield sample
            progress.advance(1)

    maker = recipe.generate[0]
    return maker.requests(outlines(), ctx) if isinstance(maker, PlansRequests) else iter(())


def requests_key(recipe: Recipe, ctx: Context) -> str:
    """Digest of all that decides the requests. They don't depend on models."""
    source, classes = recipe.source, recipe.source.classes(ctx)
    names: list[Json] = [[info.id, info.name] for info in classes]
    parts: list[Json] = [FORMAT, recipe.seed, source.fingerprint(), source.pin(ctx), _size(recipe, ctx), names]
    return digest(["plan", *parts, recipe.generate[0].fingerprint()])


def makes_requests(generator: Generator) -> bool:
    """Return whether a generator lists its pictures before it makes them."""
    return isinstance(generator, PlansRequests)


def first_rows(info: ShardInfo, store: Store, number: int) -> list[dict[str, Json]]:
    """The first rows of a table of requests."""
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
        raise RecipeError(f"requests have no column {min(unknown)!r}; there are: {', '.join(COLUMNS)}")
    return pa.Table.from_pydict({name: [row.get(name) for row in rows] for name in COLUMNS}, schema=kinds)
