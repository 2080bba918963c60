"""Files that say what the pictures of a folder are: CSV, JSON lines and parquet, with a column of the pictures' names.

A CSV or parquet file is kept as an Arrow table. Of a file of JSON lines only the positions of its lines are kept, and a
line is parsed again when its picture is read, so that rows of any shape go together.
"""

from __future__ import annotations

import csv
import io
import json
from abc import ABC, abstractmethod
from codecs import getincrementaldecoder
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from variorum.machine.parquet_pages import check_pages
from variorum.machine.retrying import Pinned, check_pinned, gone, open_file, steady
from variorum.schemas.errors import SourceError, cut
from variorum.sources.folders.metadata import CAPTIONS, LABEL, LICENCES, NAME, OBJECTS
from variorum.sources.tables import arrow
from variorum.sources.tables.rows import categories_of, category_names, label_names

TEXTS = (*CAPTIONS, *LICENCES)
"""Columns whose values are texts, also where they look like numbers; so is the one with the pictures' names."""
CHUNK = 1 << 20


class MetadataFile(ABC):
    """One file.

    Attributes:
        shown: its path from the folder of pictures, for people.
        name: the column with the pictures' names.
        columns: all columns but that one.
        names: the picture's name of each row.
        label_names: class names by integer label, if the file has them.
        category_names: class names by integer category, if the file has them.
    """

    def __init__(self, shown: str, name: str = NAME) -> None:
        self.shown, self.name = shown, name
        self.columns: tuple[str, ...] = ()
        self.names: pa.Array = pa.array([], pa.string())
        self.label_names: tuple[str, ...] | None = None
        self.category_names: tuple[str, ...] | None = None

    @abstractmethod
    def row(self, number: int) -> dict[str, Any]:
        """A row's values by column."""

    @abstractmethod
    def labels(self) -> set[str | int]:
        """The values of the column `label`."""

    @abstractmethod
    def categories(self) -> set[str | int]:
        """The categories in the column `objects`."""

    @abstractmethod
    def place(self, number: int) -> str:
        """Where a row stands, for people."""


class TableFile(MetadataFile):
    """A CSV or parquet file. Rows are counted from 1, with the header of a CSV file."""

    def __init__(self, shown: str, table: pa.Table, first: int = 1, choices: Sequence[str] = (NAME,)) -> None:
        super().__init__(shown, check_columns(shown, table.schema.names, choices))
        self._first = first
        types = {name: table.schema.field(name).type for name in table.schema.names}
        if not arrow.is_text(types[self.name]):
            raise SourceError(f"{shown}: column {self.name} holds {types[self.name]}; it must hold texts")
        for name, kind, wanted in (
            (LABEL, arrow.kind_of_label, "texts or integers"),
            (OBJECTS, arrow.kind_of_objects, "structs, which CSV can't; write metadata.jsonl or metadata.parquet"),
            *((name, arrow.kind_of_metadata, "values that JSON can hold, so no bytes") for name in table.schema.names),
        ):
            if name in types and not pa.types.is_null(types[name]) and not kind(types[name]):
                raise SourceError(f"{shown}: column {name} holds {types[name]}; it must hold {wanted}")
        described = arrow.features(table.schema)
        self.label_names = label_names(described.get(LABEL))
        self.category_names = category_names(described.get(OBJECTS))
        self.columns = tuple(name for name in table.schema.names if name != self.name)
        self.names = table.column(self.name)
        self._table = table.combine_chunks().select(self.columns)

    def row(self, number: int) -> dict[str, Any]:
        """A row's values by column."""
        return {name: column[number].as_py() for name, column in zip(self.columns, self._table.columns, strict=True)}

    def labels(self) -> set[str | int]:
        """The values of the column `label`."""
        return set(self._table.column(LABEL).unique().to_pylist()) - {None, ""}

    def categories(self) -> set[str | int]:
        """The categories in the column `objects`."""
        cells = (cell for chunk in self._table.column(OBJECTS).chunks for cell in chunk)
        return {category for cell in cells for category in categories_of(cell.as_py())}

    def place(self, number: int) -> str:
        """Where a row stands, for people."""
        return f"{self.shown}, row {number + self._first}"


