"""Names the models that components use, and says what each may do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from variorum.schemas.errors import RecipeError

if TYPE_CHECKING:
    from variorum.schemas.component import Component

Role: TypeAlias = Literal["classifier", "encoder", "embedding", "adversary"]
"""What a model does with pictures: probabilities of classes, or embeddings; `embedding` is an encoder, or a classifier
whose last layer's input is taken; `adversary` a classifier that gives gradients."""


class Use(NamedTuple):
    """A model that a component asks for; its pin is part of every key.

    Attributes:
        alias: the model's name in recipes.
        role: that it must play; a model of another role is refused before any work. None for any model.
        decides: of a generator: its opinion decides what is accepted. It may not judge the result later, because the
            edition would flatter it.
        optional: the component can do without it; where it is unavailable, that is part of every key.
        describes: of an evaluation: no figure says how good it is, so a model that `decides` may be used.
        gate: of a generator: the check whose value, in the rows of what it withholds, is the model's opinion. Of an
            evaluation: the check by which it counts what was withheld, so the model may be judged although it decided.
        batch: pictures per call of it, at most; a run compares the GPU memory that they take with what is free.
    """

    alias: str
    role: Role | None = None
    decides: bool = False
    optional: bool = False
    describes: bool = False
    batch: int = 1
    gate: str = ""


def uses_of(*components: Component) -> list[Use]:
    """All entries of the components' `uses`, in order. Raises RecipeError for anything else in them."""
    found: list[Use] = []
    for component in components:
        given: object = component.uses()
        for one in given if isinstance(given, Iterable) else [given]:
            if not isinstance(one, Use):
                name, kind = component.component_name(), type(one).__name__
                raise RecipeError(f'{name}: uses has {kind}; it must return entries such as `[Use("segmenter")]`')
            found.append(one)
    return found


def required_models(*components: Component) -> tuple[str, ...]:
    """Aliases of the models that the components can't do without, each once, in order."""
    return tuple(dict.fromkeys(one.alias for one in uses_of(*components) if not one.optional))


def required_batches(*components: Component) -> dict[str, int]:
    """The largest batch of each model that the components can't do without, by alias."""
    found: dict[str, int] = {}
    for one in uses_of(*components):
        if not one.optional:
            found[one.alias] = max(one.batch, found.get(one.alias, 1))
    return found


def optional_models(component: Component) -> tuple[str, ...]:
    """Aliases of the models that a component can do without, each once, in order."""
    required = required_models(component)
    return tuple(dict.fromkeys(one.alias for one in uses_of(component) if one.alias not in required))


def all_models(*components: Component) -> tuple[str, ...]:
    """Aliases of all models that the components use, each once, in order."""
    return tuple(dict.fromkeys(one.alias for one in uses_of(*components)))


def deciding_models(*components: Component) -> tuple[str, ...]:
    """Aliases of the models whose opinion decides what is accepted, each once, in order."""
    return tuple(dict.fromkeys(one.alias for one in uses_of(*components) if one.decides))


def judged_models(evaluation: Component) -> tuple[str, ...]:
    """Aliases of the models that an evaluation's figures are about, each once, in order."""
    return tuple(dict.fromkeys(one.alias for one in uses_of(evaluation) if not one.describes))
