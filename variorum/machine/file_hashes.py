"""Content hashes of files, cached, so that a folder of pictures isn't read in full at every start.

A hash is cached by absolute path, size, and times of the last change of content and of status, in one small file per
folder. The latter time shows a change that kept the former, as `rsync` and `cp -p` do. If the cache is missing, corrupt
or read-only, the files are read again.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from variorum.machine.cache import cache_dir
from variorum.machine.retrying import Pinned, gone, open_file, stamp_of, steady, why

Entry = tuple[int, int, int, str]
"""Size in bytes, times of the last change of content and of status in ns, sha256. The inode isn't part of it, because
network file systems give files new ones."""

SETTLED_NS = 2_000_000_000
"""A file that changed less than 2 s before it was hashed isn't cached, because it may change again without getting
another modification time."""

EFFECTIVE = os.access in os.supports_effective_ids


def file_hashes(root: Path, paths: Sequence[Path]) -> list[str]:
    """sha256 of each file, in order; `""` for a file that can't be read. See `pin_files`."""
    return [pinned.sha256 for pinned in pin_files(root, paths)]


def pin_files(root: Path, paths: Sequence[Path], *, listed: bool = False) -> list[Pinned]:
    """Content and state of each file, in order, with the reason where one can't be read. Only files are opened.

    Args:
        root: the folder that they belong to; it has one cache file.
        paths: absolute paths.
        listed: whether they were found in folders a moment ago, so that a missing one is an error.

    Raises:
        SourceChanged: one that was listed is gone.
        TemporaryError: the disk, the network or the machine failed, or a whole folder is gone.
    """
    cache = _cache(root)
    known = _load(cache)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        pins = list(pool.map(lambda path: _pin(path, known.get(str(path)), listed), paths))
    now = time.time_ns()
    settled: dict[str, Entry] = {}
    for path, pinned in zip(paths, pins, strict=True):
        if pinned.sha256 and now - pinned.stamp[1] > SETTLED_NS:
            size, modified, changed, *_ = pinned.stamp
            settled[str(path)] = size, modified, changed, pinned.sha256
    if settled != known:
        _save(cache, settled)
    return pins


def forget_hash(root: Path, path: Path) -> None:
    """Take a file out of the cache, because its content turned out to be another."""
    cache = _cache(root)
    known = _load(cache)
    if known.pop(str(path), None):
        _save(cache, known)


def _pin(path: Path, known: Entry | None, listed: bool) -> Pinned:
    def look() -> Pinned:
        if known:
            stamp = stamp_of(path.stat())
            if known[:3] == stamp[:3] and os.access(path, os.R_OK, effective_ids=EFFECTIVE):
                return Pinned(known[3], stamp)
        with open_file(path) as file:
            stamp = stamp_of(os.fstat(file.fileno()))
            return Pinned(hashlib.file_digest(file, "sha256").hexdigest(), stamp)

    try:
        return steady(look, path)
    except OSError as error:
        if listed and isinstance(error, FileNotFoundError | NotADirectoryError) and not os.path.lexists(path):
            raise gone(path, path, error) from error
        return Pinned("", why=why(error))


def _cache(root: Path) -> Path:
    return cache_dir() / "hashes" / f"{hashlib.sha256(os.fsencode(root.absolute())).hexdigest()[:32]}.json"


def _load(cache: Path) -> dict[str, Entry]:
    try:
        data = json.loads(cache.read_bytes())
        return {
            str(path): (int(size), int(mtime), int(ctime), sha256)
            for path, (size, mtime, ctime, sha256) in data.items()
            if isinstance(sha256, str) and len(sha256) == 64
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _save(cache: Path, entries: Mapping[str, Entry]) -> None:
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
