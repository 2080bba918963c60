"""Objects in pictures as data sets hold them: reading them, and checking them against the picture.

Boxes become left, top, width and height in pixels of the upright picture, and masks compressed COCO RLE.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from variorum.schemas.annotations import Box, Object
from variorum.schemas.errors import BadObjects
from variorum.schemas.sample import Sample

BoxFormat = Literal["xywh", "xyxy", "cxcywh", "xywh_relative", "xyxy_relative", "cxcywh_relative"]
"""Corner and sizes (COCO), two corners (Pascal VOC), or centre and sizes (YOLO); in pixels, or as parts of the
picture's width and height."""

NAMES = {
    "bbox": ("bbox",),
    "label": ("category", "categories", "label", "labels"),
    "area": ("area",),
    "crowd": ("iscrowd", "crowd"),
    "id": ("id", "bbox_id"),
    "score": ("score",),
    "mask": ("segmentation", "mask"),
}
"""The names that data sets give to what is known of an object. Other names are ignored."""

SLACK = 1.0
"""Pixels that a box may lie outside of its picture: annotators round, and some count pixels from 1."""


def read_objects(
    value: Any, *, box_format: BoxFormat, size: tuple[int, int], names: Sequence[str] | None, origin: str
) -> tuple[Object, ...]:
    """The objects in a cell of a data set.

    Args:
        value: a dict of lists `{"bbox": [...], "category": [...]}` or a list of dicts with the same keys; None for no
            objects. `NAMES` lists the keys; all but `bbox` may be missing.
        box_format: how `bbox` is to be read.
        size: height and width of the upright picture.
        names: class ids by integer category; None if categories are the ids themselves, as text or numbers. The
            category -1 means "not labelled" to `datasets`, and gives an object without a label.
        origin: who marked the objects.

    Raises:
        BadObjects: `bad_objects`, `bad_box`, `bad_mask` or `unknown_category`.
    """
    return tuple(_object(row, number, box_format, size, names, origin) for number, row in enumerate(_rows(value)))


def checked(sample: Sample, size: tuple[int, int], known: Collection[str], *, clip: bool) -> Sample:
    """The sample with its boxes inside of its picture, or quarantined for its first bad object.

    Boxes that lie up to 1 px outside are clipped; with `clip` also those that lie further outside, as long as a part is
    inside. Masks and areas stay. A quarantined sample keeps its boxes as they are, but for those that aren't finite:
    JSON can't hold them, so only `detail` has the first. A reason that the sample has already stays.

    Args:
        sample: with `annotations.objects`.
        size: height and width of the upright picture.
        known: class ids that a label may be; `""` always may.
        clip: whether to clip boxes at any distance.

    Returns:
        The sample, perhaps with the reason `box_outside`, `box_empty` (no area, or not finite), `unknown_category` or
        `duplicate_object` (an id that another object of the picture has).
    """
    given, clipped = [], []
    trouble: BadObjects | None = None
    seen: set[str] = set()
    for number, item in enumerate(sample.annotations.objects):
        name = _name(number, item.id)
        if all(map(math.isfinite, item.box)):
            given.append(item)
        try:
            clipped.append(replace(item, box=_inside(item.box, size, name, math.inf if clip else SLACK)))
            if item.label and item.label not in known:
                raise BadObjects("unknown_category", f"{name} has the category {short(item.label)}, which is no class")
            if item.id and item.id in seen:
                raise BadObjects("duplicate_object", f"{name} has the id of another object of this picture")
        except BadObjects as error:
            trouble = trouble or error
        seen.add(item.id)
    kept = given if trouble or sample.reason else clipped
    sample = replace(sample, annotations=replace(sample.annotations, objects=tuple(kept)))
    if trouble is None or sample.reason:
        return sample
    return replace(sample, reason=trouble.reason, detail=trouble.detail)


def rle_of(segmentation: Any, size: tuple[int, int]) -> str:
    """A region as the `counts` of a compressed COCO RLE over the whole picture; `""` for none.

    Args:
        segmentation: polygons `[[x, y, x, y, ...], ...]`, an RLE `{"counts": [...] or "...", "size": [height, width]}`,
            or the counts of a compressed RLE alone; None or empty for none.
        size: height and width of the picture that the region refers to.

    Raises:
        BadObjects: `bad_mask` for anything else.
    """
    if segmentation is None:
        return ""
    from variorum.sources.exports.rle import encoded

    return encoded(segmentation, size)


def written(value: Any) -> str:
    """A value as Python writes it; of one that is nested too deep for that, the start."""
    try:
        return repr(value)
    except RecursionError:
        start = reprlib.Repr()
        start.maxlevel = start.maxlist = start.maxdict = start.maxstring = start.maxlong = start.maxother = 60
        return start.repr(value)


