"""A disposable cache on disk for what is costly and asked for again: masks, plates.

It sits beside the exactly-once machinery, not in it: an entry holds what its key always gives, so losing one costs
time alone.
"""

from __future__ import annotations

import os
import threading
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


class DiskMemo:
    """Arrays by key, one `.npz` file each; safe under threads and processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def __call__(self, key: str, compute: Callable[[], Arrays]) -> Arrays:
        """The arrays kept under `key` (hexadecimal), computed and kept first if there are none."""
        path = self.folder / key[:2] / f"{key}.npz"
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if (kept := _load(path)) is not None:
                return kept
            arrays = compute()
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")
            with part.open("wb") as file:
                np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
            part.replace(path)
        with self._guard:
            self._locks.pop(key, None)
        return arrays


def _load(path: Path) -> Arrays | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (FileNotFoundError, zipfile.BadZipFile, ValueError, EOFError):
        return None  # absent, or cut short by a crash: computed again
