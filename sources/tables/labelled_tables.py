"""Tables with a row per label of a picture: beside a folder of pictures, inside parquet files, or on the Hub.

Unlike `metadata`, a table may name one picture in several rows, each of which is a sample of its own, and pictures that
no row names are left out.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from variorum.machine.file_hashes import pin_files
from variorum.machine.retrying import Pinned, check_pinned, printable, steady
from variorum.schemas.errors import SourceError
from variorum.schemas.sample import Failure, Sample
from variorum.sources.exports.texts import split_name, split_of_path
from variorum.sources.folders.folder import (
    Picture,
    Pins,
    is_picture,
    list_folder,
    pin_pictures,
    read_picture,
)
from variorum.sources.folders.listing import Listing, key_of
from variorum.sources.folders.metadata import keys_of
from variorum.sources.folders.metadata_files import MetadataFile, read_metadata_file
from variorum.sources.tables import arrow
from variorum.sources.tables.parquet_files import ParquetFiles
from variorum.sources.web.hub import HubDataset

log = logging.getLogger(__name__)

TABLES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
NAMES = ("image_fname", "file_name", "image")
"""Columns that may have the pictures' file names."""
IMAGE = "image"
"""The column with pictures as bytes."""
BESIDE = "images"
"""Folder beside a table that its names may be relative to."""
PARQUET = ".parquet"


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        key: names the row; the same wherever the data lies.
        split: `train`, `validation`, `test`, or `""`.
        values: by column.
        image: the picture's bytes; `b""` if they weren't asked for or can't be had.
        problem: why they can't be had, in a word and in a sentence.
    """

    key: str
    split: str
    values: Mapping[str, Any]
    image: bytes = b""
    problem: tuple[str, str] | None = None


class LabelledTable(Protocol):
    """Base class of the three kinds of tables. All raise SourceError, SourceChanged and TemporaryError."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, without the one with the pictures' names."""

    def pin(self) -> str:
        """Digest of the data."""

    def size(self) -> int:
        """Number of rows."""

    def distinct(self, column: str) -> set[str]:
        """The values of a column as texts, without null."""

    def rows(self, start: int, stop: int, columns: Sequence[str], *, pictures: bool) -> Iterator[Row]:
        """Rows `start` to `stop - 1` with these columns, and with their pictures if wanted."""


def open_table(path: Path, where: str) -> LabelledTable:
    """The table at a path: a folder with pictures and metadata files, one such file, or parquet files with pictures.

    Raises:
        SourceError: there is none.
        TemporaryError: the disk, the network or the machine failed.
    """
    if not steady(path.exists, path):
        raise SourceError(f"{where}: path {path} doesn't exist; it must be a folder or a table")
    if steady(path.is_file, path):
        if path.suffix == PARQUET and _has_pictures(table := ParquetTable(str(path), where)):
            return table
        if path.suffix not in (".jsonl", ".csv", PARQUET):
            raise SourceError(f"{where}: {path} is no table; it must end in .jsonl, .csv or .parquet, or be a folder")
        return FolderTable(list_folder(path.parent, where, also=[path.name]), (path.name,), where)
    listing = list_folder(path, where, also=TABLES)
    names = tuple(sorted(name for name in listing.files if name.rpartition("/")[2] in TABLES))
    if names:
        return FolderTable(listing, names, where)
    if any(name.suffix == PARQUET for name in path.rglob("*")):
        return ParquetTable(str(path), where)
    raise SourceError(f"{where}: {path} has neither {', '.join(TABLES)} nor parquet files with pictures")


@dataclass(frozen=True)
class FolderTable:
    """Metadata files in a folder, and the pictures that their rows name.

    Names are relative to the file, or to a folder `images` beside it. A picture's split is that of the nearest folder
    which names one.

    Attributes:
        listing: the folder.
        tables: paths of the files in it.
        where: what errors call the source.
    """

    listing: Listing
    tables: tuple[str, ...]
    where: str

    @cached_property
    def _files(self) -> tuple[tuple[MetadataFile, ...], dict[str, Pinned]]:
        """The tables, and their content."""
        paths = {key_of(name): self.listing.root / name for name in self.tables}
        pins = pin_files(self.listing.root / "tables of", [path.absolute() for path in paths.values()], listed=True)
        pinned = dict(zip(paths, pins, strict=True))
        files = []
        for shown, path in paths.items():
            if pinned[shown].why:
                raise SourceError(f"{self.where}: {shown}: {pinned[shown].why}")
            try:
                files.append(read_metadata_file(path, shown, pinned[shown], NAMES))
            except SourceError as error:
                raise SourceError(f"{self.where}: {error}") from None
            check_pinned(path, pinned[shown], path)
        return tuple(files), pinned

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Those of all files."""
        return tuple(dict.fromkeys(column for file in self._files[0] for column in file.columns))

    @cached_property
    def _places(self) -> list[tuple[MetadataFile, int, str]]:
        """File, number and picture's key of each row."""
        there = {key_of(name) for name in self.listing.files if is_picture(name)}
        found = []
        for file in self._files[0]:
            folder = file.shown.rpartition("/")[0]
            try:
                keys = keys_of(file)
            except SourceError as error:
                raise SourceError(f"{self.where}: {error}") from None
            for number, key in enumerate(keys):
                inner = key[len(folder) + 1 :] if folder else key
                other = "/".join(part for part in (folder, BESIDE, inner) if part)
                found.append((file, number, other if key not in there and other in there else key))
        if not found:
            raise SourceError(f"{self.where}: {', '.join(map(printable, self.tables))} has no rows")
        if unnamed := len(there - {key for *_, key in found}):
            log.warning("%s: pictures that no row names, which aren't read: %d", self.where, unnamed)
        return found

    @cached_property
    def _pictures(self) -> dict[str, Picture]:
        there = {key_of(name): name for name in self.listing.files if is_picture(name)}
        named = sorted({key for *_, key in self._places} & there.keys())
        return {key: Picture(key, self.listing.root, there[key]) for key in named}

    @cached_property
    def _pins(self) -> Pins:
        return pin_pictures(self.listing.root, tuple(self._pictures.values()), self._files[1])

    @cached_property
    def _numbers(self) -> list[int]:
        """Count the rows before each row that name the same picture."""
        seen: Counter[str] = Counter()
        numbers = []
        for *_, key in self._places:
            numbers.append(seen[key])
            seen[key] += 1
        return numbers

    def pin(self) -> str:
        """Digest of the files and of the pictures that they name."""
        return self._pins.digest

    def size(self) -> int:
        """Rows of all files."""
        return len(self._places)

    def distinct(self, column: str) -> set[str]:
        """The values of a column as texts, without null."""
        values = (file.row(number).get(column) for file, number, _ in self._places)
        return {str(value) for value in values if value is not None}

    def rows(self, start: int, stop: int, columns: Sequence[str], *, pictures: bool) -> Iterator[Row]:
        """Rows with these columns. The bytes of a picture are those that were pinned."""
        numbers = self._numbers[start:stop]
        for (file, number, key), again in zip(self._places[start:stop], numbers, strict=True):
            values = {column: value for column, value in file.row(number).items() if column in columns}
            name = f"{key}#{again}" if again else key
            split = split_of_path(f"{key.rpartition('/')[0]}/x")
            if not pictures:
                yield Row(name, split, values)
            elif key not in self._pictures:
                yield Row(
                    name, split, values, problem=("unreadable", f"{file.place(number)} names {key}, which isn't there")
                )
            else:
                item = read_picture(self._pictures[key], Sample("", b""), self._pins)
                if isinstance(item, Failure):
                    yield Row(name, split, values, problem=(item.reason, item.detail))
                else:
                    assert isinstance(item.image, bytes)
                    yield Row(name, split, values, item.image)