class LinesFile(MetadataFile):
    """A file of JSON lines. Lines are counted from 1, with empty ones."""

    def __init__(self, shown: str, file: Path, pinned: Pinned, choices: Sequence[str] = (NAME,)) -> None:
        super().__init__(shown, choices[0])
        self._file, self._pinned = file, pinned
        self._labels: set[str | int] = set()
        self._categories: set[str | int] = set()
        columns: dict[str, None] = {}
        names: list[Any] = []
        starts, lines, start = [], [], 0
        for line, data in enumerate(_lines(file), 1):
            if data.strip():
                row = _parsed(data, f"{shown}, line {line}")
                if not names:
                    self.name = next((name for name in choices if name in row), self.name)
                columns |= dict.fromkeys(row)
                names.append(row.get(self.name))
                starts.append(start)
                lines.append(line)
                self._note(row, f"{shown}, line {line}")
            start += len(data)
        if names:
            check_columns(shown, list(columns), choices)
        self.columns = tuple(name for name in columns if name != self.name)
        self.names = pa.array(names, pa.string())
        self._starts, self._numbers = np.array(starts, np.int64), np.array(lines, np.int64)

    def _note(self, row: dict[str, Any], place: str) -> None:
        if not isinstance(row.get(self.name), str):
            raise SourceError(f"{place}: {self.name} is {row.get(self.name)!r}; it must be a text")
        label = row.get(LABEL)
        if label is not None and (isinstance(label, bool) or not isinstance(label, str | int)):
            raise SourceError(f"{place}: the label is {label!r}; it must be a text or an integer")
        if label not in (None, ""):
            self._labels.add(label)
        self._categories.update(categories_of(row.get(OBJECTS)))

    def row(self, number: int) -> dict[str, Any]:
        """A row's values by column. Raises SourceChanged if the file isn't what it was."""
        try:
            line = steady(lambda: self._line(number), self._file, readable=True)
        except OSError as error:
            raise gone(self._file, self._file, error) from error
        self._pinned = check_pinned(self._file, self._pinned, self._file)
        return {name: value for name, value in _parsed(line, self.place(number)).items() if name != self.name}

    def _line(self, number: int) -> bytes:
        with open_file(self._file) as file:
            file.seek(int(self._starts[number]))
            return file.readline()

    def labels(self) -> set[str | int]:
        """The values of the column `label`."""
        return self._labels

    def categories(self) -> set[str | int]:
        """The categories in the column `objects`."""
        return self._categories

    def place(self, number: int) -> str:
        """Where a row stands, for people."""
        return f"{self.shown}, line {self._numbers[number]}"


def read_metadata_file(file: Path, shown: str, pinned: Pinned, names: Sequence[str] = (NAME,)) -> MetadataFile:
    """A metadata file, by the ending of its name: `.csv`, `.jsonl` or `.parquet`.

    Args:
        file: where it lies.
        shown: its path for people.
        pinned: what it is and has to stay.
        names: columns that may have the pictures' names; the first that is there has them.

    Raises:
        SourceError: it can't be read, has no such column, or a column of the wrong type. The message starts with
            `shown`.
        TemporaryError: the disk, the network or the machine failed.
    """
    try:
        return steady(partial(_opened, file, shown, pinned, names), file)
    except (OSError, pa.ArrowException, csv.Error, ValueError) as error:
        problem = (str(error).splitlines() or [type(error).__name__])[0]
        hint = "; a text with commas must stand in quotes" if "Expected" in problem else ""
        raise SourceError(f"{shown}: {problem}{hint}") from None


def _opened(file: Path, shown: str, pinned: Pinned, names: Sequence[str]) -> MetadataFile:
    if file.suffix == ".jsonl":
        return LinesFile(shown, file, pinned, names)
    if file.suffix == ".csv":
        return TableFile(shown, _csv_table(file, shown, names), 2, names)
    return TableFile(shown, _parquet_table(file), 1, names)


def check_columns(shown: str, names: list[str], choices: Sequence[str] = (NAME,)) -> str:
    """The first of `choices` that is a column.

    Raises:
        SourceError: there is none, or two columns have one name.
    """
    found = next((name for name in choices if name in names), "")
    if not found:
        known = cut(", ".join(names)) or "none"
        if len(names) == 1 and (other := next((mark for mark in ";\t|" if mark in known), None)):
            raise SourceError(
                f"{shown}: its columns are separated by {other!r}; write commas: {known.replace(other, ',')}"
            )
        wanted = " or ".join(choices)
        raise SourceError(f"{shown}: no column {wanted}; there are: {known}. Rename the one with the pictures' paths")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SourceError(f"{shown}: two columns have the name {twice!r}")
    return found


