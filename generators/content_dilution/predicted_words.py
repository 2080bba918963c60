"""Name in words what a classifier sees in a picture."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from variorum.models.imagenet_classes import table
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut

if TYPE_CHECKING:
    from variorum.arrays import Pixels

LEAST = 0.05
"""Probability from which the name of a class is said."""
BRACKETS = re.compile(r"\(.*?\)")
"""Part of a class's name that isn't said: ear (of maize)."""


def seen(alias: str, classifier: Any, image: Pixels) -> list[str]:
    """The names of the classes that a classifier gives at least `LEAST`, the most probable one first.

    Of several names of a class, divided by commas, it is the first.

    Args:
        alias: of the classifier, for messages.
        classifier: with `classes`, or with ImageNet's 1,000 outputs.
        image: uint8 `[H, W, 3]`.

    Raises:
        RecipeError: it isn't a classifier, or nobody says what its outputs are.
    """
    classes = [one.name for one in table()]
    by_wnid = {one.wnid: one.name for one in table()}
    names = [by_wnid.get(name, name) for name in getattr(classifier, "classes", ())] or classes
    chances = classifier([image])[0]
    if getattr(chances, "shape", ()) != (len(names),):
        raise RecipeError(
            f"content_dilution: {cut(repr(alias))} isn't a classifier whose classes have names; name another, such as "
            "classifier_gate"
        )
    order = [place for place in chances.argsort(kind="stable")[::-1].tolist() if chances[place] >= LEAST]
    return [" ".join(BRACKETS.sub("", names[place].partition(",")[0].replace("_", " ")).split()) for place in order]
