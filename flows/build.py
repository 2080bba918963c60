"""The same units as the plain loop runs, as Prefect tasks: one task a unit, retries, artifacts.

Prefect's database is never asked what is done; the store's receipts are. A killed run is therefore completed by the
same command, under any runner, with or without a server.
"""

from __future__ import annotations

import flows.settings  # noqa: F401 - before Prefect reads its settings

# isort: split

from collections.abc import Iterable
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import as_completed

from flows.job import Job, ensure_gpu_limit, gpu_slot, progress, worth_retrying
from schemas.component import Component
from schemas.manifest import Manifest, Receipt
from variorum.context import Profile
from variorum.engine import Unit, check_models, commit, plan, run_unit
from variorum.plans import keep_plan
from variorum.recipes import whereabouts
from variorum.tables import summary_rows

RETRY: dict[str, Any] = {
    "retries": 2,
    "retry_delay_seconds": [2, 20],
    "retry_condition_fn": worth_retrying,
    "cache_policy": NO_CACHE,
    "persist_result": False,
}
"""Of every task: tried again for what may pass, and never taken for done by Prefect; the store says what is done."""


@task(name="unit", task_run_name="samples {unit.start} to {unit.stop}", **RETRY)
def unit_task(job: Job, unit: Unit) -> Receipt:
    """One unit; `variorum.engine.run_unit` in a GPU slot."""
    recipe, ctx, store = job.open()
    with gpu_slot():
        return run_unit(recipe, unit, ctx, store, progress.get().advance)


def build(job: Job, then: Iterable[Component] = ()) -> Manifest:
    """Inside a flow: run every unit that has no receipt yet, then seal the edition.

    The models for it are looked for first, and those of the components that work on the edition `then`.
    """
    recipe, ctx, store = job.open()
    planned = plan(recipe, ctx)
    store.check_version(recipe.dataset, recipe.version, planned.fingerprint, whereabouts(recipe.source))
    asked = keep_plan(recipe, ctx, store, progress.get())
    receipts = [receipt for unit in planned.units if (receipt := store.receipt(unit.key))]
    progress.get().start("making pictures of", planned.size)
    progress.get().advance(sum(receipt.stop - receipt.start for receipt in receipts))
    done = {receipt.unit for receipt in receipts}
    if todo := [unit for unit in planned.units if unit.key not in done]:
        check_models((recipe.source, *recipe.generate, *then), ctx)
        ensure_gpu_limit()  # imports torch, which takes longer than all else of a run with nothing to do
        receipts += run_all([unit_task.submit(job, unit) for unit in todo], "units")
    manifest = commit(recipe, planned, receipts, store, profile=job.profile, asked=asked)
    create_table_artifact(summary_rows(manifest), key="counts", description=f"{recipe.dataset}@{recipe.version}")
    return manifest


def run_all(futures: list[Any], what: str) -> list[Any]:
    """Results of all tasks, in the order in which they finish, with a progress artifact under the name `what`.

    One that fails doesn't stop the others; the first error is raised once all have had their turn.
    """
    if not futures:
        return []
    artifact: Any = create_progress_artifact(0.0, key=what, description=f"{len(futures)} to do")
    results = []
    for finished, future in enumerate(as_completed(futures), 1):
        results.append(future.result(raise_on_failure=False))
        update_progress_artifact(artifact, 100 * finished / len(futures))
    if errors := [result for result in results if isinstance(result, BaseException)]:
        raise errors[0]
    return results


@flow(name="build", flow_run_name="{recipe[dataset]} {recipe[version]}")
def build_flow(recipe: dict[str, Any], profile: Profile, store: str) -> Manifest:
    """Build the edition that a parsed recipe (`Recipe.dump()`) names."""
    return build(Job(recipe, profile, store))
