"""The `variorum` command. Only this module prints; what it calls logs or returns."""

from __future__ import annotations

import os
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.terminal import (
    bars,
    console,
    print_counts,
    print_diff,
    print_evaluations,
    print_ledger,
    print_paths,
    print_plan,
    print_summary,
)
from schemas.errors import ModelUnavailable, VariorumError

if TYPE_CHECKING:
    from flows.job import Job
    from schemas.manifest import Manifest
    from schemas.recipe import Recipe
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
Force = Annotated[bool, typer.Option("--force", help="Let verdicts drop every picture.")]


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
    force: Force = False,
    no_prefect: NoPrefect = False,
) -> None:
    """Build, curate, release, evaluate, write the card. What is done already is not done again."""
    job, parsed = _job(recipe, overrides, limit, profile, store)
    if no_prefect:
        manifest = _plain_run(job, workers, force=force)
    else:
        from flows.run import run_flow

        manifest = _in_flow(run_flow, job, workers, force=force)
    print_summary(manifest, _open_store(job))
    print_evaluations(parsed, manifest, _open_store(job))


@app.command()
def plan(
    recipe: RecipeName,
    store: StoreUrl = "store",
    profile: ProfileName = Profile.embedded,
    overrides: Overrides = None,
    limit: Limit = None,
) -> None:
    """Say what a run would do: pictures, units, bytes, time, models. No picture is made and no model loaded."""
    from rich.table import Table

    from variorum.engine import plan as make_plan
    from variorum.estimate import estimate
    from variorum.evaluate import check_evaluations
    from variorum.plans import keep_plan

    job, parsed = _job(recipe, overrides, limit, profile, store)
    opened, ctx, where = job.open()
    with bars() as progress:
        asked = keep_plan(opened, ctx, where, progress)
    if asked:
        print_plan(asked, where)
    planned = make_plan(opened, ctx)
    check_evaluations(opened, ctx)
    guess = estimate(parsed.dataset, planned, where)
    table = Table("", "", show_header=False, box=None, title=f"{parsed.dataset}@{parsed.version}", title_justify="left")
    table.add_row("source", f"{parsed.source.component_name()}, {planned.size} samples, {len(planned.classes)} classes")
    table.add_row("units", f"{len(planned.units)} of up to {parsed.samples_per_shard}; {guess.done} done already")
    table.add_row("makes", ", ".join(part.component_name() for part in parsed.generate) or "the source's own pictures")
    for alias, pin in planned.models.items():
        state = ctx.models.status(alias).state  # type: ignore[attr-defined]
        table.add_row("model", f"{alias}: {pin} ({state})")
    table.add_row("estimate", guess.text)
    console().print(table)


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
        with bars() as progress:
            manifest = plain_build(opened, ctx, where, profile=job.profile, workers=workers, progress=progress)
    else:
        from flows.build import build_flow

        manifest = _in_flow(build_flow, job, workers)
    print_summary(manifest, _open_store(job))


@app.command(
    epilog="[bold]Examples[/bold]\n\n"
    "variorum curate imagenet_e\n\n"
    "variorum curate curate_folder --set source.path=photos --set curate.confident_learning.min_class_size=50"
)
def curate(
    recipe: RecipeName,
    store: StoreUrl = "store",
    profile: ProfileName = Profile.embedded,
    overrides: Overrides = None,
    limit: Limit = None,
    workers: Workers = 1,
    force: Force = False,
    no_prefect: NoPrefect = False,
) -> None:
    """Measure, score and judge the recipe's sealed edition; the verdicts go into a numbered ledger."""
    from variorum.curate import curate as plain_curate
    from variorum.ledgers import read_ledger
    from variorum.recipes import whereabouts

    job, parsed = _job(recipe, overrides, limit, profile, store)
    opened, ctx, where = job.open()
    manifest = where.resolve(f"{parsed.dataset}@{parsed.version}")
    where.check_source(manifest, whereabouts(parsed.source))
    if no_prefect:
        with bars() as progress:
            number, _ = plain_curate(opened, manifest, ctx, where, workers=workers, progress=progress, force=force)
    else:
        from flows.curate import curate_flow

        number = _in_flow(curate_flow, job, workers, force=force)
    print_ledger(*read_ledger(manifest, where, number), manifest, where)
    same = [word for override in overrides or () for word in ("--set", override)]
    same += ["--limit", str(limit)] if limit else []
    same += ["--store", store, "--profile", profile.value, *(["--no-prefect"] if no_prefect else [])]
    typer.echo(f"to carry it out: {shlex.join(['variorum', 'release', recipe, *same, '--ledger', str(number)])}")


