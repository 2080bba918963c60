"""Curation and release as Prefect tasks: one task a shard to measure, one a step to score, one a unit to release."""

from __future__ import annotations

import flows.settings  # noqa: F401 - before Prefect reads its settings

# isort: split

from typing import Any

from prefect import flow, task
from prefect.artifacts import create_table_artifact

from flows.build import RETRY, run_all
from flows.job import Job, ensure_gpu_limit, gpu_slot, progress
from schemas.manifest import Ledger, Manifest, Receipt, ShardInfo
from variorum.context import Profile
from variorum.curate import Columns, check_labels, decide, measuring, score_step, scores
from variorum.engine import check_models
from variorum.ledgers import read_ledger
from variorum.measure import measure_key, measure_shard
from variorum.release import Part, commit_release, plan_release, run_part
from variorum.store import Store


@task(name="look", task_run_name="shard {shard.sha256}", **RETRY)
def measure_task(job: Job, shard: ShardInfo) -> dict[str, ShardInfo]:
    """What the recipe's steps measure on one shard; `variorum.measure.measure_shard` in a GPU slot."""
    recipe, ctx, store = job.open()
    with gpu_slot():
        return measure_shard(shard, measuring(recipe), ctx, store, progress.get().advance)


@task(name="score", task_run_name="score {position}", **RETRY)
def score_task(job: Job, position: int, manifest: Manifest, columns: Columns) -> ShardInfo:
    """The columns of the recipe's step at `position`."""
    recipe, ctx, store = job.open()
    return score_step(recipe.curate[position], manifest, columns, ctx, store)


@task(name="release", task_run_name="samples {part.receipt.start} to {part.receipt.stop}", **RETRY)
def release_task(job: Job, part: Part, manifest: Manifest, ledger: Ledger) -> Receipt:
    """One unit of a release."""
    return run_part(part, manifest, ledger, job.open()[2])


def curate(job: Job, manifest: Manifest, *, force: bool = False) -> tuple[int, Ledger]:
    """Inside a flow: the number and content of the ledger that the recipe's curation makes of an edition."""
    recipe, ctx, store = job.open()
    check_labels(recipe, manifest, store)
    shards, steps = manifest.shards.get("test", []), measuring(recipe)
    if steps:
        progress.get().start("measuring", sum(shard.samples for shard in shards))
        todo = [shard for shard in shards if not _measured(shard, job)]
        progress.get().advance(sum(shard.samples for shard in shards if shard not in todo))
        if todo:
            check_models(recipe.curate, ctx)
            ensure_gpu_limit()
            run_all([measure_task.submit(job, shard) for shard in todo], "shards")
    found = [measure_shard(shard, steps, ctx, store) for shard in shards]
    names = [step.component_name() for step in steps]
    columns = Columns({name: [parts[name] for parts in found] for name in names}, {})
    scoring = [position for position, step in enumerate(recipe.curate) if scores(step)]
    progress.get().start("scoring", len(scoring))
    for position in scoring:
        name = recipe.curate[position].component_name()
        columns.scored[name] = score_task(job, position, manifest, columns)
        progress.get().advance(1)
    number, ledger = decide(recipe, manifest, columns, ctx, store, force=force)
    rows = [
        {"action": action, "reason": reason, "pictures": pictures}
        for action, reasons in ledger.counts.items()
        for reason, pictures in reasons.items()
    ]
    create_table_artifact(rows, key="verdicts", description=f"{manifest.dataset}@{manifest.version}, ledger {number}")
    return number, ledger


def release(job: Job, manifest: Manifest, number: int, ledger: Ledger) -> Manifest:
    """Inside a flow: carry out a ledger, seal the release and put it in use."""
    store: Store = job.open()[2]
    parts = plan_release(manifest, ledger, store)
    progress.get().start("releasing", len(parts))
    todo = [part for part in parts if not store.receipt(part.key)]
    progress.get().advance(len(parts) - len(todo))
    run_all([release_task.submit(job, part, manifest, ledger) for part in todo], "units")
    progress.get().advance(len(todo))
    return commit_release(manifest, number, ledger, [run_part(part, manifest, ledger, store) for part in parts], store)


def _measured(shard: ShardInfo, job: Job) -> bool:
    recipe, ctx, store = job.open()
    return all(store.measure(measure_key(shard, step, ctx)) for step in measuring(recipe))


@flow(name="curate", flow_run_name="{recipe[dataset]} {recipe[version]}")
def curate_flow(recipe: dict[str, Any], profile: Profile, store: str, force: bool = False) -> int:
    """Curate the sealed edition that a parsed recipe names; returns the ledger's number."""
    job = Job(recipe, profile, store)
    opened, _, where = job.open()
    return curate(job, where.resolve(f"{opened.dataset}@{opened.version}"), force=force)[0]


@flow(name="release", flow_run_name="{recipe[dataset]} {recipe[version]}")
def release_flow(recipe: dict[str, Any], profile: Profile, store: str, number: int | None = None) -> Manifest:
    """Release the sealed edition that a parsed recipe names by a ledger, the newest by default."""
    job = Job(recipe, profile, store)
    opened, _, where = job.open()
    manifest = where.resolve(f"{opened.dataset}@{opened.version}")
    return release(job, manifest, *read_ledger(manifest, where, number))
