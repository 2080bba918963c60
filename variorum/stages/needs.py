"""Say which models a recipe needs in a profile, and which it can do without."""

from __future__ import annotations

from typing import NamedTuple

from variorum.models import ModelTable
from variorum.schemas.recipe import Recipe
from variorum.schemas.uses import all_models, optional_models, required_models


class Needs(NamedTuple):
    """Aliases of models, with those that they use, each once.

    Attributes:
        required: the recipe can't be carried out without them; those of its evaluations among them.
        optional: it does without them, where they are unavailable.
        makers: of all of these, those that its source and its generators use.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...]
    makers: frozenset[str]


def needs_of(recipe: Recipe, table: ModelTable) -> Needs:
    """The models that a recipe uses, as the table has them.

    Raises:
        RecipeError: the recipe can't do without a model that isn't in the table.
    """
    makers = (recipe.source, *recipe.generate)
    components = (*makers, *recipe.curate, *recipe.evaluate)
    required = table.with_used(required_models(*components))
    there = {*table.aliases(), *required}
    others = table.with_used(alias for one in components for alias in optional_models(one) if alias in there)
    made = table.with_used(alias for alias in all_models(*makers) if alias in there)
    return Needs(required, tuple(alias for alias in others if alias not in required), frozenset(made))
