"""A job is a recipe, a profile of models and a store: all that a stage needs, on any machine."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, TypeVar

from variorum.edition.store import Store
from variorum.machine.cache import cache_dir
from variorum.machine.memo import DiskMemo
from variorum.machine.retrying import hash_content
from variorum.models import ModelTable
from variorum.schemas.canonical import Json, as_json
from variorum.schemas.component import Component, Context, Decider, Detector, Evaluation, Source
from variorum.schemas.errors import ModelUnavailable, RecipeError
from variorum.schemas.lookup import cut
from variorum.schemas.more import references_of
from variorum.schemas.recipe import Recipe
from variorum.schemas.table import Table
from variorum.schemas.uses import optional_models, required_batches, required_models, uses_of
from variorum.stages.lending import let_through
from variorum.stages.plan import Plan, optional_pins, plan

T = TypeVar("T")
Profile = Literal["embedded", "hub"]
VARIABLES = ("VARIORUM_MODELS", "VARIORUM_LOCK")
"""Environment variables that name further tables of models."""


class Job:
    """A recipe, a profile and a store. It pickles as plain values, so a runner can send it to any process.

    Args:
        recipe: what to make.
        store: a store, or its folder or URL.
        profile: which table of models stands behind the aliases.
        ctx: used in place of the profile's models and this machine's cache.
        trust: whether to rely on finished files without hashing them first; see `Store`.
    """

    def __init__(
        self,
        recipe: Recipe,
        store: Store | str,
        profile: Profile = "embedded",
        *,
        ctx: Context | None = None,
        trust: bool = False,
    ) -> None:
        self.recipe = recipe
        self.profile = profile
        self.store = Store(store, trust=trust) if isinstance(store, str) else store
        self.ctx = replace(ctx or open_context(recipe, profile), store=self.store.url)

    @cached_property
    def judging(self) -> Context:
        """Return the context of detectors, deciders and evaluations: the source's classes but not the source.

        No key of theirs covers its pictures.
        """
        return replace(self.ctx, source=None, classes=self.recipe.source.classes(self.ctx))

    @cached_property
    def plan(self) -> Plan:
        """Units and identity of the edition, computed once. Raises the errors of `stages.plan.plan`."""
        return plan(self.recipe, self.ctx)

    @cached_property
    def lending(self) -> list[Source]:
        """For each generator, the other pictures that it may use: what those before it let through of the source's."""
        made = self.recipe.generate
        return [let_through(self.recipe.source, made[:place]) for place in range(len(made))]

    def component(self, name: str, kind: type[Component] = Component) -> Any:
        """The recipe's detector, decider or evaluation of this name, or the first of them that is of a kind."""
        found = (one for one in (*self.recipe.curate, *self.recipe.evaluate) if isinstance(one, kind))
        return next(one for one in found if one.component_name() == name)

    def __reduce__(self) -> tuple[Any, ...]:
        return reopened, (json.dumps(self.recipe.dump()), self.store.url, self.profile, self.store.trust)


@cache
def reopened(recipe: str, store: str, profile: Profile, trust: bool) -> Job:
    """The job with these plain values, one per process."""
    return Job(Recipe.parse(json.loads(recipe)), store, profile, trust=trust)


def models(profile: Profile) -> ModelTable:
    """The table of a profile, read once per process for each value of the variables that decide what is in it."""
    return _models(profile, cache_dir(), *(os.environ.get(name, "") for name in VARIABLES))


@cache
def _models(profile: Profile, cache: Path, *_variables: str) -> ModelTable:
    return ModelTable(profile, cache)


def open_context(recipe: Recipe, profile: Profile) -> Context:
    """The context of a recipe's components: its seed, the profile's models, the disk cache, its source and splits."""
    memo = DiskMemo(cache_dir() / "memo")
    return Context(recipe.seed, models(profile), memo, recipe.source, splits=recipe.splits)


