"""The whole way in one flow: build, evaluate, card. This is what a schedule runs."""

from __future__ import annotations

import flows.settings  # noqa: F401 - before Prefect reads its settings

# isort: split

from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.task_runners import ThreadPoolTaskRunner

from flows.build import build
from flows.curate import curate, release
from flows.evaluate import evaluate
from flows.job import Job
from schemas.manifest import Manifest
from variorum.card import write_card
from variorum.context import Profile
from variorum.evaluate import check_evaluations
from variorum.recipes import load_recipe


@flow(name="run", flow_run_name="{recipe[dataset]} {recipe[version]}")
def run_flow(recipe: dict[str, Any], profile: Profile, store: str, force: bool = False) -> Manifest:
    """Build, curate, release, evaluate and describe the edition that a parsed recipe names."""
    job = Job(recipe, profile, store)
    opened, ctx, where = job.open()
    check_evaluations(opened, ctx)
    manifest = build(job, (*opened.curate, *opened.evaluate))
    if opened.curate:
        manifest = release(job, manifest, *curate(job, manifest, force=force))
    evaluate(job, manifest)
    card = write_card(opened, manifest, where)
    create_markdown_artifact(card, key="card", description=f"{manifest.dataset}@{manifest.version}")
    return manifest


@flow(name="scheduled", flow_run_name="{recipe}")
def scheduled_flow(
    recipe: str,
    store: str = "store",
    profile: Profile = "embedded",
    overrides: list[str] | None = None,
    workers: int = 1,
) -> str:
    """A recipe by file or name, for deployments; returns the edition's digest."""
    parsed = load_recipe(recipe, overrides or [])
    runner: Any = ThreadPoolTaskRunner(max_workers=workers)
    return run_flow.with_options(task_runner=runner)(parsed.dump(), profile, store).digest()
