"""Content hashes of files, cached, so that a folder of pictures isn't read in full at every start.

A hash is cached by absolute path, size, and times of the last change of content and of status, in one small file per
folder. The latter time shows a change that kept the former, as `rsync` and `cp -p` do. If the cache is missing, corrupt
or read-only, the files are read again. As a folder may have millions of files, what is known of one takes few bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path

from variorum.machine.cache import cache_dir
from variorum.machine.retrying import Pinned, gone, open_file, stamp_of, steady, why

ENTRY = struct.Struct("<qqq32s")
"""Size in bytes, times of the last change of content and of status in ns, sha256. The inode isn't part of it, because
network file systems give files new ones."""
AT_ONCE = 1024
"""Files that are handed to the threads together."""

SETTLED_NS = 2_000_000_000
"""A file that changed less than 2 s before it was hashed isn't cached, because it may change again without getting
another modification time."""

EFFECTIVE = os.access in os.supports_effective_ids


def file_hashes(root: Path, paths: Sequence[Path]) -> list[str]:
    """sha256 of each file, in order; `""` for a file that can't be read. See `pin_files`."""
    return [pinned.sha256 for pinned in pin_files(root, paths)]


def pin_files(root: Path, paths: Sequence[Path], *, listed: bool = False) -> list[Pinned]:
    """All of `pin_each`."""
    return [*pin_each(root, paths, listed=listed)]


def pin_each(root: Path, paths: Iterable[Path], *, listed: bool = False) -> Iterator[Pinned]:
    """Content and state of each file, in order, with the reason where one can't be read. Only files are opened.

    The cache is written when the last one has been taken.

    Args:
        root: the folder that they belong to; it has one cache file.
        paths: absolute paths.
        listed: whether they were found in folders a moment ago, so that a missing one is an error.

    Raises:
        SourceChanged: one that was listed is gone.
        TemporaryError: the disk, the network or the machine failed, or a whole folder is gone.
    """
    cache = _cache(root)
    known, settled = _load(cache), dict[str, bytes]()
    left = iter(paths)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        while some := list(islice(left, AT_ONCE)):
            pins = list(pool.map(lambda path: _pin(path, known.get(str(path)), listed), some))
            now = time.time_ns()
            for path, pinned in zip(some, pins, strict=True):
                if pinned.sha256 and now - pinned.stamp[1] > SETTLED_NS:
                    with suppress(struct.error):  # a time before 1678, as of a file from Windows that has none
                        settled[str(path)] = ENTRY.pack(*pinned.stamp[:3], bytes.fromhex(pinned.sha256))
            yield from pins
    if settled != known:
        _save(cache, settled)


def forget_hash(root: Path, path: Path) -> None:
    """Take a file out of the cache, because its content turned out to be another."""
    cache = _cache(root)
    known = _load(cache)
    if known.pop(str(path), None):
        _save(cache, known)


def _pin(path: Path, known: bytes | None, listed: bool) -> Pinned:
    def look() -> Pinned:
        if known:
            stamp = stamp_of(path.stat())
            *then, sha256 = ENTRY.unpack(known)
            if (*then,) == stamp[:3] and os.access(path, os.R_OK, effective_ids=EFFECTIVE):
                return Pinned(sha256.hex(), stamp)
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


def _load(cache: Path) -> dict[str, bytes]:
    found = dict[str, bytes]()
    try:
        with cache.open(encoding="ascii") as lines:
            for line in lines:
                path, size, modified, changed, sha256 = json.loads(line)
                if len(content := bytes.fromhex(sha256)) != hashlib.sha256().digest_size:
                    return {}
                found[str(path)] = ENTRY.pack(size, modified, changed, content)
    except (OSError, ValueError, TypeError, struct.error):
        return {}
    return found


def _save(cache: Path, entries: Mapping[str, bytes]) -> None:
    """Write a line for each file."""
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        descriptor, part = tempfile.mkstemp(dir=cache.parent, suffix=".part")
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                for path, entry in entries.items():
                    *stamp, sha256 = ENTRY.unpack(entry)
                    file.write(json.dumps([path, *stamp, sha256.hex()], separators=(",", ":")) + "\n")
            Path(part).replace(cache)
        finally:
            Path(part).unlink(missing_ok=True)
    except OSError:  # a read-only or full home
        return