def with_small_models(job: Job, work: Callable[[], T]) -> T:
    """The result of work on a job. Small models that it wants are downloaded if they are missing, with a line each.

    Those that the recipe can do without come first, as they decide the edition. For others the work is tried first: an
    edition that is finished needs none.
    """
    recipe, table = job.recipe, models(job.profile)
    components = (recipe.source, *recipe.generate, *recipe.curate, *recipe.evaluate)
    there = set(table.aliases())
    optional = [alias for component in components for alias in optional_models(component) if alias in there]
    if any(table.status(alias).state == "missing" for alias in optional):
        recipe.source.size(job.ctx)  # raises what is wrong with it before anything is downloaded
        table.fetch_missing(optional)
    try:
        return work()
    except ModelUnavailable:
        if not table.fetch_missing(required_models(*components)):
            raise
        return work()


def check_models(components: Iterable[Component], ctx: Context) -> None:
    """Raise ModelUnavailable, with one line each, if models that the components ask for are unavailable here.

    Raises:
        RecipeError: a model doesn't play the role that a component needs.
    """
    asking = list(components)
    for component in asking:
        check_roles(component, ctx)
    ctx.models.check(required_batches(*asking))


def check_roles(component: Component, ctx: Context) -> None:
    """Raise RecipeError if a component uses a model that doesn't play the role that it must."""
    for one in uses_of(component):
        if one.optional and ctx.models.why_unavailable(one.alias):
            continue
        plays = ("encoder", "classifier") if one.role == "embedding" else (one.role,)
        if one.role is not None and ctx.models.role(one.alias) not in (*plays, None):
            fields = [
                name for name, value in component if one.alias in (value if isinstance(value, tuple) else [value])
            ]
            where = ".".join([component.component_name(), *(fields if len(fields) == 1 else [])])
            what, example = {
                "classifier": ("a classifier", "classifier_small"),
                "adversary": ("an adversary, as it gives no gradients", "adversary"),
            }.get(one.role, ("an encoder", "encoder"))
            raise RecipeError(f"{where}: the model {cut(repr(one.alias))} isn't {what}; name one, such as {example}")


def figures_of(component: Detector | Decider | Evaluation, table: Table, ctx: Context) -> dict[str, Json]:
    """A component's figures. Raises RecipeError for what JSON can't hold."""
    where = f"{'evaluate' if isinstance(component, Evaluation) else 'curate'}.{component.component_name()}"
    found: object = component.figures(table, ctx)
    if not isinstance(found, Mapping):
        raise RecipeError(f"{where}: figures gave {type(found).__name__}; it must return a mapping from name to figure")
    try:
        plain: Any = as_json(found, "figures")
    except TypeError as error:
        raise RecipeError(f"{where}: {error}") from None
    return dict(plain)


@cache
def code_of(cls: type[Component]) -> str:
    """sha256 of the file that defines a component, with this project's version.

    It is part of the keys of what is cheap to compute again, verdicts and figures, so that an edit of the file shows
    even where nobody raised `revision`.
    """
    return f"{installed_version('variorum')} {hash_content(Path(inspect.getfile(cls)))}"


@cache
def installed_version(package: str) -> str:
    """The version of an installed package, or `absent`; looked up once, as every unit's receipt has several."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def compared_with(component: Component, ctx: Context) -> dict[str, Json]:
    """Identity and data of the sources that a component compares with, by reference, for keys."""
    return {name: [source.fingerprint(), source.pin(ctx)] for name, source in references_of(component).items()}


def located(step: Component) -> dict[str, list[Json]]:
    """A component's locations: paths and the sha256 of the files there, as people's answers may have changed since."""
    found: dict[str, list[Json]] = {}
    for name in sorted(step.location):
        value = getattr(step, name)
        places = value if isinstance(value, tuple | list) else [value]
        files = [Path(place) for place in places if place is not None and Path(place).is_file()]
        found[name] = [[str(place) for place in places], [hash_content(file) for file in files]]
    return found


def pins(component: Component, ctx: Context) -> dict[str, str]:
    """Pin by alias, for the models that a component asks for; `unavailable` for one that it does without."""
    found = {alias: ctx.models.pin(alias) for alias in required_models(component)}
    return found | optional_pins(component, ctx)
