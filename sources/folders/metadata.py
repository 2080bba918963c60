"""Read metadata of a folder's pictures: labels, captions, objects.

`metadata.csv`, `metadata.jsonl` and `metadata.parquet` are read as Hugging Face's `imagefolder` reads them: in the
folder or in any folder below, with paths relative to the file. `labels.csv`, `captions.csv` and `groups.csv` are
simpler forms; a picture may have any number of rows in `captions.csv`, and all columns of `groups.csv` are metadata. A
name may write `ü` as one character and the folder as two, as files from a Mac do, or the other way round.
"""

from __future__ import annotations

import logging
import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

import numpy as np

from variorum.machine.file_hashes import pin_files
from variorum.machine.retrying import Pinned, check_pinned
from variorum.schemas.errors import SourceError, cut
from variorum.sources.folders.folder import Picture
from variorum.sources.folders.listing import Listing, key_of
from variorum.sources.tables.rows import RowValues, ordered

if TYPE_CHECKING:
    from variorum.sources.folders.metadata_files import MetadataFile

log = logging.getLogger(__name__)

ANY = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
LABELS, TEXTS, GROUPS = "labels.csv", "captions.csv", "groups.csv"
FILES = (*ANY, LABELS, TEXTS, GROUPS)
BESIDE = (TEXTS, GROUPS)
"""Files that a picture may do without, and that leave the classes to the folders."""
NAME, LABEL, OBJECTS = "file_name", "label", "objects"
CAPTIONS = ("text", "caption", "captions")
LICENCES = ("licence", "license")
OWN = (*CAPTIONS, *LICENCES, LABEL, OBJECTS)
"""Columns with a meaning; all others become metadata."""


class Rows:
    """The rows of some files, and which belong to which picture.

    Args:
        files: metadata files.
        keys: the pictures' keys that their rows name, file by file.
        places: position of each picture by key.
    """

    def __init__(self, files: Sequence[MetadataFile], keys: Sequence[Sequence[str]], places: Mapping[str, int]) -> None:
        self.files = files
        self._begins = np.cumsum([0, *map(len, keys)])
        positions = np.fromiter((places[key] for file in keys for key in file), np.int64, int(self._begins[-1]))
        self._rows = np.argsort(positions, kind="stable")
        self._positions = positions[self._rows]

    def of(self, position: int) -> Iterator[tuple[MetadataFile, int]]:
        """File and row of each row of a picture."""
        low, high = np.searchsorted(self._positions, [position, position + 1])
        for row in self._rows[low:high]:
            yield self._file(int(row))

    def twice(self) -> tuple[int, list[str]] | None:
        """A picture with more than one row, and where these stand."""
        same = np.flatnonzero(self._positions[1:] == self._positions[:-1])
        if not len(same):
            return None
        position = int(self._positions[same[0]])
        return position, [file.place(row) for file, row in self.of(position)]

    def _file(self, row: int) -> tuple[MetadataFile, int]:
        number = int(np.searchsorted(self._begins, row, side="right")) - 1
        return self.files[number], row - int(self._begins[number])


