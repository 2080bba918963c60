"""Hashes of weights, read in full or in part by one rule.

A file of up to 64 MiB is read in full when a process first uses it. A larger one is read in full when it is new or was
touched (size, times of the last change of content and of status, inode), and otherwise every seven days. In between,
each process compares the first and last MiB and 63 blocks of 64 KiB evenly spread over the file with what they were
when it was last read in full. `variorum doctor` always reads everything.

Within a process a hash is reused as long as nobody touches the file.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import Literal, TypeVar

from variorum.machine.cache import cache_dir
from variorum.machine.retrying import stamp_of, steady
from variorum.machine.workplace import workplace
from variorum.schemas.canonical import Json, digest
from variorum.schemas.errors import TemporaryError

log = logging.getLogger(__name__)

T = TypeVar("T")

WHOLE = 64 * 2**20
"""Bytes. Up to this size every process reads a file in full."""
EVERY = 7 * 24 * 3600
"""Seconds between two full readings of a larger file."""
EDGE, BLOCK, BLOCKS = 2**20, 2**16, 64
"""Of a sample: bytes at each end, bytes of a block, and into how many parts the blocks divide the file."""

Kind = Literal["sha256", "git"]
"""Of a hash: `git` is the sha1 that git gives a file."""
Stamp = tuple[int, ...]

_SEEN: dict[tuple[Path, Kind], tuple[Stamp, str]] = {}
"""What this process has read: the file's state on disk, and its hash."""
_SAID: set[str] = set()


def content_hash(path: Path, *, kind: Kind = "sha256", thorough: bool = False) -> str:
    """Hash of a file, by this module's rule.

    Args:
        path: of the file.
        kind: of the hash.
        thorough: read the whole file, whatever is known.

    Raises:
        OSError: the file can't be opened.
        TemporaryError: the disk or the machine fails, or the file changes while it is read.
    """
    path = path.absolute()
    stamp: Stamp = stamp_of(steady(path.stat, path))
    known = _SEEN.get((path, kind))
    if known and known[0] == stamp and not thorough:
        return known[1]
    large = stamp[0] > WHOLE and kind == "sha256"
    if large and not thorough and (known := _remembered(path)):
        _SEEN[path, kind] = known
        return known[1]
    stamp, (found, sample) = _unchanging(path, lambda file: (_hash(file, kind), _sample(file) if large else ""))
    if large:
        _remember(path, stamp, found, sample)
    _SEEN[path, kind] = stamp, found
    return found


def _unchanging(path: Path, read: Callable[[BufferedReader], T]) -> tuple[Stamp, T]:
    """Return the result of `read` on the open file, and the file's state, which was the same before and after."""

    def attempt() -> tuple[Stamp, T]:
        with path.open("rb") as file:
            before = stamp_of(os.fstat(file.fileno()))
            found = read(file)
            if stamp_of(os.fstat(file.fileno())) != before:
                raise TemporaryError(f"{path}: it changes while it is read; wait until it is complete and run again")
            return before, found

    return steady(attempt, path)


def _hash(file: BufferedReader, kind: Kind) -> str:
    if kind == "sha256":
        return hashlib.file_digest(file, "sha256").hexdigest()
    found = hashlib.sha1(f"blob {os.fstat(file.fileno()).st_size}\0".encode(), usedforsecurity=False)
    while piece := file.read(EDGE):
        found.update(piece)
    return found.hexdigest()


def _sample(file: BufferedReader) -> str:
    """sha256 of some blocks of a file."""
    size, found = os.fstat(file.fileno()).st_size, hashlib.sha256()
    blocks = [(size * part // BLOCKS, BLOCK) for part in range(1, BLOCKS)]
    for start, length in [(0, EDGE), *blocks, (max(0, size - EDGE), EDGE)]:
        file.seek(start)
        found.update(file.read(length))
    return found.hexdigest()


# ── what is known of large files ─────────────────────────────────────────────────────────────────────────────────────


def _record(path: Path) -> Path:
    return cache_dir() / "checks" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"


def _remembered(path: Path) -> tuple[Stamp, str] | None:
    """State and hash of a large file that was read in full lately and, as far as its sample tells, hasn't changed."""
    try:
        kept = json.loads(_record(path).read_bytes())
        facts = [kept["path"], kept["stamp"], kept["sha256"], kept["sample"], kept["checked"]]
        if digest(facts) != kept["digest"] or not 0 <= time.time() - kept["checked"] < EVERY:
            return None
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return None
    if list(stamp_of(steady(path.stat, path))) != kept["stamp"]:
        return None
    stamp, sample = _unchanging(path, _sample)
    return (stamp, kept["sha256"]) if list(stamp) == kept["stamp"] and sample == kept["sample"] else None


def _remember(path: Path, stamp: Stamp, sha256: str, sample: str) -> None:
    record, name = _record(path), os.fsencode(path).decode("utf-8", "backslashreplace")
    facts: dict[str, Json] = {
        "path": name,
        "stamp": stamp,
        "sha256": sha256,
        "sample": sample,
        "checked": int(time.time()),
    }
    try:
        with workplace(record.parent) as folder:
            fresh = folder / record.name
            fresh.write_text(json.dumps({**facts, "digest": digest([*facts.values()])}))
            os.replace(fresh, record)
    except OSError as error:
        if "record" not in _SAID:
            _SAID.add("record")
            log.warning("%s can't be written (%s), so large weights are read in full at every start", record, error)
