"""The pipeline on one page: build, curate, release, evaluate, card.

    recipe ─ plan ─ units: read, generate, write ─ receipts ═ the edition's manifest
    its shards ─ detectors: measure, score ═ columns ─ deciders ═ verdicts ═ a ledger
    its shards + the ledger ─ members copied ═ the release's manifest
    the release ─ evaluations ═ figures ─ card, contact sheet

Each function takes a job and a runner. Finished work is found and not repeated, so every command can be interrupted and
run again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from variorum.edition.editions import check_version, sealed, set_current
from variorum.edition.ledgers import kept_curation, put_curation
from variorum.machine.progress import QUIET, Progress
from variorum.report.card import check_template, write_card
from variorum.report.contents import annotation_counts
from variorum.schemas.canonical import Json
from variorum.schemas.component import Component, Evaluation
from variorum.schemas.manifest import Ledger, Manifest, ShardInfo
from variorum.schemas.more import check_before_work, references_of
from variorum.stages.build import Build, note_source, seal_edition
from variorum.stages.consent import announce, check_all
from variorum.stages.decide import check_labels, curation_key, decide
from variorum.stages.evaluate import (
    check_judges,
    check_references,
    kept_figures,
    needs_objects,
    no_objects,
    put_figures,
)
from variorum.stages.job import Job
from variorum.stages.listings import with_listings
from variorum.stages.measure import Measure, measures
from variorum.stages.pieces import Measurer, edition_pieces, reference_pieces
from variorum.stages.release import Release, release_fingerprint, rollback, seal_release
from variorum.stages.requests import keep_requests
from variorum.stages.score import Columns, Score, picture_table, scores
from variorum.stages.stage import Runner, Threads, complete

__all__ = ["Job", "Threads", "build", "curate", "evaluate", "release", "rollback", "run"]

THREAD = Threads()


def run(job: Job, runner: Runner = THREAD, progress: Progress = QUIET, *, force: bool = False) -> Manifest:
    """The whole pipeline: build the edition, curate and release it if the recipe says so, evaluate it, write the card.

    Args:
        job: recipe, profile and store.
        runner: does the work.
        progress: receives the progress.
        force: allow verdicts that drop every picture.

    Raises:
        VariorumError: something can't work; raised as early as it can be known.
    """
    check(job)
    check_all((*job.recipe.curate, *job.recipe.evaluate))
    manifest = build(job, runner, progress, then=(*job.recipe.curate, *job.recipe.evaluate))
    if job.recipe.curate:
        number, ledger = curate(job, manifest, runner, progress, force=force)
        manifest = release(job, manifest, number, ledger, runner, progress)
    evaluate(job, manifest, runner, progress)
    write_card(job.recipe, manifest, job.store)
    return manifest


def check(job: Job) -> None:
    """Check what can be known before any work: references, filters used as judges, files, the card's template.

    Raises:
        VariorumError: the first problem.
    """
    check_references(job)
    check_steps(job)
    check_template(job.recipe)


def check_steps(job: Job) -> None:
    """Let the detectors and deciders check what they can before any work. Raises RecipeError or SourceError."""
    check_before_work(job.recipe.curate, job.ctx)


def build(
    job: Job, runner: Runner = THREAD, progress: Progress = QUIET, *, then: tuple[Component, ...] = ()
) -> Manifest:
    """The recipe's sealed edition. `then` are components that will work on it; their models are checked too."""
    recipe, plan, store = job.recipe, job.plan, job.store
    if done := sealed(recipe.dataset, recipe.version, plan.fingerprint, store, progress):
        note_source(done, recipe.source, store)
        return done
    check_version(recipe.dataset, recipe.version, plan.fingerprint, store, recipe.source.place())
    requests = keep_requests(recipe, job.ctx, store, progress)
    return seal_edition(job, complete(Build(job, then), runner, progress), requests)


