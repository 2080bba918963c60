"""Map a classifier's outputs to the classes of an edition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from variorum.kit.labels.matching import columns
from variorum.schemas.component import ClassInfo
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut

OUTSIDE = ""
"""The prediction of an output that is no class of the edition."""


def predicted_classes(alias: str, model: Any, classes: Sequence[ClassInfo], outputs: int) -> list[str]:
    """The id of each output's class, `OUTSIDE` for outputs that the edition doesn't have.

    Args:
        alias: of the model, for messages.
        model: a classifier; without classes of its own its outputs are ImageNet's.
        classes: of the edition.
        outputs: number of the model's outputs.

    Raises:
        RecipeError: none of the edition's classes is an output of the model, or it isn't clear which.
    """
    try:
        found = columns(classes, tuple(getattr(model, "classes", ())), outputs, needed=())
    except RecipeError as error:
        raise RecipeError(f"model {cut(alias)!r}: {error}") from None
    names = [OUTSIDE] * outputs
    for one, output in zip(classes, found.tolist(), strict=True):
        if output >= 0:
            names[output] = one.id
    if not any(names):
        known = ", ".join(repr(cut(one.id)) for one in classes[:3])
        raise RecipeError(
            f"model {cut(alias)!r}: none of its {outputs} outputs is a class of the edition, whose classes are {known}"
            f"{', …' if len(classes) > 3 else ''}; name a classifier that knows them"
        )
    return names
