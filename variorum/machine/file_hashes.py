"""Content hashes of files, cached, so that a folder of pictures isn't read in full at every start.

A hash is cached by absolute path, size and modification time, in one small file per folder. If the cache is missing,
corrupt or read-only, the files are read again.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from variorum.machine.cache import cache_dir

Entry = tuple[int, int, str]
"""Size in bytes, modification time in ns, sha256."""

SETTLED_NS = 2_000_000_000
"""A file that changed less than 2 s before it was hashed isn't cached, because it may change again without getting
another modification time."""


def file_hashes(root: Path, paths: Sequence[Path]) -> list[str]:
    """sha256 of each file, in order; `""` for a file that can't be read.

    Args:
        root: the folder that they belong to; it has one cache file.
        paths: absolute paths.
    """
    cache = cache_dir() / "hashes" / f"{hashlib.sha256(str(root.absolute()).encode()).hexdigest()[:32]}.json"
    known = _load(cache)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        entries = list(pool.map(lambda path: _entry(path, known.get(str(path))), paths, chunksize=64))
    now = time.time_ns()
    settled = {str(p): e for p, e in zip(paths, entries, strict=True) if e and now - e[1] > SETTLED_NS}
    if settled != known:
        _save(cache, settled)
    return [entry[2] if entry else "" for entry in entries]


def _entry(path: Path, known: Entry | None) -> Entry | None:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if known and known[:2] == (status.st_size, status.st_mtime_ns):
                return known
            return status.st_size, status.st_mtime_ns, hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _load(cache: Path) -> dict[str, Entry]:
    try:
        data = json.loads(cache.read_bytes())
        return {
            str(path): (int(size), int(mtime), sha256)
            for path, (size, mtime, sha256) in data.items()
            if isinstance(sha256, str) and len(sha256) == 64
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _save(cache: Path, entries: dict[str, Entry]) -> None:
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        descriptor, part = tempfile.mkstemp(dir=cache.parent, suffix=".part")
        try:
            with os.fdopen(descriptor, "w") as file:
                json.dump(entries, file, separators=(",", ":"))
            Path(part).replace(cache)
        finally:
            Path(part).unlink(missing_ok=True)
    except OSError:  # a read-only or full home
        return
