"""Garbage collection: the files of a store that nothing names, and their removal.

A manifest, a ledger, a panel, and the records in `units/` and `measures/` name objects by their sha256. Receipts of
units that no edition has count as long as `unfinished` isn't asked for, because the next run continues from them.
Measured tables always count: evaluations rely on them, and they may have been paid for.

It is safe beside running builds: objects are listed first and names read afterwards, twice; what any of the two passes
names stays, and so does whatever is younger than an age or has been written anew since it was listed. Only regular
files with an object's or record's name are removed, and none that a link leads to.

In a bucket it also gives up uploads that a killed process left half-done; no listing of files has them, and they are
paid for.
"""

from __future__ import annotations

import math
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from variorum.edition import bucket
from variorum.edition.records import BadRecord, parse
from variorum.edition.store import Store
from variorum.machine.together import AT_ONCE, each
from variorum.schemas.errors import StoreError
from variorum.schemas.manifest import Ledger, Manifest

OBJECT = re.compile(r"[0-9a-f]{64}\.(tar|parquet|part)")
RECORD = re.compile(r"[0-9a-f]{64}\.json")
DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
ROOTS = ("editions/*/*/*.json", "editions/*/*/ledgers/*.json", "editions/*/*/results/*.json", "panels/*/*/*/*.json")
"""Records that nothing makes again by itself: what they name stays."""
BATCH = 1000
"""Records whose names are in memory at a time."""


@dataclass(frozen=True, slots=True)
class Unnamed:
    """A file that nothing names.

    Attributes:
        kind: `objects`, `damaged`, `receipts`, or `uploads` that are half-done.
        name: below the store's root.
        size: bytes.
        changed: when it was written, in seconds since 1970.
        seen: inode and time in nanoseconds, by which a file that has been written anew is known; (0, 0) in a store
            that isn't local.
        upload: the server's name for an upload that is half-done.
    """

    kind: str
    name: str
    size: int
    changed: float
    seen: tuple[int, int] = (0, 0)
    upload: str = ""


@dataclass(frozen=True, slots=True)
class Names:
    """Found in one pass: sha256 of the objects that are named, and the receipts that may go."""

    objects: set[str]
    receipts: list[Unnamed]


def unnamed(store: Store, older: float, *, unfinished: bool = False) -> list[Unnamed]:
    """The files that `collect` would remove now, in order of kind and name.

    Args:
        store: the store.
        older: seconds since a file was written, below which it stays.
        unfinished: also the receipts of units that no sealed edition has, and what only they name.

    Raises:
        StoreError: a manifest or ledger can't be read, so what it names isn't known.
    """
    limit = time.time() - older
    objects = list(_objects(store, limit))
    names = _names(store, limit if unfinished else None)
    return sorted(
        _without(objects, names) + names.receipts + _uploads(store, limit), key=lambda one: (one.kind, one.name)
    )


def collect(store: Store, older: float, *, unfinished: bool = False) -> list[Unnamed]:
    """Remove the files that nothing names, and return those that were removed. Arguments and errors as `unnamed`."""
    limit = time.time() - older
    objects = list(_objects(store, limit))
    names = _names(store, limit if unfinished else None)
    gone = [receipt for receipt in names.receipts if _remove(store, receipt)]
    again = _names(store, limit if unfinished else None)
    gone += [one for one in _without(_without(objects, names), again) if _remove(store, one)]
    gone += [one for one in _uploads(store, limit) if bucket.give_up(store.fs, _path(store, one), one.upload)]
    return sorted(gone, key=lambda one: (one.kind, one.name))


def _without(objects: Iterable[Unnamed], names: Names) -> list[Unnamed]:
    """Objects that aren't named; what lies in `damaged/` never is."""
    return [one for one in objects if one.kind == "damaged" or Path(one.name).stem not in names.objects]


# ── listing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _objects(store: Store, limit: float) -> Iterator[Unnamed]:
    """Objects written before a time, and what has been moved to `damaged/`."""
    yield from _files(store, "objects", "objects", OBJECT, limit)
    yield from _files(store, "damaged", "damaged", OBJECT, limit)


def _uploads(store: Store, limit: float) -> list[Unnamed]:
    """Uploads to a bucket that began before a time and aren't finished."""
    if store.local:
        return []
    with store.explained(reading=True):
        found = list(bucket.unfinished_uploads(store.fs, store.root))
    return [Unnamed("uploads", one.name, one.size, one.began, upload=one.number) for one in found if one.began <= limit]


def _path(store: Store, one: Unnamed) -> str:
    return f"{store.root}/{one.name}"


