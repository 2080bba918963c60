"""What a model gives beside answers, and asking it for that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

NO_EMBEDDING = "gives no embedding"
NO_BOXES = "gives no boxes"
WAY_OUT = (
    "bring a PyTorch network whose last layer is linear, or a function with an attribute embed: from the same pictures "
    "to embeddings [N, d]"
)


def gives(model: Any, image: Pixels) -> frozenset[str]:
    """What a model gives beside answers: `embedding`, `boxes`; asked with one picture.

    Raises:
        ModelFailed: it raised.
    """
    if hasattr(model, "knows"):
        return frozenset({"boxes"})
    features = getattr(model, "features", None)
    return frozenset({"embedding"} if features is not None and features([image]) is not None else ())


def embeddings(name: str, model: Any, images: Sequence[Any]) -> Singles:
    """Embeddings `[N, d]` of pictures by an encoder, or by a classifier that gives them.

    Raises:
        RecipeError: the model gives none.
    """
    if hasattr(model, "knows"):
        raise RecipeError(f"{cut(repr(name))} is a detector, which {NO_EMBEDDING}; name an encoder or a classifier")
    found = model.features(images) if hasattr(model, "features") else model(images)
    if found is None:
        raise RecipeError(f"model {cut(repr(name))} {NO_EMBEDDING}; {WAY_OUT}")
    return np.asarray(found, np.float32)
