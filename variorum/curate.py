"""From an edition to a ledger: measure every shard, score the whole, decide.

What is measured and scored is kept by what it depends on, so that a new threshold costs columns and no pictures, and
a run that was killed goes on where it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from threadpoolctl import threadpool_limits

from schemas.canonical import Json, digest
from schemas.component import Context, CurationStep
from schemas.errors import CorruptShard, RecipeError
from schemas.manifest import Ledger, Manifest, ShardInfo
from schemas.recipe import Recipe
from schemas.verdict import Verdict
from variorum.columns import scalar_columns
from variorum.detectors import detector_figures
from variorum.engine import check_models
from variorum.ledgers import action_counts, keep_verdicts, put_ledger, put_queue, review_queue, settle
from variorum.measure import keep_columns, measure_key, measure_shard, measures, pins
from variorum.models.memory import running_out
from variorum.progress import QUIET, Progress
from variorum.store import Store
from variorum.tables import filled_rows, read_part, read_table

KEYS = ("id", "sha256")
"""Columns that say which picture a row is of."""
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


def check_ready(recipe: Recipe, manifest: Manifest, ctx: Context, store: Store) -> None:
    """Whether the models of the steps can be had, if anything is still to be measured. Raises ModelUnavailable."""
    shards = manifest.shards.get("test", [])
    if not all(store.measure(measure_key(shard, step, ctx)) for step in measuring(recipe) for shard in shards):
        check_models(recipe.curate, ctx)


def check_labels(recipe: Recipe, manifest: Manifest, store: Store) -> None:
    """Raise RecipeError when no picture has a label and there are steps that need some; asked before measuring."""
    wanting = [step.component_name() for step in recipe.curate if step.needs_labels]
    if not wanting:
        return
    rows = read_table(store, manifest.rows, ["label", "status"]).to_pydict()
    labels = [label for label, status in zip(rows["label"], rows["status"], strict=True) if status == "accepted"]
    if not labels or max(labels) >= 0:
        return
    raise RecipeError(
        f"no picture of {manifest.dataset}@{manifest.version} has a label, and {', '.join(wanting)} can't do without; "
        f"leave them out with all that needs them: {' '.join(f'--set curate.{name}=null' for name in wanting)}"
    )


def picture_table(manifest: Manifest, store: Store) -> Any:
    """The edition's table, one row an accepted picture, in the order of the shards."""
    import pyarrow as pa
    import pyarrow.compute as pc

    tables = [
        read_part(store, info, lambda schema: [name for name in schema.names if name not in UNSEEN])
        for info in manifest.rows
    ]
    # a gate that a unit hasn't is in no column of that unit's table
    table = pa.concat_tables(tables, promote_options="default")
    return table.filter(pc.field("status") == "accepted").combine_chunks()


def add_columns(table: Any, columns: Columns, step: str, store: Store, *, vectors: bool) -> Any:
    """The table with a step's columns.

    Raises:
        CorruptShard: a side table isn't of the pictures that the edition's table names.
    """
    import pyarrow as pa

    for parts in columns.parts(step):
        if not parts:
            continue
        pick = (lambda schema: schema.names) if vectors else scalar_columns
        pieces, row = [read_part(store, info, pick) for info in parts], 0
        for info, piece in zip(parts, pieces, strict=True):
            if not piece.select(KEYS).equals(table.select(KEYS).slice(row, len(piece))):
                raise CorruptShard(
                    f"{store.object(info, '.parquet')}: this table of curate.{step} isn't of the edition's pictures; "
                    f"delete it and curate again"
                )
            row += len(piece)
        if row != len(table):
            raise CorruptShard(f"curate.{step} has tables of {row} pictures, the edition of {len(table)}; curate again")
        side = pa.concat_tables(pieces, promote_options="default").combine_chunks()
        for name in side.column_names:
            if name not in KEYS:
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


@running_out()
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
    with threadpool_limits(1, user_api="blas"):  # sums of floats, and with them the digest, depend on the threads
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
    import pyarrow as pa
    import pyarrow.compute as pc

    settled, pictures = list(settled), len(table)
    rows = pc.index_in(pa.array([verdict.id for verdict in settled], pa.string()), value_set=table.column("id"))
    dropped: dict[tuple[str, str], int] = {}
    for verdict, sha256 in zip(settled, table.column("sha256").take(rows).to_pylist(), strict=True):
        if verdict.sha256 != sha256:
            raise RecipeError(
                f"curate.{verdict.by}: gave a verdict on {verdict.id}, which is no picture of the edition"
            )
        if verdict.action == "drop":
            cause = (verdict.by, verdict.reason)
            dropped[cause] = dropped.get(cause, 0) + 1
    if pictures and sum(dropped.values()) == pictures and not force:
        causes = ", ".join(f"{by} {reason}: {number}" for (by, reason), number in sorted(dropped.items()))
        raise RecipeError(
            f"curate: the verdicts would drop all {pictures} pictures ({causes}); loosen the rule, or --force"
        )


def added_members(steps: Sequence[CurationStep], columns: Columns, store: Store) -> dict[str, str]:
    """Members that a release adds to its samples. Raises RecipeError when some samples have one and some don't."""
    found = {}
    for step in steps:
        name = step.component_name()
        for ending, column in step.adds.items():
            full = f"{name}.{column}"
            counted = [filled_rows(store, info, full) for parts in columns.parts(name) for info in parts]
            rows, filled = (sum(numbers) for numbers in zip((0, 0), *counted, strict=True))
            if 0 < filled < rows:
                raise RecipeError(f"curate.{name}: {column} must have content for every picture, or for none")
            if filled:
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
    check_labels(recipe, manifest, store)
    check_ready(recipe, manifest, ctx, store)
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