@dataclass(frozen=True)
class ParquetTable:
    """Parquet files with pictures in the column `image`."""

    pattern: str
    where: str

    @cached_property
    def _table(self) -> ParquetFiles:
        return ParquetFiles([self.pattern], self.where)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Those of the first file."""
        return tuple(self._table.files[0].schema.names)

    def pin(self) -> str:
        """Digest of the files."""
        self._table.need(IMAGE, arrow.kind_of_picture, "pictures as bytes, as the Hub's files do")
        return self._table.pin()

    def size(self) -> int:
        """Rows of all files."""
        return self._table.size()

    def distinct(self, column: str) -> set[str]:
        """The values of a column as texts, without null; those of a list one by one."""
        return set(map(str, self._table.distinct(column)))

    def rows(self, start: int, stop: int, columns: Sequence[str], *, pictures: bool) -> Iterator[Row]:
        """Rows with these columns."""
        wanted = [*columns, *([IMAGE] if pictures else [])]
        found = self._table.rows(start, stop, wanted) if wanted else ({} for _ in range(start, stop))
        for (file, number), row in zip(self._table.places(start, stop), found, strict=True):
            key = f"{file.name}/{number}"
            if isinstance(row, arrow.Unread):
                yield Row(key, file.split, {}, problem=row)
                continue
            image = _stored(row.pop(IMAGE, None)) if pictures else b""
            missing = ("no_picture", f"column {IMAGE} is empty") if pictures and not image else None
            yield Row(key, file.split, row, image, missing)


@dataclass(frozen=True)
class HubTables:
    """All splits of a dataset on the Hub, with pictures in the column `image`."""

    dataset: HubDataset
    where: str

    @cached_property
    def _splits(self) -> tuple[Any, ...]:
        return tuple(self.dataset.table(split) for split in self.dataset.files)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Those of the first split."""
        self._splits[0].need(IMAGE)
        return tuple(self._splits[0].features)

    def pin(self) -> str:
        """Digest of the files at their commit."""
        return self.dataset.pin([table.split for table in self._splits])

    def size(self) -> int:
        """Rows of all splits."""
        return sum(table.size() for table in self._splits)

    def distinct(self, column: str) -> set[str]:
        """The values of a column as texts, without null; the column is read from the Hub."""
        return {str(value) for table in self._splits for value in table.values(column)}

    def rows(self, start: int, stop: int, columns: Sequence[str], *, pictures: bool) -> Iterator[Row]:
        """Rows with these columns, streamed."""
        for table in self._splits:
            size = table.size()
            low, high = max(start, 0), min(stop, size)
            start, stop = start - size, stop - size
            if low >= high:
                continue
            images = (IMAGE,) if pictures else ()
            for number, row in enumerate(table.rows(low, high, images, tuple(columns)), low):
                key, split = f"{self.dataset.name}/{table.split}/{number}", split_name(table.split)
                values = {column: row.get(column) for column in columns}
                problem, image = None, b""
                try:
                    image = table.picture_bytes(row[IMAGE]) or b"" if pictures else b""
                    problem = ("no_picture", f"column {IMAGE} is empty") if pictures and not image else None
                except OSError as error:
                    problem = ("unreadable", str(error))
                yield Row(key, split, values, image, problem)


def _has_pictures(table: ParquetTable) -> bool:
    schema = table._table.files[0].schema
    return IMAGE in schema.names and bool(arrow.kind_of_picture(schema.field(IMAGE).type))


def _stored(cell: Any) -> bytes:
    """The bytes in a cell; a file that it names is never opened."""
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    return bytes(data) if data else b""
