"""Reading files that may change, and disks and networks that may fail for a while.

A picture that can't be decoded is a fact about the data and becomes a row of the edition. A drive that drops out isn't:
if it were sealed as data, it would stay in the edition for good. So errors that may pass are tried again and then
raised, and what is read must be what was pinned.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BufferedReader
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
    """Return whether an error may pass: of a disk, a network, memory, or the number of open files."""
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
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        said += "; raise the limit with `ulimit -n`"
    if isinstance(error, OSError) and error.errno == errno.EIO:
        said += "; if that stays, the disk can't read this file: remove it or put it back from a copy"
    return TemporaryError(
        f"{printable(what)}: can't be read now ({said}); finished work is kept: run the same command again when this "
        f"is over"
    )


def printable(what: object) -> str:
    """Text in one line: in names of files, line breaks and bytes that are no text are shown as escapes."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in str(what))


# ── files alone ──────────────────────────────────────────────────────────────────────────────────────────────────────

KINDS = {stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}


def open_file(path: Path) -> BufferedReader:
    """A file opened for reading. What isn't one is never waited for, as opening a FIFO would.

    Raises:
        OSError: it can't be opened, or it is a folder, a FIFO, a socket or a device.
    """
    _check_kind(path.stat().st_mode)  # opening a device can have effects
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        _check_kind(os.fstat(descriptor).st_mode)
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_file(path: Path) -> bytes:
    """The content of a file. Raises as `open_file` does."""
    with open_file(path) as file:
        return file.read()


def hash_content(path: Path) -> str:
    """sha256 of a file. Raises as `open_file` does."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_kind(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, f"it is a {KINDS.get(stat.S_IFMT(mode), 'special file')}, not a file")


# ── files that were pinned ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Pinned:
    """A file as it was when it was pinned: its content and its state on disk.

    Attributes:
        sha256: of the content; `""` if it couldn't be read for a reason of its own, such as its permissions.
        stamp: from `stamp_of`; `()` if unknown.
        why: why it couldn't be read, such as `Permission denied`; `""` if it could, or if that is unknown.
    """

    sha256: str
    stamp: tuple[int, ...] = ()
    why: str = ""


def stamp_of(status: os.stat_result) -> tuple[int, int, int, int]:
    """Size, times of the last change of content and of status in ns, inode: equal as long as nobody touches a file."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def read_pinned(path: Path, pinned: Pinned, what: object) -> bytes:
    """The content of a small file, which must be the pinned one.

    Raises:
        OSError: it can't be read, and couldn't when it was pinned, for the same reason.
        SourceChanged: its content is another, or it was readable and isn't, or the other way round.
        TemporaryError: the disk, the network or the machine failed, or the file's folder is gone.
    """
    try:
        data = steady(lambda: read_file(path), what, readable=bool(pinned.sha256))
    except OSError as error:
        if pinned.sha256 or (pinned.why and why(error) != pinned.why):
            raise gone(path, what, error) from error
        raise
    if hashlib.sha256(data).hexdigest() != pinned.sha256:
        raise changed(what, "another content" if pinned.sha256 else "it couldn't be read then")
    return data


def check_pinned(path: Path, pinned: Pinned, what: object) -> Pinned:
    """Check that a large file is still the pinned one. Call it before and after reading parts of the file.

    If only its state on disk changed (it was touched, or has a further link), the content is hashed.

    Returns:
        The same content with the file's state as it is now, for the next check.

    Raises:
        SourceChanged: its content is another, or it is gone.
        TemporaryError: the disk, the network or the machine failed.
    """
    try:
        stamp = stamp_of(steady(path.stat, what, readable=True))
        if stamp == pinned.stamp:
            return pinned
        sha256 = steady(lambda: hash_content(path), what)
    except OSError as error:
        raise gone(path, what, error) from error
    if sha256 != pinned.sha256:
        raise changed(what, "another content")
    return replace(pinned, stamp=stamp)


def why(error: OSError) -> str:
    """Why a file can't be read, in words that are the same in every run."""
    return error.strerror or type(error).__name__


def gone(path: Path, what: object, error: OSError) -> VariorumError:
    """The error for a pinned file that can't be opened any more.

    A whole folder that is gone, or empty as a mount point without its drive is, may come back.
    """
    try:
        with os.scandir(path.parent) as left:
            empty = next(left, None) is None
    except PermissionError:
        empty = False
    except OSError as trouble:
        missing = isinstance(trouble, FileNotFoundError | NotADirectoryError)
        said = f"the folder {printable(path.parent)} is gone" if missing else why(trouble)
        return passing(what, OSError(trouble.errno, said))
    if empty:
        return passing(what, OSError(error.errno, f"the folder {printable(path.parent)} is empty now"))
    return changed(what, why(error))


def changed(what: object, how: str) -> SourceChanged:
    """The error for data that isn't what the plan was made for."""
    return SourceChanged(
        f"{printable(what)}: it has changed since the run began ({how}); finished work is kept: run the same command "
        f"again to use the data as it is now, or put the file back"
    )
