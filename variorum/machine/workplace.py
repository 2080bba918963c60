"""Folders in which files are made before they are renamed to their place, so that no reader ever sees half of one.

A killed process leaves its folder. The next one that works in the same place removes it: a living owner holds a lock on
its folder, and the system releases the lock with the process.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SUFFIX = ".variorum.part"
STALE = 7 * 24 * 3600
"""Seconds after which something unfinished goes whose owner can't be asked: a file, or a folder on a disk without
locks."""

_SWEPT: set[Path] = set()


@contextmanager
def workplace(parent: Path, leftovers: str = f"*{SUFFIX}") -> Iterator[Path]:
    """A new folder in `parent`, for files that are renamed from it; removed at the end with what is left in it.

    Args:
        parent: made if missing. When a process first works in it, what killed processes left there is removed.
        leftovers: pattern of their names.

    Raises:
        OSError: the folder can't be made.
    """
    parent.mkdir(parents=True, exist_ok=True)
    if parent not in _SWEPT:
        _SWEPT.add(parent)
        sweep(parent, leftovers)
    while True:
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=".", suffix=SUFFIX))
        try:
            handle = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:  # another process swept it before it was locked
            continue
        try:
            with suppress(OSError):  # a disk without locks
                fcntl.flock(handle, fcntl.LOCK_EX)
            if not folder.exists():
                continue
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return
        finally:
            os.close(handle)


def sweep(parent: Path, leftovers: str = f"*{SUFFIX}") -> None:
    """Remove what killed processes left in a folder. What can't be removed stays for another time."""
    with suppress(OSError):
        for path in parent.glob(leftovers):
            with suppress(OSError):
                if path.is_symlink() or not path.is_dir():
                    if time.time() - path.lstat().st_mtime > STALE:
                        path.unlink()
                    continue
                handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
                try:
                    if _abandoned(handle):
                        shutil.rmtree(path, ignore_errors=True)
                finally:
                    os.close(handle)


def _abandoned(handle: int) -> bool:
    """Return whether no living process holds the lock on this folder; it is taken then."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return time.time() - os.fstat(handle).st_mtime > STALE
    return True
