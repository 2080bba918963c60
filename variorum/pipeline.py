"""The pipeline on one page: build, curate, release, evaluate, card.

    recipe ─ plan ─ units: read, generate, write ─ receipts ═ the edition's manifest
    its shards ─ detectors: measure, score ═ columns ─ deciders ═ verdicts ═ a ledger
    its shards + the ledger ─ members copied ═ the release's manifest
    the release ─ evaluations ═ figures ─ card, contact sheet

Each function takes a job and a runner. Finished work is found and not repeated, so every command can be interrupted and
run again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from variorum.edition.editions import check_version, sealed, set_current
from variorum.edition.ledgers import kept_curation, put_curation
from variorum.machine.progress import QUIET, Progress
from variorum.reports.card_record import card_is_kept
from variorum.reports.contents import annotation_counts
from variorum.reports.templates import check_template
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
from variorum.stages.join import Join, drop
from variorum.stages.listings import with_listings
from variorum.stages.measure import Measure, measures
from variorum.stages.pieces import Measurer, edition_pieces, reference_pieces
from variorum.stages.release import Release, release_fingerprint, rollback, seal_release
from variorum.stages.requests import keep_requests
from variorum.stages.score import Columns, Score, picture_table, scores
from variorum.stages.stage import Runner, Threads, check_next, complete

__all__ = ["Job", "Threads", "build", "curate", "evaluate", "finished", "release", "rollback", "run"]

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
    return with_card(job, manifest, progress)


def with_card(job: Job, manifest: Manifest, progress: Progress = QUIET) -> Manifest:
    """The edition, whose card is written unless it is up to date. That needs no runner."""
    if not card_is_kept(job.recipe, manifest, job.store):
        from variorum.reports.card import write_card

        with one_step("writing the card", progress):
            write_card(job.recipe, manifest, job.store)
    return manifest


@contextmanager
def one_step(what: str, progress: Progress) -> Iterator[None]:
    """Report work that can't be counted as a phase of one step."""
    progress.start_unlike(what, 1)
    yield
    progress.advance(1)


def finished(job: Job, progress: Progress = QUIET, *, force: bool = False) -> Manifest | None:
    """The result of `run` if there is nothing left to do but its card; otherwise None.

    It asks what `run` asks, and needs no runner. It also raises the errors that `run` raises before its first part.
    """
    recipe = job.recipe
    later = (*recipe.curate, *recipe.evaluate)
    check(job)
    check_all(later)
    manifest = build_finished(job, progress, then=later)
    if manifest and recipe.curate:
        kept = curate_finished(job, manifest, force=force)
        manifest = released(job, manifest, *kept, progress) if kept else None
    if manifest is None or evaluate_finished(job, manifest) is None:
        return None
    return with_card(job, manifest, progress)


def build_finished(job: Job, progress: Progress = QUIET, *, then: tuple[Component, ...] = ()) -> Manifest | None:
    """The result of `build`; None, once it is clear that it can begin, if the edition isn't sealed yet."""
    done = built(job, progress)
    if done is None:
        check_next(Build(job, then))
    return done


def curate_finished(job: Job, manifest: Manifest, *, force: bool = False) -> tuple[int, Ledger] | None:
    """The result of `curate`; None, once it is clear that it can begin, if there is no ledger yet."""
    kept = curated(job, manifest, force=force)
    if kept is None:
        check_labels(job, manifest)
        check_next(looking(job, manifest))
    return kept


def evaluate_finished(job: Job, manifest: Manifest) -> dict[str, Mapping[str, Json]] | None:
    """The result of `evaluate`; None, once it is clear that it can begin, if figures are missing."""
    figures = evaluated(job, manifest)
    todo = missing(job, figures)
    if todo:
        check_next(evaluating(job, manifest, todo))
    return None if todo else figures


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
    if done := built(job, progress):
        return done
    requests = keep_requests(job.recipe, job.ctx, job.store, progress)
    receipts = complete(Build(job, then), runner, progress)
    if len(job.plan.parts) > len(job.plan.units):
        receipts = complete(Join(job), runner, progress)
    if job.recipe.samples_per_part:
        drop(job.plan.units, job.store)
    with one_step("sealing the edition", progress):
        return seal_edition(job, receipts, requests)


def built(job: Job, progress: Progress = QUIET) -> Manifest | None:
    """The recipe's edition if it is sealed and whole. Raises VersionDrift if its version has other content."""
    recipe, fingerprint, store = job.recipe, job.plan.fingerprint, job.store
    if done := sealed(recipe.dataset, recipe.version, fingerprint, store, progress):
        note_source(done, recipe.source, store)
        return done
    check_version(recipe.dataset, recipe.version, fingerprint, store, recipe.source.place())
    return None


