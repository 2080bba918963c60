"""Any image dataset that Hugging Face's `datasets` reads: from the Hub, a local folder, or files."""

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
    """Rows of one split, streamed. Code that comes with a dataset is never run.

    To reach a late row `datasets` reads all rows before it, so few large units are faster than many small ones.
    """

    dataset: str
    """A Hub id, a local folder, or a builder's name (`parquet`, `webdataset`, `imagefolder`) for `data_files`."""
    subset: str | None = None
    """The dataset's configuration, if it has several."""
    split: str = "train"
    image: str = "image"
    """The column with the pictures."""
    label: str | None = None
    """The column with the classes: a ClassLabel, or strings or integers, each value of which becomes a class."""
    mask: str | None = None
    """The column with masks of the same size as the pictures, object above 127."""
    commit: str | None = None
    """Branch, tag or commit on the Hub; give a commit for data that must not change."""
    data_files: DataFiles | None = None
    """Files or patterns to read, by split if there are several splits."""
    licence: str = "unknown"
    """Licence of all pictures: an SPDX id or the terms in a few words."""

    def identity(self) -> dict[str, Json]:
        """The fields, without the location of local data; `pin` covers its content."""
        identity = super().identity()
        return {**identity, "dataset": None, "data_files": None} if self._table.local else identity

    def pin(self, ctx: Context) -> str:
        """Digest of the split's files: of their content if local, of their commit on the Hub."""
        return self._table.pin()

    def size(self, ctx: Context) -> int:
        """Rows of the split, as the dataset declares, or counted once."""
        return self._table.size()

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """The label column's names; without names its sorted values, for which the column is read once."""
        return tuple(ClassInfo(name, name) for name in self._names)

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        """Samples with the bytes as stored; a `Failure` for a row without a readable picture or matching mask."""
        pictures = [column for column in (self.image, self.mask) if column]
        for column in (*pictures, *filter(None, (self.label,))):
            self._table.need(column)
        rows = self._table.rows(start, stop, pictures, tuple(filter(None, (self.label,))))
        for number, row in enumerate(rows, start):
            yield self._sample(self._key(number), row)

    def outline(self, start: int, stop: int, ctx: Context) -> Iterator[Sample]:
        """The samples from the label column alone."""
        for column in filter(None, (self.label,)):
            self._table.need(column)
        # without a label nothing is read, as `size` says how many rows there are
        rows = self._table.rows(start, stop, (), (self.label,)) if self.label else ({} for _ in range(start, stop))
        for number, row in enumerate(rows, start):
            key = self._key(number)
            yield Sample(source_id("huggingface", key), b"", self._label(row), origin=key, licence=self.licence)

    def place(self) -> str:
        """The dataset, subset, split and files."""
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
            return (self._names[value],) if value >= 0 else ()  # `datasets` writes -1 for "not labelled"
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
                    f"huggingface: column {self.label!r} holds {type(values[0]).__name__}; a label column must be a "
                    f"ClassLabel, strings or integers"
                )
            names = [str(value) for value in values]
        seen: dict[str, str] = {}
        for name in names:
            other = seen.setdefault(name.strip(), name)
            if other != name or names.count(name) > 1:
                raise SourceError(f"huggingface: two classes of {self.dataset!r} have the name {name.strip()!r}")
        return tuple(names)
