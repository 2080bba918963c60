"""CVAT's XML for images, read as a stream. A document type is refused, as entities in it can fill the memory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from xml.parsers import expat

import numpy as np

from variorum.schemas.errors import SourceError
from variorum.sources.exports.regions import LARGEST, UNREADABLE, runs_of

LONGEST, PIECE = 16 << 20, 1 << 20
"""Bytes of a tag with its attributes, and bytes that are parsed at a time. Expat before 2.6 reads a tag that hasn't
ended again with each piece."""
SHAPES = ("box", "mask", "polygon")
RUNS = re.compile(r"[0-9]{1,9}(\s*,\s*[0-9]{1,9})*")


class Runs(NamedTuple):
    """A mask as it stands in the file.

    Attributes:
        text: run lengths row by row, the first of what isn't part of it.
        bounds: left, top, width and height that they fill.
        size: height and width of the picture.
    """

    text: str
    bounds: tuple[int, int, int, int]
    size: tuple[int, int]


@dataclass(slots=True)
class CvatImage:
    """One image of the file.

    Attributes:
        name: its path.
        id: its number in the task.
        subset: its split, as CVAT calls it.
        size: height and width; 0 if the file doesn't say them.
        tags: labels of the whole picture.
        objects: as `read_objects` takes them, in pixels.
    """

    name: str
    id: str = ""
    subset: str = ""
    size: tuple[int, int] = (0, 0)
    tags: list[str] = field(default_factory=list)
    objects: list[dict[str, Any]] = field(default_factory=list)
    groups: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)


def read_cvat(data: bytes, where: str) -> tuple[tuple[str, ...], list[CvatImage]]:
    """The labels of the task, and the images.

    Raises:
        SourceError: it is no such file, has a document type, or a tag of more than `LONGEST` bytes.
    """
    reader = _Reader(where)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.EntityDeclHandler = reader.refuse
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        for start in range(0, len(data), PIECE):
            parser.Parse(piece := data[start : start + PIECE], False)
            if start + len(piece) - parser.CurrentByteIndex > LONGEST:  # it is still at the start of a tag
                raise SourceError(f"{where} has a tag or a comment of more than {LONGEST} bytes; split or remove it")
        parser.Parse(b"", True)
    except (expat.ExpatError, ValueError) as error:  # the latter for encodings that it doesn't know
        raise SourceError(f"{where} can't be read as XML: {error}") from None
    return tuple(dict.fromkeys(reader.labels)), reader.images


class _Reader:
    """The parser's state."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.labels: list[str] = []
        self.images: list[CvatImage] = []
        self._open: list[str] = []
        self._text: list[str] = []

    def refuse(self, *_: Any) -> None:
        raise SourceError(f"{self.where} has a document type (<!DOCTYPE ...>), which CVAT never writes; remove it")

    def start(self, name: str, said: dict[str, str]) -> None:
        if not self._open and name != "annotations":
            raise SourceError(
                f"{self.where} begins with <{name[:40]}>, not <annotations>; export as CVAT for images 1.1"
            )
        if name == "track":
            raise SourceError(f"{self.where} has tracks of a video; export as CVAT for images 1.1, not for video")
        self._open.append(name)
        self._text = []
        if name == "image":
            size = _whole(said.get("height")), _whole(said.get("width"))
            self.images.append(CvatImage(said.get("name", ""), said.get("id", ""), said.get("subset", ""), size))
        elif self.images and "image" in self._open:
            self._shape(name, said)

    def text(self, text: str) -> None:
        if self._open and self._open[-1] == "name":
            self._text.append(text)

    def end(self, name: str) -> None:
        if name == "name" and self._open[-2:] == ["label", "name"]:
            self.labels.append("".join(self._text).strip())
        self._open.pop()

    def _shape(self, name: str, said: Mapping[str, str]) -> None:
        image = self.images[-1]
        label = said.get("label", "")
        if name == "tag":
            if label and label not in image.tags:
                image.tags.append(label)
            return
        if name not in SHAPES or _number(said.get("rotation"), 0.0):
            return
        group = said.get("group_id", "0")
        twin = image.groups.get((group, label, "mask" if name == "box" else "box")) if group not in ("", "0") else None
        found = self._found(name, said, image)
        if twin is not None:
            twin |= {key: value for key, value in found.items() if key == ("bbox" if name == "box" else "segmentation")}
            return
        item = {"category": label or None, **found}
        image.objects.append(item)
        if name in ("box", "mask"):
            image.groups.setdefault((group, label, name), item)

    def _found(self, name: str, said: Mapping[str, str], image: CvatImage) -> dict[str, Any]:
        """Box and region of a shape."""
        if name == "box":
            left, top, right, bottom = (_number(said.get(side)) for side in ("xtl", "ytl", "xbr", "ybr"))
            return {"bbox": [left, top, right - left, bottom - top]}
        if name == "polygon":
            corners = [_number(part) for pair in said.get("points", "").split(";") for part in pair.split(",")]
            if len(corners) < 6 or len(corners) % 2:
                return {"bbox": [np.nan] * 4}
            across, down = corners[::2], corners[1::2]
            box = [min(across), min(down), max(across) - min(across), max(down) - min(down)]
            return {"bbox": box, "segmentation": [corners]}
        return self._mask(said, image)

    def _mask(self, said: Mapping[str, str], image: CvatImage) -> dict[str, Any]:
        """A region by its run lengths, row by row within its bounds."""
        left, top, wide, high = (_whole(said.get(side)) for side in ("left", "top", "width", "height"))
        box = [float(left), float(top), float(wide), float(high)]
        return {"bbox": box, "segmentation": Runs(said.get("rle", ""), (left, top, wide, high), image.size)}


def with_region(item: Mapping[str, Any], _picture: bytes = b"") -> Mapping[str, Any]:
    """An object with its mask as an RLE of the whole picture, if it is still as the file has it."""
    mask = item.get("segmentation")
    return {**item, "segmentation": _region(mask)} if isinstance(mask, Runs) else item


def _region(mask: Runs) -> Any:
    (left, top, wide, high), (height, width) = mask.bounds, mask.size
    inside = 0 < wide <= width - left and 0 < high <= height - top and height * width <= LARGEST
    counts = np.array(
        [int(part) for part in mask.text.split(",")] if RUNS.fullmatch(mask.text.strip()) else [], np.int64
    )
    if not inside or counts.sum() != wide * high:
        return UNREADABLE
    whole = np.zeros((height, width), bool)
    whole[top : top + high, left : left + wide] = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(high, wide)
    return runs_of(whole)


def _number(text: str | None, missing: float = float("nan")) -> float:
    """A number; NaN for what is none, which makes a box that is refused."""
    try:
        return missing if text is None else float(text)
    except ValueError:
        return float("nan")


def _whole(text: str | None) -> int:
    """A whole number from 0 on; 0 for what is none."""
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,9}", text.strip()) else 0
