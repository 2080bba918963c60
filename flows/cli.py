"""The `variorum` command. Only this module and `terminal` print; other modules log or return.

`endings` has the exit codes.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from variorum.edition.opening import existing
from variorum.flows import endings, terminal
from variorum.flows.options import (
    AsJson,
    Asked,
    Confidence,
    Edition,
    Force,
    Profile,
    ProfileName,
    RecipeOrEdition,
    StoreUrl,
    examples,
    on_recipe,
)
from variorum.schemas.errors import ModelUnavailable
from variorum.schemas.secrets import remember

if TYPE_CHECKING:
    from variorum.machine.progress import Progress
    from variorum.pipeline import Job
    from variorum.schemas.manifest import Manifest
    from variorum.stages.stage import Runner

DEBUG = "--debug"
CONFIDENCE = 0.95
"""Level of intervals."""

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Generate variants of image datasets, record how each was made, and seal the result as a versioned edition.",
    epilog="Start with [bold]variorum run imagenet_e[/bold], then [bold]variorum show imagenet_e[/bold].\n\n"
    "Exit codes: 0 done, 1 an error in one line, 2 wrong usage, 70 a bug, 75 failed for now and may succeed later, "
    "130 stopped by Ctrl-C.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        terminal.say(f"variorum {version('variorum')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option(DEBUG, envvar="VARIORUM_DEBUG", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """Options before any command."""


# ── on a recipe ──────────────────────────────────────────────────────────────────────────────────────────────────────


@app.command(
    epilog=examples(
        "variorum run imagenet_e",
        "variorum run recipes/imagenet_e.yaml --set source.name=image_folder --set source.path=photos --limit 200",
    )
)
@on_recipe(works=True)
def run(asked: Asked, force: Force = False) -> None:
    """Build, curate, release, evaluate, write the card. Finished work is not repeated."""
    from functools import partial

    from variorum.pipeline import run as whole_pipeline

    job = asked.job()
    _show(asked, job, asked.do("run", partial(whole_pipeline, force=force), job))


@app.command(epilog=examples("variorum plan imagenet_e", "variorum plan imagenet_g --json"))
@on_recipe(works=False)
def plan(asked: Asked) -> None:
    """Show what a run would do: pictures, units, size, memory, time, models. No picture is made, no model loaded."""
    from variorum.edition.store import Store
    from variorum.pipeline import check
    from variorum.stages.planned import planned

    job = asked.job(Store(asked.store, writable=False))
    check(job)
    with terminal.progress() as progress:
        found = planned(job, progress)
    if asked.as_json:
        terminal.print_json(found.as_json())
        return
    if found.table:
        terminal.print_requests(found.table)
    terminal.print_plan(found)


@app.command(epilog=examples("variorum build imagenet_e --workers 2"))
@on_recipe(works=True)
def build(asked: Asked) -> None:
    """Build and seal the edition only."""
    from variorum.pipeline import build as build_edition

    job = asked.job()
    _show(asked, job, asked.do("build", build_edition, job), evaluations=False)


@app.command(
    epilog=examples(
        "variorum curate imagenet_e",
        "variorum curate curate_folder --set source.path=photos --set curate.confident_learning.min_class_size=50",
    )
)
@on_recipe(works=True)
def curate(asked: Asked, force: Force = False) -> None:
    """Measure, score and judge the recipe's sealed edition. The verdicts are stored in a numbered ledger."""
    from variorum.edition.editions import check_source
    from variorum.pipeline import curate as curate_edition

    job = asked.job_on_edition()
    manifest = _edition_of(job)
    check_source(manifest, job.recipe.source.place(), job.store)

    def work(job: Job, runner: Runner, progress: Progress) -> Any:
        return curate_edition(job, manifest, runner, progress, force=force)

    number, ledger = asked.do("curate", work, job)
    if asked.as_json:
        terminal.print_json({"ledger": number, "verdicts": ledger.counts, "figures": ledger.figures})
        return
    terminal.print_ledger(number, ledger, manifest, job.store)
    release_it = shlex.join(["variorum", "release", *asked.words(), "--ledger", str(number)])
    terminal.say(f"to carry it out: {release_it}")