def curate(
    job: Job, manifest: Manifest, runner: Runner = THREAD, progress: Progress = QUIET, *, force: bool = False
) -> tuple[int, Ledger]:
    """Curate an edition: the number and the content of the ledger."""
    if kept := curated(job, manifest, force=force):
        return kept
    key = curation_key(job, manifest, force=force)
    announce(job.recipe.curate, manifest.pictures())
    steps, columns = job.recipe.curate, Columns()
    check_labels(job, manifest)
    look = looking(job, manifest)
    asked = list(look.measurers.values())
    found = complete(look, runner, progress) if asked else []
    for name in look.measurers:
        columns.measured[name] = [part.tables[name] for part in found]
    scoring = [step for step in steps if scores(step)]
    for step in scoring:
        names = {step.component_name(), *step.needs()}
        needed = [one for one in asked if one.component_name() in names]
        columns.references[step.component_name()] = measure_references(job, step, needed, runner, progress)
    table = picture_table(manifest, job.store)
    progress.start_unlike("scoring", len(scoring))
    for step in scoring:
        name = step.component_name()
        (scored,) = complete(Score(job, manifest, name, columns, table), runner)
        columns.scored[name] = scored.tables[name]
        progress.advance(1)
    with one_step("deciding", progress):
        number, ledger = decide(job, manifest, columns, force=force, table=table)
    put_curation(key, number, ledger, job.store)
    return number, ledger


def curated(job: Job, manifest: Manifest, *, force: bool = False) -> tuple[int, Ledger] | None:
    """The ledger of this curation, if there is one, with its number."""
    check_steps(job)
    return kept_curation(curation_key(job, manifest, force=force), manifest, job.store)


def looking(job: Job, manifest: Manifest) -> Measure:
    """The stage in which the recipe's detectors look at an edition's pictures."""
    steps = job.recipe.curate
    detectors = [step for step in steps if measures(step)]
    pieces = edition_pieces(manifest, detectors, job) if detectors else []
    return Measure(job, detectors, pieces, "measuring", then=steps)


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
    if done := released(job, manifest, number, ledger, progress):
        return done
    receipts = complete(Release(job, manifest, ledger), runner, progress)
    maker = job.recipe.generate[-1] if job.recipe.generate else None
    with one_step("sealing the release", progress):
        return seal_release(
            manifest, number, ledger, receipts, job.store, lambda one: with_listings(one, maker, job.judging, job.store)
        )


def released(job: Job, manifest: Manifest, number: int, ledger: Ledger, progress: Progress = QUIET) -> Manifest | None:
    """The release that a ledger makes, if it is sealed and whole; it becomes the current one."""
    fingerprint = release_fingerprint(manifest, ledger)
    done = sealed(manifest.dataset, f"{manifest.version}-r{number}", fingerprint, job.store, progress)
    if done:
        set_current(manifest, number, job.store)
    return done


def evaluate(
    job: Job, manifest: Manifest, runner: Runner = THREAD, progress: Progress = QUIET
) -> dict[str, Mapping[str, Json]]:
    """The figures of the recipe's evaluations on an edition, by name."""
    figures = evaluated(job, manifest)
    if todo := missing(job, figures):
        announce(todo, manifest.pictures())
        found = complete(evaluating(job, manifest, todo), runner, progress)
    compared = [measure_references(job, one, [one], runner, progress) for one in todo]
    if todo:
        progress.start_unlike("computing figures", len(todo))
    for evaluation, measured in zip(todo, compared, strict=True):
        name = evaluation.component_name()
        references = {reference: tables[name] for reference, tables in measured.items()}
        figures[name] = put_figures(evaluation, manifest, job, [part.tables[name] for part in found], references)
        progress.advance(1)
    return {one.component_name(): figures[one.component_name()] for one in job.recipe.evaluate}


def evaluated(job: Job, manifest: Manifest) -> dict[str, Mapping[str, Json]]:
    """The figures that are up to date, by evaluation. Raises RecipeError for an evaluation that can't work on these."""
    found: dict[str, Mapping[str, Json]] = {}
    for evaluation in job.recipe.evaluate:
        check_judges(evaluation, manifest, job)
        if needs_objects(evaluation) and not annotation_counts(manifest, job.store).objects.number:
            raise no_objects(f"no picture of {manifest.dataset}@{manifest.version} has an object", evaluation)
        kept = kept_figures(evaluation, manifest, job)
        if kept is not None:
            found[evaluation.component_name()] = kept
    return found


def missing(job: Job, figures: Mapping[str, object]) -> list[Evaluation]:
    """The recipe's evaluations without figures."""
    return [evaluation for evaluation in job.recipe.evaluate if evaluation.component_name() not in figures]


def evaluating(job: Job, manifest: Manifest, evaluations: Sequence[Evaluation]) -> Measure:
    """The stage in which evaluations look at an edition's pictures."""
    return Measure(job, evaluations, edition_pieces(manifest, evaluations, job), "evaluating")
