"""The `variorum` command. Only this module prints; what it calls logs or returns."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.errors import VariorumError

if TYPE_CHECKING:
    from flows.job import Job
    from schemas.manifest import Manifest
    from schemas.recipe import Recipe
    from variorum.progress import Progress
    from variorum.store import Store


class Profile(StrEnum):
    """Which table of models stands behind the aliases."""

    embedded = "embedded"
    hub = "hub"


app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Generate variants of image datasets, gather the notes on each, and seal the result as a versioned edition.",
    epilog="Start with [bold]variorum run imagenet_e[/bold], then [bold]variorum show imagenet_e[/bold].",
)

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A YAML file, or a recipe by name: imagenet_e.")]
Edition = Annotated[str, typer.Argument(metavar="EDITION", help="dataset, or dataset@version; the newest by default.")]
StoreUrl = Annotated[str, typer.Option("--store", envvar="VARIORUM_STORE", help="Folder or URL that holds editions.")]
ProfileName = Annotated[Profile, typer.Option("--profile", help="Which models: packaged ones, or the Hub's.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a field: source.path=photos. May be repeated."),
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Read only the first so many source samples.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Units at work at the same time.")]
NoPrefect = Annotated[bool, typer.Option("--no-prefect", help="A plain loop; the same edition to the byte.")]


@app.command(
    epilog="[bold]Examples[/bold]\n\n"
    "variorum run imagenet_e\n\n"
    "variorum run recipes/imagenet_e.yaml --set source.name=image_folder --set source.path=photos --limit 200"
)
def run(
    recipe: RecipeName,
    store: StoreUrl = "store",
    profile: ProfileName = Profile.embedded,
    overrides: Overrides = None,
    limit: Limit = None,
    workers: Workers = 1,
    no_prefect: NoPrefect = False,
) -> None:
    """Build the edition, evaluate it, write its card. What is done already is not done again."""
    job, parsed = _job(recipe, overrides, limit, profile, store)
    if no_prefect:
        manifest = _plain_run(job, workers)
    else:
        from flows.run import run_flow

        manifest = _in_flow(run_flow, job, workers)
    _print_summary(manifest, job)
    _print_evaluations(parsed, manifest, _open_store(job))


@app.command()
def plan(
    recipe: RecipeName,
    store: StoreUrl = "store",
    profile: ProfileName = Profile.embedded,
    overrides: Overrides = None,
    limit: Limit = None,
) -> None:
    """Say what a run would do: units, pictures, bytes, time, models. No picture is made."""
    from rich.table import Table

    from variorum.engine import plan as make_plan
    from variorum.estimate import estimate

    job, parsed = _job(recipe, overrides, limit, profile, store)
    opened, ctx, where = job.open()
    planned = make_plan(opened, ctx)
    guess = estimate(parsed.dataset, planned, where)
    table = Table("", "", show_header=False, box=None, title=f"{parsed.dataset}@{parsed.version}", title_justify="left")
    table.add_row("source", f"{parsed.source.component_name()}, {planned.size} samples, {len(planned.classes)} classes")
    table.add_row("units", f"{len(planned.units)} of up to {parsed.samples_per_shard}; {guess.done} done already")
    table.add_row("makes", ", ".join(part.component_name() for part in parsed.generate) or "the source's own pictures")
    for alias, pin in planned.models.items():
        state = ctx.models.status(alias).state  # type: ignore[attr-defined]
        table.add_row("model", f"{alias}: {pin} ({state})")
    table.add_row("estimate", guess.text)
    _console().print(table)


@app.command()
def build(
    recipe: RecipeName,
    store: StoreUrl = "store",
    profile: ProfileName = Profile.embedded,
    overrides: Overrides = None,
    limit: Limit = None,
    workers: Workers = 1,
    no_prefect: NoPrefect = False,
) -> None:
    """Build and seal the edition, nothing more."""
    job, _ = _job(recipe, overrides, limit, profile, store)
    if no_prefect:
        from variorum.engine import build as plain_build

        opened, ctx, where = job.open()
        with _bars() as bars:
            manifest = plain_build(opened, ctx, where, profile=job.profile, workers=workers, progress=bars)
    else:
        from flows.build import build_flow

        manifest = _in_flow(build_flow, job, workers)
    _print_summary(manifest, job)


@app.command()
def evaluate(
    recipe: RecipeName,
    store: StoreUrl = "store",
    profile: ProfileName = Profile.embedded,
    overrides: Overrides = None,
    limit: Limit = None,
    workers: Workers = 1,
    no_prefect: NoPrefect = False,
) -> None:
    """Run the recipe's evaluations on its sealed edition."""
    job, parsed = _job(recipe, overrides, limit, profile, store)
    where = _open_store(job)
    manifest = where.resolve(f"{parsed.dataset}@{parsed.version}")
    if no_prefect:
        _plain_evaluate(job, manifest, workers)
    else:
        from flows.evaluate import evaluate_flow

        _in_flow(evaluate_flow, job, workers)
    _print_evaluations(parsed, manifest, where)