def _csv_table(file: Path, shown: str, names: Sequence[str]) -> pa.Table:
    """All columns as texts first, then as integers, numbers or truth values where every value of a column is one.

    Empty cells are null. Columns without a name are left out.
    """
    _check_encoding(file, shown)
    with open_file(file) as opened, io.TextIOWrapper(opened, encoding="utf-8-sig", newline="") as text:
        rows = csv.reader(text, strict=True)
        header = [name.strip() or f"unnamed {column}" for column, name in enumerate(next(rows, []))]
        _check_quotes(rows, shown)
    if len(set(header)) < len(header) or set(names).isdisjoint(header):
        return pa.table([[]] * len(header), names=header)  # `check_columns` says what is wrong
    with open_file(file) as opened:
        table = pyarrow.csv.read_csv(
            opened,
            pyarrow.csv.ReadOptions(column_names=header, skip_rows=1, use_threads=False),
            pyarrow.csv.ParseOptions(newlines_in_values=True),
            pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()), null_values=[""], strings_can_be_null=True
            ),
        )
    named = [name for name in header if not name.startswith("unnamed ")]  # pandas writes its index without a name
    texts = (*TEXTS, *names)
    return pa.table({name: _typed(name, table[name], texts) for name in named})


def _check_quotes(rows: Iterator[list[str]], shown: str) -> None:
    """Raise SourceError for a quote that isn't closed, as Arrow takes the rows that follow for a part of its text."""
    number = 2
    try:
        for _ in rows:
            number += 1
    except csv.Error as error:
        raise SourceError(
            f"{shown}, row {number}: {error}; close each quote, and write a quote in a text in quotes as two"
        ) from None


def _typed(name: str, column: pa.ChunkedArray, texts: Sequence[str]) -> pa.ChunkedArray:
    if name == LABEL:  # as people write them by hand: `a.jpg, cat`
        trimmed = pyarrow.compute.utf8_trim_whitespace(column)
        column = pyarrow.compute.if_else(pyarrow.compute.equal(trimmed, ""), None, trimmed)
    kinds = (pa.int64(),) if name == LABEL else () if name in texts else (pa.int64(), pa.float64(), pa.bool_())
    for kind in kinds:
        try:
            typed = column.cast(kind)
        except pa.ArrowInvalid:
            continue
        zeros = kind == pa.int64() and not typed.cast(pa.string()).equals(column)
        return column if zeros else typed  # 007 is a text
    return column


def _parquet_table(file: Path) -> pa.Table:
    with open_file(file) as opened:
        check_pages(opened)
        with pyarrow.parquet.ParquetFile(opened, page_checksum_verification=True) as parquet:
            table = parquet.read(use_threads=False)
    table.validate(full=True)  # texts that aren't UTF-8
    held = [(one.name, one.type.value_type if pa.types.is_dictionary(one.type) else one.type) for one in table.schema]
    return table.cast(pa.schema(held, table.schema.metadata))


def _check_encoding(file: Path, shown: str) -> None:
    decoder, done = getincrementaldecoder("utf-8")(), 0
    with open_file(file) as opened:
        while True:
            data = opened.read(CHUNK)
            begin = done - len(decoder.getstate()[0])
            try:
                decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                raise SourceError(f"{shown}: not UTF-8 at byte {begin + error.start}; save it as UTF-8") from None
            if not data:
                return
            done += len(data)


def _lines(file: Path) -> Iterator[bytes]:
    with open_file(file) as opened:
        yield from opened


def _parsed(data: bytes, place: str) -> dict[str, Any]:
    """A line as a mapping. Raises SourceError, naming the line."""
    try:
        row = json.loads(data.decode("utf-8-sig"))
        if b"\\u" in data:
            json.dumps(row, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        raise SourceError(f"{place}: not UTF-8 at byte {error.start} of the line; save the file as UTF-8") from None
    except UnicodeEncodeError:
        raise SourceError(f"{place}: half a surrogate pair (\\ud800 to \\udfff), which no text can have") from None
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{place}: no JSON: {error}") from None
    if not isinstance(row, dict):
        raise SourceError(f'{place}: it must be a mapping, such as {{"file_name": "a.jpg"}}')
    return row