@app.command(epilog=examples("variorum release imagenet_e", "variorum release imagenet_e --ledger 1"))
@on_recipe(works=True)
def release(
    asked: Asked,
    ledger: Annotated[int | None, typer.Option("--ledger", min=1, help="Which ledger; the newest by default.")] = None,
) -> None:
    """Carry out a ledger: drop and relabel pictures, copy the rest. Ledger 2 of 1.0.0 makes 1.0.0-r2."""
    from variorum.edition.ledgers import read_ledger
    from variorum.pipeline import release as release_edition
    from variorum.report.card import write_card

    job = asked.job_on_edition()
    manifest = _edition_of(job)
    number, found = read_ledger(manifest, job.store, ledger)

    def work(job: Job, runner: Runner, progress: Progress) -> Manifest:
        released = release_edition(job, manifest, number, found, runner, progress)
        write_card(job.recipe, released, job.store)
        return released

    _show(asked, job, asked.do("release", work, job), evaluations=False)


@app.command(
    epilog=examples(
        "variorum evaluate imagenet_e",
        "variorum evaluate imagenet_e --model timm:resnet50.a1_in1k --model onnx:mine.onnx",
        "variorum evaluate street@1.0.0 --model module:mine.py:load --classes classes.txt",
    )
)
@on_recipe(works=True, first=RecipeOrEdition)
def evaluate(
    asked: Asked,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="Evaluate this model: an alias, timm:…, torchvision:…, hf:…, onnx:…, module:….",
        ),
    ] = None,
    classes: Annotated[
        Path | None, typer.Option("--classes", metavar="FILE", help="Classes of the models' outputs, one per line.")
    ] = None,
    confidence: Confidence = CONFIDENCE,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FOLDER", help="Write results here, not to the edition's folder.")
    ] = None,
) -> None:
    """Run the recipe's evaluations on its edition or its current release; or, with --model, models of your own.

    Models need no recipe. Each sees every picture once, on threads of this process; a killed command resumes.
    """
    if models:
        from variorum.flows.results import evaluate_models

        evaluate_models(asked, models, classes, confidence, to)
        return
    if classes or to or confidence != CONFIDENCE:
        raise typer.BadParameter("--classes, --confidence and --to need --model")
    from variorum.edition.editions import current
    from variorum.pipeline import evaluate as evaluate_edition

    job = asked.job_on_edition()
    manifest = current(_edition_of(job), job.store)

    def work(job: Job, runner: Runner, progress: Progress) -> Any:
        return evaluate_edition(job, manifest, runner, progress)

    figures = asked.do("evaluate", work, job)
    if asked.as_json:
        terminal.print_json(figures)
    else:
        terminal.print_evaluations(job.recipe, manifest, job.store)


@app.command(epilog=examples("variorum card imagenet_e"))
@on_recipe(works=False)
def card(asked: Asked) -> None:
    """Rewrite the card and the contact sheet of the recipe's edition, or of its current release."""
    from variorum.edition.editions import current
    from variorum.report.card import write_card

    job = asked.job_on_edition()
    manifest = current(_edition_of(job), job.store)
    write_card(job.recipe, manifest, job.store)
    if asked.as_json:
        terminal.print_json(terminal.summary(manifest, job.store))
    else:
        terminal.print_paths(manifest, job.store)


@app.command(epilog=examples("variorum new my_set", "variorum run my_set.yaml --limit 8"))
def new(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Name of the dataset, or the YAML file to write.")],
) -> None:
    """Write a commented recipe to start from. It can be run as it is."""
    from variorum.stages.recipe_files import new_recipe

    path = new_recipe(recipe)
    terminal.say(f"{path}: edit it, then: variorum plan {path}")


# ── on an edition ────────────────────────────────────────────────────────────────────────────────────────────────────


