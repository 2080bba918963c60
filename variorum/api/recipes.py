"""Planning and running recipes from Python."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast, get_args

from variorum.api import html
from variorum.api.arguments import whole_number
from variorum.api.edition import Edition, store_of
from variorum.api.progress import shown
from variorum.edition.store import Store
from variorum.pipeline import Job, Threads, check
from variorum.pipeline import run as whole_pipeline
from variorum.reports.model_terms import terms_of_job
from variorum.schemas.component import Source
from variorum.schemas.errors import RecipeError, SourceError
from variorum.schemas.lookup import cut
from variorum.schemas.recipe import Recipe
from variorum.stages import planned
from variorum.stages.job import Profile, with_small_models
from variorum.stages.recipe_values import recipe_of

if TYPE_CHECKING:
    from variorum.machine.progress import Progress

Given = str | os.PathLike[str] | Mapping[str, Any] | Recipe
"""What names or holds a recipe."""


class Planned(planned.Planned):
    """The plan of a run, as notebooks show it."""

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return html.table((), self.lines(), self.edition)


def plan(
    recipe: Given | None = None,
    *,
    store: str | os.PathLike[str] | Store = "store",
    profile: str = "embedded",
    limit: int | None = None,
    **settings: Any,
) -> Planned:
    """Plan a run: pictures, units, size, memory, time, models. No picture is made, no model loaded.

    Args:
        recipe: the name of a recipe that comes with the project, the path of a YAML file, a mapping as YAML gives it,
            or a `Recipe`. Without it, the settings are the recipe's fields.
        store: folder or URL; it need not exist.
        profile: `embedded` for the packaged models, `hub` for the Hub's.
        limit: maximum number of source samples to read; makes a `-dev` version.
        **settings: new values of the recipe's fields, as `--set` on the command line: also by dotted path,
            `**{"generate.attribute_edit.frame": 320}`. They make a `-dev` version, unless `version` is among them.

    Raises:
        VariorumError: the recipe is wrong or can't be carried out.

    >>> import variorum as va
    >>> source = {"name": "image_folder", "path": "photos"}
    >>> planned = va.plan(dataset="mine", version="1.0.0", source=source, generate=[{"name": "negative"}])
    >>> planned.edition, planned.samples, planned.units_done
    ('mine@1.0.0', 12, 0)
    """
    where = store_of(store)
    job = _job(recipe, Store(where, writable=False) if isinstance(where, str) else where, profile, limit, settings)
    check(job)
    found = planned.planned(job, terms=terms_of_job(job))
    return Planned(**{name: getattr(found, name) for name in planned.Planned.__dataclass_fields__})


def run(
    recipe: Given | None = None,
    *,
    store: str | os.PathLike[str] | Store = "store",
    profile: str = "embedded",
    limit: int | None = None,
    workers: int = 1,
    progress: bool | Progress = True,
    force: bool = False,
    trust: bool = False,
    **settings: Any,
) -> Edition:
    """Build, curate, release, evaluate, write the card. Finished work is not repeated.

    The units are made in this process, on threads. For many processes or machines use `variorum run`, which works
    through Prefect and gives the same edition to the byte.

    Args:
        recipe: the name of a recipe that comes with the project, the path of a YAML file, a mapping as YAML gives it,
            or a `Recipe`. Without it, the settings are the recipe's fields.
        store: folder or URL; it is made if missing.
        profile: `embedded` for the packaged models, `hub` for the Hub's.
        limit: maximum number of source samples to read; makes a `-dev` version.
        workers: number of units that are worked on at the same time.
        progress: show bars; False for none.
        force: allow verdicts that drop every picture.
        trust: use finished files without hashing them first.
        **settings: new values of the recipe's fields, as for `plan`: `seed=3`, `**{"source.licence": "CC0-1.0"}`.
            `source` may also be what `variorum.curate` takes: a folder's path, a dataset, pairs of picture and label.

    Returns:
        The edition; if the recipe curates, its release.

    Raises:
        VariorumError: the recipe is wrong or can't be carried out; raised as early as possible.

    >>> import variorum as va
    >>> source = {"name": "image_folder", "path": "photos"}
    >>> va.run({"dataset": "pets", "version": "1.0.0", "source": source})
    <Edition pets@1.0.0: 12 pictures, digest ...>
    >>> va.run("imagenet_e", source=source, generate=[], curate=[], evaluate=[])
    <Edition imagenet_e@3.0.0-dev: 12 pictures, digest ...>
    """
    workers = whole_number("workers", workers, 1, 1000, RecipeError)
    job = _job(recipe, store_of(store), profile, limit, settings, trust=trust)
    with shown(progress) as bars:
        made = with_small_models(job, lambda: whole_pipeline(job, Threads(workers), bars, force=force))
        return Edition(made, job.store)


def _job(
    recipe: Given | None,
    store: Store | str,
    profile: str,
    limit: int | None,
    settings: Mapping[str, Any],
    *,
    trust: bool = False,
) -> Job:
    """The job of a recipe. It is checked before the store is made."""
    if profile not in get_args(Profile):
        raise RecipeError(f"profile: there is no {cut(repr(profile))}; there are: {', '.join(get_args(Profile))}")
    if "source" in settings and not isinstance(settings["source"], Mapping | Source | None):
        settings = {**settings, "source": source_fields(settings["source"])}
    return Job(recipe_of(recipe, settings, limit), store, cast("Profile", profile), trust=trust)


def source_fields(pictures: Any) -> Mapping[str, Any]:
    """The fields of a source, from whatever `run` takes as one. Pictures from Python are kept in this machine's cache.

    Raises:
        SourceError: as `read_given`.
    """
    from variorum.api.given import read_given

    if isinstance(pictures, Source):
        return pictures.config()
    if isinstance(pictures, Mapping):
        return pictures
    try:
        return read_given(pictures).source
    except SourceError as error:
        told, asks, _ = str(error).removeprefix("curate: ").partition("; say which one, as in labels=")
        way = "; give pairs, zip(pictures, labels), or another table" if asks else ""
        raise SourceError(f"source: {told}{way}") from None
