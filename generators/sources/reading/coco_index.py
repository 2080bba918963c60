"""The index of an annotation file in COCO's format: made in one pass over the file, in bounded memory.

It says at which bytes of the file each picture and each annotation lies, pictures in order of their file names and
annotations in order of their pictures. What an annotation means is looked at when its picture is read.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from variorum.generators.sources.reading.json_arrays import Element, elements
from variorum.schemas.errors import SourceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK = 1 << 16
"""Rows that are handled at a time."""
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
NO_CATEGORY = -(2**63)
CREATIVE_COMMONS = re.compile(r"https?://creativecommons\.org/(?:licenses|publicdomain)/([a-z-]+)/(\d\.\d)/?")


class Trouble(NamedTuple):
    """Why an entry can't be used. `unnamed` if its file name isn't its own."""

    reason: str
    detail: str
    unnamed: bool = False


TROUBLES = (
    None,
    Trouble("bad_entry", "the entry needs an id, a number or a text, and a file_name", unnamed=True),
    Trouble("unsafe_name", "the file name leads out of the folder"),
    Trouble("duplicate_id", "an earlier picture in the file has the same id"),
    Trouble("duplicate_id", "an earlier picture in the file has the same file name", unnamed=True),
)
FINE, BAD_ENTRY, UNSAFE_NAME, SAME_ID, SAME_NAME = range(5)


def build_index(path: Path, name: str, folder: Path) -> None:
    """Write the index of an annotation file: `pictures.arrow`, `boxes.npy`, `starts.npy` and `about.json`.

    Args:
        path: of the file.
        name: what errors call it.
        folder: an empty folder.

    Raises:
        SourceError: it isn't JSON, or not in COCO's format.
        OSError: the folder can't be written.
    """
    images, boxes = _Images(), _Boxes(folder / "raw")
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
                categories.append(_exact(element))
            elif element.array == "licenses":
                licences.update(_licence(_exact(element)))
        boxes.flush(raw)
    if missing := [key for key in ("images", "annotations") if key not in present]:
        there = ", ".join(sorted(present)) or "no lists"
        raise SourceError(f"{name} is not in COCO's format: it has no list {missing[0]!r}; it has {there}")
    known = _categories(categories, name) if "categories" in present else None
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


class _Images:
    """The entries of `images`, collected in Arrow's compact form."""

    COLUMNS: Mapping[str, Any] = {
        "name": pa.large_string(),
        "id": pa.large_string(),
        "licence": pa.large_string(),
        "entry": pa.int32(),
        "number": pa.int32(),
        "trouble": pa.int8(),
        "start": pa.int64(),
        "length": pa.int32(),
    }

    def __init__(self) -> None:
        self._batches: list[pa.RecordBatch] = []
        self._rows: list[tuple[Any, ...]] = []
        self._entries = 0
        self._owned = bytearray()
        """By number, whether an entry has it."""

    def add(self, element: Element, numbers: dict[int | str, int]) -> None:
        """Take an entry; `numbers` counts the ids of pictures as they come up."""
        value = _exact(element)
        value = value if isinstance(value, Mapping) else {}
        identity, name, licence, trouble, number = value.get("id"), _file_name(value), value.get("license"), FINE, -1
        if type(identity) not in (int, str) or not name:
            trouble = BAD_ENTRY
        elif name.startswith("/") or ".." in name.split("/"):
            trouble = UNSAFE_NAME
        else:
            name = PurePosixPath(name).as_posix()
        if type(identity) in (int, str):
            number = numbers.setdefault(identity, len(numbers))
            self._owned.extend(bytes(max(0, number + 1 - len(self._owned))))
            if self._owned[number]:
                number, trouble = -1, trouble or SAME_ID
            else:
                self._owned[number] = 1
        row = (name, json.dumps(identity) if trouble != BAD_ENTRY else "", json.dumps(licence), self._entries, number)
        self._rows.append((*row, trouble, element.start, element.length))
        self._entries += 1
        if len(self._rows) == CHUNK:
            self._flush()

    def sorted(self, licences: Mapping[str, str]) -> tuple[pa.Table, NDArray[np.int32]]:
        """The entries in order of their file names, and the number of the id that is each one's own, else -1."""
        self._flush()
        table = pa.Table.from_batches(self._batches)
        table = table.take(pc.sort_indices(table, [("name", "ascending"), ("entry", "ascending")])).combine_chunks()
        found = {name: table[name].combine_chunks() for name in self.COLUMNS}
        again = np.zeros(len(table), bool)
        again[1:] = pc.equal(found["name"][1:], found["name"][:-1]).to_numpy(zero_copy_only=False)
        trouble = found["trouble"].to_numpy()
        found["trouble"] = pa.array(np.where(again & (trouble != BAD_ENTRY), np.int8(SAME_NAME), trouble))
        given = found["licence"].dictionary_encode()
        known = pa.array([licences.get(key, "") for key in given.dictionary.to_pylist()], pa.large_string())
        found["licence"] = known.take(given.indices)
        numbers = found.pop("number").to_numpy()
        return pa.table(found), numbers

    def _flush(self) -> None:
        columns = list(zip(*self._rows, strict=True)) or [()] * len(self.COLUMNS)
        arrays = map(pa.array, columns, self.COLUMNS.values())
        self._batches.append(pa.RecordBatch.from_arrays(list(arrays), names=list(self.COLUMNS)))
        self._rows.clear()


