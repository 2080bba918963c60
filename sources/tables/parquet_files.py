"""Parquet files, here or behind a URL, as one table whose rows are read by position.

Only the columns that are asked for are read, a few rows at a time. Memory is bounded by a page of the file, not by its
row groups, and pages that are large only when they are unpacked are refused. To reach a row, those before it in its row
group are read too, unless the last read ended there.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from variorum.machine.parquet_pages import LARGEST, Chunk, TooLarge, largest_page, read_chunks
from variorum.machine.retrying import changed
from variorum.schemas.canonical import Json, digest
from variorum.schemas.errors import SourceError
from variorum.schemas.secrets import shown
from variorum.sources.folders.pinned import PinnedFiles, guarded
from variorum.sources.tables import arrow
from variorum.sources.tables.arrow import Unread
from variorum.sources.tables.parquet_open import File, find_files
from variorum.sources.tables.rows import CATEGORIES
from variorum.sources.web import hosts
from variorum.sources.web.hosts import host_may_pass, patiently, refused
from variorum.sources.web.urls import one_line

BATCH, LABELS = 32, 1 << 16
"""Rows that are read at a time, of all columns and of labels alone. They are fewer where pages are large."""


@dataclass(frozen=True)
class ParquetFiles:
    """All files as one table; they are opened at first use."""

    patterns: Sequence[str]
    where: str

    @cached_property
    def files(self) -> tuple[File, ...]:
        """The files, in the order of the patterns, and of their names below each.

        Raises:
            SourceError: a pattern matches nothing, or a file can't be opened.
        """
        return find_files(self.patterns, self.where)

    def need(self, column: str, kind: Callable[[pa.DataType], str], wanted: str) -> None:
        """Check a column in every file.

        Args:
            column: its name.
            kind: what type it is in a word, `""` for one that can't be used; it must be the same in all files. A column
                of nulls fits any.
            wanted: what it must hold, for the error.

        Raises:
            SourceError: it is missing, or of the wrong type, or of different types in two files.
        """
        first: tuple[str, str] | None = None
        for file in self.files:
            if file.schema.names.count(column) != 1:
                number = "two columns" if column in file.schema.names else "no column"
                known = ", ".join(file.schema.names)
                raise SourceError(f"{self.where}: {number} {column!r} in {file.name}; there are: {known}")
            given = file.schema.field(column).type
            found = kind(given.value_type if pa.types.is_dictionary(given) else given)
            if pa.types.is_null(given):
                continue
            if not found:
                raise SourceError(
                    f"{self.where}: column {column!r} of {file.name} holds {given}; it must hold {wanted}"
                )
            first = first or (found, file.name)
            if found != first[0]:
                raise SourceError(
                    f"{self.where}: column {column!r} holds {first[0]} in {first[1]}, but {found} in {file.name}; read "
                    f"them apart, or write them alike"
                )

    def names_of(self, column: str, read: Callable[[Any], tuple[str, ...] | None]) -> tuple[str, ...] | None:
        """The class names that the files' own descriptions have for a column; None without.

        Raises:
            SourceError: two files have different names, so that one number would be two classes.
        """
        found = [read(arrow.features(file.schema).get(column)) for file in self.files]
        for file, names in zip(self.files, found, strict=True):
            if names != found[0]:
                raise SourceError(
                    f"{self.where}: {file.name} has other class names for column {column!r} than {self.files[0].name}, "
                    f"so a number would stand for two classes; read them apart, or write them alike"
                )
        return found[0]

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(file.rows for file in self.files))

    def size(self) -> int:
        """Number of rows."""
        return self._ends[-1]

    def pin(self) -> str:
        """Digest of names and contents; of files that lie elsewhere, of names, sizes and versions.

        Raises:
            SourceError: a file can't be read.
            TemporaryError: the disk, the network, a host or the machine failed.
        """
        _, contents = self._pinned
        return digest([[file.name, contents[file.path]] for file in self.files])

    @cached_property
    def _pinned(self) -> tuple[PinnedFiles, dict[str, Json]]:
        """The local files, and by path the content, or size and version, of all."""
        local = [Path(file.path) for file in self.files if file.local]
        folder = Path(os.path.commonpath([path.parent for path in local])) if local else Path()
        pins = PinnedFiles(self.where)
        contents: dict[str, Json] = dict(zip(map(str, local), pins.pin(folder, local), strict=True))
        return pins, contents | {file.path: file.version() for file in self.files if not file.local}

    def _check(self, file: File) -> None:
        """Raise SourceChanged if a file isn't the one that was pinned, or TemporaryError."""
        pins, contents = self._pinned
        if file.local:
            pins.check([file.path])
        elif file.version(pinned=True) != contents[file.path]:
            raise changed(shown(file.place), "another size or version")

    def places(self, start: int, stop: int) -> Iterator[tuple[File, int]]:
        """File and row in it of the rows `start` to `stop - 1`."""
        for file, low, high in self._ranges(start, stop):
            yield from ((file, number) for number in range(low, high))

    def rows(self, start: int, stop: int, columns: Sequence[str]) -> Iterator[dict[str, Any] | Unread]:
        """Rows `start` to `stop - 1`; for a row that can't be read, why.

        Raises:
            SourceChanged: a file isn't the one that was pinned, or is gone.
            TemporaryError: the disk, the network, a host or the machine failed.
        """
        for file, low, high in self._ranges(start, stop):
            yield from guarded(partial(self._check, file), self._file_rows(file, low, high, columns))

    def distinct(self, column: str, *, within: bool = False) -> set[Any]:
        """The values of a column, without null. `within` looks for the categories in a column of objects."""
        found: set[Any] = set()
        for file in self.files:
            self._check(file)
            size = partial(self._batch, file, range(len(file.groups)), most=LABELS)
            try:
                found |= patiently(partial(_distinct, file, column, CATEGORIES if within else (), size))
            except Exception as error:  # file systems have their own errors
                self._check(file)
                if host_may_pass(error):
                    raise refused(error, file.place) from None
                problem = f"column {column!r} of {file.name} can't be read: {one_line(error)}"
                raise SourceError(f"{self.where}: {problem}") from None
            self._check(file)
        return found - {None}

    def _ranges(self, start: int, stop: int) -> Iterator[tuple[File, int, int]]:
        """The files with some of these rows, and which of their own rows these are."""
        for number in range(bisect_right(self._ends, start), len(self.files)):
            file, first = self.files[number], self._ends[number] - self.files[number].rows
            if first >= stop:
                return
            if file.rows:
                yield file, max(0, start - first), min(stop - first, file.rows)

    def _file_rows(self, file: File, low: int, high: int, columns: Sequence[str]) -> Iterator[dict[str, Any] | Unread]:
        first = 0
        for group, size in enumerate(file.groups):
            at, end = max(low - first, 0), min(high - first, size)
            first += size
            if at >= end:
                continue
            place = file.name, group, tuple(columns)
            waits, batch = list(hosts.WAITS), partial(self._batch, file, [group], most=BATCH)
            reading = self._paused.pop((*place, at), None) or _group_rows(file, group, at, columns, batch)
            while at < end:
                try:
                    for row in islice(reading, end - at):
                        at += 1
                        yield row
                    if at < end:
                        short = f"row group {group} of {file.name} has only {at} of its {size} rows"
                        yield from [Unread("unreadable", short)] * (end - at)
                        at = size
                except Exception as error:  # file systems have their own errors
                    if host_may_pass(error) and waits:
                        time.sleep(waits.pop(0))
                        reading = _group_rows(file, group, at, columns, batch)
                    elif host_may_pass(error) or not is_content(error):
                        self._check(file)
                        raise refused(error, file.place, pinned=True) from None
                    else:
                        reason = "too_large" if isinstance(error, TooLarge) else "unreadable"
                        problem = f"row group {group} of {file.name} can't be read: {one_line(error)}"
                        yield from [Unread(reason, problem)] * (end - at)
                        at = size
            if at < size:
                self._paused.clear()
                self._paused[(*place, at)] = reading

    def _batch(self, file: File, groups: Sequence[int], columns: Sequence[str], most: int) -> int:
        """Rows that are read at a time, so that they take no more memory than the largest page that is read.

        Of a file elsewhere only the pages of texts and numbers are looked at: a request for each picture takes long.

        Raises:
            ValueError: as `read_chunks` and `largest_page`.
        """
        with file.stored() as stored:
            if file.name not in self._chunks:
                self._chunks[file.name] = read_chunks(stored)
            chunks = chain.from_iterable(self._chunks[file.name][group] for group in groups)
            wanted = (one for one in chunks if any(_leads_to(one.path, column, ()) for column in columns))
            largest = largest_page(stored, (one for one in wanted if file.local or not one.binary))
        return max(1, min(most, LARGEST // max(largest, 1)))

    @cached_property
    def _chunks(self) -> dict[str, list[list[Chunk]]]:
        """Where the columns lie, by the name of each file that was read."""
        return {}

    @cached_property
    def _paused(self) -> dict[tuple[str, int, tuple[str, ...], int], Iterator[dict[str, Any] | Unread]]:
        """The last row group that was left before its end, by the place where it goes on.

        Sources are mostly read from start to end, in parts. Without this, each part would read its row group anew.
        """
        return {}


def is_content(error: Exception) -> bool:
    """Return whether an error says that what lies in a file is damaged. The others come from its file system."""
    if isinstance(error, FileNotFoundError | PermissionError):
        return False
    if isinstance(error, OSError):  # Arrow raises these without a number for damage
        return error.errno is None
    return isinstance(error, pa.ArrowException | ValueError | OverflowError | RecursionError)


def _distinct(file: File, column: str, within: Sequence[str], size: Callable[[Sequence[str]], int]) -> set[Any]:
    """The values of a column, or of the parts of it with these names. `size` says how many rows are read at a time."""
    found: set[Any] = set()
    with file.open() as opened:
        paths = [opened.schema.column(leaf).path for leaf in range(len(opened.schema))]
        wanted = [path for path in paths if _leads_to(path, column, within)]
        for batch in opened.iter_batches(size(wanted), columns=wanted) if wanted else ():
            for values in arrow.leaves(batch.column(column)):
                found.update(values.unique().to_pylist())
    return found


def _group_rows(
    file: File, group: int, start: int, columns: Sequence[str], size: Callable[[Sequence[str]], int]
) -> Iterator[dict[str, Any] | Unread]:
    """The rows of a row group from `start` on. `size` says how many are read at a time."""
    first = 0
    with file.open() as opened:
        for batch in opened.iter_batches(size(columns), row_groups=[group], columns=list(columns), use_threads=False):
            if start < first + len(batch):
                yield from arrow.rows(batch.slice(max(start - first, 0)))
            first += len(batch)


def _leads_to(path: str, column: str, within: Sequence[str]) -> bool:
    """Return whether a parquet path (`objects.list.element.category`) is of a column, and passes one of these names."""
    return path == column or (
        path.startswith(f"{column}.") and (not within or not set(path[len(column) :].split(".")).isdisjoint(within))
    )
