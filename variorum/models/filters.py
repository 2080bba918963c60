"""Models that decided what was accepted into an edition can't judge it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from variorum.schemas.errors import RecipeError

UNAVAILABLE = "unavailable"
"""In place of the pin of a model that a component does without; it decided nothing."""


def weights_of(pin: str) -> str:
    """The part of a pin that names the weights, without loader and options."""
    return pin.partition("+")[0]


def content_of(pin: str) -> str:
    """Hash or commit of a pin's weights, whatever they are called; the whole of `weights_of` if there is neither."""
    _, _, content = weights_of(pin).rpartition("@")
    return content if content.startswith(("sha256:", "git:")) else weights_of(pin)


def refuse_filters(judges: Mapping[str, str], filters: Iterable[str]) -> None:
    """Refuse judges whose weights filtered the edition: the edition would flatter them.

    Args:
        judges: alias to pin, of the models that an evaluation asks for.
        filters: pins of the models that decided what was accepted (`Manifest.filters`).

    Raises:
        RecipeError: names each alias and the filter with the same weights; names and options don't matter.
    """
    known = {content_of(pin): pin for pin in filters if pin != UNAVAILABLE}
    shared = [f"{alias!r} is {known[content_of(pin)]}" for alias, pin in judges.items() if content_of(pin) in known]
    if shared:
        raise RecipeError(
            f"a model that decided what was accepted can't judge the result: {'; '.join(shared)}; "
            "name other models in the evaluation"
        )
