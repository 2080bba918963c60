"""The pictures, licences and categories of an annotation file in COCO's format: what is taken from their entries."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from variorum.schemas.errors import SourceError
from variorum.sources.coco_files.json_arrays import Element
from variorum.sources.exports.objects import written
from variorum.sources.exports.texts import is_utf8

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK = 1 << 16
"""Rows that are handled at a time."""
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


class Images:
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
        found = exact(element)
        value: dict[str, Any] = found if isinstance(found, dict) else {}
        identity, name, trouble, number = whole(value.get("id")), _file_name(value), FINE, -1
        licence = _single(whole(value.get("license")))
        if not is_id(identity) or not name:
            trouble = BAD_ENTRY
        elif name.startswith("/") or ".." in name.split("/"):
            trouble = UNSAFE_NAME
        else:
            name = PurePosixPath(name).as_posix()
        if is_id(identity):
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


def categories_in(values: list[Any], name: str) -> list[tuple[int, str]]:
    """Ids and names in order of the ids. Raises SourceError for an entry without, or two that share one."""
    names: dict[str, int] = {}
    found: dict[int, str] = {}
    for value in values:
        identity, title = (whole(value.get("id")), _text(value.get("name"))) if isinstance(value, dict) else (None, "")
        if type(identity) is not int or abs(identity) >= 2**63 or not title:
            said = value if isinstance(value, str) else written(value)
            raise SourceError(f"{name} has a category that needs an integer id and a name: {said[:100]!a}")
        if identity in found:
            raise SourceError(f"{name} has two categories with the id {identity}; give each its own")
        if title in names:
            raise SourceError(
                f"{name} has two categories with the name {title!r}, {names[title]} and {identity}; rename one"
            )
        found[identity] = title
        names[title] = identity
    return sorted(found.items())


def licence_in(value: Any) -> Iterator[tuple[str, str]]:
    """The id of a licence, as JSON, with its SPDX id if its URL is one of Creative Commons, else its name or URL."""
    if not isinstance(value, dict):
        return
    name, url = _text(value.get("name")), _text(value.get("url"))
    if found := CREATIVE_COMMONS.fullmatch(url):
        kind, version = found.groups()
        kind = {"zero": "CC0", "mark": "CC-PDM"}.get(kind, f"CC-{kind.upper()}")
        name = f"{kind}-{version}"
    yield json.dumps(_single(whole(value.get("id")))), name or url


def exact(element: Element) -> Any:
    """The value, or None if a text in it isn't UTF-8, or it is nested too deep."""
    try:
        return element.exact()
    except (ValueError, RecursionError):
        return None


def whole(value: Any) -> Any:
    """An id as it is, but `7.0` as 7: a table with gaps, from which a file was written, has its integers as floats."""
    return int(value) if type(value) is float and value.is_integer() else value


def _single(value: Any) -> Any:
    """A number, a text or a truth value as it is; None for all else."""
    return None if isinstance(value, list | dict) else value


def is_id(value: Any) -> TypeGuard[int | str]:
    """Return whether this can be the id of a picture."""
    return type(value) in (int, str)


def _file_name(value: dict[str, Any]) -> str:
    """The file name of an entry; `""` if it has none that can be used.

    LVIS has `coco_url` instead, `http://.../train2017/1.jpg`; its last folder is part of the name, as LVIS mixes
    pictures of COCO's two folders.
    """
    name, url = value.get("file_name"), value.get("coco_url")
    if name is None and isinstance(url, str):
        name = "/".join(url.split("/")[-2:])
    return name if isinstance(name, str) and "\0" not in name and is_utf8(name) else ""


def _text(value: Any) -> str:
    """A text with single spaces; `""` if it is none, or one that UTF-8 can't hold."""
    return " ".join(value.split()) if isinstance(value, str) and is_utf8(value) else ""
