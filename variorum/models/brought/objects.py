"""Objects of other libraries as models: networks of PyTorch, Keras and JAX, and classifiers of scikit-learn.

What a library's classifiers take is known: a tensor, an array, or rows of features. Anything else that can be called is
a function that takes a list of pictures.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.models.brought.networks import (
    ASSUMED,
    Prepared,
    is_network,
    network_scores,
    own_preprocessing,
    stacked,
    state_digest,
)
from variorum.models.brought.steps import USUAL, Steps, steps_of
from variorum.models.brought.torchvision import preset_told
from variorum.schemas.canonical import digest
from variorum.schemas.errors import RecipeError

if TYPE_CHECKING:
    from variorum.arrays import Array, Pixels

ARRAYS = frozenset({"jax", "jaxlib", "flax", "keras", "tf_keras", "tensorflow"})
"""Packages whose networks take one array `[N, H, W, 3]`."""
LONGEST = 300
"""Characters of a transform's own description."""
LEAST, HIGHEST = 4, 1024
"""Pixels of the smallest side that features can be, and of the largest that an array's height can be."""


@dataclass(frozen=True, slots=True)
class Adapted:
    """An object of a library as a function of pictures.

    Attributes:
        kind: what it is, for people.
        scores: from RGB uint8 pictures `[H, W, 3]` to scores `[N, K]`.
        told: its preprocessing as a sentence.
        classes: names of its outputs; empty if it has none.
        identity: what else than its code decides its output: a digest of preprocessing and weights.
        embed: from pictures to embeddings `[N, d]`, or to None; None if there is no such way.
    """

    kind: str
    scores: Callable[[Sequence[Pixels]], Any]
    told: str
    classes: tuple[str, ...] = ()
    identity: str = ""
    embed: Callable[[Sequence[Pixels]], Any] | None = None


def is_model(value: object) -> bool:
    """Return whether this can be a model: it can be called, or it has `predict_proba`."""
    return callable(value) or hasattr(value, "predict_proba")


def adapted(model: Any, name: str, preprocess: Any = None) -> Adapted | None:
    """The object as a model; None for a function that takes a list of pictures.

    Args:
        model: an object.
        name: of the model, for errors.
        preprocess: words as in `steps.USUAL`, or a function from a PIL picture to an array or a tensor, such as a
            transform of torchvision; by default the model's own.

    Raises:
        RecipeError: the preprocessing isn't understood.
        ModelUnavailable: a network can't be copied, or doesn't fit into the GPU's memory.
    """
    inner = _inner(model)
    if {one.__module__.partition(".")[0] for one in type(inner).__mro__} & ARRAYS:  # Keras may run on PyTorch
        return _of_arrays(model, inner, preprocess)
    if is_network(model):
        return _of_network(model, name, preprocess)
    if is_network(getattr(model, "model", None)) and hasattr(model, "image_processor"):  # a pipeline of transformers
        return _of_network(model.model, name, preprocess, model.image_processor)
    if hasattr(model, "predict_proba"):
        return _of_features(model, preprocess)
    if hasattr(inner, "predict_proba") and getattr(model, "__name__", "") == "predict_proba":
        return _of_features(inner, preprocess)
    if preprocess is None:
        return None
    chosen = _chosen(preprocess, channels_first=False)
    return _made("function of prepared pictures", lambda images: model(_batch(chosen, images)), chosen)


def _made(kind: str, scores: Callable[[Sequence[Pixels]], Any], found: Prepared, more: str = "") -> Adapted:
    identity = digest([kind, found.told, more])[:12]
    return Adapted(kind, scores, found.told, found.classes, identity, getattr(scores, "embed", None))


def _inner(model: Any) -> Any:
    """What a partial function or a method belongs to; else the object itself."""
    while isinstance(model, partial):
        model = model.func
    return getattr(model, "__self__", model)


def _chosen(preprocess: Any, *, channels_first: bool) -> Prepared:
    """The preprocessing that somebody asked for."""
    if isinstance(preprocess, str):
        steps = steps_of(preprocess, channels_first=channels_first)
        return Prepared(steps, steps.told("as asked for"))
    if not callable(preprocess):
        raise RecipeError(
            f"preprocess is of type {type(preprocess).__name__}; give words such as {USUAL!r}, or a function from a "
            "PIL picture to a tensor, such as a transform of torchvision"
        )
    if type(preprocess).__module__ == "torchvision.transforms._presets" and hasattr(preprocess, "crop_size"):
        return Prepared(preprocess, preset_told(preprocess, "a transform of torchvision"))
    said = getattr(preprocess, "__qualname__", "") or " ".join(repr(preprocess).split())
    said = "".join(sign for sign in said if sign.isprintable())
    return Prepared(preprocess, f"By {said if len(said) <= LONGEST else said[:LONGEST] + '…'}.")


def _batch(found: Prepared, images: Sequence[Pixels]) -> Any:
    """The pictures prepared, as one array or tensor."""
    from PIL import Image

    return stacked([found.prepare(Image.fromarray(image)) for image in images])


# ── PyTorch ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _of_network(model: Any, name: str, preprocess: Any, processor: Any = None) -> Adapted:
    own = own_preprocessing(model, processor)
    found = own if preprocess is None else _chosen(preprocess, channels_first=True)
    found = Prepared(found.prepare, found.told, own.classes)
    return _made("PyTorch module", network_scores(model, found.prepare, name), found, state_digest(model))