def curate(
    job: Job, manifest: Manifest, runner: Runner = THREAD, progress: Progress = QUIET, *, force: bool = False
) -> tuple[int, Ledger]:
    """Curate an edition: the number and the content of the ledger."""
    check_steps(job)
    key = curation_key(job, manifest, force=force)
    if kept := kept_curation(key, manifest, job.store):
        return kept
    announce(job.recipe.curate, manifest.pictures())
    steps, columns = job.recipe.curate, Columns()
    check_labels(job, manifest)
    looking = [step for step in steps if measures(step)]
    if looking:
        pieces = edition_pieces(manifest, looking, job)
        found = complete(Measure(job, looking, pieces, "measuring", then=steps), runner, progress)
        for step in looking:
            columns.measured[step.component_name()] = [part.tables[step.component_name()] for part in found]
    scoring = [step for step in steps if scores(step)]
    for step in scoring:
        asked = [one for one in looking if one.component_name() in step.needs()]
        columns.references[step.component_name()] = measure_references(job, step, asked, runner, progress)
    table = picture_table(manifest, job.store)
    progress.start("scoring", len(scoring))
    for step in scoring:
        name = step.component_name()
        (scored,) = complete(Score(job, manifest, name, columns, table), runner)
        columns.scored[name] = scored.tables[name]
        progress.advance(1)
    number, ledger = decide(job, manifest, columns, force=force, table=table)
    put_curation(key, number, ledger, job.store)
    return number, ledger


def measure_references(
    job: Job, owner: Measurer, measurers: Sequence[Measurer], runner: Runner, progress: Progress
) -> dict[str, dict[str, list[ShardInfo]]]:
    """Measure the pictures that a component compares with: by reference and measurer, the tables."""
    found: dict[str, dict[str, list[ShardInfo]]] = {}
    for reference in references_of(owner):
        doing = f"measuring {owner.component_name()}.{reference}"
        pieces = reference_pieces(owner, reference, measurers, job)
        parts = complete(Measure(job, measurers, pieces, doing), runner, progress)
        names = [measurer.component_name() for measurer in measurers]
        found[reference] = {name: [part.tables[name] for part in parts] for name in names}
    return found


def release(
    job: Job,
    manifest: Manifest,
    number: int,
    ledger: Ledger,
    runner: Runner = THREAD,
    progress: Progress = QUIET,
) -> Manifest:
    """Carry out a ledger, seal the release and make it the current one."""
    fingerprint = release_fingerprint(manifest, ledger)
    if done := sealed(manifest.dataset, f"{manifest.version}-r{number}", fingerprint, job.store, progress):
        set_current(manifest, number, job.store)
        return done
    receipts = complete(Release(job, manifest, ledger), runner, progress)
    maker = job.recipe.generate[-1] if job.recipe.generate else None
    return seal_release(
        manifest, number, ledger, receipts, job.store, lambda one: with_listings(one, maker, job.judging, job.store)
    )


def evaluate(
    job: Job, manifest: Manifest, runner: Runner = THREAD, progress: Progress = QUIET
) -> dict[str, Mapping[str, Json]]:
    """The figures of the recipe's evaluations on an edition, by name."""
    figures: dict[str, Mapping[str, Json]] = {}
    todo: list[Evaluation] = []
    for evaluation in job.recipe.evaluate:
        check_judges(evaluation, manifest, job)
        if needs_objects(evaluation) and not annotation_counts(manifest, job.store).objects.number:
            raise no_objects(f"no picture of {manifest.dataset}@{manifest.version} has an object", evaluation)
        if kept := kept_figures(evaluation, manifest, job):
            figures[evaluation.component_name()] = kept
        else:
            todo.append(evaluation)
    if not todo:
        return figures
    announce(todo, manifest.pictures())
    found = complete(Measure(job, todo, edition_pieces(manifest, todo, job), "evaluating"), runner, progress)
    for evaluation in todo:
        name = evaluation.component_name()
        measured = measure_references(job, evaluation, [evaluation], runner, progress)
        references = {reference: tables[name] for reference, tables in measured.items()}
        figures[name] = put_figures(evaluation, manifest, job, [part.tables[name] for part in found], references)
    return {one.component_name(): figures[one.component_name()] for one in job.recipe.evaluate}
