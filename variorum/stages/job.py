"""A job is a recipe, a profile of models and a store: all that a stage needs, here or on another machine."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache, cached_property
from typing import Any, Literal

from variorum.edition.store import Store
from variorum.machine.cache import cache_dir
from variorum.machine.memo import DiskMemo
from variorum.models import ModelTable
from variorum.schemas.component import Component, Context
from variorum.schemas.recipe import Recipe
from variorum.stages.plan import Plan, plan

Profile = Literal["embedded", "hub"]


class Job:
    """A recipe on a profile into a store. It pickles as plain values, so a runner can send it anywhere.

    Args:
        recipe: what to make.
        store: where to: a store, or its folder or URL.
        profile: which table of models stands behind the aliases.
        ctx: what the components may use, instead of the profile's models and this machine's cache.
    """

    def __init__(
        self, recipe: Recipe, store: Store | str, profile: Profile = "embedded", *, ctx: Context | None = None
    ) -> None:
        self.recipe = recipe
        self.profile = profile
        self.store = Store(store) if isinstance(store, str) else store
        self.ctx = ctx or open_context(recipe, profile)

    @cached_property
    def plan(self) -> Plan:
        """Units and identity of the edition, worked out once. Raises what `stages.plan.plan` raises."""
        return plan(self.recipe, self.ctx)

    def component(self, name: str) -> Any:
        """The recipe's detector, decider or evaluation of this name."""
        return next(one for one in (*self.recipe.curate, *self.recipe.evaluate) if one.component_name() == name)

    def __reduce__(self) -> tuple[Any, ...]:
        return reopened, (json.dumps(self.recipe.dump()), self.store.url, self.profile)


@cache
def reopened(recipe: str, store: str, profile: Profile) -> Job:
    """The job that these plain values stand for, one per process."""
    return Job(Recipe.parse(json.loads(recipe)), store, profile)


@cache
def models(profile: Profile) -> ModelTable:
    """The process's one table of a profile, so that weights are loaded once."""
    return ModelTable(profile)


def open_context(recipe: Recipe, profile: Profile) -> Context:
    """What a recipe's components may use: its seed, the profile's models, the disk cache, its source."""
    return Context(recipe.seed, models(profile), DiskMemo(cache_dir() / "memo"), recipe.source)


def check_models(components: Iterable[Component], ctx: Context) -> None:
    """Whether the models that components ask for can be had here. Raises ModelUnavailable, with a line for each."""
    ctx.models.check({alias for component in components for alias in component.aliases()})


def pins(component: Component, ctx: Context) -> dict[str, str]:
    """Alias to pin of the models that a component asks for."""
    return {alias: ctx.models.pin(alias) for alias in component.aliases()}
