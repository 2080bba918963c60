"""Read the annotations of one picture: its objects as far as they can be read, and the names that it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from variorum.machine.retrying import changed
from variorum.schemas.annotations import Object
from variorum.schemas.errors import BadObjects
from variorum.sources.coco_files.file import CocoFile
from variorum.sources.exports.objects import read_objects


def present(names: Sequence[str], areas: Sequence[float]) -> tuple[str, ...]:
    """The distinct names, the largest total area first; of equal ones, the first to come."""
    total: dict[str, float] = {}
    for name, area in zip(names, areas, strict=True):
        total[name] = total.get(name, 0.0) + area
    return tuple(sorted(total, key=lambda name: -total[name]))


def objects_of(rows: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> tuple[list[Object], BadObjects | None]:
    """The objects that can be read, and what is wrong with the first that can't."""

    def read(some: Sequence[Mapping[str, Any]]) -> list[Object]:
        return list(read_objects(some, box_format="xywh", size=size, names=None, origin=""))

    try:
        return read(rows), None
    except BadObjects as error:
        found: list[Object] = []
        for row in rows:
            for form in (row, {**row, "segmentation": None}):  # the box may be good
                with suppress(BadObjects):
                    found += read([form])
                    break
        return found, error


def annotation(file: CocoFile, box: Any) -> Mapping[str, Any]:
    """The JSON object of an annotation. Raises as `CocoFile.value` does."""
    found = file.value(int(box["start"]), int(box["length"]))
    if not isinstance(found, Mapping):  # others have no picture
        raise changed(file.path, "another content")
    return found


def unread(error: UnicodeDecodeError | RecursionError) -> str:
    """Explain what is wrong with a value of the file, after its name."""
    return f"is not UTF-8: {error.reason}" if isinstance(error, UnicodeDecodeError) else "is nested too deep"
