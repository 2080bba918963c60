"""The editions of a suite: drawn from the user's own photographs, planned, and built where they are missing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast, get_args

from variorum import pipeline
from variorum.api.edition import Edition, store_of
from variorum.api.recipes import source_fields
from variorum.edition.editions import read_manifest, release_version, whole
from variorum.edition.store import Store
from variorum.machine.progress import QUIET, Progress
from variorum.pipeline import THREAD, Job
from variorum.reports.profile.document import NotMeasured, Photographs
from variorum.schemas.component import Context, Source
from variorum.schemas.errors import ModelUnavailable, RecipeError, SourceError
from variorum.schemas.lookup import build_component, cut
from variorum.schemas.manifest import Manifest
from variorum.schemas.sample import Sample
from variorum.schemas.suite import Suite, SuiteEdition
from variorum.schemas.uses import required_models
from variorum.sources.balanced import Balanced
from variorum.stages.estimate import estimate
from variorum.stages.job import Profile, models, with_small_models
from variorum.stages.release import release_fingerprint
from variorum.stages.stage import Runner
from variorum.stages.suite_files import edition_recipe, rows_of

DIGITS = 12
"""Of the digest in the name of an edition."""
NEEDS = {
    "objects": ("the photographs have no boxes", "give photographs with boxes, such as a COCO file as the source"),
    "captions": ("the photographs have no captions", "put a captions.csv beside them: file_name, caption"),
    "groups": ("the photographs are in no groups", "put a groups.csv beside them: file_name, group"),
    "reviewed_labels": (
        "nobody has reviewed the labels",
        "let people review them (variorum run multi_label_review, variorum review), and name that edition",
    ),
}
"""What photographs can lack: the reason, and the way out."""
HAS: Mapping[str, Callable[[Sample], bool]] = {
    "captions": lambda sample: bool(sample.annotations.texts),
    "objects": lambda sample: bool(sample.annotations.objects),
    "groups": lambda sample: bool(sample.metadata),
    "reviewed_labels": lambda sample: "labels.json" in sample.extras,
}
"""Whether a photograph has what is needed."""


@dataclass(frozen=True)
class SuiteJob:
    """An edition of a suite on somebody's photographs.

    Attributes:
        key: what rows call it.
        photographs: those that were drawn, the same for all editions of the suite.
        lacks: what editions or rows of the suite need, such as `objects`, and none of the photographs has.
        job: makes it; None where it can't be made.
        sealed: the edition, or its release if the suite's recipe curates, if the store has it already.
        pictures: number that a model will see: exact once it is sealed, before that at most; None if unknown.
        seconds: CPU-seconds that are left to build it; None if unknown.
        why_not: why it can't be made; `""` if it can.
        way_out: what to do about that.
    """

    key: str
    photographs: Photographs
    lacks: frozenset[str] = frozenset()
    job: Job | None = None
    sealed: Manifest | None = None
    pictures: int | None = None
    seconds: float | None = None
    why_not: str = ""
    way_out: str = ""

    def build(self, runner: Runner = THREAD, progress: Progress = QUIET) -> Manifest:
        """Build it, and curate and release it if its recipe says so. Finished parts aren't repeated.

        Raises:
            VariorumError: it can't be made.
        """
        if self.job is None:
            raise RecipeError(f"{self.key}: {self.why_not}; {self.way_out}")
        job = self.job
        if not job.store.writable:
            job = Job(job.recipe, job.store.url, job.profile)
        return with_small_models(job, lambda: _built(job, runner, progress))


def editions_of(
    suite: Suite, source: Any, store: str | os.PathLike[str] | Store = "store", profile: str = "embedded"
) -> list[SuiteJob]:
    """Plan the editions of a suite on these photographs. Nothing is built.

    Every edition is of the same photographs: at most `suite.most`, balanced by class and drawn by the suite's seed,
    without copies and unreadable files. An edition's name has a digest of all that decides its pictures, so the same
    photographs find the finished edition, and others never meet it.

    Args:
        suite: from `load_suite`.
        source: a folder, or anything else that `variorum.run` takes as a source.
        store: folder or URL.
        profile: `embedded` or `hub`.

    Raises:
        SourceError: there are no photographs, or they have no classes.
    """
    if profile not in get_args(Profile):
        raise RecipeError(f"profile: there is no {profile!r}; there are: {', '.join(get_args(Profile))}")
    place = store_of(store)
    where = Store(place, writable=False) if isinstance(place, str) else place
    fields = {"name": "balanced", "of": source_fields(source), "most": suite.most, "seed": suite.seed}
    # one object for all editions, which lists its pictures once
    drawn: Any = build_component("source", fields, "source")
    found, told, lacks = [], None, frozenset[str]()
    for key, edition in suite.editions.items():
        recipe = edition_recipe(edition, {"dataset": f"{suite.suite}_{key}"}).model_copy(update={"source": drawn})
        job = Job(recipe, where, cast("Profile", profile))
        if told is None:
            told, lacks = _photographs(drawn, job.ctx, source), _lacks(suite, drawn, job.ctx)
        found.append(_planned(SuiteJob(key, told, lacks), edition, job))
    return found


def not_measured(suite: Suite, jobs: Sequence[SuiteJob]) -> list[NotMeasured]:
    """The rows that the photographs can't have, each with the reason and the way out, by `editions_of`'s jobs."""
    found, where = [], {job.key: job for job in jobs}
    for row in rows_of(suite):
        job = where[row.edition]
        lacking = next((need for need in row.needs if need in job.lacks), "")
        why_not, way_out = (job.why_not, job.way_out) if job.why_not else NEEDS.get(lacking, ("", ""))
        if why_not:
            found.append(NotMeasured(id=row.id, title=row.title, why_not=why_not, way_out=way_out))
    return found


def _photographs(source: Balanced, ctx: Context, given: Any) -> Photographs:
    """The drawn photographs, and what was left out. Raises SourceError for none, or for some without a class."""
    name, drawn = _named(given), source.drawn(ctx)
    n = len(drawn.positions)
    if not n:
        raise SourceError(f"source {cut(name)}: no picture in it can be read (of {drawn.size}); give other photographs")
    classes = {label for sample in source.outline(0, n, ctx) for label in sample.labels}
    if not classes:
        raise SourceError(
            f"source {cut(name)}: its photographs have no classes, and a report counts right answers; put the "
            f"photographs of each class into a folder of its name"
        )
    rest = drawn.size - n - drawn.unreadable - drawn.copies
    reasons = {
        "unreadable": drawn.unreadable,
        "copy" if drawn.copies == 1 else "copies": drawn.copies,
        "not drawn": rest,
    }
    return Photographs(
        n=n,
        classes=len(classes),
        source=name,
        left_out={reason: number for reason, number in reasons.items() if number},
    )


def _named(given: Any) -> str:
    """A source's name for people: the last part of its path, or what it is."""
    if isinstance(given, Source):
        given = given.config()
    if isinstance(given, Mapping):
        paths = (given.get(field) for field in ("path", "pictures", "annotations", "edition", "dataset"))
        given = next((one for one in paths if isinstance(one, str | os.PathLike)), given.get("name", "photographs"))
    if isinstance(given, Edition):
        return given.name
    return Path(os.fspath(given)).name if isinstance(given, str | os.PathLike) else "photographs"


