"""Datasets that Hugging Face's `datasets` reads, from the Hub, a folder, or files, streamed.

Code that comes with a dataset is never run. Pictures are returned as the bytes that are stored.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from variorum.generators.sources.reading.urls import one_line
from variorum.machine.file_hashes import file_hashes
from variorum.schemas.canonical import Json, digest
from variorum.schemas.errors import SourceError

DataFiles = str | list[str] | dict[str, str | list[str]]


@dataclass(frozen=True)
class HubDataset:
    """A dataset, opened at first use.

    Attributes:
        name: a Hub id, a local folder, or the name of a builder (`parquet`, `imagefolder`) that reads `data_files`.
        config: the dataset's configuration, if it has several.
        commit: branch, tag or commit on the Hub; None is its default branch.
        data_files: patterns of the files to read.
        where: what errors call the source.
    """

    name: str
    config: str | None
    commit: str | None
    data_files: DataFiles | None
    where: str

    @property
    def local(self) -> bool:
        """Whether the data lies on this machine rather than on the Hub."""
        builder = self.data_files is not None and "/" not in self.name
        return builder or Path(self.name).expanduser().exists()

    @cached_property
    def builder(self) -> Any:
        """The dataset as `datasets` opens it. Raises SourceError if it can't be opened."""
        import datasets

        folder = Path(self.name).expanduser()
        name = str(folder) if folder.is_dir() else self.name
        try:
            return datasets.load_dataset_builder(
                name, name=self.config, revision=self.commit, data_files=self.data_files
            )
        except Exception as error:  # Hub, network, builder and file errors have no common base; each says what to do
            raise SourceError(f"{self.where}: dataset {self.name!r} can't be opened: {one_line(error)}") from error

    @cached_property
    def files(self) -> Mapping[str, tuple[str, ...]]:
        """The files of each split: local paths, or Hub URLs with the commit."""
        splits = self.builder.config.data_files or {}
        if not splits:
            raise SourceError(
                f"{self.where}: {self.name!r} lists no data files; only datasets of data files can be read, loading "
                f"scripts are never run"
            )
        return {str(split): tuple(map(str, files)) for split, files in splits.items()}

    def table(self, split: str) -> HubTable:
        """One split of it."""
        return HubTable(self, split)

    def pin(self, splits: Sequence[str]) -> str:
        """Digest of these splits' files: of their content if local, of their URLs with the commit on the Hub."""
        files = [self.table(split).files for split in splits]
        local = [Path(file) for file in chain.from_iterable(files) if "://" not in file]
        hashes = dict(zip(map(str, local), file_hashes(_folder(local), local), strict=True))
        pins: list[Json] = []
        for split, found in zip(splits, files, strict=True):
            folder = _folder([Path(file) for file in found if file in hashes])
            parts: list[Json] = [
                [Path(file).relative_to(folder).as_posix(), hashes[file]] if file in hashes else file for file in found
            ]
            pins.append(digest([self.config, split, parts]))
        return str(pins[0]) if len(pins) == 1 else digest(pins)


