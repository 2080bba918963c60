"""The commands on a recipe, in the order of its work: run, plan, build, curate, release, evaluate, card, new."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from variorum.flows import terminal, terminal_editions
from variorum.flows.options import (
    CONFIDENCE,
    Asked,
    Confidence,
    Force,
    Limit,
    MarksFile,
    OutputClasses,
    Preprocess,
    RecipeOrEdition,
    RunnerName,
    Runners,
    StoreUrl,
    Workers,
    examples,
    on_recipe,
)
from variorum.schemas.errors import cut

if TYPE_CHECKING:
    from variorum.machine.progress import Progress
    from variorum.pipeline import Job
    from variorum.schemas.manifest import Manifest
    from variorum.stages.stage import Runner

commands = typer.Typer()


@commands.command(
    epilog=examples(
        "variorum run imagenet_e",
        "variorum run imagenet_e --source photos --limit 200",
    )
)
@on_recipe(works=True, sends=True)
def run(asked: Asked, force: Force = False, marks: MarksFile = None) -> None:
    """Build, curate, release, evaluate, write the card. Finished work is not repeated."""
    from functools import partial

    from variorum import pipeline

    job = asked.job(marks=marks)
    manifest, was_finished = asked.do(
        "run", partial(pipeline.run, force=force), job, partial(pipeline.finished, force=force)
    )
    if was_finished and not asked.as_json:
        terminal_editions.print_finished(manifest, job.store)
    else:
        _show(asked, job, manifest)


NEXT = """
every picture, on one page:    variorum view imagenet_e
your own photographs:          variorum run imagenet_e --source photos
a model on these pictures:     variorum evaluate imagenet_e --model timm:resnet50.a1_in1k
clean a folder of pictures:    variorum run curate_folder --source photos"""


@commands.command(epilog=examples("variorum demo", "variorum demo --workers 2 --store /tmp/store"))
def demo(
    store: StoreUrl = "store", limit: Limit = None, workers: Workers = 1, runner: RunnerName = Runners.prefect
) -> None:
    """Make a first benchmark: run imagenet_e on sample photographs and verify it. What is missing is fetched."""
    from dataclasses import asdict

    from variorum.flows.edition_commands import verify
    from variorum.schemas.errors import VariorumError
    from variorum.sources.exports import stamps

    if stamps.stamps_folder() is None:
        terminal.say(f"fetching sample photographs ({stamps.SIZE / 1e6:.0f} MB)", err=True)
        try:
            stamps.fetch_stamps()
        except VariorumError as error:
            terminal.say(f"{error}; the demo uses the few photographs inside Python packages", err=True)
    run(**asdict(Asked("imagenet_e", store, limit=limit, workers=workers, runner=runner)), force=False)
    verify("imagenet_e", store, load=True)
    where = "" if store == "store" else f" --store {shlex.quote(store)}"
    terminal.say("\n".join(line + where if line else line for line in NEXT.splitlines()))


@commands.command(epilog=examples("variorum plan imagenet_e", "variorum plan imagenet_g --json"))
@on_recipe(works=False)
def plan(asked: Asked) -> None:
    """Show what a run would do: pictures, units, size, memory, time, models. No picture is made, no model loaded."""
    from variorum.edition.store import Store
    from variorum.pipeline import check
    from variorum.reports.model_terms import terms_of_job
    from variorum.stages.estimate import check_room
    from variorum.stages.planned import planned

    job = asked.job(Store(asked.store, writable=False))
    check(job)
    with terminal.progress() as progress:
        found = planned(job, progress, terms=terms_of_job(job))
    if asked.as_json:
        terminal.print_json(found.as_json())
    else:
        if found.table:
            terminal_editions.print_requests(found.table)
        terminal_editions.print_plan(found)
    check_room(job)


@commands.command(epilog=examples("variorum build imagenet_e --workers 2"))
@on_recipe(works=True)
def build(asked: Asked) -> None:
    """Build and seal the edition only."""
    from variorum import pipeline

    job = asked.job()
    manifest, _ = asked.do("build", pipeline.build, job, pipeline.build_finished)
    _show(asked, job, manifest, evaluations=False)


@commands.command(
    epilog=examples(
        "variorum curate imagenet_e",
        "variorum curate curate_folder --marks marks-curate_folder@1.1.0.jsonl",
        "variorum curate curate_folder --set source.path=photos --set curate.confident_learning.min_class_size=50",
    )
)
@on_recipe(works=True, sends=True)
def curate(asked: Asked, force: Force = False, marks: MarksFile = None) -> None:
    """Measure, score and judge the recipe's sealed edition. The verdicts are stored in a numbered ledger."""
    from variorum import pipeline
    from variorum.edition.editions import check_source

    job = asked.job_on_edition(marks)
    manifest = _edition_of(job)
    check_source(manifest, job.recipe.source.place(), job.store)

    def work(job: Job, runner: Runner, progress: Progress) -> Any:
        return pipeline.curate(job, manifest, runner, progress, force=force)

    def kept(job: Job, _: Progress) -> Any:
        return pipeline.curate_finished(job, manifest, force=force)

    (number, ledger), _ = asked.do("curate", work, job, kept)
    if asked.as_json:
        terminal.print_json({"ledger": number, "verdicts": ledger.counts, "figures": ledger.figures})
        return
    terminal_editions.print_ledger(number, ledger, manifest, job.store)
    release_it = shlex.join(["variorum", "release", *asked.words(), "--ledger", str(number)])
    terminal.say(f"to carry it out: {release_it}")


