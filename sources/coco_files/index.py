"""The index of an annotation file in COCO's format: made in one pass over the file, in bounded memory.

It says at which bytes of the file each picture and each annotation lies, pictures in order of their file names and
annotations in order of their pictures. What an annotation means is looked at when its picture is read.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from variorum.schemas.errors import SourceError
from variorum.sources.coco_files.entries import (
    CHUNK,
    Images,
    categories_in,
    exact,
    is_id,
    licence_in,
    whole,
)
from variorum.sources.coco_files.json_arrays import Element, elements
from variorum.sources.exports.objects import written

if TYPE_CHECKING:
    from numpy.typing import NDArray

BOX = np.dtype([("start", "<i8"), ("length", "<u4"), ("category", "<i4"), ("area", "<f8"), ("repeated", "?")])
"""An annotation: its bytes in the file, the index of its category (-1 for an unknown one), its area in square pixels,
and whether an annotation before it has the same id."""
RAW = np.dtype(
    {
        "names": ["image", "start", "length", "category", "area", "id", "named"],
        "formats": ["<i4", "<i8", "<u4", "<i8", "<f8", "<i8", "?"],
    }
)
"""An annotation before all pictures and categories are known, with its ids as they are; `named` if it has one."""
LIMIT = 2**63
NO_CATEGORY = -LIMIT
HUGE = 1e150
"""Its square is still a float."""


def build_index(path: Path, name: str, folder: Path) -> None:
    """Write the index of an annotation file: `pictures.arrow`, `boxes.npy`, `starts.npy` and `about.json`.

    Raises:
        SourceError: it isn't JSON, or not in COCO's format.
        OSError: the folder can't be written.
    """
    images, boxes = Images(), _Boxes(folder / "raw")
    licences: dict[str, str] = {}
    categories: list[Any] = []
    present = set()
    numbers: dict[int | str, int] = {}
    with boxes.path.open("wb") as raw:
        for element in elements(path, name):
            present.add(element.array)
            if not element.length:
                continue
            if element.array == "annotations":
                boxes.add(element, numbers)
                if len(boxes.rows) == CHUNK:
                    boxes.flush(raw)
            elif element.array == "images":
                images.add(element, numbers)
            elif element.array == "categories":
                categories.append(exact(element))
            elif element.array == "licenses":
                licences.update(licence_in(exact(element)))
        boxes.flush(raw)
    if missing := [key for key in ("images", "annotations") if key not in present]:
        there = ", ".join(sorted(present)) or "no lists"
        raise SourceError(f"{name} is not in COCO's format: it has no list {missing[0]!r}; it has {there}")
    known = categories_in(categories, name) if "categories" in present else None
    pictures, owners = images.sorted(licences)
    if not pictures.num_rows:
        raise SourceError(f"{name} has no pictures: its list 'images' is empty")
    with pa.OSFile(str(folder / "pictures.arrow"), "wb") as file, pa.ipc.new_file(file, pictures.schema) as writer:
        writer.write_table(pictures, max_chunksize=CHUNK)
    row_of = np.full(len(numbers), -1, np.int32)
    row_of[owners[owners >= 0]] = np.flatnonzero(owners >= 0)
    about = boxes.sort(folder, row_of, pictures.num_rows, np.array([key for key, _ in known or ()], np.int64))
    boxes.path.unlink()
    (folder / "about.json").write_text(json.dumps({"categories": known, "captions": boxes.captions, **about}))


class _Boxes:
    """The entries of `annotations`, written to a file as they come, then sorted by their pictures."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[tuple[int, int, int, int, float, int, bool]] = []
        self.captions = 0

    def add(self, element: Element, numbers: dict[int | str, int]) -> None:
        """Take an annotation."""
        value = element.value if element.text.isascii() else exact(element)
        if type(value) is not dict:
            value = element.value if type(element.value) is dict else {}
        image, category, identity = (whole(value.get(key)) for key in ("image_id", "category_id", "id"))
        if "caption" in value:
            self.captions += 1
        self.rows.append(
            (
                numbers.setdefault(image, len(numbers)) if is_id(image) else -1,
                element.start,
                element.length,
                category if type(category) is int and -LIMIT < category < LIMIT else NO_CATEGORY,
                _area(value),
                identity if type(identity) is int and -LIMIT < identity < LIMIT else _hashed(identity),
                identity is not None,
            )
        )

    def flush(self, raw: Any) -> None:
        """Write what is collected."""
        np.array(self.rows, RAW).tofile(raw)
        self.rows.clear()

    def sort(self, folder: Path, row_of: NDArray[np.int32], pictures: int, known: NDArray[np.int64]) -> dict[str, int]:
        """Write `boxes.npy`, and `starts.npy` with the position of each picture's first; say how many have no picture.

        Args:
            folder: to write to.
            row_of: position of the picture by number of its id; -1 for an id that no picture has.
            pictures: number of pictures.
            known: ids of categories in index order.
        """
        raw = np.memmap(self.path, RAW, "r") if self.path.stat().st_size else np.empty(0, RAW)
        numbers = raw["image"]
        rows = np.where(numbers >= 0, np.append(row_of, np.int32(-1))[numbers], np.int32(-1))
        strays = int((rows < 0).sum())
        repeated = _repeated(raw["id"], raw["named"])
        order = np.argsort(rows, kind="stable")[strays:]
        starts = np.zeros(pictures + 1, np.int64)
        np.cumsum(np.bincount(rows[rows >= 0], minlength=pictures), out=starts[1:])
        np.save(folder / "starts.npy", starts)
        boxes = np.lib.format.open_memmap(folder / "boxes.npy", "w+", BOX, (len(order),))
        for place in range(0, len(order), CHUNK):
            chosen = order[place : place + CHUNK]
            found, part = raw[chosen], boxes[place : place + CHUNK]
            for field in ("start", "length", "area"):
                part[field] = found[field]
            part["category"] = _positions(found["category"], known)
            part["repeated"] = repeated[chosen]
        boxes.flush()
        return {
            "boxes": len(order),
            "strays": strays,
            "stray": int(raw["start"][np.argmax(rows < 0)]) if strays else -1,
        }


def _area(value: dict[str, Any]) -> float:
    """The area that an annotation gives, else that of its box, else 0."""
    area, box = _size(value.get("area")), value.get("bbox")
    if area is None and isinstance(box, list) and len(box) == 4:
        width, height = _size(box[2]), _size(box[3])
        area = width * height if width is not None and height is not None else None
    return 0.0 if area is None else area


def _size(value: Any) -> float | None:
    """A finite number from 0 on, else None."""
    return float(value) if type(value) in (int, float) and 0 <= value < HUGE else None


def _hashed(identity: Any) -> int:
    """A number for an id that is no usual integer; two ids share one with a probability of 2^-64."""
    try:
        text = json.dumps(identity, sort_keys=True).encode()
    except RecursionError:
        text = written(identity).encode("utf-8", "backslashreplace")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little", signed=True)


def _repeated(ids: NDArray[np.int64], named: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which annotations have an id that one before them has."""
    found = np.zeros(len(ids), bool)
    with_id = np.flatnonzero(named)
    order = with_id[np.argsort(ids[with_id], kind="stable")]
    found[order[1:][ids[order[1:]] == ids[order[:-1]]]] = True
    return found


def _positions(ids: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.int32]:
    """Positions of ids among the known ones, which are sorted; -1 for others."""
    if not len(known):
        return np.full(len(ids), -1, np.int32)
    place = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    return np.where(known[place] == ids, place, -1).astype(np.int32)
