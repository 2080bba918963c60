"""Loader `zero_shot_classifier`: a model of pictures and texts as a classifier of ImageNet's classes.

Radford et al., ICML 2021, arXiv 2103.00020, section 3.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field

from variorum.models.imagenet_classes import clip_templates, table
from variorum.models.loaders.loader import Loader, no_obstacle
from variorum.models.penultimate import once
from variorum.models.table_entries import Entry, StrictModel
from variorum.schemas.errors import ModelUnavailable

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

SEVEN = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)
"""Of CLIP's 80 templates those that its authors found to do as well as all of them (OpenAI's CLIP, MIT)."""


def _texts(chosen: Any) -> Any:
    """The texts that a number of templates stands for."""
    eighty = tuple(row["template"].replace("{name}", "{}") for row in clip_templates())
    if isinstance(chosen, int) and chosen not in (1, 7, 80):
        raise ValueError("templates is 1, 7 or 80, or a list of texts")
    return {1: ("a photo of a {}.",), 7: SEVEN, 80: eighty}[chosen] if isinstance(chosen, int) else chosen


def _with_place(texts: tuple[str, ...]) -> tuple[str, ...]:
    if wrong := [text for text in texts if text.count("{}") != 1]:
        raise ValueError(f"{wrong[0]!r} must have one {{}}, where the name of the class comes")
    return texts


class ZeroShotClassifierOptions(StrictModel):
    """Options of `zero_shot_classifier`."""

    templates: Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_texts), AfterValidator(_with_place)] = (
        SEVEN
    )
    """Texts with `{}` for the class's name, or how many of CLIP's, 1, 7 or 80. A class is the mean of their
    embeddings."""


def load_zero_shot_classifier(
    entry: Entry, _weights: None, options: ZeroShotClassifierOptions, used: Mapping[str, Any]
) -> ZeroShotClassifier:
    """The classifier of the zero-shot model that the entry uses.

    Raises:
        ModelUnavailable: it uses no such model.
    """
    models = [model for model in used.values() if hasattr(model, "embed_texts")]
    if len(models) != 1 or len(used) != 1:
        raise ModelUnavailable(f"{entry.name}: it uses one model of the loader zero_shot; name it in `uses`")
    return ZeroShotClassifier(models[0], options.templates)


class ZeroShotClassifier:
    """A `roles.Classifier` without training on ImageNet: the class whose texts are nearest to the picture.

    Names are those of this project's table, in which no two classes have the same.

    Attributes:
        classes: empty, which stands for ImageNet's order.
        preprocessing: a sentence for cards.
    """

    def __init__(self, model: Any, templates: Sequence[str]) -> None:
        self._model = model
        self.classes: tuple[str, ...] = ()
        more = f" and {len(templates) - 1} more" if len(templates) > 1 else ""
        self.preprocessing = f"{model.preprocessing} Classes from the template {templates[0]!r}{more}."
        means = sum(
            model.embed_texts([template.format(one.name) for one in table()]).astype(np.float64)
            for template in templates
        )
        self._directions = (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)

    def __call__(self, images: Sequence[Pixels]) -> Singles:
        """Probabilities `[N, 1000]`: the softmax of the cosines, times the model's own temperature."""
        return self._both(images)[0] if images else np.zeros((0, len(table())), np.float32)

    def features(self, images: Sequence[Pixels]) -> Singles:
        """Embeddings `[N, d]` of length 1: what the classes' directions are multiplied with."""
        return self._both(images)[1]

    @once
    def _both(self, images: Sequence[Pixels]) -> tuple[Singles, Singles]:
        embedded = self._model.embed_pictures(images)
        logits = embedded @ self._directions.T * np.float32(self._model.temperature)
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        return raised / raised.sum(axis=1, keepdims=True), embedded


ZERO_SHOT_CLASSIFIER = Loader(
    revision=1,
    make=load_zero_shot_classifier,
    options=ZeroShotClassifierOptions,
    obstacle=no_obstacle,
    has_weights=False,
    role=lambda _: "classifier",
)
