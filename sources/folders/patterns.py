"""Files on this machine by path or pattern. What matches and is no file is counted, never opened."""

from __future__ import annotations

import fnmatch
import glob
import logging
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Literal

from variorum.machine.retrying import KINDS, printable, steady, why
from variorum.sources.folders.listing import ORDINARY, SHOWN

log = logging.getLogger(__name__)

Kind = Literal["file", "folder", "missing", "odd"]
Entry = tuple[str, bool]


def file_kind(path: str | os.PathLike[str]) -> tuple[Kind, str]:
    """Return the kind of a path, links followed; for odd ones also words that describe it, after its name.

    Raises:
        TemporaryError: the disk, the network or the machine failed.
    """
    try:
        mode = steady(partial(os.stat, path), path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "missing", ""
    except OSError as error:
        return "odd", f"can't be read: {why(error)}"
    except ValueError:  # a NUL
        return "missing", ""
    if stat.S_ISREG(mode):
        return "file", ""
    if stat.S_ISDIR(mode):
        return "folder", "is a folder"
    return "odd", f"is a {KINDS.get(stat.S_IFMT(mode), 'special file')}, not a file"


def matching_files(pattern: str, where: str) -> list[str]:
    """The files that a pattern stands for, in no order; a warning counts what matches and is no file.

    `*` and `?` stand for characters of names that don't begin with a dot, `**` for folders at any depth. Links to
    folders are followed, but not by `**`, so that links in circles do no harm.

    Args:
        pattern: an absolute path.
        where: what the warning calls the source.

    Raises:
        TemporaryError: the disk, the network or the machine failed.
    """
    root, *parts = pattern.split("/")
    found, odd = [], []
    for path in dict.fromkeys(_expanded(f"{root}/", [part for part in parts if part])):
        kind, told = file_kind(path)
        if kind == "file":
            found.append(path)
        elif kind != "folder":
            odd.append(f"{path} {told or 'is a link that leads nowhere'}")
        elif "**" in parts and os.path.islink(path):
            odd.append(f"{path} is a link to a folder")
    if odd:
        log.warning("%s: what isn't a file is left out, %d in all, such as %s", where, len(odd), printable(min(odd)))
    return found


def files_below(folder: str, where: str) -> list[str]:
    """The files below a folder, as `matching_files` finds them."""
    return matching_files(f"{glob.escape(folder)}/**/*", where)


def warn_of_unread(files: Sequence[str], folder: str, where: str) -> None:
    """A warning that counts files of a folder that aren't read, but for those that lie in every one, as a README."""
    kinds = Counter(os.path.splitext(name)[1] or "without an ending" for name in files if not _is_ordinary(name))
    if kinds:
        listed = [f"{number} {kind}" for kind, number in kinds.most_common(SHOWN)]
        more = ", …" if len(kinds) > SHOWN else ""
        log.warning(
            "%s: files in %s that aren't read: %s%s", where, printable(folder), printable(", ".join(listed)), more
        )


def _is_ordinary(name: str) -> bool:
    return os.path.basename(name).partition(".")[0].lower() in ORDINARY


def _expanded(folder: str, parts: Sequence[str]) -> Iterator[str]:
    """The paths in a folder that match the rest of a pattern."""
    if not parts:
        yield folder.rstrip("/")
        return
    part, rest = parts[0], parts[1:]
    if part == "**":
        yield from _expanded(folder, rest or ["*"])
        for name, is_link in _listed(folder):
            path = f"{folder}{name}"
            if not is_link and not name.startswith(".") and _is_folder(path):
                yield from _expanded(f"{path}/", parts)
    elif glob.has_magic(part):
        match = re.compile(fnmatch.translate(part), re.DOTALL).match
        for name, _ in _listed(folder):
            path = f"{folder}{name}"
            if match(name) and (part.startswith(".") or not name.startswith(".")) and (not rest or _is_folder(path)):
                yield from _expanded(f"{path}/", rest)
    else:
        path = f"{folder}{part}"
        if rest or os.path.lexists(path):
            yield from _expanded(f"{path}/", rest)


def _is_folder(path: str) -> bool:
    return file_kind(path)[0] == "folder"


def _listed(folder: str) -> list[Entry]:
    """Names in a folder, and whether each is a link; none of what is no folder, or may not be listed."""

    def look() -> list[Entry]:
        with os.scandir(folder) as entries:
            return [(entry.name, entry.is_symlink()) for entry in entries]

    try:
        return steady(look, folder)
    except OSError as error:
        if isinstance(error, PermissionError):
            log.warning("%s can't be listed: %s", printable(folder), why(error))
        return []
