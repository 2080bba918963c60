"""Evaluations of a sealed edition as Prefect tasks: one task a shard and evaluation."""

from __future__ import annotations

import flows.settings  # noqa: F401 - before Prefect reads its settings

# isort: split

from typing import Any

from prefect import flow, task

from flows.build import RETRY, run_all
from flows.job import Job, gpu_slot, progress
from schemas.canonical import Json
from schemas.manifest import Manifest, ShardInfo
from variorum.context import Profile
from variorum.evaluate import check_judges, measure_key, run_measure, summarise
from variorum.ledgers import current


@task(name="measure", task_run_name="evaluation {position}, shard {shard.sha256}", **RETRY)
def measure_task(job: Job, position: int, shard: ShardInfo) -> ShardInfo:
    """The rows that the recipe's evaluation at `position` makes of one shard."""
    recipe, ctx, store = job.open()
    with gpu_slot():
        return run_measure(shard, recipe.evaluate[position], ctx, store, progress.get().advance)


def evaluate(job: Job, manifest: Manifest) -> dict[str, dict[str, Json]]:
    """Inside a flow: every evaluation of the recipe on the edition, by name; what was measured before is kept."""
    recipe, ctx, store = job.open()
    shards = manifest.shards.get("test", [])
    figures = {}
    for position, evaluation in enumerate(recipe.evaluate):
        check_judges(evaluation, manifest, ctx)
        todo = [shard for shard in shards if not store.measure(measure_key(shard, evaluation, ctx))]
        progress.get().start(f"{evaluation.component_name()} on", sum(shard.samples for shard in shards))
        progress.get().advance(sum(shard.samples for shard in shards if shard not in todo))
        run_all([measure_task.submit(job, position, shard) for shard in todo], "shards")
        parts = [run_measure(shard, evaluation, ctx, store) for shard in shards]
        figures[evaluation.component_name()] = summarise(manifest, evaluation, parts, ctx, store)
    return figures


@flow(name="evaluate", flow_run_name="{recipe[dataset]} {recipe[version]}")
def evaluate_flow(recipe: dict[str, Any], profile: Profile, store: str) -> dict[str, dict[str, Json]]:
    """Evaluate the sealed edition that a parsed recipe names."""
    job = Job(recipe, profile, store)
    opened, _, where = job.open()
    return evaluate(job, current(where.resolve(f"{opened.dataset}@{opened.version}"), where))
