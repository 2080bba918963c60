"""Any picture dataset that Hugging Face's `datasets` reads: from the Hub, a local folder, or files."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from variorum.generators.sources.reading.folder import mask_trouble
from variorum.generators.sources.reading.hub import DataFiles, HubTable
from variorum.schemas.canonical import Json
from variorum.schemas.component import ClassInfo, Context, Source, place_of
from variorum.schemas.errors import SourceError
from variorum.schemas.sample import Failure, Sample, source_id


class HuggingFace(Source):
    """Rows of one split, streamed; code that comes with a dataset is never run.

    Reading starts at any row, but `datasets` reaches a late one by passing over those before it, so large units cost
    less than many small ones.
    """

    dataset: str
    """A Hub id, a local folder, or a builder's name (`parquet`, `webdataset`, `imagefolder`) for `data_files`."""
    subset: str | None = None
    """The dataset's configuration, where it has several."""
    split: str = "train"
    image: str = "image"
    """The column with the pictures."""
    label: str | None = None
    """A column with classes: a ClassLabel, or strings or integers, whose values then become the classes."""
    mask: str | None = None
    """A column with masks of the pictures' size, object above 127."""
    commit: str | None = None
    """Branch, tag or commit on the Hub; name a commit for data that must not move."""
    data_files: DataFiles | None = None
    """Files or patterns to read, by split if there are several."""
    licence: str = "unknown"
    """Of all the pictures: an SPDX id or the terms in a few words."""

    def identity(self) -> dict[str, Json]:
        """The fields, but for where local data lies; `pin` covers what is in it."""
        identity = super().identity()
        return {**identity, "dataset": None, "data_files": None} if self._table.local else identity

    def pin(self, ctx: Context) -> str:
        """Digest of the split's files: by content when they are local, by commit on the Hub."""
        return self._table.pin()

    def size(self, ctx: Context) -> int:
        """Rows of the split, as the dataset declares or else counted once."""
        return self._table.size()

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """The label column's names, or its values in order where it has no names; that reads the column once."""
        return tuple(ClassInfo(name, name) for name in self._names)

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        """Samples with the bytes as stored; a `Failure` for a row without a readable picture or fitting mask."""
        pictures = [column for column in (self.image, self.mask) if column]
        for column in (*pictures, *filter(None, (self.label,))):
            self._table.need(column)
        rows = self._table.rows(start, stop, pictures, tuple(filter(None, (self.label,))))
        for number, row in enumerate(rows, start):
            yield self._sample(self._key(number), row)

    def outline(self, start: int, stop: int, ctx: Context) -> Iterator[Sample]:
        """By the label column alone."""
        for column in filter(None, (self.label,)):
            self._table.need(column)
        # without a label any column will do to count rows by, but a picture is better left alone
        rows = self._table.rows(start, stop, (), (self.label,)) if self.label else ({} for _ in range(start, stop))
        for number, row in enumerate(rows, start):
            key = self._key(number)
            yield Sample(source_id("huggingface", key), b"", self._label(row), origin=key, licence=self.licence)

    def place(self) -> str:
        """Its dataset, subset, split and files."""
        return place_of(self, ["dataset", "subset", "split", "data_files"])

    def _key(self, number: int) -> str:
        where = "" if self._table.local else f"{self.dataset}/"
        return f"{where}{self.subset or ''}/{self.split}/{number}"

    def _sample(self, key: str, row: dict[str, Any]) -> Sample | Failure:
        identity, labels = source_id("huggingface", key), self._label(row)

        def failure(reason: str, detail: str) -> Failure:
            return Failure(identity, "", "failed", reason, "original", labels, key, self.licence, detail)

        try:
            image = self._table.picture_bytes(row[self.image])
        except OSError as error:
            return failure("unreadable", str(error))
        if image is None:
            return failure("empty", f"column {self.image} is empty")
        extras = {}
        if self.mask:
            try:
                mask = self._table.picture_bytes(row[self.mask])
            except OSError as error:
                return failure("no_mask", str(error))
            if not mask:
                return failure("no_mask", f"column {self.mask} is empty")
            if wrong := mask_trouble(image, mask):
                return failure(*wrong)
            extras["mask.png"] = mask
        return Sample(identity, image, labels, origin=key, licence=self.licence, extras=extras)

    def _label(self, row: dict[str, Any]) -> tuple[str, ...]:
        value = row[self.label] if self.label else None
        if value is None:
            return ()
        if self._has_names:
            return (self._names[value],) if value >= 0 else ()  # -1 is how `datasets` writes "not labelled"
        return (str(value),)

    @cached_property
    def _table(self) -> HubTable:
        return HubTable(self.dataset, self.subset, self.split, self.commit, self.data_files, "huggingface")

    @cached_property
    def _has_names(self) -> bool:
        return bool(getattr(self._table.features[self.label or ""], "names", None))

    @cached_property
    def _names(self) -> tuple[str, ...]:
        if not self.label:
            return ()
        self._table.need(self.label)
        if self._has_names:
            names = [str(name) for name in self._table.features[self.label].names]
        else:
            values = self._table.distinct(self.label)
            if not all(isinstance(value, str | int) for value in values):
                raise SourceError(
                    f"huggingface: column {self.label!r} holds {type(values[0]).__name__}; a label column has a "
                    f"ClassLabel, strings or integers"
                )
            names = [str(value) for value in values]
        seen: dict[str, str] = {}
        for name in names:
            other = seen.setdefault(name.strip(), name)
            if other != name or names.count(name) > 1:
                raise SourceError(f"huggingface: two classes of {self.dataset!r} have the name {name.strip()!r}")
        return tuple(names)
