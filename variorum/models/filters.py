"""Models that decided what was accepted into an edition can't judge it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from variorum.schemas.errors import RecipeError

CONTENT = re.compile(r"@((?:sha256|git):[0-9a-f]+)")
"""Hashes and commits in a pin: of its own weights, and of those that it uses."""
UNAVAILABLE = "unavailable"
"""In place of the pin of a model that a component does without; it decided nothing."""


def weights_of(pin: str) -> str:
    """The part of a pin that names the weights, without loader and options."""
    return pin.partition("+")[0]


def content_of(pin: str) -> str:
    """Hash or commit of a pin's weights, whatever they are called; the whole of `weights_of` if there is neither."""
    _, _, content = weights_of(pin).rpartition("@")
    return content if content.startswith(("sha256:", "git:")) else weights_of(pin)


def contents_of(pin: str) -> frozenset[str]:
    """Contents of a pin's weights and of all models that it uses; of a method without any, what it is called."""
    return frozenset(CONTENT.findall(pin) or [content_of(pin)])


def refuse_filters(judges: Mapping[str, str], filters: Iterable[str]) -> None:
    """Refuse judges whose weights filtered the edition: the edition would flatter them.

    A judge is refused too if it uses a model that filtered, or is used by one: a wrapper around the filter's weights
    answers much as they do.

    Args:
        judges: alias to pin, of the models that an evaluation asks for.
        filters: pins of the models that decided what was accepted (`Manifest.filters`).

    Raises:
        RecipeError: names each alias and the filter with the same weights; names and options don't matter.
    """
    known = {content: pin for pin in filters if pin != UNAVAILABLE for content in contents_of(pin)}
    shared = [
        f"{alias!r} is {known[content]}"
        for alias, pin in judges.items()
        if (content := next((one for one in sorted(contents_of(pin)) if one in known), None)) is not None
    ]
    if shared:
        raise RecipeError(
            f"a model that decided what was accepted can't judge the result: {'; '.join(shared)}; "
            "name other models in the evaluation"
        )
