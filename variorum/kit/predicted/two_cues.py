"""Decisions of classifiers on pictures whose shape and texture are of different classes.

A classifier decides among sixteen categories, by the mean probability over each category's classes of ImageNet, and
among all of its outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.kit.labels.categories import category_classes, category_of, category_probabilities
from variorum.kit.labels.matching import IMAGENET, columns
from variorum.models.imagenet_classes import class_infos, index_of
from variorum.schemas.sample import Sample

if TYPE_CHECKING:
    from variorum.arrays import Singles

NO_CUES = ("", "")
"""Of a picture that isn't asked about."""


def cues_of(sample: Sample) -> tuple[str, str] | None:
    """Labels of a picture's shape and texture; `""` for the texture of a picture with one cue.

    None for a picture that isn't asked about: it has neither two cues nor a class in a category.
    """
    for op in reversed(sample.ops):  # what was done to it afterwards, such as fog, leaves both
        shape, texture = (op["requested"].get(name) for name in ("shape_label", "texture_label"))
        if isinstance(shape, str) and isinstance(texture, str) and shape and texture:
            return shape, texture
    if len(sample.labels) == 1 and category_of(sample.labels[0]):
        return sample.labels[0], ""
    return None


def by_category(model: Any, probabilities: Singles) -> Singles:
    """Mean probability over each category's classes, `[N, 16]`, NaN for categories that the model has no class of.

    Args:
        model: a classifier; one that doesn't say what its thousand outputs are has ImageNet's.
        probabilities: `[N, outputs]`.
    """
    outputs = probabilities.shape[1]
    texts = tuple(getattr(model, "classes", ()))
    if not texts and outputs != IMAGENET:
        return np.full((len(probabilities), len(category_classes())), np.nan, np.float32)
    places = columns(class_infos(), texts, outputs, needed=()) if texts else np.arange(IMAGENET)
    ordered = np.where(places >= 0, probabilities[:, np.maximum(places, 0)], np.nan)
    return category_probabilities(ordered)


def decision(
    cues: tuple[str, str], probabilities: Singles, means: Singles, output_of: Mapping[str, int] | None
) -> dict[str, Any]:
    """What a classifier decides on a picture, as columns.

    `sixteen` is the category that it decides for, `""` if it doesn't have all sixteen. `all` is its decision among all
    outputs: `shape`, `texture`, `neither`, or `""` where it lacks one of the classes. The probabilities `p_…` are those
    of the two classes, and the means over the classes of their categories; NaN where it has none.

    Args:
        cues: of `cues_of`, or `NO_CUES`.
        probabilities: `[outputs]`.
        means: a row of `by_category`.
        output_of: output of each class id; None for ImageNet's in their own order.
    """
    shape, texture = cues
    first, second = (_output(label, output_of) for label in cues)
    known, names = [category_of(label) if label else "" for label in cues], list(category_classes())
    p_shape, p_texture = (float(probabilities[one]) if one >= 0 else np.nan for one in (first, second))
    q_shape, q_texture = (float(means[names.index(one)]) if one else np.nan for one in known)
    return {
        "shape_label": shape,
        "texture_label": texture,
        "shape_category": known[0],
        "texture_category": known[1],
        "sixteen": names[int(means.argmax())] if shape and np.isfinite(means).all() else "",
        "all": _among_all(int(probabilities.argmax()), first, second) if texture else "",
        "p_shape": p_shape,
        "p_texture": p_texture,
        "p_shape_category": q_shape,
        "p_texture_category": q_texture,
    }


def _output(label: str, output_of: Mapping[str, int] | None) -> int:
    """The output of a class; -1 for one that the classifier lacks."""
    if not label:
        return -1
    if output_of is not None:
        return output_of.get(label, -1)
    index = index_of(label)
    return -1 if index is None else index


def _among_all(top: int, shape: int, texture: int) -> str:
    if min(shape, texture) < 0:
        return ""
    return "shape" if top == shape else "texture" if top == texture else "neither"
