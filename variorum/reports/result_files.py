"""Files of results: written beside a manifest, found there and elsewhere, and read as untrusted input."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

from variorum.edition.editions import beside, read_beside, write_beside
from variorum.edition.records import BadRecord, parse
from variorum.edition.store import Store
from variorum.reports.results import Figures, Interval, Result
from variorum.schemas.errors import SourceError
from variorum.schemas.lookup import cut
from variorum.schemas.manifest import Manifest

FOLDER = "results"
"""Of the files, beside the manifest."""
LARGEST = 16 << 20
"""Bytes of a file."""
SIMPLE = ("n", "accuracy", "original_accuracy")
"""Figures of a variant without an interval."""


def write_result(result: Result, manifest: Manifest, store: Store) -> str:
    """Write a result beside the manifest; returns its path."""
    return write_beside(manifest, f"{FOLDER}/{result.file_name()}", result.to_bytes(), store)


Content: TypeAlias = "bytes | SourceError"
"""Of a file; or why it can't be read, so that one bad file doesn't hide the others."""


def results_beside(manifest: Manifest, store: Store) -> dict[str, Content]:
    """By path, the content of the files beside the manifest, in the order of their names."""
    found: dict[str, Content] = {}
    for path in store.listed(beside(manifest, f"{FOLDER}/*.json")):
        if store.local:
            found[path] = content_of(Path(path))
        elif (data := read_beside(manifest, f"{FOLDER}/{path.rpartition('/')[2]}", store)) is not None:
            found[path] = data
    return found


def result_files(places: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """The files that people name: themselves, and those that end in `.json` in folders.

    Raises:
        SourceError: there is no such file, or a folder has none.
    """
    found: list[Path] = []
    for place in map(Path, places):
        if place.is_dir():
            inside = sorted(one for one in place.iterdir() if one.suffix == ".json" and one.name != "leaderboard.json")
            if not inside:
                raise SourceError(f"{cut(str(place))}: no results in this folder; they are files that end in .json")
            found += inside
        elif place.exists():
            found.append(place)
        else:
            raise SourceError(
                f"{cut(str(place))}: no such file; results are made by `variorum evaluate EDITION --model NAME`"
            )
    return found


def content_of(path: Path) -> Content:
    """`read_file`, with its error as a value."""
    try:
        return read_file(path)
    except SourceError as error:
        return error


def read_file(path: Path) -> bytes:
    """A file of at most `LARGEST` bytes. Raises SourceError for anything else, such as a device."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise SourceError(f"{cut(str(path))}: it isn't a regular file")
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise SourceError(f"{cut(str(path))}: can't be read ({error.strerror})") from None
    if len(data) > LARGEST:
        raise SourceError(f"{cut(str(path))}: larger than the {LARGEST >> 20} MB of a result")
    return data


def parse_result(where: str, data: bytes) -> Result:
    """The result in a file. Raises SourceError, which names the first thing that is wrong."""
    try:
        if len(data) > LARGEST:
            raise BadRecord(f"larger than the {LARGEST >> 20} MB of a result")
        return parse(data, Result)
    except BadRecord as error:
        raise SourceError(f"{cut(where)}: {error}") from None


def figures_differ(stated: Figures, found: Figures) -> str:
    """The first figure in which a file differs from what its answers say; `""` if there is none.

    The ends of intervals may differ by half a point: another version of NumPy may draw other resamples.
    """
    pairs: dict[str, tuple[object, object]] = {
        "n": (stated.n, found.n),
        "original_accuracy": (stated.original_accuracy, found.original_accuracy),
        "accuracy": (stated.accuracy, found.accuracy),
    }
    if list(stated.variants) != list(found.variants):
        return f"variants {_listed(stated.variants)} instead of {_listed(found.variants)}"
    pairs |= _ends("average_drop", stated.average_drop, found.average_drop)
    for name, one in stated.variants.items():
        other = found.variants[name]
        pairs |= {f"{name}.{field}": (getattr(one, field), getattr(other, field)) for field in SIMPLE}
        pairs |= _ends(f"{name}.drop", one.drop, other.drop)
    return next((f"{name} {a} instead of {b}" for name, (a, b) in pairs.items() if not _alike(name, a, b)), "")


def _listed(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return ", ".join(map(cut, listed[:3])) + more if listed else "none"


def _ends(name: str, stated: Interval | None, found: Interval | None) -> Mapping[str, tuple[object, object]]:
    if stated is None or found is None:
        return {name: (stated, found)}
    return {f"{name}.{end}": (getattr(stated, end), getattr(found, end)) for end in ("value", "low", "high")}


def _alike(name: str, stated: object, found: object) -> bool:
    if isinstance(stated, float) and isinstance(found, float):
        return abs(stated - found) <= (0.5 if name.endswith((".low", ".high")) else 0.011)
    return stated == found
