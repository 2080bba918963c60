"""The folder of an export: it appears when it is complete, and never replaces other files.

`export.json` says what was exported. A folder with the same export is left as it is.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from variorum.machine.retrying import hash_content
from variorum.machine.workplace import workplace
from variorum.schemas.errors import StoreError

NOTE = "export.json"
UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
LONGEST = 80
"""Characters of a folder's name."""
DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
"""Names of devices on Windows, where no file or folder can have them."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A part of an export: one variant, or all pictures.

    Attributes:
        variant: its name in the edition; `""` for all.
        folder: its name in the export; `.` for the whole.
        pictures: number of pictures.
        boxes: number of objects.
        files: number of files below the folder.
        tables: sha256 of the files that describe the pictures, by path from the folder.
        left_out: number of objects, masks or pictures that were left out, by reason.
    """

    variant: str
    folder: str
    pictures: int
    boxes: int
    files: int
    tables: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)


def exported(
    root: Path,
    folder: str,
    tables: Sequence[str],
    *,
    pictures: int,
    boxes: int = 0,
    variant: str = "",
    left_out: Mapping[str, int] | None = None,
) -> Exported:
    """The record of a part that lies complete in `root / folder`.

    Args:
        root: the export.
        folder: of the part; `.` for the whole.
        tables: paths from the part's folder, hashed here.
        pictures: their number.
        boxes: their number.
        variant: its name in the edition.
        left_out: numbers by reason.
    """
    place = root / folder
    hashes = {name: hash_content(place / name) for name in sorted(tables)}
    return Exported(variant, folder, pictures, boxes, _files(place), hashes, dict(sorted((left_out or {}).items())))


def place_export(
    folder: Path, note: Mapping[str, Any], write: Callable[[Path], Sequence[Exported]]
) -> Sequence[Exported]:
    """Write an export into a new folder, which appears when it is complete.

    Args:
        folder: new, empty, or with the same export.
        note: what is exported, as JSON: another note is another export.
        write: writes everything into the empty folder that it gets, and returns the parts.

    Raises:
        StoreError: the folder has something else in it.
    """
    if (kept := _there(folder, note)) is not None:
        return kept
    place = folder.resolve()  # a link to an empty folder stays one
    with workplace(place.parent) as work:
        made = work / "export"
        made.mkdir()
        found = write(made)
        (made / NOTE).write_text(json.dumps({**note, "exported": [asdict(one) for one in found]}, indent=1) + "\n")
        try:
            os.rename(made, place)  # takes the place of an empty folder too
        except OSError as error:
            if (kept := _there(folder, note)) is not None:  # another process has just made the same
                return kept
            raise StoreError(f"{folder}: {error.strerror}") from error
    return found


def folder_names(names: Sequence[str], *files: str) -> dict[str, str]:
    """A folder's name for each name: safe on all systems, and no two the same, also where case doesn't matter."""
    found: dict[str, str] = {}
    taken = {name.casefold() for name in (NOTE, *files)}
    for given in names:
        plain = UNSAFE.sub("_", given)[:LONGEST].strip(".") or "_"
        plain = f"_{plain}" if DEVICE.fullmatch(plain) else plain
        name, number = plain, 1
        while name.casefold() in taken:
            number += 1
            name = f"{plain}_{number}"
        taken.add(name.casefold())
        found[given] = name
    return found


def _there(folder: Path, note: Mapping[str, Any]) -> list[Exported] | None:
    """List a folder's files, if it is this export; None for a new or empty one. Raises StoreError for anything else."""
    if not folder.exists() and not folder.is_symlink():
        return None
    if not folder.is_dir():
        raise StoreError(f"{folder} is a file; give a new folder")
    if not any(folder.iterdir()):
        return None
    try:
        kept = json.loads((folder / NOTE).read_bytes())
        if {name: kept.pop(name) for name in note} == json.loads(json.dumps(note)):
            found = [Exported(**one) for one in kept["exported"]]
            if all(_intact(folder, one) for one in found):
                return found
        what = "another export, or one that has changed"
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        what = "other files"
    raise StoreError(f"{folder} has {what} in it; give a new folder, or delete this one")


def _intact(folder: Path, one: Exported) -> bool:
    """Return whether a part has as many files as it had, and the same tables."""
    place = folder / one.folder
    return _files(place) == one.files and all(
        hash_content(place / name) == sha256 for name, sha256 in one.tables.items()
    )


def _files(place: Path) -> int:
    """Number of files below a folder, without the note."""
    return sum(sum(name != NOTE for name in names) for _, _, names in os.walk(place))
