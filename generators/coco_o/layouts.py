"""Photographs and their objects as diffusion models see them: the middle square, or the layout of the whole picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from variorum.annotations import moved
from variorum.kit.pictures.framing import crop, matrix, window
from variorum.schemas.annotations import Annotations, Object

if TYPE_CHECKING:
    from variorum.arrays import Pixels


class Photo(NamedTuple):
    """A photograph as a route reads it, with its sound objects."""

    image: Pixels
    annotations: Annotations
    dropped: int


def square(image: Pixels, side: int) -> Pixels:
    """The middle square of a picture, `[side, side, 3]`."""
    return crop(image, window(*image.shape[:2]), side)


def squared(annotations: Annotations, image: Pixels, side: int) -> Annotations:
    """The annotations of the middle square."""
    shape = image.shape[:2]
    return moved(annotations, matrix(window(*shape), side), (shape[0], shape[1]), (side, side))


def stretched(annotations: Annotations, image: Pixels, after: tuple[int, int]) -> Annotations:
    """The annotations of the whole picture, resized without regard to its shape."""
    height, width = image.shape[:2]
    across = np.array([[after[1] / width, 0, 0], [0, after[0] / height, 0]], np.float64)
    return moved(annotations, across, (height, width), after)


def boxes_only(annotations: Annotations) -> Annotations:
    """The annotations without masks: outlines in boxes that were painted anew aren't known."""
    return replace(annotations, objects=tuple(replace(item, mask="", area=None) for item in annotations.objects))


def largest(objects: Sequence[Object], most: int) -> tuple[Object, ...]:
    """The largest objects with a class, in their order; crowds are no single thing that could be painted."""
    named = [item for item in objects if item.label and not item.crowd]
    kept = sorted(named, key=lambda item: -item.box[2] * item.box[3])[:most]
    return tuple(item for item in named if any(item is one for one in kept))
