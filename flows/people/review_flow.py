"""The flow with people in it: build, curate, publish a panel, wait for the votes, then curate with them and release.

It waits in one of two ways. Polling keeps the process and looks at the votes every now and then. Suspending ends the
process until somebody resumes the run; then the flow starts from the beginning, finds all finished work and is soon at
the same place. As the store and the panel's database know everything, a flow that was killed is simply run again.
"""

# No `from __future__ import annotations`: `serve` loads this file by its path, where texts can't be looked up as types.
import variorum.flows.settings  # noqa: F401 - before Prefect reads its settings

# isort: split

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.runtime import deployment
from pydantic import Field

from variorum.flows import own_server, stale_runs
from variorum.flows.people.review_steps import Asking
from variorum.flows.prefect_runner import in_flow
from variorum.people.panel.collected import Standing, keep_votes, standing
from variorum.people.panel.panel import Panel
from variorum.people.panel.settings import Settings
from variorum.pipeline import run
from variorum.schemas.errors import RecipeError, TemporaryError
from variorum.schemas.secrets import cleaned_errors
from variorum.stages.job import Profile

log = logging.getLogger(__name__)


class Resume(RunInput):
    """Input with which a suspended run is resumed."""

    enough: bool = Field(default=False, description="Continue with the votes so far, even if some are missing.")


@flow(name="review", flow_run_name="{recipe} {panel}")
def review_flow(
    recipe: str,
    store: str = "store",
    profile: Profile = "embedded",
    overrides: list[str] | None = None,
    panel: str = "main",
    settings: Settings = Settings(),  # noqa: B008 - frozen
    gold: str | None = None,
    database: str | None = None,
    wait: Literal["poll", "suspend"] = "poll",
    poll_seconds: Annotated[float, Field(gt=0)] = 60.0,
    complete: Annotated[float, Field(gt=0, le=1)] = 1.0,
    timeout_seconds: Annotated[float, Field(gt=0)] | None = None,
    page: str = "",
    workers: int = 1,
    trust: bool = False,
) -> str:
    """Run a recipe whose labels people judge, and return the release's digest.

    Serve the page with `variorum review` while this flow waits.

    Args:
        recipe: a YAML file, or the name of a recipe; a step must have `votes`, such as `consensus`.
        store: folder or URL of the store.
        profile: which table of models.
        overrides: changes to the recipe, `key=value` each.
        panel: name of the panel.
        settings: what it asks and how often.
        gold: file with known answers for the panel's controls.
        database: URL without password, or path of a SQLite file; by default what `VARIORUM_DATABASE` says where the
            flow runs, or else a file in the panel's folder.
        wait: `poll` looks at the votes every `poll_seconds`; `suspend` ends the process until the run is resumed, and
            needs a deployment.
        poll_seconds: pause between two looks.
        complete: share of the questions that must be settled: they have all their votes, and no dispute is open.
        timeout_seconds: maximum time to wait; None for no limit. The votes are kept in any case.
        page: address at which people find the page; it is only shown.
        workers: number of tasks at the same time.
        trust: whether to use finished files without hashing them first.

    Raises:
        RecipeError: before any work: the recipe has no step with `votes`, the database's URL holds a
            password, or there is no deployment to suspend.
        TemporaryError: `timeout_seconds` have passed.
        VariorumError: whatever else can't work.
    """
    with cleaned_errors():
        asking = Asking(
            recipe,
            store,
            profile,
            tuple(overrides or ()),
            settings,
            panel,
            Path(gold) if gold else None,
            database,
            trust,
        )
        if wait == "suspend" and not deployment.id:
            raise RecipeError(
                "wait: suspend needs a deployment, from which the run is started again when it is resumed; deploy the "
                "flow, or use wait: poll"
            )
        asking.check()
        with own_server.api() as server, stale_runs.lease(server) as tag:
            stale_runs.claim(tag)
            manifest = in_flow("ask", asking.ask, asking.job(), workers=workers)
            opened = asking.open(manifest)
            if wait == "poll":
                poll(opened, page, poll_seconds, complete, timeout_seconds)
            else:
                suspend(opened, page, complete, timeout_seconds)
                stale_runs.claim(tag)
            votes = keep_votes(opened)
            opened.engine.dispose()
            return in_flow("run", run, asking.job(votes), workers=workers).digest()


def poll(
    panel: Panel,
    page: str,
    seconds: float,
    complete: float,
    timeout: float | None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Look at the votes until enough questions are settled; a progress artifact shows how many are.

    Raises:
        TemporaryError: it takes longer than `timeout` seconds.
    """
    end = None if timeout is None else time.monotonic() + timeout
    artifact, before = None, standing(panel)
    if before.share < complete:
        artifact = show(panel, page, before, artifact)
    while (now := look(panel, before)).share < complete:
        if now != before:
            artifact, before = show(panel, page, now, artifact), now
        if end is not None and time.monotonic() >= end:
            raise TemporaryError(
                f"panel {panel.key}: {now}, after {timeout:g} seconds; all votes are kept, run the same flow again"
            )
        sleep(seconds if end is None else max(0.0, min(seconds, end - time.monotonic())))
    show(panel, page, now, artifact)


def look(panel: Panel, before: Standing) -> Standing:
    """Look how far the panel has come; repeat the last answer while the database can't be reached."""
    try:
        return standing(panel)
    except TemporaryError as error:
        log.warning("%s; the votes are looked at again later", error)
        return before


def show(panel: Panel, page: str, now: Standing, artifact: object | None) -> object | None:
    """Bring the progress artifact up to date. Without a server the wait goes on: the votes don't come through it."""
    text = f"{panel.key}: {now}. {where(panel, page)}"
    try:
        if artifact is None:
            return create_progress_artifact(100 * now.share, key="votes", description=text)
        update_progress_artifact(artifact, 100 * now.share, description=text)  # type: ignore[arg-type]
    except Exception as error:  # of httpx, of Prefect
        log.warning("the progress of %s isn't shown (%s)", panel.key, own_server.reason(error))
    return artifact


def suspend(panel: Panel, page: str, complete: float, timeout: float | None) -> None:
    """Suspend the run until enough questions are settled, or whoever resumes it says that it is enough.

    When the run is resumed, it comes here again. The suspensions before are known by their order: they return at once
    with what was said.
    """
    while (now := standing(panel)).share < complete:
        text = f"{panel.key}: {now}.\n\n{where(panel, page)}\n\nThen resume this run."
        create_markdown_artifact(text, key="votes", description=panel.key)
        stale_runs.let_go()
        if suspend_flow_run(wait_for_input=Resume, timeout=None if timeout is None else int(timeout)).enough:
            return


def where(panel: Panel, page: str) -> str:
    """Where people answer."""
    edition, name = panel.key.split("/")
    if page:
        return f"Answer at {page}"
    return f"Answer with: variorum review {edition}" + ("" if name == "main" else f" --name {name}")