# ── Keras and JAX ────────────────────────────────────────────────────────────────────────────────────────────────────


def _of_arrays(model: Any, inner: Any, preprocess: Any) -> Adapted:
    """A network that takes `[N, H, W, 3]` as float32. Keras's are called without training's randomness."""
    keras = hasattr(inner, "predict_on_batch")
    if preprocess is not None:
        found = _chosen(preprocess, channels_first=False)
    else:
        shape = getattr(inner, "input_shape", None)
        sides = shape[1:3] if isinstance(shape, tuple) and len(shape) == 4 else ()
        size = f"{sides[0]}x{sides[1]}" if len(sides) == 2 and all(isinstance(side, int) for side in sides) else ""
        words = f"resize={size or '224x224'} values=0-255" if keras else f"{USUAL} layout=nhwc"
        steps = steps_of(words, channels_first=False)
        usual = ASSUMED.replace("ImageNet", "Keras") if keras else ASSUMED
        found = Prepared(steps, steps.told(usual))
    ask = keras and (model is inner or getattr(model, "__name__", "") == "predict")  # which prints its progress
    call = inner.predict_on_batch if ask else model
    weights = [sha256(np.asarray(one).tobytes()).hexdigest() for one in inner.get_weights()] if keras else []
    kind = "Keras model" if keras else "function of JAX"
    return _made(kind, lambda images: call(_batch(found, images)), found, " ".join(weights))


# ── scikit-learn ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _of_features(model: Any, preprocess: Any) -> Adapted:
    """A classifier with `predict_proba`, which takes pictures as rows of numbers, or whole.

    How many numbers it was fitted on says the size: `3 · s · s` for RGB, `s · s` for grey.
    """
    features = int(getattr(model, "n_features_in_", 0))
    if preprocess is not None:
        found = _chosen(preprocess, channels_first=False)
        whole = _takes_whole(model, found)
    else:
        # A pipeline that begins with a function of arrays takes their height for the number of features.
        square = Steps((features, features), largest=255, channels_first=False)
        whole = not features or (features <= HIGHEST and _takes_whole(model, Prepared(square, "")))
        steps = (square if features else Steps(largest=255, channels_first=False)) if whole else _fitted(features)
        whose = f"assumed from its {features} features" if features else "assumed: as they are stored"
        found = Prepared(steps, steps.told(whose))
    how = "whole, [N, H, W, 3]" if whole else "as rows of numbers, row by row of the picture"
    found = Prepared(found.prepare, f"{found.told.removesuffix('.')}, given {how}.", _classes(model))

    def scores(images: Sequence[Pixels]) -> Any:
        batch: Array = np.asarray(_batch(found, images))
        return model.predict_proba(batch if whole else batch.reshape(len(batch), -1))

    return _made("classifier with predict_proba", scores, found)


def _fitted(features: int) -> Steps:
    """The size of pictures that have this many numbers."""
    for colours, channels in (("rgb", 3), ("grey", 1)):
        side = math.isqrt(features // channels)
        if side >= LEAST and side * side * channels == features:
            return Steps((side, side), largest=255, colours=colours, channels_first=False)
    return Steps(largest=255, channels_first=False)


def _takes_whole(model: Any, found: Prepared) -> bool:
    """Ask with a grey picture whether a classifier takes it whole; scikit-learn's own refuse four dimensions."""
    picture = np.full((32, 32, 3), 127, np.uint8)
    try:
        model.predict_proba(_batch(found, [picture]))
    except Exception:  # whatever it raises, it doesn't take them
        return False
    return True


def _classes(model: Any) -> tuple[str, ...]:
    """The labels that it was fitted on; none if they are only numbered."""
    labels = [str(label) for label in getattr(model, "classes_", ())]
    return () if labels == [str(number) for number in range(len(labels))] else tuple(labels)


REFUSED = """{what}; a model is a PyTorch, timm or torchvision network, an object with predict_proba, a Keras or JAX \
network, a name such as timm:resnet50.a1_in1k, or a function like this one:
    import numpy as np
    def model(images):  # a list of at most 32 RGB uint8 pictures [H, W, 3] of any sizes
        batch = np.stack([prepare(image) for image in images])  # prepare: your own preprocessing
        return network(batch)  # logits or probabilities [N, K]
    model.classes = ["cat", "dog"]  # of the K outputs, in their order; left out for ImageNet's thousand
    variorum.evaluate("imagenet_e", model)  # or: variorum evaluate imagenet_e --model module:this_file.py:model"""


def no_model(what: str, value: Any) -> RecipeError:
    """The error for what isn't a model, with lines to paste. `what` names the value."""
    what = f"{what} is of type {type(value).__name__}"
    if inspect.isclass(value):
        what += f", the class {value.__name__}: give an object of it"
    elif hasattr(value, "predict"):
        what += ", and its predict gives labels alone: let it have predict_proba, as by CalibratedClassifierCV"
    elif isinstance(value, dict) or type(value).__name__ == "Tensor":
        what += ", perhaps the weights alone: make the network, call its load_state_dict, and give the network"
    return RecipeError(REFUSED.format(what=what))
