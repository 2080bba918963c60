"""The context that components work in, from a recipe and a profile."""

from __future__ import annotations

from functools import cache
from typing import Literal

from schemas.component import Context
from schemas.recipe import Recipe
from variorum.cache import cache_dir
from variorum.memo import DiskMemo
from variorum.models import ModelTable

Profile = Literal["embedded", "hub"]


@cache
def models(profile: Profile) -> ModelTable:
    """The process's one table of a profile, so that weights are loaded once."""
    return ModelTable(profile)


def open_context(recipe: Recipe, profile: Profile) -> Context:
    """What the recipe's components may use: its seed, the profile's models, the disk memo, its source."""
    return Context(recipe.seed, models(profile), DiskMemo(cache_dir() / "memo"), recipe.source)