class Metadata:
    """Metadata of a folder's pictures, from its metadata files.

    Attributes:
        pins: the content of the files by their relative paths.
        pictures: those that were found and those that only rows name, in order of their keys.
        missing: where a row names the latter, by key.

    Raises:
        SourceError: a file can't be used, or a picture has two rows where it can have one.
        SourceChanged: a file changed while it was read.
        TemporaryError: the disk, the network or the machine failed.
    """

    def __init__(self, listing: Listing, pictures: Sequence[Picture], where: str, *, read: bool = True) -> None:
        self.where = where
        root = listing.root
        names = sorted(((key_of(name), name) for name in listing.files if _last(name) in FILES) if read else ())
        paths = {shown: root / name for shown, name in names}
        pins = pin_files(root / "metadata of", [path.absolute() for path in paths.values()], listed=True)
        self.pins: Mapping[str, Pinned] = dict(zip(paths, pins, strict=True))
        rowed = [shown for shown in paths if _last(shown) not in BESIDE]
        self._folders = {_folder_of(shown) for shown in rowed}
        try:
            files = _read(paths, self.pins)
            keys = {file.shown: keys_of(file) for file in files}
        except SourceError as error:
            raise SourceError(f"{where}: {error}; or set metadata to none to read no such files") from None
        for shown, path in paths.items():  # what was read is what is pinned
            check_pinned(path, self.pins[shown], path)
        there = {picture.key for picture in pictures} if files else set[str]()
        if any(key not in there for named in keys.values() for key in named):
            forms = {normalize("NFC", key): key for key in sorted(there)}
            keys = {
                shown: [key if key in there else forms.get(normalize("NFC", key), key) for key in named]
                for shown, named in keys.items()
            }
        lost = {key for named in keys.values() for key in named} - there
        self.missing: dict[str, str] = {}
        for file in files if lost else ():
            for row, key in enumerate(keys[file.shown]):
                if key in lost:
                    self.missing.setdefault(key, file.place(row))
        named = [Picture(key, root, os.fsdecode(key.encode())) for key in self.missing]
        self.pictures = tuple(sorted([*pictures, *named], key=attrgetter("key"))) if named else tuple(pictures)
        places = {picture.key: position for position, picture in enumerate(self.pictures)} if files else {}
        parts = [
            [file for file in files if _last(file.shown) in kind] for kind in (ANY, (LABELS,), (GROUPS,), (TEXTS,))
        ]
        rows = [Rows(part, [keys[file.shown] for file in part], places) for part in parts]
        self._single, self._texts = rows[:3], rows[3]
        self._files = files
        for one in self._single:
            if twice := one.twice():
                position, rows_of_it = twice
                raise SourceError(
                    f"{where}: {self.pictures[position].key} has more than one row: {' and '.join(rows_of_it)}; keep "
                    f"one, or put several captions of a picture into captions.csv"
                )

    def __bool__(self) -> bool:
        return bool(self.pins)

    def values(self, position: int) -> RowValues | None:
        """Read the rows of a picture; None if it has no row."""
        if not self.pins:
            return None
        row: dict[str, Any] = {}
        places = [place for one in self._single for place in one.of(position)]
        for file, number in places:
            row |= file.row(number)
        captions = [row[name] for name in CAPTIONS if name in row]
        texts = list(self._texts.of(position))
        for file, number in texts:
            more = file.row(number)
            captions += [more[name] for name in CAPTIONS if name in more]
        if not places and not texts:
            return None
        licence = next((row[name] for name in LICENCES if row.get(name)), None)
        metadata = {name: value for name, value in row.items() if name not in OWN}
        return RowValues(row.get(LABEL), captions, row.get(OBJECTS), licence, metadata)

    def covers(self, picture: Picture) -> bool:
        """Return whether a file lies in the picture's folder or above it, so that one would expect a row."""
        folder = _folder_of(picture.key)
        while folder and folder not in self._folders:
            folder = _folder_of(folder)
        return folder in self._folders

    @property
    def captioned(self) -> bool:
        """Return whether a file has captions."""
        return any(name in file.columns for file in self._files for name in CAPTIONS)

    @property
    def leaves_classes(self) -> bool:
        """Return whether there is nothing but files that leave the classes to the folders."""
        return all(_last(shown) in BESIDE for shown in self.pins)

    @property
    def labelled(self) -> bool:
        """Return whether a file has labels."""
        return bool(self._with(LABEL))

    @property
    def has_objects(self) -> bool:
        """Return whether a file has objects."""
        return bool(self._with(OBJECTS))

    @cached_property
    def label_names(self) -> tuple[str, ...] | None:
        """Class names by integer label, if all files with labels have them."""
        return self._alike(LABEL, [file.label_names for file in self._with(LABEL)])

    @cached_property
    def category_names(self) -> tuple[str, ...] | None:
        """Class names by integer category, if all files with objects have them."""
        return self._alike(OBJECTS, [file.category_names for file in self._with(OBJECTS)])

    def labels(self) -> tuple[str, ...]:
        """The classes of labels."""
        return self.label_names or ordered({label for file in self._with(LABEL) for label in file.labels()})

    def categories(self) -> tuple[str, ...]:
        """The classes of objects."""
        return self.category_names or ordered({item for file in self._with(OBJECTS) for item in file.categories()})

    def _with(self, column: str) -> list[MetadataFile]:
        return [file for file in self._files if column in file.columns]

    def _alike(self, column: str, names: list[tuple[str, ...] | None]) -> tuple[str, ...] | None:
        for file, found in zip(self._with(column), names, strict=True):
            if found != names[0]:
                raise SourceError(
                    f"{self.where}: {file.shown} has other class names for column {column} than "
                    f"{self._with(column)[0].shown}, so a number would stand for two classes; write them alike"
                )
        return names[0] if names else None


def _read(paths: Mapping[str, Path], pins: Mapping[str, Pinned]) -> list[MetadataFile]:
    if not paths:
        return []
    from variorum.sources.folders.metadata_files import read_metadata_file

    if closed := next((f"{shown}: {pinned.why}" for shown, pinned in pins.items() if pinned.why), None):
        raise SourceError(closed)
    files = [read_metadata_file(path, shown, pins[shown]) for shown, path in paths.items()]
    _check(files)
    return files


def _check(files: Sequence[MetadataFile]) -> None:
    """Raise SourceError for files that lack their own column, or say the same of pictures as another."""
    for file in files:
        name = _last(file.shown)
        if name == LABELS and LABEL not in file.columns:
            raise SourceError(f"{file.shown}: no column label; there are: {cut(', '.join(file.columns))}")
        if name == TEXTS:
            if not set(CAPTIONS) & set(file.columns):
                raise SourceError(f"{file.shown}: no column caption; there are: {cut(', '.join(file.columns))}")
            if other := sorted(set(file.columns) - set(CAPTIONS)):
                log.warning("%s: not read: %s; put them into metadata.csv", file.shown, ", ".join(other))
        if name == GROUPS and (own := sorted(set(file.columns) & set(OWN))):
            raise SourceError(f"{file.shown}: the column {own[0]} is no group; put it into metadata.csv")
        if name == GROUPS and not all(file.columns or ("",)):
            raise SourceError(f"{file.shown}: no column with a name beside {NAME}; give it one for each kind of group")
    for simple in files:
        for file in files if _last(simple.shown) in (LABELS, GROUPS) else ():
            if _last(file.shown) in ANY and (both := sorted(set(file.columns) & set(simple.columns))):
                raise SourceError(f"{simple.shown} and {file.shown} both have the column {both[0]}; keep one")


def keys_of(file: MetadataFile) -> list[str]:
    """The key of the picture that each row names. Raises SourceError for a name that leads out of the file's folder."""
    folder = _folder_of(file.shown)
    keys = []
    for row, name in enumerate(file.names.to_pylist()):
        path = posixpath.normpath(name.replace("\\", "/")) if name else ""
        if not path:
            raise SourceError(f"{file.place(row)}: no {file.name}")
        if path.startswith(("/", "../")) or path == ".." or "\0" in path:
            raise SourceError(
                f"{file.place(row)}: {file.name} {name!r} leads out of the folder; names are relative to the file that "
                f"they stand in"
            )
        keys.append(f"{folder}/{path}" if folder else path)
    return keys


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _folder_of(key: str) -> str:
    return key.rpartition("/")[0]
