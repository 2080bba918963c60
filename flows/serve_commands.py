"""The command that runs recipes on their schedules on one machine: serve."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from variorum.flows import terminal
from variorum.flows.options import (
    Limit,
    Overrides,
    Profile,
    ProfileName,
    SourceFolder,
    StoreUrl,
    Trust,
    Workers,
    examples,
    folder_settings,
)
from variorum.flows.versions_commands import AGE, SECONDS
from variorum.schemas.errors import RecipeError, cut

if TYPE_CHECKING:
    from variorum.flows.deployments import Deployment

commands = typer.Typer()

PORT = 4200
QUIET = "CRITICAL"
"""The level of Prefect's log that the command line sets for a run with progress."""
CAPACITY = "(at capacity)"
"""Part of what Prefect logs every few seconds while a run waits for others."""
CHOSEN = "PREFECT_SERVER_API_AUTH_STRING"
"""Prefect's variable with the password of a server."""
LEAST = 10
"""Minimum number of seconds between two runs; the server looks for runs that are due every few seconds."""


def _seconds(text: str) -> int:
    found = AGE.fullmatch(text)
    if not found or (seconds := int(found[1]) * SECONDS[found[2]]) < LEAST:
        raise typer.BadParameter(f"isn't a time of {LEAST} seconds or more; give a number with s, m, h, d or w: 12h")
    return seconds


@commands.command(
    epilog=examples(
        "variorum serve",
        "variorum serve imagenet_e photos.yaml --cron '0 3 * * 1'",
        "variorum serve photos.yaml --every 12h --workers 2",
        "variorum serve --look --port 4300",
    )
)
def serve(
    recipes: Annotated[
        list[str] | None,
        typer.Argument(metavar="RECIPE", help="YAML files, or recipes by name; by default all that need no GPU."),
    ] = None,
    cron: Annotated[
        str | None,
        typer.Option("--cron", metavar="CRON", help="Run each recipe at these times, in UTC."),
    ] = None,
    every: Annotated[
        int | None,
        typer.Option("--every", metavar="TIME", parser=_seconds, help="Run each recipe now and at this interval: 12h."),
    ] = None,
    store: StoreUrl = "store",
    profile: ProfileName = Profile.embedded,
    source: SourceFolder = None,
    overrides: Overrides = None,
    limit: Limit = None,
    workers: Workers = 1,
    trust: Trust = False,
    at_once: Annotated[
        int, typer.Option("--at-once", min=1, max=1000, help="Maximum number of runs at the same time.")
    ] = 1,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port of Prefect's pages.")] = PORT,
    look: Annotated[bool, typer.Option("--look", help="Only show Prefect's pages of past runs; run nothing.")] = False,
) -> None:
    """Run recipes on their schedules, on this machine, until Ctrl-C.

    Without --cron and --every, editions are built nightly and released weekly, as in prefect.yaml. Prefect's pages show
    runs and can start them. If PREFECT_API_URL is set, that server is used, and none is started. VARIORUM_NOTIFY is an
    address that gets a message when a run fails.
    """
    if os.environ.get("PREFECT_LOGGING_LEVEL") == QUIET:
        os.environ["PREFECT_LOGGING_LEVEL"] = "INFO"  # before Prefect reads it, so that its pages show the log of a run
    if cron and every:
        raise typer.BadParameter("--cron and --every: give one of them")
    if look and (recipes or cron or every):
        raise typer.BadParameter("--look runs nothing: leave out recipes, --cron and --every")
    check_cron(cron)
    options: dict[str, Any] = {"store": store, "profile": profile.value, "limit": limit, "workers": workers}
    options |= {"trust": trust, "overrides": [*folder_settings(source), *(overrides or ())]}
    chosen = [] if look else _chosen(recipes or (), options, cron, every)
    with _server(port) as (address, password):
        for one in chosen:
            terminal.say(f"{one.name}: {one.said()}")
        terminal.say(f"Prefect's pages: {address}; Ctrl-C ends")
        if password and sys.stdout.isatty():
            typer.echo(f"their password, until then: {password}")
        elif password:
            terminal.say(f"their password is shown on terminals only; to choose one, set {CHOSEN}")
        if look:
            _wait_until_stopped()
        else:
            _serve_until_stopped(chosen, at_once)
    terminal.say("stopped; finished work is kept")


def check_cron(text: str | None) -> None:
    """Check a cron expression. Raises typer.BadParameter."""
    if text is None:
        return
    import variorum.flows.settings  # noqa: F401 - before Prefect reads its settings

    # isort: split
    from prefect.client.schemas.schedules import CronSchedule

    try:
        CronSchedule(cron=text)
    except ValueError:
        raise typer.BadParameter(
            f"--cron {cut(text)}: must have minute, hour, day, month and day of the week; '0 3 * * 1' is Mondays "
            "at three"
        ) from None


def _chosen(recipes: Sequence[str], options: dict[str, Any], cron: str | None, every: int | None) -> list[Deployment]:
    """The deployments of these recipes, or of all shipped ones that need no GPU and have a schedule.

    Raises:
        RecipeError: a recipe can't be read, two have the same dataset, or an option holds a secret.
        StoreError: the store can't be written.
    """
    from variorum.edition.store import Store
    from variorum.flows.deployments import of_recipe, refuse_secrets, shipped_names
    from variorum.stages.recipe_files import load_recipe

    refuse_secrets(options["store"], *options["overrides"])
    found: dict[str, list[Deployment]] = {}
    for place, name in enumerate(recipes or shipped_names()):
        recipe = load_recipe(name, options["overrides"], options["limit"])
        if recipe.dataset in found:
            raise RecipeError(f"{cut(name)}: another recipe here has the dataset {recipe.dataset}; serve one of them")
        found[recipe.dataset] = of_recipe(name, recipe, place, options, cron=cron, every=every)
    Store(options["store"])
    return [one for several in found.values() for one in several]


@contextmanager
def _server(port: int) -> Iterator[tuple[str, str]]:
    """Prefect's server: the configured one, or our own with its pages on this port.

    Yields:
        the address of the pages, and their password; `""` if the user has set it.

    Raises:
        TemporaryError: it doesn't answer, or doesn't start.
        VariorumError: the port or PREFECT_HOME can't be used.
    """
    from variorum.flows import own_server, stale_runs

    with own_server.served(port) as (server, password):
        stale_runs.mark_killed(server)
        yield server.removesuffix("/api"), password


def _wait_until_stopped() -> None:
    """Wait for Ctrl-C or SIGTERM."""
    stopped = threading.Event()
    for sent in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sent, lambda *_: stopped.set())
    stopped.wait()


def _serve_until_stopped(chosen: Sequence[Deployment], at_once: int) -> None:
    """Start runs when they are due, until Ctrl-C or SIGTERM."""
    import prefect

    from variorum.flows.deployments import served

    logging.getLogger("prefect.runner").addFilter(lambda record: CAPACITY not in record.getMessage())
    # Prefect records the end of runs only on SIGTERM; on Ctrl-C it would leave them shown as running
    signal.signal(signal.SIGINT, lambda *_: signal.raise_signal(signal.SIGTERM))
    prefect.serve(*map(served, chosen), limit=at_once, print_starting_message=False)