@app.command()
def card(
    recipe: RecipeName,
    store: StoreUrl = "store",
    overrides: Overrides = None,
    limit: Limit = None,
) -> None:
    """Write the card and the contact sheet of the recipe's sealed edition again."""
    from variorum.card import write_card

    job, parsed = _job(recipe, overrides, limit, Profile.embedded, store)
    where = _open_store(job)
    manifest = where.resolve(f"{parsed.dataset}@{parsed.version}")
    write_card(parsed, manifest, where)
    _print_paths(manifest, where)


@app.command(epilog="[bold]Examples[/bold]\n\nvariorum show\n\nvariorum show imagenet_e@1.0.0")
def show(
    edition: Annotated[str, typer.Argument(help="dataset, or dataset@version; all if left out.")] = "",
    store: StoreUrl = "store",
) -> None:
    """List the editions of a store, or sum one up and make its contact sheet."""
    from variorum.contact_sheet import contact_sheet
    from variorum.store import Store

    where = Store(store)
    if not edition:
        known = where.editions()
        for dataset, version in known:
            typer.echo(f"{dataset}@{version}")
        if not known:
            typer.echo(f"no edition in {store} yet; make one with: variorum run imagenet_e")
        return
    manifest = where.resolve(edition)
    if where.read_beside(manifest, "contact_sheet.png") is None:
        where.write_beside(manifest, "contact_sheet.png", contact_sheet(manifest, where))
    _print_counts(manifest)
    _print_paths(manifest, where)


@app.command()
def verify(
    edition: Edition,
    store: StoreUrl = "store",
    load: Annotated[bool, typer.Option("--load", help="Then load it with datasets, as its users will.")] = False,
) -> None:
    """Recompute every hash of an edition; exit 1 when anything doesn't match."""
    from variorum.features import read_back
    from variorum.store import Store
    from variorum.verify import verify as check

    where = Store(store)
    manifest = where.resolve(edition)
    shards = [shard for split in manifest.shards.values() for shard in split]
    with _bars("bytes") as bars:
        bars.start("checking", sum(info.size for info in [*shards, *manifest.rows]))
        problems = check(manifest, where, bars.advance)
    for problem in problems:
        typer.secho(problem, fg="red", err=True)
    if problems:
        raise typer.Exit(1)
    name, pictures = f"{manifest.dataset}@{manifest.version}", sum(shard.samples for shard in shards)
    typer.echo(f"{name}: {len(shards)} shards and {pictures} pictures match their hashes")
    if load:
        typer.echo(read_back(where.edition_path(manifest)))


@app.command()
def doctor(
    profile: ProfileName = Profile.embedded,
    fetch: Annotated[bool, typer.Option("--fetch", help="Download the weights that are missing.")] = False,
) -> None:
    """Say which models are ready, what is missing, and how to get it. Works offline."""
    from rich.table import Table

    from variorum.context import models
    from variorum.models import doctor as doctor_report

    table = models(profile.value)
    if fetch:
        for alias in table.aliases():
            if table.status(alias).state != "ready":
                _console(stderr=True).print(f"fetching {alias}")
                table.fetch(alias)
    shown = Table("alias", "model", "licence", "MB", "state", title=f"profile {profile.value}", title_justify="left")
    rows = doctor_report(table)
    for row in rows:
        name = row.name if row.table == profile.value else f"{row.name} (from {row.table})"
        shown.add_row(row.alias, name, row.licence, f"{row.size / 1e6:.0f}", row.state)
    _console().print(shown)
    for row in rows:
        if row.state != "ready":
            typer.echo(f"{row.alias}: {row.way_out}")
    if any(row.state != "ready" for row in rows):
        raise typer.Exit(1)