@app.command(epilog="[bold]Examples[/bold]\n\nvariorum release imagenet_e\n\nvariorum release imagenet_e --ledger 1")
def release(
    recipe: RecipeName,
    store: StoreUrl = "store",
    profile: ProfileName = Profile.embedded,
    overrides: Overrides = None,
    limit: Limit = None,
    ledger: Annotated[int | None, typer.Option("--ledger", min=1, help="Which ledger; the newest by default.")] = None,
    workers: Workers = 1,
    no_prefect: NoPrefect = False,
) -> None:
    """Carry out a ledger: drop, relabel, copy the rest; ledger 2 of 1.0.0 makes 1.0.0-r2."""
    from variorum.card import write_card
    from variorum.ledgers import read_ledger
    from variorum.release import release as plain_release

    job, parsed = _job(recipe, overrides, limit, profile, store)
    where = _open_store(job)
    manifest = where.resolve(f"{parsed.dataset}@{parsed.version}")
    if no_prefect:
        number, found = read_ledger(manifest, where, ledger)
        with bars() as progress:
            released = plain_release(manifest, number, found, where, workers=workers, progress=progress)
    else:
        from flows.curate import release_flow

        released = _in_flow(release_flow, job, workers, number=ledger)
    write_card(parsed, released, where)
    print_summary(released, where)


@app.command(
    epilog="[bold]Examples[/bold]\n\nvariorum blocklist real_clothes lists/train.parquet --embedding\n\n"
    "variorum curate imagenet_g --set 'curate.leakage.against=[lists/train.parquet]'"
)
def blocklist(
    edition: Edition,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Parquet file to write.")],
    store: StoreUrl = "store",
    embedding: Annotated[bool, typer.Option("--embedding", help="With embeddings, which tell what is shown.")] = False,
) -> None:
    """Write an edition's fingerprints for `leakage` to check other data against: hashes, no pictures, no labels."""
    from curation.fingerprints.blocklists import blocklist as fingerprints
    from variorum.curate import curated_table
    from variorum.ledgers import read_ledger
    from variorum.store import Store

    where = Store(store)
    manifest = where.resolve(edition)
    steps = ("features", "duplicates") if embedding else ("duplicates",)
    table = curated_table(manifest, read_ledger(manifest, where, None)[1], steps, where)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(fingerprints(table, embedding=embedding))
    typer.echo(f"{file}: {table.num_rows} pictures of {manifest.dataset}@{manifest.version}")


