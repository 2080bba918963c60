"""Reading files that may change, and disks and networks that may fail for a while.

A picture that can't be decoded is a fact about the data and becomes a row of the edition. A drive that drops out isn't:
if it were sealed as data, it would stay in the edition for good. So errors that may pass are tried again and then
raised, and what is read must be what was pinned.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from variorum.schemas.errors import SourceChanged, TemporaryError, VariorumError

T = TypeVar("T")

PAUSES = (0.2, 1.0, 3.0)
"""Seconds between attempts."""
LASTING = {
    errno.EACCES,
    errno.EPERM,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EINVAL,
    errno.EILSEQ,
    errno.EEXIST,
    errno.EROFS,
    errno.ENXIO,
    errno.EOPNOTSUPP,
    errno.EFBIG,
    errno.ENOSPC,
    errno.EDQUOT,
}
"""Errors that say something of the file or the place itself. All others come from the disk, the network or the
machine, and may pass."""


def may_pass(error: BaseException | None) -> bool:
    """Whether an error may be gone at the next attempt: of a disk, a network, memory, or the number of open files."""
    if isinstance(error, TemporaryError | MemoryError | TimeoutError | ConnectionError):
        return True
    return isinstance(error, OSError) and error.errno is not None and error.errno not in LASTING


def steady(attempt: Callable[[], T], what: object, *, readable: bool = False) -> T:
    """The result of `attempt`, which is called again after an error that may pass.

    Args:
        attempt: called up to four times, within about four seconds.
        what: what is read, for the error.
        readable: whether it could be read a moment ago; then any error is tried again.

    Raises:
        TemporaryError: the error stayed.
        OSError: an error that can't pass.
    """
    for pause in (*PAUSES, None):
        try:
            return attempt()
        except (OSError, MemoryError) as error:
            if not (readable or may_pass(error)) or (pause is None and not may_pass(error)):
                raise
            if pause is None:
                raise passing(what, error) from error
            time.sleep(pause)
    raise AssertionError("unreachable")


def passing(what: object, error: BaseException) -> TemporaryError:
    """The error for something that can't be read now but perhaps later."""
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        why += "; raise the limit with `ulimit -n`"
    return TemporaryError(
        f"{what}: can't be read now ({why}); finished work is kept: run the same command again when this is over"
    )


# ── files that were pinned ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Pinned:
    """A file as it was when it was pinned: its content and its state on disk.

    Attributes:
        sha256: of the content; `""` if it couldn't be read for a reason of its own, such as its permissions.
        stamp: from `stamp_of`; `()` if unknown.
    """

    sha256: str
    stamp: tuple[int, ...] = ()


def stamp_of(status: os.stat_result) -> tuple[int, int, int, int]:
    """Size, times of the last change of content and of status in ns, inode: equal as long as nobody touches a file."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def read_pinned(path: Path, pinned: Pinned, what: object) -> bytes:
    """The content of a small file, which must be the pinned one.

    Args:
        path: of the file.
        pinned: what the pin promised.
        what: the file's name, for errors.

    Raises:
        OSError: it can't be read, and couldn't when it was pinned.
        SourceChanged: its content is another, or it was readable and isn't, or the other way round.
        TemporaryError: the disk, the network or the machine failed, or the file's folder is gone.
    """
    try:
        data = steady(path.read_bytes, what, readable=bool(pinned.sha256))
    except OSError as error:
        if pinned.sha256:
            raise gone(path, what, error) from error
        raise
    if hashlib.sha256(data).hexdigest() != pinned.sha256:
        raise changed(what, "another content" if pinned.sha256 else "it couldn't be read then")
    return data


def check_pinned(path: Path, pinned: Pinned, what: object) -> None:
    """Check that a large file is still the pinned one. Call it before and after reading parts of the file.

    If only its state on disk changed (it was touched, or has a further link), the content is hashed.

    Raises:
        SourceChanged: its content is another, or it is gone.
        TemporaryError: the disk, the network or the machine failed.
    """
    try:
        if pinned.stamp and stamp_of(steady(path.stat, what, readable=True)) == pinned.stamp:
            return
        sha256 = steady(lambda: hash_content(path), what)
    except OSError as error:
        raise gone(path, what, error) from error
    if sha256 != pinned.sha256:
        raise changed(what, "another content")


def hash_content(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def gone(path: Path, what: object, error: OSError) -> VariorumError:
    """The error for a pinned file that can't be opened any more. A whole folder that is gone may come back."""
    if not path.parent.exists():
        return passing(what, FileNotFoundError(error.errno, f"{path.parent} is gone"))
    return changed(what, error.strerror or type(error).__name__)


def changed(what: object, why: str) -> SourceChanged:
    """The error for data that isn't what the plan was made for."""
    return SourceChanged(
        f"{what}: it has changed since the run began ({why}); finished work is kept: run the same command again to use "
        f"the data as it is now, or put the file back"
    )