@dataclass(frozen=True)
class HubTable:
    """One split of a dataset, opened at first use."""

    dataset: HubDataset
    split: str

    @property
    def local(self) -> bool:
        """Whether the data lies on this machine rather than on the Hub."""
        return self.dataset.local

    @property
    def _what(self) -> str:
        return f"{self.dataset.where}: split {self.split!r} of {self.dataset.name!r}"

    @cached_property
    def _stream(self) -> Any:
        assert self.files  # raises what is wrong with the split
        try:
            return self.dataset.builder.as_streaming_dataset(split=self.split)
        except Exception as error:  # an unknown split is a ValueError here and a KeyError there
            raise SourceError(f"{self._what}: {one_line(error)}") from error

    @cached_property
    def features(self) -> Mapping[str, Any]:
        """Columns by name, each with its `datasets` feature."""
        stream = self._stream
        known = stream.features or stream._resolve_features().features
        if not known:
            raise SourceError(f"{self._what} is empty")
        return dict(known)

    def need(self, column: str) -> None:
        """Raise SourceError, listing the columns, if this one is missing."""
        if column not in self.features:
            known = ", ".join(self.features)
            where, name = self.dataset.where, self.dataset.name
            raise SourceError(f"{where}: no column {column!r} in {name!r}, split {self.split!r}; there are: {known}")

    @cached_property
    def files(self) -> tuple[str, ...]:
        """The split's files: local paths, or Hub URLs with the commit."""
        found = self.dataset.files.get(self.split)
        if not found:
            known = ", ".join(self.dataset.files)
            where, name = self.dataset.where, self.dataset.name
            raise SourceError(f"{where}: no split {self.split!r} in {name!r}; there are: {known}")
        return found

    def size(self) -> int:
        """Rows of the split, as declared, or counted."""
        return self._size

    @cached_property
    def _size(self) -> int:
        splits = self.dataset.builder.info.splits or {}
        declared = splits[self.split].num_examples if self.split in splits else None
        if declared:
            return int(declared)
        if self.files[0].endswith(".parquet") and all("://" not in file for file in self.files):
            import pyarrow.parquet as pq

            return sum(pq.read_metadata(file).num_rows for file in self.files)
        return sum(1 for _ in self.rows(0, None, ()))

    def rows(
        self,
        start: int,
        stop: int | None,
        pictures: Sequence[str],
        columns: Sequence[str] = (),
        texts: Sequence[str] = (),
    ) -> Iterator[Any]:
        """Rows `start` to `stop - 1` (None: to the end) as dicts of these columns.

        Pictures stay undecoded. So may the columns `texts`, which are among `columns`: a text that isn't UTF-8 would
        end the stream.
        """
        import datasets

        stream = self._stream
        wanted = [*pictures, *columns] or list(self.features)[:1]
        images = [name for name in wanted if isinstance(self.features.get(name), datasets.Image)]
        stream = stream.select_columns(wanted)
        for name in {*images, *pictures}:
            stream = stream.cast_column(name, datasets.Image(decode=False))
        for name in texts:
            stream = stream.cast_column(name, _undecoded(self.features[name]))
        if start:
            stream = stream.skip(start)
        if stop is not None:
            stream = stream.take(max(0, stop - start))
        return iter(stream)

    def values(self, column: str) -> Iterator[Any]:
        """The values of a column, without None; reads the whole column."""
        return (row[column] for row in self.rows(0, None, (), (column,)) if row[column] is not None)

    def described(self, column: str) -> Json:
        """The type of a column, as `datasets` writes it into files."""
        import datasets

        self.need(column)
        kind: Json = datasets.Features({column: self.features[column]}).to_dict()[column]
        return kind

    def picture_bytes(self, cell: Any) -> bytes | None:
        """The stored bytes of an undecoded picture cell; None for an empty cell.

        A cell may name a file instead of bytes. The file is read only if it is one of the split's own.

        Raises:
            OSError: the file can't be read, or isn't one of the split's.
        """
        if not cell:
            return None
        if cell.get("bytes"):
            return bytes(cell["bytes"])
        path = cell.get("path")
        if not path:
            return b"" if cell.get("bytes") is not None else None
        if path.rpartition("::")[2] not in self._own_files:  # `zip://a.png::file.zip` is a member of file.zip
            raise OSError(f"{path} is not one of the dataset's files")
        from fsspec import open as open_url

        with open_url(path, "rb") as file:
            return bytes(file.read())

    @cached_property
    def _own_files(self) -> frozenset[str]:
        return frozenset(self.files)


def _undecoded(feature: Any) -> Any:
    """The feature with bytes in place of a text or of texts in a list."""
    import datasets

    if isinstance(feature, datasets.List):
        return datasets.List(_undecoded(feature.feature))
    is_text = isinstance(feature, datasets.Value) and feature.dtype in ("string", "large_string")
    return datasets.Value("binary") if is_text else feature


def _folder(paths: Sequence[Path]) -> Path:
    """The folder that all of these files lie in."""
    return Path(os.path.commonpath([path.parent for path in paths])) if paths else Path()
