"""Curation of pictures that somebody has: label noise, copies, damage and foreign pictures in one call."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from variorum import pipeline
from variorum.api.arguments import whole_number
from variorum.api.curated import Curated, Input
from variorum.api.edition import Edition, store_of
from variorum.api.given import Given, read_given
from variorum.api.given_tables import AUTO
from variorum.api.progress import shown
from variorum.edition.editions import check_source, read_manifest
from variorum.edition.store import Store
from variorum.machine.progress import Progress
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError, VersionDrift
from variorum.schemas.recipe import Recipe
from variorum.stages.decide import needing_labels
from variorum.stages.job import Job, Profile, models, open_context, with_small_models
from variorum.stages.recipe_values import recipe_of

log = logging.getLogger(__name__)

SMALLER = "encoder"
"""The encoder that every machine has, used where another isn't fetched."""
OWN = ("limit", "source", "source.name", "source.files", "source.path", "source.label", "generate")
"""Settings that follow from the pictures."""


def curate(
    pictures: Any,
    labels: Any = AUTO,
    *,
    names: Sequence[str] | None = None,
    store: str | PathLike[str] | Store = "store",
    dataset: str | None = None,
    profile: Profile = "embedded",
    recipe: Any = "curate_folder",
    workers: int = 1,
    progress: bool | Progress = True,
    **settings: Any,
) -> Curated:
    """Find wrong labels, copies, damage and foreign pictures, and make a release without them.

        found = va.curate(images, labels)
        found.report()
        clean = [image for image, keep in zip(images, found.keep) if keep]

    The same pictures, labels and settings reuse the finished result. Other thresholds read no picture again.

    Args:
        pictures: a folder with one folder per class; a `datasets.Dataset`, or a pandas, Polars or Arrow table, with a
            column of pictures or of paths; paths or URLs of WebDataset tars (`train-{000..009}.tar`); an `ImageFolder`
            or another dataset of torchvision or PyTorch without a transform; a list, a generator or a webdataset
            pipeline of pictures or of pairs of picture and label; one array `[N, H, W, 3]` or `[N, H, W]`; or an
            edition. A picture has any size and is a uint8 array `[H, W, 3]` or `[H, W]`, a PIL image, the path of a
            file or its bytes.
        labels: `auto` takes those that the pictures come with: the folders, the second of each pair, or the column
            that is clearly the label. A text names the column, or for tars the member (`json.label`). A list has a
            number or a text per picture; None, -1, NaN and `""` in it mean no label. None takes no labels. Without
            any labels the steps that need them are left out.
        names: of the classes, for labels that are numbers.
        store: folder or URL of the store.
        dataset: name of the edition; by default made from the content, so that other pictures get another edition.
        profile: `embedded` or `hub`: which models are used.
        recipe: how to curate: the name of a recipe, a YAML file, a mapping or a `Recipe`. Its source is replaced.
        workers: threads.
        progress: whether to show progress, or an object that receives it.
        settings: other values for fields of the recipe, by dotted path: `**{"curate.review.budget": 200}`. None removes
            a step and those that need it: `**{"curate.probabilities": None}`.

    Raises:
        SourceError: pictures or labels that can't be used; the message says how to convert them.
        RecipeError: a setting that doesn't exist, or verdicts that would leave no picture.
        ModelUnavailable: a model isn't on this machine; the message says how to get it.
        VersionDrift: the store has other pictures under the name `dataset`.

    >>> import variorum as va
    >>> steps = [{"name": "quality"}, {"name": "duplicates", "embedding": False}]
    >>> found = va.curate("photos", curate=steps, progress=False)
    >>> len(found), int(found.keep.sum()), found.labels()[:2]
    (12, 12, ['astronaut', 'astronaut'])
    """
    for key in OWN:
        if key in settings:
            raise RecipeError(f"curate: {key} can't be set, because it follows from the pictures; give other pictures")
    workers = whole_number("workers", workers, 1, 1000, RecipeError)
    models(profile)
    given = read_given(pictures, labels, names)
    job, notes = _job(given, store_of(store), dataset, profile, recipe, settings)
    if dataset:
        _check_name(job)
    with shown(progress) as receiver:
        release = with_small_models(job, lambda: pipeline.run(job, pipeline.Threads(workers), receiver))
    edition = read_manifest(job.recipe.dataset, job.recipe.version, job.store)
    assert edition is not None, "it has just been sealed"
    return Curated(Edition(edition, job.store), Edition(release, job.store), _input(given, job), notes)