class _Boxes:
    """The entries of `annotations`, written to a file as they come, then sorted by their pictures."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[tuple[int, int, int, int, float, int, bool]] = []
        self.captions = 0

    def add(self, element: Element, numbers: dict[int | str, int]) -> None:
        """Take an annotation."""
        value = _exact(element)
        if not isinstance(value, Mapping):
            value = element.value if isinstance(element.value, Mapping) else {}
        image, category, identity = value.get("image_id"), value.get("category_id"), value.get("id")
        self.captions += "caption" in value
        self.rows.append(
            (
                numbers.setdefault(image, len(numbers)) if type(image) in (int, str) else -1,
                element.start,
                element.length,
                category if type(category) is int and abs(category) < 2**63 else NO_CATEGORY,
                _area(value),
                identity if type(identity) is int and abs(identity) < 2**63 else _hashed(identity),
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
        return {"strays": strays, "stray": int(raw["start"][np.argmax(rows < 0)]) if strays else -1}


def _exact(element: Element) -> Any:
    """The value, or None if a text in it isn't UTF-8."""
    try:
        return element.exact()
    except ValueError:
        return None


def _file_name(value: Mapping[str, Any]) -> str:
    """The file name of an entry; `""` if it has none that can be used.

    LVIS has `coco_url` instead, `http://.../train2017/1.jpg`; its last folder is part of the name, as LVIS mixes
    pictures of COCO's two folders.
    """
    name, url = value.get("file_name"), value.get("coco_url")
    if name is None and isinstance(url, str):
        name = "/".join(url.split("/")[-2:])
    if not isinstance(name, str) or "\0" in name:
        return ""
    try:
        name.encode()
    except UnicodeEncodeError:
        return ""
    return name


def _licence(value: Any) -> Iterator[tuple[str, str]]:
    """The id of a licence, as JSON, with its SPDX id if its URL is one of Creative Commons, else its name or URL."""
    if not isinstance(value, Mapping):
        return
    name, url = (part.strip() if isinstance(part := value.get(key), str) else "" for key in ("name", "url"))
    if found := CREATIVE_COMMONS.fullmatch(url):
        kind, version = found.groups()
        kind = {"zero": "CC0", "mark": "CC-PDM"}.get(kind, f"CC-{kind.upper()}")
        name = f"{kind}-{version}"
    yield json.dumps(value.get("id")), name or url


def _categories(values: list[Any], name: str) -> list[tuple[int, str]]:
    """Ids and names in order of the ids. Raises SourceError for an entry without, or two that share one."""
    names: dict[str, int] = {}
    found: dict[int, str] = {}
    for value in values:
        identity, title = (value.get("id"), value.get("name")) if isinstance(value, Mapping) else (None, None)
        if type(identity) is not int or abs(identity) >= 2**63 or not isinstance(title, str) or not title.strip():
            raise SourceError(f"{name} has a category that needs an integer id and a name: {str(value)[:100]!a}")
        if identity in found:
            raise SourceError(f"{name} has two categories with the id {identity}; give each its own")
        title = " ".join(title.split())
        if title in names:
            raise SourceError(
                f"{name} has two categories with the name {title!r}, {names[title]} and {identity}; rename one"
            )
        found[identity] = title
        names[title] = identity
    return sorted(found.items())


def _area(value: Mapping[str, Any]) -> float:
    """The area that an annotation gives, else that of its box, else 0."""
    area, box = value.get("area"), value.get("bbox")
    if type(area) in (int, float) and 0 <= area < 1e300:
        return float(area)
    if isinstance(box, list) and len(box) == 4 and all(type(part) in (int, float) for part in box[2:]):
        width, height = box[2:]
        return float(width * height) if 0 < width < 1e150 and 0 < height < 1e150 else 0.0
    return 0.0


def _hashed(identity: Any) -> int:
    """A number for an id that is no usual integer; two ids share one with a probability of 2^-64."""
    text = json.dumps(identity, sort_keys=True).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little", signed=True)


def _repeated(ids: NDArray[np.int64], named: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which annotations have an id that one before them has."""
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
