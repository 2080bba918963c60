"""A disposable cache on disk for costly intermediate results that are needed again, such as masks.

It isn't part of the record of finished work. A key always stands for the same arrays, so losing an entry costs only
time.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

Arrays = Mapping[str, NDArray[Any]]


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
            if (kept := _load(path)) is not None:
                return kept
            arrays = compute()
            _save(path, arrays)
        return arrays

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


def _save(path: Path, arrays: Arrays) -> None:
    part = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        part.replace(path)
    except OSError as error:  # a full or read-only disk only costs time
        log.warning("memo %s: %s; it is computed again when it is needed", path, error)
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _load(path: Path) -> Arrays | None:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        return None
    except Exception as error:  # damage raises errors of zipfile, zlib, ast or NumPy
        log.warning("memo %s can't be read (%s) and is computed again", path, error)
        return None
