"""A disposable cache on disk for costly intermediate results that are needed again, such as masks.

It isn't part of the record of finished work. A key always stands for the same arrays, so losing an entry costs only
time. Each file ends with a hash of its key and content: a damaged entry, or one that lies under another's name, is
computed again.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from variorum.machine.workplace import workplace
from variorum.schemas.component import Memo

log = logging.getLogger(__name__)

Arrays = Mapping[str, NDArray[Any]]
SEAL = b"variorum"
"""Stands before the hash at the end of a file; unzipping ignores both."""


class DiskMemo:
    """Arrays by key, one `.npz` file each. Threads and processes may share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._locks: dict[str, tuple[threading.Lock, int]] = {}
        self._guard = threading.Lock()

    def __call__(self, key: str, compute: Callable[[], Arrays]) -> Arrays:
        """The arrays stored under `key` (hexadecimal); computed and stored first if they are missing."""
        path = self.folder / key[:2] / f"{key}.npz"
        with self._lock(key):
            if (kept := _load(path, key)) is not None:
                return kept
            arrays = compute()
            _save(path, key, arrays)
        return arrays

    def forget(self, keys: Iterable[str]) -> None:
        """Delete what is kept under these keys.

        Raises:
            OSError: an entry can't be deleted.
        """
        for key in keys:
            with self._lock(key):
                (self.folder / key[:2] / f"{key}.npz").unlink(missing_ok=True)

    @contextmanager
    def _lock(self, key: str) -> Iterator[None]:
        """Lets one thread at a time work on a key. The lock is deleted after its last user."""
        with self._guard:
            lock, users = self._locks.get(key, (threading.Lock(), 0))
            self._locks[key] = lock, users + 1
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, users = self._locks.pop(key)
                if users > 1:
                    self._locks[key] = lock, users - 1


class UsedMemo:
    """A memo that knows which of its keys a unit has used, so that they can be forgotten.

    Masks and plates show what a picture shows. Where a picture of a unit is withheld, none of them may stay, whoever
    computed them, nor any of an earlier attempt that was killed.
    """

    def __init__(self, memo: Memo) -> None:
        self.memo = memo
        self.keys: set[str] = set()

    def __call__(self, key: str, compute: Callable[[], Arrays]) -> Arrays:
        """As the memo that it wraps."""
        self.keys.add(key)
        return self.memo(key, compute)

    def forget(self, keys: Iterable[str]) -> None:
        """As the memo that it wraps."""
        self.memo.forget(keys)

    @contextmanager
    def cleared_if(self, needed: Callable[[], bool]) -> Iterator[None]:
        """At the end of a `with`, also after an error, forgets all keys used if `needed` says so."""
        try:
            yield
        finally:
            if needed():
                self.forget(sorted(self.keys))


def _save(path: Path, key: str, arrays: Arrays) -> None:
    packed = BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    content = packed.getvalue()
    try:
        with workplace(path.parent, leftovers="*.part") as folder:
            fresh = folder / path.name
            fresh.write_bytes(content + _seal(key, content))
            fresh.replace(path)
    except OSError as error:  # a full or read-only disk only costs time
        log.warning("memo %s: %s; it is computed again when it is needed", path, error)


def _load(path: Path, key: str) -> Arrays | None:
    try:
        data = path.read_bytes()
        seal = _seal(key, content := data[: -len(SEAL) - 32])
        if not data.endswith(seal):
            if SEAL in data[-len(seal) :]:  # else it is of an older version
                log.warning("memo %s is damaged and is computed again", path)
            return None
        with np.load(BytesIO(content), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        return None
    except Exception as error:  # errors of zipfile, zlib, ast or NumPy
        log.warning("memo %s can't be read (%s) and is computed again", path, error)
        return None


def _seal(key: str, content: bytes) -> bytes:
    return SEAL + hashlib.sha256(key.encode() + content).digest()
