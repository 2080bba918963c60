"""Leases: temporary files that can be removed once the process that writes them has ended, however it ended.

A lease is a locked file beside the temporary files. The kernel drops the lock when the process ends, and every other
process can see that, in another container or under another user too. A process id couldn't say so: in containers many
processes have the same one.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import threading
import time
from contextlib import suppress
from pathlib import Path

LOCK = ".lock"
TEMPORARY = re.compile(r"([0-9a-f]{16})-[0-9]+\..+")
WEEK = 7 * 24 * 3600
"""Seconds after which files are removed where the file system has no locks."""


class Lease:
    """Names for temporary files in a folder, owned by this process while `acquire`d. Threads may share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._guard = threading.Lock()
        self._users = 0
        self._process = 0
        self._token = ""
        self._lock = -1
        self._count = 0

    def acquire(self, suffix: str) -> Path:
        """A path for a new file, which this process owns until `release`. Creates the folder if it is missing."""
        with self._guard:
            if self._process != os.getpid():  # first use, or a forked child, which has a lease of its own
                self._process, self._users = os.getpid(), 0
            if not self._users:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._token, self._lock = _locked(self.folder)
            self._users += 1
            self._count += 1
            return self.folder / f"{self._token}-{self._count}{suffix}"

    def release(self, path: Path) -> None:
        """Remove a file from `acquire` if it still exists, and after the last one the lease."""
        with self._guard:
            path.unlink(missing_ok=True)
            self._users -= 1
            if not self._users:
                lock = self.folder / (self._token + LOCK)
                with suppress(FileNotFoundError):
                    lock.unlink()
                os.close(self._lock)


def _locked(folder: Path) -> tuple[str, int]:
    """A new lock file: its token, and the descriptor that holds the lock."""
    while True:
        token = secrets.token_hex(8)
        path = folder / (token + LOCK)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            if _lock(descriptor) is not False and path.stat().st_ino == os.fstat(descriptor).st_ino:
                return token, descriptor
        except FileNotFoundError:  # another process swept it before it was locked
            pass
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Whether this process has the lock now; None if the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def sweep(folder: Path) -> None:
    """Remove the temporary files of processes that have ended. Files that no lease made are left alone."""
    names = sorted(os.listdir(folder))
    for name in names:
        if name.endswith(LOCK):
            _sweep_lease(folder, name.removesuffix(LOCK), names)
    for name in names:
        # the owner creates its lock before its files and removes it after them
        if (ours := TEMPORARY.fullmatch(name)) and not (folder / (ours[1] + LOCK)).exists():
            _remove(folder / name)


def _sweep_lease(folder: Path, token: str, names: list[str]) -> None:
    path = folder / (token + LOCK)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # gone, or another user's
        return
    try:
        free = _lock(descriptor)
        if free is False:
            return
        older = 0 if free else WEEK
        for name in names:
            if name.startswith(f"{token}-"):
                _remove(folder / name, older=older)
        _remove(path, older=older)
    finally:
        os.close(descriptor)


def _remove(path: Path, *, older: float = 0) -> None:
    """Remove a file that hasn't changed for so many seconds."""
    with suppress(OSError):
        if not older or time.time() - path.lstat().st_mtime > older:
            path.unlink()