def _files(store: Store, folder: str, kind: str, pattern: re.Pattern[str], limit: float) -> Iterator[Unnamed]:
    """The regular files directly in a folder whose names fit and that were written before a time."""
    place = f"{store.root}/{folder}"
    if not store.local:
        listed: dict[str, dict[str, int]] = {}
        with suppress(FileNotFoundError), store.explained(reading=True):
            listed = store.fs.find(place, maxdepth=1, detail=True)
        for path, info in listed.items():
            name = str(path).rsplit("/", 1)[-1]
            if pattern.fullmatch(name):
                changed = _listed_time(store, f"{folder}/{name}", info) if limit < math.inf else 0
                if changed <= limit:
                    yield Unnamed(kind, f"{folder}/{name}", int(info["size"]), changed)
        return
    with suppress(FileNotFoundError), store.explained(reading=True), os.scandir(place) as found:
        for entry in found:
            with suppress(FileNotFoundError):  # this one has gone; the others count
                status = entry.stat(follow_symlinks=False)
                if pattern.fullmatch(entry.name) and stat.S_ISREG(status.st_mode) and status.st_mtime <= limit:
                    seen = (status.st_ino, status.st_mtime_ns)
                    yield Unnamed(kind, f"{folder}/{entry.name}", status.st_size, status.st_mtime, seen)


def _listed_time(store: Store, name: str, info: Mapping[str, object]) -> float:
    """When a file was written, as a listing of a bucket says; other file systems are asked."""
    written = info.get("LastModified")
    return written.timestamp() if isinstance(written, datetime) else _changed(store, name)


def _changed(store: Store, name: str) -> float:
    """When a file of a remote store was written; without a time nothing could be said to be old."""
    try:
        with store.explained(reading=True):
            return float(store.fs.modified(f"{store.root}/{name}").timestamp())
    except FileNotFoundError:
        return time.time()
    except (NotImplementedError, KeyError, AttributeError):
        raise StoreError(f"{store}: it doesn't say when a file was written, so nothing is known to be old") from None


def _names(store: Store, limit: float | None) -> Names:
    """List what is named now.

    Args:
        store: the store.
        limit: the time before which receipts of units that no edition has may go; None keeps all.
    """
    objects = set[str]()
    for pattern in ROOTS:
        for path in store.listed(pattern):
            objects |= _digests(_readable(store, path[len(store.root) + 1 :]))
    objects |= _named_by(_files(store, "measures", "records", RECORD, math.inf), store)
    units = frozenset(objects)  # a manifest has its units' keys
    old = () if limit is None else _files(store, "units", "receipts", RECORD, limit)
    may_go = {receipt.name: receipt for receipt in old if Path(receipt.name).stem not in units}
    receipts = _files(store, "units", "receipts", RECORD, math.inf)
    objects |= _named_by((receipt for receipt in receipts if receipt.name not in may_go), store)
    return Names(objects, list(may_go.values()))


def _named_by(records: Iterator[Unnamed], store: Store) -> set[str]:
    """List what these records name; those of a remote store are read many at a time."""
    found = set[str]()
    while some := list(islice(records, BATCH)):
        read = each(lambda one: _digests(store.read(one.name) or b""), some, at_once=1 if store.local else AT_ONCE)
        found.update(*read)
    return found


def _readable(store: Store, name: str) -> bytes:
    """The content of a record; a manifest or ledger must be whole, for half of one names half of the files."""
    data = store.read(name)
    if data is None:  # it has gone since it was listed
        return b""
    parts = name.split("/")
    kind = Manifest if parts[-1] == "manifest.json" else Ledger if parts[-2] == "ledgers" else None
    if kind:
        try:
            parse(data, kind, bare=True)
        except BadRecord as error:
            raise StoreError(
                f"{store}: {name} can't be read ({error}), so the files that it names aren't known; nothing is "
                f"removed: run the recipe again, or delete the edition's folder"
            ) from None
    return data


def _digests(data: bytes) -> set[str]:
    return {found.decode() for found in DIGEST.findall(data)}


# ── removal ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _remove(store: Store, one: Unnamed) -> bool:
    """Remove a file if it is still the one that was listed; returns whether it was."""
    folder = f"{store.root}/{one.name.partition('/')[0]}"
    with store.explained():
        if not store.local:
            if _changed(store, one.name) > one.changed:
                return False
            with suppress(FileNotFoundError):
                store.fs.rm_file(f"{store.root}/{one.name}")
                return True
            return False
        store.make_folder(folder)  # raises if it leads out of the store
        path = Path(store.root, one.name)
        with store.temporary(".gone") as aside:
            try:
                if _seen(path) != one.seen:
                    return False
                path.replace(aside)
            except FileNotFoundError:
                return False
            if _seen(aside) != one.seen:  # a build has written it anew between the last two steps
                aside.replace(path)
                return False
    return True


def _seen(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_ino, status.st_mtime_ns