def _planned(bare: SuiteJob, edition: SuiteEdition, job: Job) -> SuiteJob:
    """One edition of a suite, with what it will take, or why it can't be made."""
    if lacking := next((need for need in edition.needs if need in bare.lacks), ""):
        return replace(bare, why_not=NEEDS[lacking][0], way_out=NEEDS[lacking][1])
    try:
        pipeline.check(job)
        name = f"{job.recipe.dataset}_{job.plan.fingerprint[:DIGITS]}"
        job = Job(job.recipe.model_copy(update={"dataset": name}), job.store, job.profile)
        if (sealed := _sealed(job)) is not None:
            return replace(bare, job=job, sealed=sealed, pictures=sealed.pictures(), seconds=0)
        _check_models(job)
        guess, n = estimate(job), bare.photographs.n
    except (RecipeError, SourceError, ModelUnavailable) as error:
        why_not, _, way_out = " ".join(str(error).split("\n")).rpartition("; ")
        if not why_not:
            return replace(bare, why_not=way_out)
        if isinstance(error, RecipeError):  # about fields, which only a suite sets
            way_out = f"give other photographs, or in a suite of your own {way_out}"
        return replace(bare, why_not=why_not, way_out=way_out)
    left = edition.seconds * n * (guess.units - guess.done) / guess.units or None
    pictures = edition.pictures * n or None
    return replace(bare, job=job, pictures=pictures, seconds=left if guess.seconds is None else guess.seconds)


def _lacks(suite: Suite, source: Source, ctx: Context) -> frozenset[str]:
    """What editions or rows of a suite need, and none of the photographs has."""
    needs = [*(one.needs for one in suite.editions.values()), *(row.needs for row in rows_of(suite))]
    lacking = {need for some in needs for need in some if need in NEEDS}
    if source.captioned(ctx):
        lacking.discard("captions")
    for item in source.read(0, source.size(ctx), ctx) if lacking else ():
        if isinstance(item, Sample):
            lacking -= {need for need in lacking if HAS[need](item)}
    return frozenset(lacking)


def _sealed(job: Job) -> Manifest | None:
    """The edition that `build` would give, if the store has it whole."""
    recipe, store = job.recipe, job.store
    found = read_manifest(recipe.dataset, recipe.version, store)
    if found is None or found.fingerprint != job.plan.fingerprint or not whole(found, store):
        return None
    if not recipe.curate:
        return found
    kept = pipeline.curated(job, found)
    release = read_manifest(recipe.dataset, release_version(found, kept[0]), store) if kept else None
    if kept is None or release is None or release.fingerprint != release_fingerprint(found, kept[1]):
        return None
    return release if whole(release, store) else None


def _check_models(job: Job) -> None:
    """Raise ModelUnavailable for models that a build would neither find nor fetch by itself."""
    table, problems = models(job.profile), []
    for alias in required_models(*job.recipe.generate, *job.recipe.curate):
        status = table.status(alias)
        fetched = status.state in ("missing", "corrupt") and table.entry(alias).fetched_on_use
        if status.state != "ready" and not fetched:
            problems.append(status.problem)
    if problems:
        raise ModelUnavailable("\n".join(problems))


def _built(job: Job, runner: Runner, progress: Progress) -> Manifest:
    steps = job.recipe.curate
    manifest = pipeline.build(job, runner, progress, then=steps)
    if not steps:
        return manifest
    number, ledger = pipeline.curate(job, manifest, runner, progress)
    return pipeline.release(job, manifest, number, ledger, runner, progress)
