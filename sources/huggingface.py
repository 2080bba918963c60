"""Any image dataset that Hugging Face's `datasets` reads: from the Hub, a local folder, or files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

from pydantic import field_validator

from variorum.schemas.canonical import Json
from variorum.schemas.component import ClassInfo, Context, Source, place_of
from variorum.schemas.errors import SourceError
from variorum.schemas.sample import Failure, Sample, source_id
from variorum.sources.exports.objects import BoxFormat
from variorum.sources.exports.texts import split_name
from variorum.sources.folders.folder import mask_trouble
from variorum.sources.tables.rows import (
    Columns,
    categories_of,
    category_names,
    check_names,
    described,
    joined,
    label_names,
    ordered,
    with_objects,
)
from variorum.sources.web.hub import DataFiles, HubDataset, HubTable

ALL = "all"
"""Stands for all splits of a dataset."""
MEDIA = {"Image", "Audio", "Video", "Pdf", "binary", "large_binary"}
"""Types of columns that JSON can't hold."""


class HuggingFace(Source):
    """Rows of one split or of several, streamed. Code that comes with a dataset is never run.

    To reach a late row `datasets` reads all rows of its split before it, so few large units are faster than many small
    ones.
    """

    revision: ClassVar[int] = 2

    dataset: str
    """A Hub id, a local folder, or a builder's name (`parquet`, `webdataset`, `imagefolder`) for `data_files`."""
    subset: str | None = None
    """The dataset's configuration, if it has several."""
    split: str | list[str] = "train"
    """A split, a list of splits, or `all`. Pictures are in `train`, `validation` or `test` if the split's name is one
    that `datasets` takes for it (`val`, `dev`, `eval` ...); pictures of others (`minival`, `train_sft`) in none."""
    image: str = "image"
    """The column with the pictures."""
    label: str | None = None
    """The column with the classes: a ClassLabel, or strings or integers, each value of which becomes a class."""
    caption: str | None = None
    """The column with captions: texts, or lists of texts."""
    objects: str | None = None
    """The column with objects: lists by name, or a list of mappings, with `bbox`, `category` and what else there is."""
    box_format: BoxFormat = "xywh"
    """What `bbox` holds."""
    clip: bool = False
    """Whether boxes that leave their picture are clipped; otherwise the picture goes into quarantine."""
    mask: str | None = None
    """The column with masks of the same size as the pictures, object above 127."""
    metadata: tuple[str, ...] = ()
    """Columns that are kept as the pictures' metadata."""
    commit: str | None = None
    """Branch, tag or commit on the Hub; give a commit for data that must not change."""
    data_files: DataFiles | None = None
    """Files or patterns to read, by split if there are several splits."""
    licence: str = "unknown"
    """Licence of all pictures: an SPDX id or the terms in a few words."""

    @field_validator("split")
    @classmethod
    def _some_splits(cls, value: str | list[str]) -> str | list[str]:
        names = [value] if isinstance(value, str) else value
        if not names or not all(names) or len(set(names)) < len(names):
            raise ValueError("must be a split, a list of different splits, or all")
        if len(names) > 1 and ALL in names:
            raise ValueError(f"{ALL} stands for all splits; give it alone")
        return value

    def identity(self) -> dict[str, Json]:
        """The fields, without the location of local data; `pin` covers its content."""
        identity = super().identity()
        return {**identity, "dataset": None, "data_files": None} if self._dataset.local else identity

    def pin(self, ctx: Context) -> str:
        """Digest of the splits' files: of their content if local, of their commit on the Hub."""
        return self._dataset.pin([table.split for table in self._tables])

    def size(self, ctx: Context) -> int:
        """Rows of the splits, as the dataset declares, or counted once."""
        return sum(table.size() for table in self._tables)

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """The names of the columns' classes; without names the sorted values, for which the columns are read once."""
        return tuple(ClassInfo(name, name) for name in self._classes)

    def captioned(self, ctx: Context) -> bool:
        """Return whether a column has captions."""
        return self.caption is not None

    def annotated(self, ctx: Context) -> bool:
        """Return whether a column has captions or objects."""
        return self.caption is not None or self.objects is not None

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        """Samples with the bytes as stored; a `Failure` for a row without a readable picture or matching mask."""
        pictures = [column for column in (self.image, self.mask) if column]
        columns = self._columns.needed()
        for table, low, high in self._ranges(start, stop):
            for column in pictures:
                table.need(column)
            for number, row in enumerate(table.rows(low, high, pictures, columns, self._texts), low):
                yield self._pictured(self._bare(table, number), table, row)

    def outline(self, start: int, stop: int, ctx: Context) -> Iterator[Sample]:
        """The samples without pictures and objects; the other columns are read."""
        columns = self._columns.needed(objects=False)
        for table, low, high in self._ranges(start, stop):
            # without a column nothing is read, as `size` says how many rows there are
            rows = table.rows(low, high, (), columns, self._texts) if columns else ({} for _ in range(low, high))
            for number, row in enumerate(rows, low):
                yield described(self._bare(table, number), self._columns.values(row), self._label_names)

    def place(self) -> str:
        """The dataset, subset, splits and files."""
        return place_of(self, ["dataset", "subset", "split", "data_files"])

    @cached_property
    def _dataset(self) -> HubDataset:
        return HubDataset(self.dataset, self.subset, self.commit, self.data_files, "huggingface")

    @cached_property
    def _tables(self) -> tuple[HubTable, ...]:
        """The splits in the order of the field, or for `all` in the dataset's."""
        names = [self.split] if isinstance(self.split, str) else self.split
        return tuple(self._dataset.table(name) for name in (self._dataset.files if names == [ALL] else names))

    def _ranges(self, start: int, stop: int) -> Iterator[tuple[HubTable, int, int]]:
        """The splits with some of these rows, and which of their own rows these are."""
        for table in self._tables:
            size = table.size() if table is not self._tables[-1] else stop  # the last one's isn't needed, and may cost
            if max(start, 0) < min(stop, size):
                yield table, max(start, 0), min(stop, size)
            start, stop = start - size, stop - size

    @property
    def _texts(self) -> tuple[str, ...]:
        """Columns whose texts may be no UTF-8."""
        return tuple(dict.fromkeys([*filter(None, [self.caption]), *self.metadata]))

    @cached_property
    def _columns(self) -> Columns:
        """The columns, found in all splits."""
        columns = Columns(self.label, self.caption, self.objects, None, self.metadata)
        for table in self._tables:
            for column in columns.needed():
                table.need(column)
        names: dict[str, tuple[str, ...]] = {}
        for column in self.metadata:
            kind = self._tables[0].described(column)
            if isinstance(kind, dict) and {kind["_type"], kind.get("dtype")} & MEDIA:
                raise SourceError(f"huggingface: column {column!r} holds {kind['_type']}, which can't be metadata")
            if found := self._named(column, label_names):
                names[column] = found
        return replace(columns, names=names)

    def _named(self, column: str, read: Callable[[Json], tuple[str, ...] | None]) -> tuple[str, ...] | None:
        """The class names of a column, None without. `datasets` has the same for all splits."""
        return read(self._tables[0].described(column))

    @cached_property
    def _label_names(self) -> tuple[str, ...] | None:
        return self._named(self.label, label_names) if self.label else None

    @cached_property
    def _category_names(self) -> tuple[str, ...] | None:
        return self._named(self.objects, category_names) if self.objects else None

    @cached_property
    def _classes(self) -> tuple[str, ...]:
        columns = self._columns
        labels, categories = self._label_names or (), self._category_names or ()
        if columns.label and not labels:
            labels = ordered({value for table in self._tables for value in self._label_values(table)})
        if columns.objects and not categories:
            cells = (cell for table in self._tables for cell in table.values(columns.objects))
            categories = ordered({value for cell in cells for value in categories_of(cell)})
        return check_names(joined(labels, categories), f"huggingface: {self.dataset!r}")

    def _label_values(self, table: HubTable) -> Iterator[str | int]:
        for value in table.values(self.label or ""):
            if not isinstance(value, str | int):
                raise SourceError(
                    f"huggingface: column {self.label!r} holds {type(value).__name__}; a label column must be a "
                    f"ClassLabel, strings or integers"
                )
            if value != "":
                yield value

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self._classes)

    def _bare(self, table: HubTable, number: int) -> Sample:
        where = "" if table.local else f"{self.dataset}/"
        key = f"{where}{self.subset or ''}/{table.split}/{number}"
        identity = source_id("huggingface", key)
        return Sample(identity, b"", origin=key, licence=self.licence, split=split_name(table.split))

    def _pictured(self, sample: Sample, table: HubTable, row: dict[str, Any]) -> Sample | Failure:
        values = self._columns.values(row)
        sample = described(sample, values, self._label_names)
        try:
            image = table.picture_bytes(row[self.image])
        except OSError as error:
            return sample.failure("unreadable", str(error))
        if not image:
            return sample.failure("no_picture", f"column {self.image} is empty")
        extras = {}
        if self.mask:
            try:
                mask = table.picture_bytes(row[self.mask])
            except OSError as error:
                return sample.failure("no_mask", str(error))
            if not mask:
                return sample.failure("no_mask", f"column {self.mask} is empty")
            if wrong := mask_trouble(image, mask):
                return sample.failure(*wrong)
            extras["mask.png"] = mask
        sample = replace(sample, image=image, extras=extras)
        return with_objects(sample, values.objects, self._category_names, self._known, self.box_format, clip=self.clip)