# ── shared ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _job(
    recipe: str, overrides: list[str] | None, limit: int | None, profile: Profile, store: str
) -> tuple[Job, Recipe]:
    from flows.job import Job
    from variorum.recipes import load_recipe

    parsed = load_recipe(recipe, overrides or (), limit)
    return Job(parsed.dump(), profile.value, store), parsed


def _open_store(job: Job) -> Store:
    return job.open()[2]


def _in_flow(flow: Any, job: Job, workers: int) -> Any:
    """Call a flow with the job's values; tasks run on `workers` threads, bars are shown."""
    from prefect.task_runners import ThreadPoolTaskRunner

    from flows.job import progress

    with _bars() as bars:
        token = progress.set(bars)
        try:
            runner: Any = ThreadPoolTaskRunner(max_workers=workers)
            return flow.with_options(task_runner=runner)(dict(job.recipe), job.profile, job.store)
        finally:
            progress.reset(token)


def _plain_run(job: Job, workers: int) -> Manifest:
    from variorum.card import write_card
    from variorum.engine import build as plain_build

    recipe, ctx, store = job.open()
    with _bars() as bars:
        manifest = plain_build(recipe, ctx, store, profile=job.profile, workers=workers, progress=bars)
    _plain_evaluate(job, manifest, workers)
    write_card(recipe, manifest, store)
    return manifest


def _plain_evaluate(job: Job, manifest: Manifest, workers: int) -> None:
    from variorum.evaluate import evaluate as plain_evaluate

    recipe, ctx, store = job.open()
    with _bars() as bars:
        for evaluation in recipe.evaluate:
            plain_evaluate(manifest, evaluation, ctx, store, workers=workers, progress=bars)


@contextmanager
def _bars(unit: str = "") -> Iterator[Progress]:
    """A bar a phase, with rate and remaining time."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Rich

    from variorum.progress import Progress

    amounts = (
        (DownloadColumn(), TransferSpeedColumn())
        if unit == "bytes"
        else (
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
        )
    )
    with Rich(
        TextColumn("{task.description}"), BarColumn(), *amounts, TimeRemainingColumn(), console=_console(stderr=True)
    ) as rich:

        class Bars(Progress):
            def start(self, what: str, total: int) -> None:
                self.task = rich.add_task(what, total=total, rate="")

            def advance(self, steps: int) -> None:
                rich.advance(self.task, steps)
                speed = rich.tasks[self.task].speed
                rich.update(self.task, rate=f"{speed:.1f}/s" if speed else "")

        yield Bars()


def _console(stderr: bool = False) -> Any:
    from rich.console import Console

    return Console(stderr=stderr)


def _print_summary(manifest: Manifest, job: Job) -> None:
    _print_counts(manifest)
    _print_paths(manifest, _open_store(job))


def _print_counts(manifest: Manifest) -> None:
    from rich.table import Table

    from variorum.tables import summary_rows

    table = Table(title=f"{manifest.dataset}@{manifest.version}  {manifest.digest()[:16]}", title_justify="left")
    rows = summary_rows(manifest)
    for name in rows[0] if rows else ():
        text = name in ("variant", "reasons")
        short = name if text else {"accepted": "ok", "quarantined": "quar.", "ineligible": "inel."}.get(name, name)
        table.add_column(short, justify="left" if text else "right", no_wrap=name == "variant", overflow="fold")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    table.caption = f"{manifest.sources_edited} of {manifest.sources} source pictures have an accepted edit"
    table.caption_justify = "left"
    _console().print(table)


def _print_paths(manifest: Manifest, store: Store) -> None:
    folder = store.edition_path(manifest)
    for what, name in (("card", "README.md"), ("contact sheet", "contact_sheet.png")):
        if store.read_beside(manifest, name) is not None:
            typer.echo(f"{what}: {folder}/{name}")
    typer.echo(f'load it: datasets.load_dataset("{folder}")')


def _print_evaluations(recipe: Recipe, manifest: Manifest, store: Store) -> None:
    from rich.markdown import Markdown

    from variorum.card import render_evaluations

    text = render_evaluations(recipe, manifest, store)
    if text:
        _console().print(Markdown(text))


def main() -> None:
    """Run the command line; an error that is meant for a person is printed as it stands, without a traceback."""
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")  # errors arrive here anyway, once
    try:
        app()
    except VariorumError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.secho("stopped; what is finished is kept, and the same command goes on from there", err=True)
        sys.exit(130)
