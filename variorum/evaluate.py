"""Measures of models on a sealed edition, shard by shard, kept like units are: a re-run computes only what is new.

Sources that an evaluation compares the edition with are measured in stretches, and kept in the same way.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from schemas.canonical import Json, digest
from schemas.component import Context, Evaluation
from schemas.errors import SourceError
from schemas.manifest import Manifest, ShardInfo
from schemas.recipe import Recipe
from schemas.sample import Sample
from variorum.engine import check_models
from variorum.measure import AHEAD, Advance, pins, shard_samples, source_pictures
from variorum.models import refuse_filters
from variorum.models.memory import running_out
from variorum.pipeline import prefetch
from variorum.progress import QUIET, Progress
from variorum.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

STRETCH = 1000
"""Samples of a reference that are measured and kept together."""
SET = "set"
"""Column that says which reference a row belongs to."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Samples `start` to `stop - 1` of one of an evaluation's references; `source` is the digest of what it holds."""

    reference: str
    source: str
    start: int
    stop: int

    @property
    def samples(self) -> int:
        """How many there are."""
        return self.stop - self.start


Piece = ShardInfo | Stretch
"""What is measured at a time."""


def check_evaluations(recipe: Recipe, ctx: Context) -> None:
    """Whether evaluations will work, and judgements that compare with a source; asked before any picture is made.

    Raises:
        SourceError: a reference is missing or empty.
        RecipeError: an alias isn't known, or a model would judge what it filtered.
        ModelUnavailable: a model has no pin yet.
    """
    filters = [ctx.models.pin(alias) for generator in recipe.generate for alias in generator.filters()]
    for evaluation in recipe.evaluate:
        refuse_filters(pins(evaluation, ctx), filters)
    for part, components in (("curate", recipe.curate), ("evaluate", recipe.evaluate)):
        for component in components:
            for name, source in component.references().items():
                if not source.size(ctx):
                    raise SourceError(f"{part}.{component.component_name()}.{name}: it has no samples")


def check_judges(evaluation: Evaluation, manifest: Manifest, ctx: Context) -> None:
    """A model that decided what is in an edition may not be measured on it. Raises RecipeError naming the alias."""
    refuse_filters(pins(evaluation, ctx), manifest.filters)


def pieces(manifest: Manifest, evaluation: Evaluation, ctx: Context) -> list[Piece]:
    """The edition's shards of accepted pictures, then the references' stretches."""
    found: list[Piece] = list(manifest.shards.get("test", []))
    for name, source in evaluation.references().items():
        held, size = digest([source.fingerprint(), source.pin(ctx)]), source.size(ctx)
        found += [Stretch(name, held, start, min(start + STRETCH, size)) for start in range(0, size, STRETCH)]
    return found


def measure_key(piece: Piece, evaluation: Evaluation, ctx: Context) -> str:
    """Digest of all that decides the rows that an evaluation makes of a piece, whichever name a reference goes by."""
    what: Json = piece.sha256 if isinstance(piece, ShardInfo) else [piece.source, piece.start, piece.stop]
    fields = {name: value for name, value in evaluation.identity().items() if name in evaluation.measured_by}
    return digest([what, evaluation.component_name(), evaluation.revision, fields, pins(evaluation, ctx)])


def check_ready(evaluations: Iterable[Evaluation], manifest: Manifest, ctx: Context, store: Store) -> None:
    """Whether the models can be had of those evaluations with something to measure. Raises ModelUnavailable."""
    check_models(
        [
            evaluation
            for evaluation in evaluations
            if not all(
                store.measure(measure_key(piece, evaluation, ctx)) for piece in pieces(manifest, evaluation, ctx)
            )
        ],
        ctx,
    )


@running_out()
def run_measure(
    piece: Piece, evaluation: Evaluation, ctx: Context, store: Store, advance: Advance = lambda _: None
) -> ShardInfo:
    """The rows of one piece, computed and kept first if there are none."""
    import pyarrow.parquet as pq

    key = measure_key(piece, evaluation, ctx)
    if kept := store.measure(key):
        advance(piece.samples)
        return kept
    samples: Iterator[Sample]
    if isinstance(piece, ShardInfo):
        samples = (sample for sample, _ in shard_samples(piece, store, advance))
    else:
        source = evaluation.references()[piece.reference]
        samples = source_pictures(piece.reference, source, piece.start, piece.stop, ctx, advance)
    with closing(prefetch(samples, AHEAD)) as ahead:
        rows = list(evaluation.measure(ahead, ctx))
    sink = io.BytesIO()
    pq.write_table(rows_table(rows), sink, compression="zstd")
    info = store.keep_bytes(sink.getvalue(), ".parquet", samples=len(rows))
    store.put_measure(key, info)
    return info


def rows_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows of one form as a table; 1-D arrays become lists of a fixed length."""
    import numpy as np
    import pyarrow as pa

    from variorum.columns import arrow_column

    columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
    return pa.table(
        {
            name: arrow_column(np.stack(values) if isinstance(values[0], np.ndarray) else values)
            for name, values in columns.items()
        }
    )


def summarise(
    manifest: Manifest,
    evaluation: Evaluation,
    measured: Sequence[tuple[Piece, ShardInfo]],
    ctx: Context,
    store: Store,
) -> dict[str, Json]:
    """The evaluation's figures over the accepted pictures of an edition, kept beside its manifest.

    `measured` is what `pieces` gave, each with its rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables: list[Any] = []
    for piece, part in measured:
        rows = pq.read_table(store.path(part, ".parquet"))
        if evaluation.references():
            name = piece.reference if isinstance(piece, Stretch) else ""
            rows = rows.append_column(SET, pa.array([name] * len(rows), pa.string()))
        tables.append(rows)
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
    """One evaluation of one edition, in a plain loop over its pieces on `workers` threads."""
    check_judges(evaluation, manifest, ctx)
    todo = pieces(manifest, evaluation, ctx)
    progress.start(f"{evaluation.component_name()} on", sum(piece.samples for piece in todo))
    with ThreadPoolExecutor(workers) as pool:
        parts = list(pool.map(lambda piece: run_measure(piece, evaluation, ctx, store, progress.advance), todo))
    return summarise(manifest, evaluation, list(zip(todo, parts, strict=True)), ctx, store)