def short(value: Any) -> str:
    """A value for a message, at most 60 characters."""
    text = written(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _rows(value: Any) -> Sequence[Mapping[str, Any]]:
    """One mapping per object."""
    if value is None:
        return ()
    if isinstance(value, Mapping):
        columns = {key: column for key, column in value.items() if column is not None}
        if not all(isinstance(column, Sequence) and not isinstance(column, str | bytes) for column in columns.values()):
            raise BadObjects("bad_objects", "objects must be lists by name, or a list with one mapping per object")
        if len({len(column) for column in columns.values()}) > 1:
            lengths = ", ".join(f"{key} has {len(column)}" for key, column in columns.items())
            raise BadObjects("bad_objects", f"the lists of the objects differ in length: {lengths}")
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if not isinstance(value, Sequence) or not all(isinstance(row, Mapping) for row in value):
        raise BadObjects(
            "bad_objects", f"objects are {short(value)}; they must be lists by name, or a list of mappings"
        )
    return value


def _object(
    row: Mapping[str, Any],
    number: int,
    box_format: BoxFormat,
    size: tuple[int, int],
    names: Sequence[str] | None,
    origin: str,
) -> Object:
    found = {key: next((row[key] for key in keys if row.get(key) is not None), None) for key, keys in NAMES.items()}
    crowd, identity = found["crowd"], _word(found["id"], f"the id of object {number}")
    name = _name(number, identity)
    if crowd not in (None, 0, 1):
        raise BadObjects("bad_objects", f"{name} has the crowd {short(crowd)}; it must be 0 or 1")
    score = _number(found["score"], f"the score of {name}")
    if score is not None and score > 1:
        raise BadObjects("bad_objects", f"the score of {name} is {score}; it must lie in [0, 1]")
    try:
        mask = rle_of(found["mask"], size)
    except BadObjects as error:
        raise BadObjects(error.reason, f"{name}: {error.detail}") from None
    return Object(
        box=_box(found["bbox"], name, box_format, size),
        label=_label(found["label"], name, names),
        area=_number(found["area"], f"the area of {name}"),
        crowd=bool(crowd),
        id=identity,
        score=score,
        origin=origin,
        mask=mask,
    )


def _box(value: Any, name: str, box_format: BoxFormat, size: tuple[int, int]) -> Box:
    """A box in COCO's format. It may be empty or outside; `checked` looks at that."""
    four = isinstance(value, Sequence) and len(value) == 4 and not isinstance(value, str | bytes)
    if not four or not all(isinstance(part, int | float) and not isinstance(part, bool) for part in value):
        raise BadObjects("bad_box", f"the box of {name} is {short(value)}; it must be four numbers")
    a, b, c, d = map(as_float, value)
    finite = all(map(math.isfinite, (a, b, c, d)))
    if box_format.endswith("_relative"):
        height, width = size
        a, b, c, d = a * width, b * height, c * width, d * height
    if box_format.startswith("xyxy"):
        c, d = c - a, d - b
    elif box_format.startswith("cxcywh"):
        a, b = a - c / 2, b - d / 2
    if finite and not all(map(math.isfinite, (a, b, c, d, c * d))):
        raise BadObjects("bad_box", f"the box of {name} is {short(value)}; numbers of this size have no area")
    return a, b, c, d


def _label(value: Any, name: str, names: Sequence[str] | None) -> str:
    if value is None or value == -1:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise BadObjects("bad_objects", f"the category of {name} is {short(value)}; it must be a number or a text")
    if names is None or isinstance(value, str):
        return _word(value, f"the category of {name}")
    if not 0 <= value < len(names):
        raise BadObjects("unknown_category", f"{name} has the category {value}, but there are {len(names)} classes")
    return names[value]


def _number(value: Any, what: str) -> float | None:
    """A finite number that isn't negative; None for none."""
    if value is None:
        return None
    number = math.nan if isinstance(value, bool) or not isinstance(value, int | float) else as_float(value)
    if not 0 <= number < math.inf:
        raise BadObjects("bad_objects", f"{what} is {short(value)}; it must be a number from 0 on")
    return number


def _inside(box: Box, size: tuple[int, int], name: str, slack: float) -> Box:
    """The box, clipped to the picture if it lies at most `slack` px outside."""
    left, top, width, height = box
    if not all(map(math.isfinite, box)) or width <= 0 or height <= 0:
        raise BadObjects("box_empty", f"{name} has the box {list(box)}, which has no area")
    over = max(-left, -top, left + width - size[1], top + height - size[0])
    if over <= 0:
        return box
    new_left, new_top = max(left, 0.0), max(top, 0.0)
    right, bottom = min(left + width, float(size[1])), min(top + height, float(size[0]))
    if over > slack or right <= new_left or bottom <= new_top:
        raise BadObjects(
            "box_outside", f"{name} has the box {list(box)}, which leaves the picture of {size[1]} x {size[0]} pixels"
        )
    # a side that isn't cut keeps its exact numbers
    cut_x, cut_y = left < 0 or left + width > size[1], top < 0 or top + height > size[0]
    return new_left, new_top, right - new_left if cut_x else width, bottom - new_top if cut_y else height


def _name(number: int, identity: str) -> str:
    """Name an object in a message."""
    return f"object {number}" + (f" (id {identity[:40]})" if identity else "")


def _word(value: Any, what: str) -> str:
    """A value as text; `""` for none."""
    text = "" if value is None else str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadObjects("bad_objects", f"{what} is {text!a}, which UTF-8 can't hold") from None
    return text


def as_float(value: int | float) -> float:
    """As a float; infinite where it is too large for one."""
    try:
        return float(value)
    except OverflowError:
        return math.inf
