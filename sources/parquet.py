"""Parquet files with pictures inside, as the Hub keeps most image datasets, read by position."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from variorum.machine.retrying import printable
from variorum.schemas.component import ClassInfo, Context, Source
from variorum.schemas.fields import LONGEST
from variorum.schemas.sample import Failure, Sample, source_id
from variorum.sources.exports.objects import BoxFormat
from variorum.sources.folders.folder import mask_trouble
from variorum.sources.tables import arrow
from variorum.sources.tables.arrow import Unread
from variorum.sources.tables.parquet_files import ParquetFiles
from variorum.sources.tables.parquet_open import File
from variorum.sources.tables.rows import (
    Columns,
    category_names,
    check_names,
    described,
    joined,
    label_names,
    ordered,
    with_objects,
)
from variorum.sources.web.urls import in_full

ORIGIN = b"variorum.origin"
"""Key of the metadata of a column that says where each picture came from."""

Name = Annotated[str, Field(min_length=1)]


class Parquet(Source):
    """The rows of parquet files, file after file.

    A row's id comes from the name of its file, from the folder that all files lie in, and its number in the file.
    """

    location: ClassVar[frozenset[str]] = frozenset({"files"})

    files: Name | list[Name] = Field(min_length=1)
    """A file, a pattern (`data/*.parquet`), a folder, or a URL that `fsspec` opens (`s3://`, `hf://`); or a list."""
    image: str = "image"
    """The column with the pictures: bytes, or a struct with `bytes`, as `datasets` writes it."""
    label: str | None = None
    """The column with the classes: texts or integers."""
    class_names: tuple[str, ...] = ()
    """The classes in the order of their numbers, for labels and for categories of objects. By default those that
    `datasets` wrote into the files, or else each value is a class."""
    caption: str | None = None
    """The column with captions: texts, or lists of texts."""
    objects: str | None = None
    """The column with objects: lists by name, or a list of structs, with `bbox`, `category` and what else there is."""
    box_format: BoxFormat = "xywh"
    """What `bbox` holds."""
    clip: bool = False
    """Whether boxes that leave their picture are clipped; otherwise the picture goes into quarantine."""
    mask: str | None = None
    """The column with masks of the same size as the pictures, object above 127."""
    licence: str = "unknown"
    """Licence of all pictures: an SPDX id or the terms in a few words."""
    licence_field: str | None = None
    """The column with the licence of each picture; where it is empty, `licence` holds."""
    metadata: tuple[str, ...] = ()
    """Columns that are kept as the pictures' metadata."""
    split: Literal["", "train", "validation", "test", "none"] = ""
    """The split of all pictures. By default the one that a file's name has (`train-00000-of-00001.parquet`), or else a
    folder's; `none` for no split."""

    def pin(self, ctx: Context) -> str:
        """Digest of the files' names and contents; of their names, sizes and versions if they lie elsewhere."""
        return self._table.pin()

    def size(self, ctx: Context) -> int:
        """Rows of all files, as their footers say."""
        return self._table.size()

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """The classes by number, or else the sorted values, for which the column is read once.

        Raises:
            SourceError: a column is missing or of the wrong type, or two classes have the same name.
        """
        return tuple(ClassInfo(name, name) for name in self._classes)

    def captioned(self, ctx: Context) -> bool:
        """Return whether a column has captions."""
        return self.caption is not None

    def annotated(self, ctx: Context) -> bool:
        """Return whether a column has captions or objects."""
        return self.caption is not None or self.objects is not None

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        """Samples with the bytes as stored; a `Failure` for a row without a readable picture or matching mask."""
        wanted = [self.image, *filter(None, [self.mask]), *self._columns.needed(), *self._origins]
        rows = self._table.rows(start, stop, list(dict.fromkeys(wanted)))
        for (file, number), row in zip(self._table.places(start, stop), rows, strict=True):
            if isinstance(row, Unread):
                yield self._bare(file, number).failure(*row)
            else:
                yield self._pictured(self._bare(file, number, row), row)

    def outline(self, start: int, stop: int, ctx: Context) -> Iterator[Sample]:
        """The samples without pictures and objects; the other columns are read."""
        columns = list(dict.fromkeys([*self._columns.needed(objects=False), *self._origins]))
        rows = self._table.rows(start, stop, columns) if columns else ({} for _ in range(start, stop))
        for (file, number), row in zip(self._table.places(start, stop), rows, strict=False):
            if isinstance(row, Unread):
                yield self._bare(file, number)
            else:
                yield described(self._bare(file, number, row), self._columns.values(row), self._label_names)

    def place(self) -> str:
        """The paths in full, and URLs without what may be a secret in them."""
        return f"parquet files={','.join(map(in_full, self._patterns))}"

    @property
    def _patterns(self) -> list[str]:
        return [self.files] if isinstance(self.files, str) else self.files

    @cached_property
    def _table(self) -> ParquetFiles:
        return ParquetFiles(self._patterns, "parquet")

    @cached_property
    def _columns(self) -> Columns:
        """The columns, found and of the right types in all files."""
        need = self._table.need
        for column in filter(None, (self.image, self.mask)):
            need(column, arrow.kind_of_picture, "pictures as bytes; a table of paths is for the source image_folder")
        if self.label:
            need(self.label, arrow.kind_of_label, "texts or integers")
        if self.caption:
            need(self.caption, arrow.kind_of_text, "texts or lists of texts")
        if self.objects:
            need(self.objects, arrow.kind_of_objects, "lists by name, or a list of structs, with bbox and category")
        if self.licence_field:
            need(self.licence_field, arrow.kind_of_label, "texts or integers")
        for column in self.metadata:
            need(column, arrow.kind_of_metadata, "values that JSON can hold")
        found = {column: self._table.names_of(column, label_names) for column in self.metadata}
        names = {column: named for column, named in found.items() if named}
        return Columns(self.label, self.caption, self.objects, self.licence_field, self.metadata, names)

    @cached_property
    def _label_names(self) -> tuple[str, ...] | None:
        return self.class_names or (self._table.names_of(self.label, label_names) if self.label else None)

    @cached_property
    def _category_names(self) -> tuple[str, ...] | None:
        return self.class_names or (self._table.names_of(self.objects, category_names) if self.objects else None)

    @cached_property
    def _classes(self) -> tuple[str, ...]:
        columns = self._columns
        labels, categories = self._label_names or (), self._category_names or ()
        if columns.label and not labels:
            labels = ordered(self._table.distinct(columns.label) - {""})
        if columns.objects and not categories:
            categories = ordered(self._table.distinct(columns.objects, within=True) - {"", -1})
        return check_names(joined(labels, categories), "parquet")

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self._classes)

    @cached_property
    def _origins(self) -> list[str]:
        """The column that says where each picture came from, in files that `variorum.curate` has written."""
        marked = [
            {one.name for one in file.schema if (one.metadata or {}).get(ORIGIN) and arrow.kind_of_text(one.type)}
            for file in self._table.files
        ]
        return sorted(set.intersection(*marked))[:1]

    def _bare(self, file: File, number: int, row: Mapping[str, Any] | None = None) -> Sample:
        key = f"{file.name}/{number}"
        split = file.split if self.split == "" else self.split.replace("none", "")
        told = next((row.get(name) for name in self._origins), None) if row else None
        origin = printable(told) if isinstance(told, str) and 0 < len(told) <= LONGEST else key
        return Sample(source_id("parquet", key), b"", origin=origin, licence=self.licence, split=split)

    def _pictured(self, sample: Sample, row: dict[str, Any]) -> Sample | Failure:
        values = self._columns.values(row)
        sample = described(sample, values, self._label_names)
        image, problem = _stored(row[self.image], self.image)
        if problem:
            return sample.failure("no_picture", problem)
        extras = {}
        if self.mask:
            extras["mask.png"], problem = _stored(row[self.mask], self.mask)
            if wrong := ("no_mask", problem) if problem else mask_trouble(image, extras["mask.png"]):
                return sample.failure(*wrong)
        sample = replace(sample, image=image, extras=extras)
        return with_objects(sample, values.objects, self._category_names, self._known, self.box_format, clip=self.clip)


def _stored(cell: Any, column: str) -> tuple[bytes, str]:
    """The bytes in a cell, or `b""` and why there are none. A file that a cell names is never opened."""
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if data:
        return bytes(data), ""
    path = cell.get("path") if isinstance(cell, dict) else None
    return b"", f"column {column} names the file {path!r} and has no bytes" if path else f"column {column} is empty"
