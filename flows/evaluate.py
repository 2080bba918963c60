"""Evaluations of a sealed edition as Prefect tasks: one task for each shard, or stretch of a reference."""

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
from variorum.evaluate import Piece, check_judges, check_ready, measure_key, pieces, run_measure, summarise
from variorum.ledgers import current


@task(name="measure", task_run_name="evaluation {position}, {piece}", **RETRY)
def measure_task(job: Job, position: int, piece: Piece) -> ShardInfo:
    """The rows that the recipe's evaluation at `position` makes of one piece."""
    recipe, ctx, store = job.open()
    with gpu_slot():
        return run_measure(piece, recipe.evaluate[position], ctx, store, progress.get().advance)


def evaluate(job: Job, manifest: Manifest) -> dict[str, dict[str, Json]]:
    """Inside a flow: every evaluation of the recipe on the edition, by name; what was measured before is kept."""
    recipe, ctx, store = job.open()
    check_ready(recipe.evaluate, manifest, ctx, store)
    figures = {}
    for position, evaluation in enumerate(recipe.evaluate):
        check_judges(evaluation, manifest, ctx)
        every = pieces(manifest, evaluation, ctx)
        todo = [piece for piece in every if not store.measure(measure_key(piece, evaluation, ctx))]
        progress.get().start(f"{evaluation.component_name()} on", sum(piece.samples for piece in every))
        progress.get().advance(sum(piece.samples for piece in every if piece not in todo))
        run_all([measure_task.submit(job, position, piece) for piece in todo], "shards")
        measured = [(piece, run_measure(piece, evaluation, ctx, store)) for piece in every]
        figures[evaluation.component_name()] = summarise(manifest, evaluation, measured, ctx, store)
    return figures


@flow(name="evaluate", flow_run_name="{recipe[dataset]} {recipe[version]}")
def evaluate_flow(recipe: dict[str, Any], profile: Profile, store: str) -> dict[str, dict[str, Json]]:
    """Evaluate the sealed edition that a parsed recipe names."""
    job = Job(recipe, profile, store)
    opened, _, where = job.open()
    return evaluate(job, current(where.resolve(f"{opened.dataset}@{opened.version}"), where))
