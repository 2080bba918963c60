"""From an edition to a ledger: measure every shard, score the whole, decide.

What is measured and scored is kept by what it depends on, so that a new threshold costs columns and no pictures, and
a run that was killed goes on where it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from schemas.canonical import Json, digest
from schemas.component import Context, CurationStep
from schemas.errors import CorruptShard, RecipeError
from schemas.manifest import Ledger, Manifest, ShardInfo
from schemas.recipe import Recipe
from schemas.verdict import Verdict
from variorum.columns import scalar_columns
from variorum.detectors import detector_figures
from variorum.ledgers import action_counts, keep_verdicts, put_ledger, put_queue, review_queue, settle
from variorum.measure import keep_columns, measure_shard, measures, pins
from variorum.progress import QUIET, Progress
from variorum.store import Store
from variorum.tables import read_table

UNSEEN = ("ops", "detail", "start")
"""Columns of an edition's table that no step needs and that would fill memory."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The side tables of an edition as far as they are made: by step, a part a shard, and one for the whole."""

    measured: dict[str, list[ShardInfo]]
    scored: dict[str, ShardInfo]

    def parts(self, step: str) -> list[list[ShardInfo]]:
        """A step's tables, each as the parts that make up the whole edition."""
        scored = [[self.scored[step]]] if step in self.scored else []
        return ([self.measured[step]] if step in self.measured else []) + scored


def scores(step: CurationStep) -> bool:
    """Whether a step gives columns for the whole edition."""
    return type(step).score is not CurationStep.score


def measuring(recipe: Recipe) -> list[CurationStep]:
    """The steps that look at pictures."""
    return [step for step in recipe.curate if measures(step)]


def picture_table(manifest: Manifest, store: Store) -> Any:
    """The edition's table, one row an accepted picture, in the order of the shards."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    # a gate that a unit hasn't is in no column of that unit's table
    names = dict.fromkeys(name for info in manifest.rows for name in pq.read_schema(store.path(info, ".parquet")).names)
    table = read_table(store, manifest.rows)
    table = table.select([name for name in names if name not in UNSEEN])
    return table.filter(pc.field("status") == "accepted").combine_chunks()


def add_columns(table: Any, columns: Columns, step: str, store: Store, *, vectors: bool) -> Any:
    """The table with a step's columns.

    Raises:
        CorruptShard: a side table isn't of the pictures that the edition's table names.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    for parts in columns.parts(step):
        paths = [store.path(info, ".parquet") for info in parts]
        if not paths:
            continue
        schema = pq.read_schema(paths[0])
        names = schema.names if vectors else scalar_columns(schema)
        try:
            side = pa.concat_tables([pq.read_table(path, columns=names) for path in paths]).combine_chunks()
        except (pa.ArrowInvalid, OSError) as error:
            raise CorruptShard(
                f"a table of curate.{step} can't be read ({error}); delete it and curate again"
            ) from None
        if not (side.column("id").equals(table.column("id")) and side.column("sha256").equals(table.column("sha256"))):
            raise CorruptShard(f"a table of curate.{step} isn't of this edition's pictures; delete it and curate again")
        for name in names:
            if name not in ("id", "sha256"):
                table = table.append_column(name, side.column(name))
    return table


def add_verdicts(table: Any, settled: Mapping[str, Verdict]) -> Any:
    """The table with `verdict.action` and `verdict.labels`: what the steps so far settled on for each picture."""
    import pyarrow as pa

    said = [settled.get(sample_id) for sample_id in table.column("id").to_pylist()]
    action = pa.array([verdict.action if verdict else "keep" for verdict in said], pa.string())
    labels = pa.array([" ".join(verdict.labels) if verdict else "" for verdict in said], pa.string())
    return table.append_column("verdict.action", action).append_column("verdict.labels", labels)


def curated_table(manifest: Manifest, ledger: Ledger, steps: Sequence[str], store: Store) -> Any:
    """The edition's table with all columns of the steps named, vectors too, as a ledger has them.

    Raises:
        RecipeError: the ledger has no such step.
    """
    table, columns = picture_table(manifest, store), Columns(ledger.measured, ledger.scored)
    for step in steps:
        if not columns.parts(step):
            raise RecipeError(f"{manifest.dataset}@{manifest.version} wasn't curated with {step}; add it to the recipe")
        table = add_columns(table, columns, step, store, vectors=True)
    return table


def score_step(
    step: CurationStep, manifest: Manifest, columns: Columns, ctx: Context, store: Store, table: Any = None
) -> ShardInfo:
    """A step's columns for the whole edition, computed and kept first if there are none."""
    key = score_key(step, manifest, columns, ctx)
    if kept := store.measure(key):
        return kept
    name = step.component_name()
    table = picture_table(manifest, store) if table is None else table
    ids = {"id": table.column("id").to_pylist(), "sha256": table.column("sha256").to_pylist()}
    for other in (*step.needs(), name):
        table = add_columns(table, columns, other, store, vectors=True)
    found = step.score(table, ctx)
    info = keep_columns(name, {**ids, **found}, table.num_rows, store)
    store.put_measure(key, info)
    return info