@app.command(epilog=examples("variorum show", "variorum show imagenet_e@1.0.0"))
def show(
    edition: Annotated[str, typer.Argument(help="dataset, or dataset@version; lists all if omitted.")] = "",
    store: StoreUrl = "store",
    as_json: AsJson = False,
) -> None:
    """List the editions of a store, or summarise one and make its contact sheet."""
    from variorum.edition.editions import editions, find, read_beside, write_beside
    from variorum.report.contact_sheet import contact_sheet

    where = existing(store)
    if not edition:
        known = [f"{dataset}@{version}" for dataset, version in editions(where)]
        if as_json:
            terminal.print_json(known)
        elif known:
            terminal.say("\n".join(known))
        else:
            terminal.say(f"no edition in {store} yet; make one with: variorum run imagenet_e")
        return
    manifest = find(edition, where)
    if read_beside(manifest, "contact_sheet.png", where) is None and where.can_write():
        write_beside(manifest, "contact_sheet.png", contact_sheet(manifest, where), where)
    if as_json:
        terminal.print_json(terminal.summary(manifest, where))
    else:
        terminal.print_summary(manifest, where)


@app.command(
    epilog=examples(
        "variorum view imagenet_e",
        "variorum view imagenet_e@1.0.0 imagenet_e@1.0.0-r1 --to changes.html",
    )
)
def view(
    edition: Edition,
    second: Annotated[
        str, typer.Argument(metavar="[SECOND]", help="A later edition: shows what changed, before and after.")
    ] = "",
    store: StoreUrl = "store",
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Write here; by default to the edition's folder.")
    ] = None,
    most: Annotated[int, typer.Option("--most", min=1, max=100_000, help="How many pictures to show.")] = 10_000,
    no_map: Annotated[bool, typer.Option("--no-map", help="Leave out the map of similar pictures.")] = False,
    blur: Annotated[bool, typer.Option("--blur", help="Blur pictures until they are looked at.")] = False,
    no_open: Annotated[bool, typer.Option("--no-open", help="Don't open it in a browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a page to look at an edition, one HTML file: pictures with their records, to filter and sort.

    It needs no server and no network. With a terminal and a display, it is opened in the browser.
    """
    from dataclasses import asdict

    from variorum.edition.opening import open_edition
    from variorum.flows.browser import open_page
    from variorum.report.page.write import write_view

    first, other = open_edition(edition, store), open_edition(second, store) if second else (None, None)
    with terminal.progress() as progress:
        written = write_view(*first, *other, to=to, most=most, with_map=not no_map, blur=blur, progress=progress)
    if as_json:
        terminal.print_json(asdict(written))
        return
    terminal.say(f"{written.path}: {written.pictures} pictures, {written.size / 1e6:.1f} MB")
    if not no_open:
        open_page(written.path)


@app.command(epilog=examples("variorum diff imagenet_e@1.0.0 imagenet_e@1.0.0-r1"))
def diff(
    first: Edition,
    second: Edition,
    store: StoreUrl = "store",
    most: Annotated[int, typer.Option("--list", min=0, help="How many changed pictures to list.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show the differences between two editions: pictures added, dropped, changed, relabelled, moved or annotated.

    Moved pictures are in another split or configuration, annotated ones have other boxes, texts or label states. With
    --json, one line per changed picture.
    """
    from dataclasses import asdict

    from variorum.edition.editions import find
    from variorum.report.diff import diff as find_changes

    where = existing(store)
    changes = find_changes(find(first, where), find(second, where), where)
    if as_json:
        for change in changes:
            terminal.print_json(asdict(change))
    else:
        terminal.print_diff(changes, most)


@app.command(
    epilog=examples("variorum leaderboard imagenet_e", "variorum leaderboard imagenet_e theirs/ --to leaderboard.html")
)
def leaderboard(
    edition: Edition,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILES...]", help="Other people's results, or folders with them.")
    ] = None,
    store: StoreUrl = "store",
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE.html", help="Write here; by default to the edition's folder.")
    ] = None,
    confidence: Confidence = CONFIDENCE,
    as_json: AsJson = False,
) -> None:
    """Compare models on an edition: a table here, and a page with Markdown and JSON beside it.

    It takes the results of `variorum evaluate --model` beside the edition and those that you name. All figures are
    recomputed from the answers in them.
    """
    from variorum.flows.results import make_leaderboard

    make_leaderboard(edition, files or (), store, to, confidence, as_json=as_json)