@commands.command(epilog=examples("variorum release imagenet_e", "variorum release imagenet_e --ledger 1"))
@on_recipe(works=True)
def release(
    asked: Asked,
    ledger: Annotated[int | None, typer.Option("--ledger", min=1, help="Which ledger; the newest by default.")] = None,
) -> None:
    """Carry out a ledger: drop and relabel pictures, copy the rest. Ledger 2 of 1.0.0 makes 1.0.0-r2."""
    from variorum import pipeline
    from variorum.edition.ledgers import read_ledger
    from variorum.reports.card_record import card_is_kept

    job = asked.job_on_edition()
    manifest = _edition_of(job)
    number, found = read_ledger(manifest, job.store, ledger)

    def work(job: Job, runner: Runner, progress: Progress) -> Manifest:
        from variorum.reports.card import write_card

        released = pipeline.release(job, manifest, number, found, runner, progress)
        write_card(job.recipe, released, job.store)
        return released

    def kept(job: Job, progress: Progress) -> Manifest | None:
        released = pipeline.released(job, manifest, number, found, progress)
        return released if released and card_is_kept(job.recipe, released, job.store) else None

    released, _ = asked.do("release", work, job, kept)
    _show(asked, job, released, evaluations=False)


@commands.command(
    epilog=examples(
        "variorum evaluate imagenet_e",
        "variorum evaluate imagenet_e --model timm:resnet50.a1_in1k --model onnx:mine.onnx",
        "variorum evaluate street@1.0.0 --model module:mine.py:load --classes classes.txt",
        'variorum evaluate street --model module:mine.py:load --preprocess "resize=256 crop=224 mean=0.5 std=0.5"',
    )
)
@on_recipe(works=True, sends=True, first=RecipeOrEdition)
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
    classes: OutputClasses = None,
    preprocess: Preprocess = None,
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

        evaluate_models(asked, models, classes, preprocess, confidence, to)
        return
    if classes or preprocess or to or confidence != CONFIDENCE:
        raise typer.BadParameter("--classes, --preprocess, --confidence and --to need --model")
    if "@" in asked.recipe and not asked.recipe.endswith((".yaml", ".yml")):
        raise typer.BadParameter(
            f"{cut(asked.recipe)} is an edition: name a model to evaluate on it, such as --model classifier"
        )
    from variorum import pipeline
    from variorum.edition.editions import current

    job = asked.job_on_edition()
    manifest = current(_edition_of(job), job.store)

    def work(job: Job, runner: Runner, progress: Progress) -> Any:
        return pipeline.evaluate(job, manifest, runner, progress)

    def kept(job: Job, _: Progress) -> Any:
        return pipeline.evaluate_finished(job, manifest)

    figures, _ = asked.do("evaluate", work, job, kept)
    if asked.as_json:
        terminal.print_json(figures)
    else:
        terminal_editions.print_evaluations(job.recipe, manifest, job.store)


@commands.command(epilog=examples("variorum card imagenet_e", "variorum card imagenet_e --to data_cards/released"))
@on_recipe(works=False)
def card(
    asked: Asked,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FOLDER", help="Also keep the card there, as the one of a released version."),
    ] = None,
    former: Annotated[Path | None, typer.Option("--keep", hidden=True)] = None,
) -> None:
    """Rewrite the card and the contact sheet of the recipe's edition, or of its current release."""
    from variorum.edition.editions import current
    from variorum.reports.card import write_card
    from variorum.reports.kept_cards import keep_card

    keep = to or former
    job = asked.job_on_edition()
    manifest = current(_edition_of(job), job.store)
    text = write_card(job.recipe, manifest, job.store)
    kept = keep_card(text, manifest, keep) if keep else None
    if asked.as_json:
        terminal.print_json(terminal_editions.summary(manifest, job.store))
    else:
        terminal_editions.print_paths(manifest, job.store)
        if kept:
            terminal.say(str(kept))


@commands.command(epilog=examples("variorum new my_set", "variorum run my_set.yaml --limit 8"))
def new(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Name of the dataset, or the YAML file to write.")],
) -> None:
    """Write a commented recipe to start from. It can be run as it is."""
    from variorum.stages.recipe_files import new_recipe

    path = new_recipe(recipe)
    terminal.say(f"{path}: edit it, then: variorum plan {path}")


def _edition_of(job: Job) -> Manifest:
    from variorum.edition.editions import resolve

    return resolve(f"{job.recipe.dataset}@{job.recipe.version}", job.store)


def _show(asked: Asked, job: Job, manifest: Manifest, *, evaluations: bool = True) -> None:
    """Print the result of a run: counts and paths, and the evaluations' figures."""
    from variorum.reports.card import evaluations as read_evaluations

    if asked.as_json:
        figures = read_evaluations(job.recipe, manifest, job.store) if evaluations else {}
        found = {name: kept["figures"] for name, kept in figures.items()}
        terminal.print_json({**terminal_editions.summary(manifest, job.store), "evaluations": found})
        return
    terminal_editions.print_summary(manifest, job.store)
    if evaluations:
        terminal_editions.print_evaluations(job.recipe, manifest, job.store)