def score_key(step: CurationStep, manifest: Manifest, columns: Columns, ctx: Context) -> str:
    """Digest of all that decides a step's columns: its fields, the edition's table, the columns that it reads."""
    wanted = step.measured_by | step.scored_by
    fields = {name: value for name, value in step.identity().items() if name in wanted}
    read: dict[str, Json] = {
        other: [[info.sha256 for info in parts] for parts in columns.parts(other)]
        for other in (*step.needs(), step.component_name())
    }
    rows: list[Json] = [info.sha256 for info in manifest.rows]
    others: dict[str, Json] = {
        name: [source.fingerprint(), source.pin(ctx)] for name, source in step.references().items()
    }
    return digest([step.component_name(), step.revision, fields, ctx.seed, rows, read, others, pins(step, ctx)])


def decide(
    recipe: Recipe,
    manifest: Manifest,
    columns: Columns,
    ctx: Context,
    store: Store,
    *,
    force: bool = False,
    table: Any = None,
) -> tuple[int, Ledger]:
    """Verdicts and figures from all columns, kept as a numbered ledger.

    Raises:
        RecipeError: no picture would be left, unless forced; or a step judged a picture that isn't there.
    """
    table = picture_table(manifest, store) if table is None else table
    for step in recipe.curate:
        table = add_columns(table, columns, step.component_name(), store, vectors=False)
    verdicts = [verdict for step in recipe.curate if not step.reads_verdicts for verdict in step.decide(table)]
    table = add_verdicts(table, settle(verdicts))
    verdicts += [verdict for step in recipe.curate if step.reads_verdicts for verdict in step.decide(table)]
    settled = settle(verdicts)
    check_verdicts(settled.values(), table, force=force)
    ledger = Ledger(
        edition=manifest.digest(),
        curate=[step.identity() for step in recipe.curate],
        models={alias: pin for step in recipe.curate for alias, pin in pins(step, ctx).items()},
        measured=columns.measured,
        scored=columns.scored,
        verdicts=keep_verdicts(verdicts, store),
        members=added_members(recipe.curate, columns, store),
        counts=action_counts(settled),
        figures={step.component_name(): dict(figures) for step in recipe.curate if (figures := step.summarise(table))},
        detectors=detector_figures(table, manifest.classes),
    )
    number = put_ledger(manifest, ledger, store)
    put_queue(manifest, number, review_queue(verdicts, table), store)
    return number, ledger


def check_verdicts(settled: Any, table: Any, *, force: bool) -> None:
    """Refuse verdicts on pictures that aren't there, and those that would leave nothing. Raises RecipeError."""
    known = dict(zip(table.column("id").to_pylist(), table.column("sha256").to_pylist(), strict=True))
    dropped: dict[tuple[str, str], int] = {}
    for verdict in settled:
        if known.get(verdict.id) != verdict.sha256:
            raise RecipeError(
                f"curate.{verdict.by}: gave a verdict on {verdict.id}, which is no picture of the edition"
            )
        if verdict.action == "drop":
            cause = (verdict.by, verdict.reason)
            dropped[cause] = dropped.get(cause, 0) + 1
    if known and sum(dropped.values()) == len(known) and not force:
        causes = ", ".join(f"{by} {reason}: {number}" for (by, reason), number in sorted(dropped.items()))
        raise RecipeError(
            f"curate: the verdicts would drop all {len(known)} pictures ({causes}); loosen the rule, or --force"
        )


def added_members(steps: Sequence[CurationStep], columns: Columns, store: Store) -> dict[str, str]:
    """Members that a release adds to its samples. Raises RecipeError when some samples have one and some don't."""
    import pyarrow.parquet as pq

    found = {}
    for step in steps:
        name = step.component_name()
        for ending, column in step.adds.items():
            full = f"{name}.{column}"
            for info in (info for parts in columns.parts(name) for info in parts):
                path = store.path(info, ".parquet")
                if full in pq.read_schema(path).names:
                    values = pq.read_table(path, columns=[full]).column(full)
                    if 0 < values.null_count < len(values):
                        raise RecipeError(f"curate.{name}: {column} must have content for every picture, or for none")
                    if not values.null_count:
                        found[ending] = full
    return found


def curate(
    recipe: Recipe,
    manifest: Manifest,
    ctx: Context,
    store: Store,
    *,
    workers: int = 1,
    progress: Progress = QUIET,
    force: bool = False,
) -> tuple[int, Ledger]:
    """The plain loop: measure every shard on `workers` threads, score step after step, decide."""
    shards, steps = manifest.shards.get("test", []), measuring(recipe)
    measured: dict[str, list[ShardInfo]] = {step.component_name(): [] for step in steps}
    if steps:
        progress.start("measuring", sum(shard.samples for shard in shards))
        with ThreadPoolExecutor(workers) as pool:
            for found in pool.map(lambda shard: measure_shard(shard, steps, ctx, store, progress.advance), shards):
                for name, info in found.items():
                    measured[name].append(info)
    columns = Columns(measured, {})
    scoring = [step for step in recipe.curate if scores(step)]
    table = picture_table(manifest, store)
    progress.start("scoring", len(scoring))
    for step in scoring:
        columns.scored[step.component_name()] = score_step(step, manifest, columns, ctx, store, table)
        progress.advance(1)
    return decide(recipe, manifest, columns, ctx, store, force=force, table=table)