@app.command(epilog=examples("variorum rollback imagenet_e", "variorum rollback imagenet_e@1.0.0 --to 1"))
def rollback(
    edition: Edition,
    store: StoreUrl = "store",
    to: Annotated[
        int | None, typer.Option("--to", min=1, help="The release to go back to; by default the previous one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an older release the current one. Missing files are rebuilt from its ledger."""
    from variorum.edition.editions import resolve
    from variorum.pipeline import rollback as go_back

    where = existing(store, writable=True)
    released = go_back(resolve(edition, where), where, to)
    if as_json:
        terminal.print_json(terminal.summary(released, where))
        return
    terminal.say(f"in use: {released.dataset}@{released.version}, digest {released.digest()[:16]}")
    terminal.print_paths(released, where)


@app.command(epilog=examples("variorum verify imagenet_e --load", "variorum verify street@1.0.0 --digest 98b9f7a7…"))
def verify(
    edition: Edition,
    store: StoreUrl = "store",
    digest: Annotated[
        str, typer.Option("--digest", metavar="HEX", help="The digest that it must have, as its author told you.")
    ] = "",
    load: Annotated[bool, typer.Option("--load", help="Also load it with datasets, as its users will.")] = False,
    as_json: AsJson = False,
) -> None:
    """Recompute every hash of an edition; exits with 1 if anything doesn't match."""
    from variorum.edition.editions import find, folder_of
    from variorum.report.hub_types import read_back
    from variorum.report.verified import verify_edition

    where = existing(store)
    manifest = find(edition, where)
    shards = [shard for split in manifest.shards.values() for shard in split]
    with terminal.progress("bytes") as progress:
        problems = verify_edition(manifest, where, progress, digest)
    name, pictures = f"{manifest.dataset}@{manifest.version}", sum(shard.samples for shard in shards)
    if as_json:
        terminal.print_json({"edition": name, "shards": len(shards), "pictures": pictures, "problems": problems})
    for problem in () if as_json else problems:
        typer.secho(terminal.plain(problem), fg="red", err=True)
    if problems:
        raise typer.Exit(1)
    if not as_json:
        terminal.say(f"{name}: {len(shards)} shards and {pictures} pictures match their hashes")
    if load:
        terminal.say(read_back(folder_of(manifest, where), manifest), err=as_json)


@app.command(
    epilog=examples(
        "variorum blocklist real_clothes lists/train.parquet --embedding",
        "variorum curate imagenet_g --set 'curate.leakage.against=[lists/train.parquet]'",
    )
)
def blocklist(
    edition: Edition,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Parquet file to write.")],
    store: StoreUrl = "store",
    embedding: Annotated[bool, typer.Option("--embedding", help="Include embeddings.")] = False,
) -> None:
    """Write an edition's perceptual hashes, without pictures and labels, for `leakage` to check other data against."""
    from variorum.curation.copies.blocklists import blocklist as hashes
    from variorum.edition.editions import resolve
    from variorum.edition.ledgers import read_ledger
    from variorum.stages.score import curated_table

    where = existing(store)
    manifest = resolve(edition, where)
    steps = ("features", "duplicates") if embedding else ("duplicates",)
    table = curated_table(manifest, read_ledger(manifest, where, None)[1], steps, where)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(hashes(table, embedding=embedding))
    terminal.say(f"{file}: {len(table)} pictures of {manifest.dataset}@{manifest.version}")


# ── on this machine ──────────────────────────────────────────────────────────────────────────────────────────────────


@app.command(epilog=examples("variorum components", "variorum components --json"))
def components(as_json: AsJson = False) -> None:
    """List the components that recipes can name, with one line each and where they come from."""
    from variorum.schemas.catalogue import catalogue
    from variorum.schemas.lookup import KINDS, OWN, broken_plugins

    rows = [
        {"part": one.part, "name": one.name, "kind": one.kind, "about": one.about, "from": one.origin}
        for one in catalogue()
    ]
    broken = [{"plugin": name, "problem": problem} for name, problem in broken_plugins()]
    if as_json:
        terminal.print_json({"components": rows, "broken": broken})
        return
    width = terminal.console().width
    for part in KINDS:
        typer.secho(f"{part}:", bold=True)
        for row in (row for row in rows if row["part"] == part):
            origin = "" if row["from"] == OWN else f"  ({row['from']})"
            line = f"  {row['name']:<28}{row['about']}"
            terminal.say((line if len(line + origin) <= width else line[: width - len(origin) - 1] + "…") + origin)
    for item in broken:
        line = f"plugin {item['plugin']} can't be used: {item['problem']}"
        typer.secho(terminal.plain(line), fg="red", err=True)


@app.command(
    epilog=examples(
        "variorum doctor --fetch", "variorum doctor text_to_image safety_checker --profile hub --pin --fetch"
    )
)
def doctor(
    aliases: Annotated[
        list[str] | None, typer.Argument(metavar="ALIAS...", help="Only these models, optional ones too.")
    ] = None,
    profile: ProfileName = Profile.embedded,
    pin: Annotated[bool, typer.Option("--pin", help="Look up the commits that the table doesn't fix.")] = False,
    fetch: Annotated[bool, typer.Option("--fetch", help="Download the weights that are missing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show which models are ready, what is missing, and how to get it. Only --pin and --fetch need a network."""
    from dataclasses import asdict

    from variorum.models import doctor as doctor_report
    from variorum.stages.job import models

    table = models(profile.value)
    chosen = aliases or table.aliases()
    wanted = {alias for alias in chosen if aliases or not table.entry(alias).optional}
    failed = table.lock(chosen) if pin else {}
    if fetch:
        for alias in (alias for alias in chosen if alias in wanted):
            if table.status(alias, thorough=True).state not in ("ready", "unpinned"):
                terminal.say(f"fetching {alias}", err=True)
                try:
                    table.fetch(alias)
                except ModelUnavailable as error:
                    failed[alias] = str(error)
    rows = doctor_report(table, chosen)
    if as_json:
        terminal.print_json([asdict(row) for row in rows])
    else:
        cells = [
            (
                row.alias,
                row.name if row.table == profile.value else f"{row.name} (from {row.table})",
                row.licence,
                f"{row.size / 1e6:.0f}",
                row.state,
            )
            for row in rows
        ]
        terminal.print_table(("alias", "model", "licence", "MB", "state"), cells, f"profile {profile.value}")
        for row in rows:
            if row.state != "ready":
                unless = "" if row.alias in wanted else "optional; "
                terminal.say(f"{row.alias}: {unless}{failed.get(row.alias, row.way_out)}")
    if any(row.state != "ready" for row in rows if row.alias in wanted):
        raise typer.Exit(1)


# ── shared ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _edition_of(job: Job) -> Manifest:
    from variorum.edition.editions import resolve

    return resolve(f"{job.recipe.dataset}@{job.recipe.version}", job.store)


def _show(asked: Asked, job: Job, manifest: Manifest, *, evaluations: bool = True) -> None:
    """Print the result of a run: counts and paths, and the evaluations' figures."""
    from variorum.report.card import evaluations as read_evaluations

    if asked.as_json:
        figures = read_evaluations(job.recipe, manifest, job.store) if evaluations else {}
        found = {name: kept["figures"] for name, kept in figures.items()}
        terminal.print_json({**terminal.summary(manifest, job.store), "evaluations": found})
        return
    terminal.print_summary(manifest, job.store)
    if evaluations:
        terminal.print_evaluations(job.recipe, manifest, job.store)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; every error ends in one line and an exit code, as `endings` says.

    Args:
        arguments: the words after `variorum`; by default those of this process.
    """
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")  # errors are printed here, once
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")  # they aren't lines
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = os.environ.get("VARIORUM_DEBUG", "") not in ("", "0") or DEBUG in words
    endings.one_line_each(debug=debug)
    remember([*words, *(word.partition("=")[2] for word in words), os.environ.get("VARIORUM_STORE", "")])
    try:
        result = app([word for word in words if word != DEBUG], standalone_mode=False, prog_name="variorum")
        code = result if isinstance(result, int) else endings.DONE
        if code == endings.STOPPED:  # typer has caught it
            raise KeyboardInterrupt
        sys.stdout.flush()
    except BaseException as error:
        code = endings.say(error, debug=debug)
    sys.exit(code)