def _job(
    given: Given, store: Store | str, dataset: str | None, profile: Profile, recipe: Any, settings: Mapping[str, Any]
) -> tuple[Job, list[str]]:
    """The work to do, and notes for the report."""
    changes: dict[str, Any] = {f"source.{name}": value for name, value in given.source.items()}
    changes = {**changes, "dataset": dataset or given.dataset, **settings}
    made = recipe_of(recipe, changes)
    if made.generate:
        raise RecipeError("curate: the recipe generates pictures, but curate judges given ones; run it with va.run")
    source, ctx = made.source, open_context(made, profile)
    if given.labels is None and not dataset:
        changes["dataset"] = f"{given.dataset}_{source.pin(ctx)[:12]}"
    found = [_smaller_encoder(made, profile, settings), _without_labels(made, given, ctx)]
    changes |= {key: value for some, _ in found for key, value in some.items()}
    made = recipe_of(recipe, changes).model_copy(update={"source": source})  # it has listed its pictures already
    if not made.curate:
        raise RecipeError("curate: the recipe has no step that can judge these pictures; its curate list is empty")
    return Job(made, store, profile), [note for note in (given.note, *(note for _, note in found)) if note]


def _smaller_encoder(recipe: Recipe, profile: Profile, settings: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """A setting for the encoder that is always here, if the recipe's own is optional and can't be had."""
    step = next((step for step in recipe.curate if step.component_name() == "features"), None)
    alias = getattr(step, "encoder", SMALLER)
    if alias == SMALLER or "curate.features.encoder" in settings:
        return {}, ""
    table = models(profile)
    table.fetch_missing([alias])
    status = table.status(alias)
    if status.state == "ready" or not table.entry(alias).optional:
        return {}, ""
    note = (
        f"the model {alias} isn't on this machine, so the smaller {SMALLER} is used, which finds less in photographs; "
        f"get it with: variorum doctor {alias} --fetch"
    )
    log.warning("%s", note)
    return {"curate.features.encoder": SMALLER}, note


def _without_labels(recipe: Recipe, given: Given, ctx: Context) -> tuple[dict[str, Any], str]:
    """Settings that leave out the steps which need labels, if there are none."""
    known = given.labels
    labelled = bool((known.index >= 0).any()) if known else bool(recipe.source.classes(ctx))
    wanting = [step.component_name() for step in needing_labels(recipe.curate)]
    if labelled or not wanting:
        return {}, ""
    return {f"curate.{name}": None for name in wanting}, (
        f"there are no labels, so wrong ones aren't looked for: {', '.join(wanting)} and what needs them are left out"
        f"{'' if given.unlabelled else '; give labels to find wrong ones'}"
    )


def _check_name(job: Job) -> None:
    """Raise VersionDrift if the store has other pictures under this name."""
    found = read_manifest(job.recipe.dataset, job.recipe.version, job.store)
    if found is None or found.fingerprint == job.plan.fingerprint:
        return
    try:
        check_source(found, job.recipe.source.place(), job.store)
    except VersionDrift:
        raise VersionDrift(
            f"curate: {found.dataset}@{found.version} in {job.store.url} has other pictures or labels; give these "
            f"another name, or leave dataset out to name them by their content"
        ) from None


def _input(given: Given, job: Job) -> Input:
    """Collect what the call was given, picture by picture, with the ids that the pipeline gave them."""
    source = job.recipe.source
    samples = list(source.outline(0, source.size(job.ctx), job.ctx))
    ids = [sample.id for sample in samples]
    if given.labels is not None:
        texts = given.labels.texts()
        return Input(ids, texts, given.paths, given.labels.values, given.labels.none, given.unlabelled)
    texts = [sample.labels[0] if sample.labels else "" for sample in samples]
    return Input(ids, texts, [sample.origin for sample in samples], {}, "", given.unlabelled)
