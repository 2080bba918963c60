"""The files below a folder, whatever lies there: links in circles, FIFOs, folders that may not be listed, odd names.

What isn't read is counted by kind and named in a warning, so that nothing is left out unnoticed.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from variorum.machine.retrying import gone, may_pass, printable, steady, why

LOOKS_ESCAPED = re.compile(rb"\\(?=x5c|x[89a-f][0-9a-f])")
"""A backslash in a name that would be taken for the begin of an escape."""
ORDINARY = frozenset(
    {
        "readme",
        "license",
        "licence",
        "copying",
        "notice",
        "authors",
        "citation",
        "changelog",
        "contributing",
        "makefile",
    }
    | {"dockerfile", "checksums", "md5sums", "sha1sums", "sha256sums", "sha512sums"}
)
"""Names, before the first dot and in lower case, of files that often lie beside pictures and aren't missed."""
ORDINARY_ENDINGS = frozenset(
    {
        ".txt",
        ".md",
        ".rst",
        ".html",
        ".htm",
        ".pdf",
        ".bib",
        ".cff",
        ".log",
        ".csv",
        ".tsv",
        ".json",
        ".jsonl",
        ".ndjson",
    }
    | {
        ".geojson",
        ".yaml",
        ".yml",
        ".toml",
        ".ini",
        ".cfg",
        ".xml",
        ".xmp",
        ".parquet",
        ".arrow",
        ".xlsx",
        ".db",
        ".names",
    }
    | {".py", ".sh", ".ipynb", ".md5", ".sha1", ".sha256", ".sha512", ".sfv", ".sig", ".asc", ".license"}
)
"""Likewise, of texts, tables, notes and checksums."""
ORDINARY_FOLDERS = frozenset((".git", ".svn", ".hg", ".dvc", ".cache", ".ipynb_checkpoints", ".thumbnails", ".venv"))
"""Hidden folders of tools."""
SHOWN = 6
"""Endings that a warning lists."""
LONGEST = 300
"""Characters of a name that a warning shows."""


@dataclass(slots=True)
class Count:
    """A number of things, and the first of them by name."""

    number: int = 0
    first: str = ""

    def add(self, name: str) -> None:
        """Count one more."""
        self.first = min(self.first, name) if self.number else name
        self.number += 1


@dataclass(slots=True)
class Listing:
    """The content of a folder. Names are relative paths as the system gives them, with `/`.

    Attributes:
        root: the folder.
        files: those with a wanted name, in no order; also what only looks like a file, as a FIFO does.
        links: those that weren't followed: to folders, or to files outside of the folder.
        closed: folders that can't be listed, each with the reason.
        hidden: hidden folders, without those of common tools.
        named: folders whose name is wanted.
        unread: other files, without those that are no pictures in any dataset, such as a README.
        kinds: their endings.
    """

    root: Path
    files: list[str] = field(default_factory=list)
    links: Count = field(default_factory=Count)
    closed: Count = field(default_factory=Count)
    hidden: Count = field(default_factory=Count)
    named: Count = field(default_factory=Count)
    unread: Count = field(default_factory=Count)
    kinds: Counter[str] = field(default_factory=Counter)

    def left_out(self) -> list[str]:
        """A line for each kind of thing that isn't read, with its number and the first one's name."""
        said = (
            (self.links, "link", "n't followed, leading to a folder or to a file outside"),
            (self.closed, "folder", "n't read, as listing it fails"),
            (self.hidden, "hidden folder", "n't read"),
            (self.named, "folder", " named as a picture"),
            (self.unread, "file", f"n't read: {_listed(self.kinds)}"),
        )
        return [
            f"{count.number} {noun}{'s' if count.number > 1 else ''} in {printable(self.root)} "
            f"{'are' if count.number > 1 else 'is'}{what} (the first: {_short(printable(key_of(count.first)))})"
            for count, noun, what in said
            if count.number
        ]


def list_files(root: Path, wanted: Callable[[str], bool]) -> Listing:
    """The files below a folder whose names are wanted. Hidden files and folders are left out.

    Links to folders, and links to files outside of the folder, are not followed, so nothing outside is read.

    Raises:
        OSError: the folder itself can't be listed.
        TemporaryError: a disk or the network failed, or a folder vanished while it was listed.
    """
    listing = Listing(root)
    inside = os.path.realpath(root)
    folders = [""]
    while folders:
        at = folders.pop()
        folder = root / at
        try:
            entries = steady(partial(_entries, folder), folder)
        except OSError as error:
            if isinstance(error, FileNotFoundError | NotADirectoryError):
                raise gone(folder, folder, error) from error
            if not at:
                raise
            listing.closed.add(f"{at[:-1]}: {why(error)}")
            continue
        for name, is_folder, is_link in entries:
            path = at + name
            if name.startswith("."):
                if is_folder and name not in ORDINARY_FOLDERS:
                    listing.hidden.add(path)
                elif not is_folder and wanted(f"hidden{name}"):
                    _note(listing, path, "hidden")
            elif is_folder:
                folders.append(f"{path}/")
                if wanted(name):
                    listing.named.add(path)
            elif is_link and _leads_away(root / path, inside, wanted(name)):
                listing.links.add(path)
            elif wanted(name):
                listing.files.append(path)
            elif name.partition(".")[0].lower() not in ORDINARY:
                ending = os.path.splitext(name)[1].lower()
                if ending not in ORDINARY_ENDINGS:
                    _note(
                        listing, path, ending if 1 < len(ending) < 12 and ending.isprintable() else "without an ending"
                    )
    return listing


def key_of(name: str) -> str:
    r"""A relative path as text, the same on every machine, and another one for each path.

    Bytes that aren't UTF-8 become `\xe9`. A name with these four characters, or `\x5c`, has its backslash written as
    `\x5c`, so that no two names have one text.
    """
    if name.isascii() and "\\" not in name:
        return name
    return LOOKS_ESCAPED.sub(rb"\\x5c", os.fsencode(name)).decode("utf-8", "backslashreplace")


def _entries(folder: Path) -> list[tuple[str, bool, bool]]:
    """Name, whether it is a folder, and whether it is a link, of everything in a folder."""
    with os.scandir(folder) as found:
        return [(entry.name, _is_folder(entry), entry.is_symlink()) for entry in found]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError as error:  # some file systems must be asked, which a folder's permissions may forbid
        if may_pass(error):
            raise
        return False


def _leads_away(link: Path, inside: str, wanted: bool) -> bool:
    """Return whether a link leads to a folder, or out of the folder that it lies in if its name is wanted."""
    if os.path.isdir(link):
        return True
    return wanted and not Path(os.path.realpath(link)).is_relative_to(inside)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST // 2]}…{name[-LONGEST // 2 :]}"


def _note(listing: Listing, path: str, kind: str) -> None:
    listing.kinds[kind] += 1
    listing.unread.add(path)


def _listed(kinds: Counter[str]) -> str:
    ordered = sorted(kinds.items(), key=lambda pair: (-pair[1], pair[0]))
    shown = [f"{number} {kind}" for kind, number in ordered[:SHOWN]]
    rest = sum(number for _, number in ordered[SHOWN:])
    return ", ".join([*shown, f"{rest} others"] if rest else shown)
