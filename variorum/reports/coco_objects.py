"""Select the annotations of an edition that are objects in COCO's format, for exports and measures alike."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from variorum.annotations import DIGITS, cut_box
from variorum.models.coco import CATEGORIES, Category
from variorum.schemas.annotations import Box, Object
from variorum.schemas.component import ClassInfo

LEAST = 1.0
"""Width and height in pixels of the smallest box. Readers of COCO's format skip smaller ones, in training at least."""
LAST = max(one.id for one in CATEGORIES)
UNCLASSED, TOO_SMALL = "without a class", "smaller than a pixel"
"""Why an object is left out."""


class Marked(NamedTuple):
    """An object that counts, with its class.

    Attributes:
        item: with a box inside the picture, and an area.
        category: index of its class.
    """

    item: Object
    category: int


def categories(classes: Sequence[ClassInfo]) -> tuple[tuple[Category, ...], tuple[int, ...]]:
    """The categories of an edition in COCO's format, by rising id, and the id of each class.

    If the names of some classes are COCO's, all 80 of COCO's categories are there under their own ids, 1 to 90, as
    detectors that were trained on COCO expect. Other classes get the ids that follow; without any of COCO's, 1 to K.
    """
    named = {one.name: one.id for one in CATEGORIES}
    ids: dict[str, int] = {}
    for one in classes:
        known = named.get(one.name) or named.get(one.id)
        if known and known not in ids.values():
            ids[one.id] = known
    own, free = [], LAST if ids else 0
    for one in classes:
        if one.id not in ids:
            free += 1
            ids[one.id] = free
            own.append(Category(free, one.name, "object"))
    given = CATEGORIES if len(own) < len(classes) else ()
    return (*given, *own), tuple(ids[one.id] for one in classes)


def marked(
    objects: Iterable[Object], index: Mapping[str, int], height: int, width: int
) -> tuple[list[Marked], Counter[str]]:
    """The objects that count, and the number of the others by reason.

    A box that leaves the picture is cut at its frame. An object counts if it has a class and if both sides of its box
    are at least a pixel long.
    """
    found, left_out = list[Marked](), Counter[str]()
    for item in objects:
        if item.label not in index:
            left_out[UNCLASSED] += 1
        elif (box := inside(item.box, height, width)) is None:
            left_out[TOO_SMALL] += 1
        else:
            found.append(Marked(replace(item, box=box, area=area_of(item, box)), index[item.label]))
    return found, left_out


def inside(box: Box, height: int, width: int) -> Box | None:
    """Return the part of a box that is in the picture; None if a side is less than a pixel long, or no number."""
    left, top, wide, high = box
    slack = 10.0**-DIGITS
    fits = left >= 0 and top >= 0 and left + wide <= width + slack and top + high <= height + slack
    if not all(map(math.isfinite, box)):
        return None
    found = box if fits else cut_box(box, (0.0, 0.0, float(width), float(height)))
    return found if found and found[2] >= LEAST and found[3] >= LEAST else None


def area_of(item: Object, box: Box) -> float:
    """Square pixels of an object's region; of its box if that isn't known. A box that was cut keeps the share left."""
    if item.area is None or not (0 < item.area < math.inf):
        return box[2] * box[3]
    return item.area if item.mask else item.area * (box[2] * box[3] / (item.box[2] * item.box[3]))
