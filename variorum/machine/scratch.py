"""Arrays that may be larger than the memory.

A large array is a file that is mapped into memory. If memory gets short, the system writes it out and reads it again
when it is asked for. It behaves like any other array, and costs disk in place of memory.
"""

from __future__ import annotations

import math
import os
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.machine.cache import cache_dir
from variorum.schemas.errors import StoreError

if TYPE_CHECKING:
    from variorum.arrays import Array

IN_MEMORY = 1 << 24
"""Bytes up to which an array is in memory."""
MODEST = 1 << 28
"""Bytes up to which an array is in memory if no file can be made."""


def scratch(shape: tuple[int, ...], dtype: Any, store: str = "") -> Array:
    """An array whose values aren't set yet, in memory, or in a file if it is large.

    The file has no name, so it goes with the array, or with the process however that ends.

    Args:
        shape: of the array.
        dtype: of its values.
        store: folder that has the file, if it may be written; else the system's folder for temporary files has it. For
            `""`, or a URL, this machine's cache has it.

    Raises:
        StoreError: it is larger than `MODEST`, and the disk has no room for it, or no folder takes files.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if not in_file(size):
        return np.empty(shape, dtype)
    folder = str(cache_dir()) if not store or "://" in store else store
    try:
        folder = _writable(folder)
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, size)  # without room, writing to the array would end the process
            return np.asarray(np.memmap(file, dtype, "r+", shape=shape))
    except OSError as error:
        if size <= MODEST:
            return np.empty(shape, dtype)
        raise StoreError(
            f"{folder}: {size / 2**30:.1f} GiB of disk are needed for an array ({error.strerror}); make room, set "
            "VARIORUM_CACHE to a folder that has it, or take an encoder with shorter embeddings"
        ) from None


def in_file(size: int) -> bool:
    """Return whether an array of this many bytes lies in a file."""
    return size > IN_MEMORY


def _writable(folder: str) -> str:
    """This folder, or the system's for temporary files if no file can be made in it."""
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return tempfile.gettempdir()
