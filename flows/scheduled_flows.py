"""The flows that deployments schedule: `scheduled` runs a recipe, `published` publishes an edition.

Prefect's pages show their parameters with types and descriptions, and its server rejects wrong values. A run that finds
everything finished ends within seconds, so a late or repeated run does no work twice.
"""

# No `from __future__ import annotations`: Prefect may load this file by its path, and then can't resolve text.
import variorum.flows.settings  # noqa: F401 - before Prefect reads its settings

# isort: split

import logging
import os
import signal
import threading
from collections.abc import Callable
from typing import Annotated, Literal

from prefect import flow
from prefect.artifacts import create_link_artifact
from prefect.runtime import deployment
from pydantic import Field

from variorum.edition.opening import open_edition
from variorum.flows import own_server, stale_runs, terminal
from variorum.flows.deployments import refuse_secrets
from variorum.flows.notification import tell
from variorum.flows.prefect_runner import in_flow
from variorum.hub.publish import Terms, publish
from variorum.machine.progress import Progress
from variorum.pipeline import Job, build, check, curate, release, run
from variorum.runners.chosen import chosen
from variorum.schemas.errors import StoreError
from variorum.schemas.manifest import Manifest
from variorum.schemas.secrets import cleaned_errors
from variorum.stages.consent import check_all
from variorum.stages.job import Profile
from variorum.stages.recipe_files import load_recipe
from variorum.stages.stage import Runner

Until = Literal["build", "release", "everything"]
"""How far a run goes: the edition; its curation and release too; evaluations and the card too."""
Engine = Literal["prefect", "processes", "ray", "dask", "slurm"]
ORG = "VARIORUM_ORG"
"""Environment variable with the organisation on the Hub that scheduled runs publish to."""
Work = Callable[[Job, Runner, Progress], Manifest]


@flow(name="scheduled", flow_run_name="{recipe} {until}", on_failure=[tell], on_crashed=[tell])
def scheduled(
    recipe: str,
    until: Until = "everything",
    store: str = "store",
    profile: Profile = "embedded",
    overrides: list[str] | None = None,
    limit: Annotated[int, Field(ge=1)] | None = None,
    workers: Annotated[int, Field(ge=1, le=1000)] = 1,
    runner: Engine = "prefect",
    runner_settings: list[str] | None = None,
    trust: bool = False,
) -> str:
    """Run a recipe, and return the digest of its edition or release.

    Work that is finished in the store isn't repeated, whichever run did it.

    Args:
        recipe: name of a shipped recipe, or a YAML file on the machine of the run.
        until: `build` makes the edition; `release` also curates and releases it, if the recipe has curation;
            `everything` also evaluates it and writes the card.
        store: folder or URL of the store, without credentials.
        profile: which models: `embedded` are packaged ones, `hub` are those of the Hugging Face Hub.
        overrides: changes to the recipe, `key=value` each, such as `source.path=photos`.
        limit: maximum number of source samples to read; makes a -dev version.
        workers: number of parts that are worked on at the same time.
        runner: where the work is done: `prefect` makes each part a task with retries. The edition is always the same.
        runner_settings: settings of the runners other than `prefect`, `key=value` each, such as `partition=gpu`.
        trust: whether to use finished files without hashing them first.

    Raises:
        RecipeError: the recipe can't work, or a parameter holds a secret.
        VariorumError: the run fails otherwise.
    """
    with cleaned_errors():
        refuse_secrets(store, *(overrides or ()), *(runner_settings or ()))
        settle()
        job = Job(load_recipe(recipe, overrides or (), limit), store, profile, trust=trust)
        if runner == "prefect":
            return in_flow(until, WORK[until], job, workers=workers).digest()
        with chosen(runner, workers, runner_settings or ()) as engine:
            return in_flow(until, lambda job, _, progress: WORK[until](job, engine, progress), job).digest()


@flow(name="published", flow_run_name="{edition} publish", on_failure=[tell], on_crashed=[tell])
def published(
    edition: str,
    repo: str | None = None,
    store: str = "store",
    private: bool = False,
    gated: Literal["", "auto", "manual"] = "",
    checked: str = "",
    dry_run: bool = False,
) -> str:
    """Publish an edition on the Hugging Face Hub, and return the address of its page.

    Nothing happens if this version is there already. The token comes from the environment of the run (`HF_TOKEN`, or
    `hf auth login`).

    Args:
        edition: dataset, for the newest release; or dataset@version.
        repo: ORG/NAME on the Hub; by default the dataset's name in the organisation that `VARIORUM_ORG` names in the
            environment of the run.
        store: folder or URL of the store, without credentials.
        private: whether only members of the organisation see it.
        gated: `auto` or `manual` if people have to ask for access; empty leaves it as it is.
        checked: who found out, and how, that pictures with unknown licences may be redistributed.
        dry_run: whether to only check and list what would be uploaded.

    Raises:
        StoreError: there is no such edition, it may not be published, or no repository is given.
        VariorumError: the upload fails otherwise.
    """
    with cleaned_errors():
        refuse_secrets(store)
        settle()
        manifest, where = open_edition(edition, store)
        org = os.environ.get(ORG, "").strip()
        if not repo and not org:
            raise StoreError(f"{edition}: no repository is given; set repo, or {ORG} in the environment of the run")
        with own_server.api() as server, stale_runs.lease(server) as tag:
            stale_runs.claim(tag)
            done = publish(
                manifest,
                where,
                repo or f"{org}/{manifest.dataset}",
                Terms(private=private, gated=gated, checked=checked),
                dry_run=dry_run,
            )
            said = "would be published" if dry_run else "is published" if done.new else "was published already"
            create_link_artifact(done.url, key="published", description=f"{manifest.dataset}@{manifest.version} {said}")
        return done.url


def settle() -> None:
    """In a process of its own, keep secrets and tracebacks out of the log, and leave Ctrl-C to `variorum serve`.

    A terminal sends Ctrl-C to all processes. A run that it ends isn't recorded as cancelled, so `serve` ends its runs.
    """
    if deployment.id:
        logging.setLogRecordFactory(terminal.PlainRecord)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def build_only(job: Job, runner: Runner, progress: Progress) -> Manifest:
    """Make the edition. The rest of the recipe is checked too, so that its errors don't wait for the release."""
    check(job)
    return build(job, runner, progress)


def build_and_release(job: Job, runner: Runner, progress: Progress) -> Manifest:
    """Make the edition; also curate and release it if the recipe has curation."""
    check(job)
    check_all(job.recipe.curate)
    manifest = build(job, runner, progress, then=job.recipe.curate)
    if not job.recipe.curate:
        return manifest
    number, ledger = curate(job, manifest, runner, progress)
    return release(job, manifest, number, ledger, runner, progress)


WORK: dict[str, Work] = {"build": build_only, "release": build_and_release, "everything": run}
