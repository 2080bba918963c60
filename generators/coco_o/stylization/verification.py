"""Check with a detector that a redrawn picture still shows the objects of the photograph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from variorum.generators.coco_o.stylization.gates import LEAST_SIDE
from variorum.kit.gates.gates import at_least, recorded
from variorum.schemas.annotations import CHECKS, Annotations, Check, Object
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut
from variorum.schemas.sample import Gate

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels, Singles
    from variorum.models.roles import Detected, Detector

LEAST_IOU = 0.5
"""Of a box and what the detector finds there."""


def check_detector(alias: str, model: object) -> None:
    """Raise RecipeError for a model that finds nothing by its name."""
    if not hasattr(model, "knows"):
        raise RecipeError(f"{cut(repr(alias))} is no detector; name an alias such as detector_gate")


def asked(detector: Detector, annotations: Annotations, names: Mapping[str, str]) -> list[str]:
    """List the names that the detector is asked for: those of the objects' classes that it knows, each once."""
    labels = dict.fromkeys(item.label for item in annotations.objects if item.label and not item.crowd)
    texts = list(dict.fromkeys(names.get(label, label) for label in labels))
    texts = [text for text in texts if text.strip()]
    return [text for text, known in zip(texts, detector.knows(texts), strict=True) if known] if texts else []


def found(seen: Detected, objects: Sequence[Object], texts: Sequence[str], names: Mapping[str, str]) -> list[bool]:
    """Return whether each object is found; each detection, surest first, stands for the best box of its class."""
    hit = [False] * len(objects)
    wanted = [names.get(item.label, item.label) for item in objects]
    shares = _ious(seen.boxes, objects)
    for row, text in enumerate(seen.texts.tolist()):
        free = [at for at, name in enumerate(wanted) if not hit[at] and name == texts[text]]
        best = max(free, key=lambda at: shares[row, at], default=None)
        if best is not None and shares[row, best] >= LEAST_IOU:
            hit[best] = True
    return hit


def checks(objects: Sequence[Object], before: Sequence[bool], after: Sequence[bool]) -> tuple[Object, ...]:
    """The objects with what the detector says of each: `before` in the photograph, `after` in what was made of it."""
    return tuple(replace(item, check=_check(item, *pair)) for item, *pair in zip(objects, before, after, strict=True))


def kept_gates(objects: Sequence[Object], before: Sequence[bool], least: float) -> dict[str, Gate]:
    """`boxes_confirmed`: the share of objects confirmed, of those that the detector finds in the photograph.

    Where it finds none there, it can't judge the picture, and there is no gate. Crowds and tiny objects don't count.

    Args:
        objects: with what the detector says of each.
        before: whether it finds each in the photograph.
        least: the share that must be confirmed; 0 if the share is only recorded.
    """
    told = [item.check == "confirmed" for item, there in zip(objects, before, strict=True) if there and _judged(item)]
    if not told:
        return {}
    share = sum(told) / len(told)
    return {"boxes_confirmed": at_least(share, least) if least else recorded(share)}


def counts(objects: Sequence[Object]) -> dict[str, int]:
    """Count the objects with each check."""
    return {name: sum(item.check == name for item in objects) for name in CHECKS if name}


def detected(
    detector: Detector, pictures: Sequence[Pixels], annotations: Annotations, names: Mapping[str, str]
) -> list[list[bool]]:
    """For each picture of one scene, whether each of the scene's objects is found in it, in one call."""
    objects = annotations.objects
    texts = asked(detector, annotations, names)
    if not texts:
        return [[False] * len(objects) for _ in pictures]
    own = [picture if picture.flags.writeable else picture.copy() for picture in pictures]  # PyTorch wants it so
    return [found(seen, objects, texts, names) for seen in detector(own, texts)]


def _judged(item: Object) -> bool:
    return not item.crowd and min(item.box[2:]) >= LEAST_SIDE


def _check(item: Object, before: bool, after: bool) -> Check:
    if not _judged(item):
        return "unconfirmed"
    if after:
        return "confirmed"
    return "missing" if before else "unconfirmed"


def _ious(boxes: Singles, objects: Sequence[Object]) -> Singles:
    """Intersection over union of every detected box with every object's, `[n, m]`; 0 for a crowd."""
    if not len(boxes) or not objects:
        return np.zeros((len(boxes), len(objects)), np.float32)
    given = np.array([item.box for item in objects], np.float64)
    given[:, 2:] += given[:, :2]
    low = np.maximum(boxes[:, None, :2], given[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], given[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [np.prod(one[:, 2:] - one[:, :2], axis=1) for one in (boxes.astype(np.float64), given)]
    crowd: Bools = np.array([item.crowd for item in objects])
    ious = shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9)
    return np.asarray(np.where(crowd[None], 0, ious), np.float32)