@app.command(epilog="[bold]Examples[/bold]\n\nvariorum diff imagenet_e@1.0.0 imagenet_e@1.0.0-r1")
def diff(
    first: Edition,
    second: Edition,
    store: StoreUrl = "store",
    most: Annotated[int, typer.Option("--list", min=0, help="List so many of the changed pictures.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="All changes as JSON lines.")] = False,
) -> None:
    """Say what differs between two editions: pictures added, dropped, changed, relabelled, and why."""
    import json
    from dataclasses import asdict

    from variorum.diff import diff as find_changes
    from variorum.ledgers import find_edition
    from variorum.store import Store

    where = Store(store)
    changes = find_changes(find_edition(first, where), find_edition(second, where), where)
    if as_json:
        for change in changes:
            typer.echo(json.dumps(asdict(change), ensure_ascii=False))
    else:
        print_diff(changes, most)


@app.command(
    epilog="[bold]Examples[/bold]\n\nvariorum rollback imagenet_e\n\nvariorum rollback imagenet_e@1.0.0 --to 1"
)
def rollback(
    edition: Edition,
    store: StoreUrl = "store",
    to: Annotated[
        int | None, typer.Option("--to", min=1, help="The release to go back to; the one before, if left out.")
    ] = None,
) -> None:
    """Put an older release in use again, made anew from its ledger where files are gone."""
    from variorum.release import rollback as go_back
    from variorum.store import Store

    where = Store(store)
    released = go_back(where.resolve(edition), where, to)
    typer.echo(f"in use: {released.dataset}@{released.version}, digest {released.digest()[:16]}")
    print_paths(released, where)


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
    """Run the recipe's evaluations on its edition, or on the release of it that is in use."""
    from variorum.ledgers import current

    job, parsed = _job(recipe, overrides, limit, profile, store)
    where = _open_store(job)
    manifest = current(where.resolve(f"{parsed.dataset}@{parsed.version}"), where)
    if no_prefect:
        _plain_evaluate(job, manifest, workers)
    else:
        from flows.evaluate import evaluate_flow

        _in_flow(evaluate_flow, job, workers)
    print_evaluations(parsed, manifest, where)


@app.command()
def card(
    recipe: RecipeName,
    store: StoreUrl = "store",
    overrides: Overrides = None,
    limit: Limit = None,
) -> None:
    """Write the card and the contact sheet of the recipe's edition again, or of the release of it that is in use."""
    from variorum.card import write_card
    from variorum.ledgers import current

    job, parsed = _job(recipe, overrides, limit, Profile.embedded, store)
    where = _open_store(job)
    manifest = current(where.resolve(f"{parsed.dataset}@{parsed.version}"), where)
    write_card(parsed, manifest, where)
    print_paths(manifest, where)


@app.command(epilog="[bold]Examples[/bold]\n\nvariorum show\n\nvariorum show imagenet_e@1.0.0")
def show(
    edition: Annotated[str, typer.Argument(help="dataset, or dataset@version; all if left out.")] = "",
    store: StoreUrl = "store",
) -> None:
    """List the editions of a store, or sum one up and make its contact sheet."""
    from variorum.contact_sheet import contact_sheet
    from variorum.ledgers import find_edition
    from variorum.store import Store

    where = Store(store)
    if not edition:
        known = where.editions()
        for dataset, version in known:
            typer.echo(f"{dataset}@{version}")
        if not known:
            typer.echo(f"no edition in {store} yet; make one with: variorum run imagenet_e")
        return
    manifest = find_edition(edition, where)
    if where.read_beside(manifest, "contact_sheet.png") is None:
        where.write_beside(manifest, "contact_sheet.png", contact_sheet(manifest, where))
    print_counts(manifest)
    print_paths(manifest, where)


@app.command()
def verify(
    edition: Edition,
    store: StoreUrl = "store",
    load: Annotated[bool, typer.Option("--load", help="Then load it with datasets, as its users will.")] = False,
) -> None:
    """Recompute every hash of an edition; exit 1 when anything doesn't match."""
    from variorum.features import read_back
    from variorum.ledgers import find_edition
    from variorum.store import Store
    from variorum.verify import verify as check

    where = Store(store)
    manifest = find_edition(edition, where)
    shards = [shard for split in manifest.shards.values() for shard in split]
    with bars("bytes") as progress:
        progress.start("checking", sum(info.size for info in [*shards, *manifest.rows]))
        problems = check(manifest, where, progress.advance)
    for problem in problems:
        typer.secho(problem, fg="red", err=True)
    if problems:
        raise typer.Exit(1)
    name, pictures = f"{manifest.dataset}@{manifest.version}", sum(shard.samples for shard in shards)
    typer.echo(f"{name}: {len(shards)} shards and {pictures} pictures match their hashes")
    if load:
        typer.echo(read_back(where.edition_path(manifest), manifest))


@app.command(
    epilog="[bold]Examples[/bold]\n\nvariorum doctor --fetch\n\n"
    "variorum doctor text_to_image safety_checker --profile hub --pin --fetch"
)
def doctor(
    aliases: Annotated[
        list[str] | None, typer.Argument(metavar="ALIAS...", help="Only these; all if left out.")
    ] = None,
    profile: ProfileName = Profile.embedded,
    pin: Annotated[bool, typer.Option("--pin", help="Look up the commits that the table leaves open.")] = False,
    fetch: Annotated[bool, typer.Option("--fetch", help="Download the weights that are missing.")] = False,
) -> None:
    """Say which models are ready, what is missing, and how to get it. Works offline but for --pin and --fetch."""
    from rich.table import Table

    from variorum.context import models
    from variorum.models import doctor as doctor_report

    table = models(profile.value)
    chosen = aliases or table.aliases()
    failed = table.lock(chosen) if pin else {}
    if fetch:
        for alias in chosen:
            if table.status(alias, thorough=True).state not in ("ready", "unpinned"):
                console(stderr=True).print(f"fetching {alias}")
                try:
                    table.fetch(alias)
                except ModelUnavailable as error:
                    failed[alias] = str(error)
    shown = Table("alias", "model", "licence", "MB", "state", title=f"profile {profile.value}", title_justify="left")
    rows = doctor_report(table, chosen)
    for row in rows:
        name = row.name if row.table == profile.value else f"{row.name} (from {row.table})"
        shown.add_row(row.alias, name, row.licence, f"{row.size / 1e6:.0f}", row.state)
    console().print(shown)
    for row in rows:
        if row.state != "ready":
            typer.echo(f"{row.alias}: {failed.get(row.alias, row.way_out)}")
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


def _in_flow(flow: Any, job: Job, workers: int, **options: Any) -> Any:
    """Call a flow with the job's values; tasks run on `workers` threads, bars are shown."""
    from prefect.task_runners import ThreadPoolTaskRunner

    from flows.job import progress

    with bars() as shown:
        token = progress.set(shown)
        try:
            runner: Any = ThreadPoolTaskRunner(max_workers=workers)
            return flow.with_options(task_runner=runner)(dict(job.recipe), job.profile, job.store, **options)
        finally:
            progress.reset(token)


def _plain_run(job: Job, workers: int, *, force: bool) -> Manifest:
    from variorum.card import write_card
    from variorum.curate import curate as plain_curate
    from variorum.engine import build as plain_build
    from variorum.evaluate import check_evaluations
    from variorum.release import release as plain_release

    recipe, ctx, store = job.open()
    check_evaluations(recipe, ctx)
    with bars() as progress:
        then = (*recipe.curate, *recipe.evaluate)
        manifest = plain_build(recipe, ctx, store, profile=job.profile, workers=workers, progress=progress, then=then)
        if recipe.curate:
            judged = plain_curate(recipe, manifest, ctx, store, workers=workers, progress=progress, force=force)
            manifest = plain_release(manifest, *judged, store, workers=workers, progress=progress)
    _plain_evaluate(job, manifest, workers)
    write_card(recipe, manifest, store)
    return manifest


def _plain_evaluate(job: Job, manifest: Manifest, workers: int) -> None:
    from variorum.evaluate import check_ready
    from variorum.evaluate import evaluate as plain_evaluate

    recipe, ctx, store = job.open()
    check_ready(recipe.evaluate, manifest, ctx, store)
    with bars() as progress:
        for evaluation in recipe.evaluate:
            plain_evaluate(manifest, evaluation, ctx, store, workers=workers, progress=progress)


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
