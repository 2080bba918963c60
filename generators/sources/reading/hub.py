"""Datasets that Hugging Face's `datasets` reads, from the Hub, a folder, or files, streamed.

Code that comes with a dataset is never run. Pictures are returned as the bytes that are stored.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from variorum.machine.file_hashes import file_hashes
from variorum.schemas.canonical import Json, digest
from variorum.schemas.errors import SourceError

DataFiles = str | list[str] | dict[str, str | list[str]]


@dataclass(frozen=True)
class HubTable:
    """One split of a dataset, opened at first use.

    Attributes:
        dataset: a Hub id, a local folder, or the name of a builder (`parquet`, `imagefolder`) that reads `data_files`.
        config: the dataset's configuration, if it has several.
        split: the split's name.
        commit: branch, tag or commit on the Hub; None is its default branch.
        data_files: patterns of the files to read.
        where: what errors call the source.
    """

    dataset: str
    config: str | None
    split: str
    commit: str | None
    data_files: DataFiles | None
    where: str

    @property
    def local(self) -> bool:
        """Whether the data lies on this machine rather than on the Hub."""
        builder = self.data_files is not None and "/" not in self.dataset
        return builder or Path(self.dataset).expanduser().exists()

    @cached_property
    def _builder(self) -> Any:
        import datasets

        name = str(Path(self.dataset).expanduser()) if Path(self.dataset).expanduser().is_dir() else self.dataset
        try:
            return datasets.load_dataset_builder(
                name, name=self.config, revision=self.commit, data_files=self.data_files
            )
        except Exception as error:  # Hub, network, builder and file errors have no common base; each says what to do
            raise SourceError(f"{self.where}: dataset {self.dataset!r} can't be opened: {_line(error)}") from error

    @cached_property
    def _stream(self) -> Any:
        assert self.files  # raises what is wrong with the split
        try:
            return self._builder.as_streaming_dataset(split=self.split)
        except Exception as error:  # an unknown split is a ValueError here and a KeyError there
            raise SourceError(f"{self.where}: split {self.split!r} of {self.dataset!r}: {_line(error)}") from error

    @cached_property
    def features(self) -> Mapping[str, Any]:
        """Columns by name, each with its `datasets` feature."""
        stream = self._stream
        known = stream.features or stream._resolve_features().features
        if not known:
            raise SourceError(f"{self.where}: split {self.split!r} of {self.dataset!r} is empty")
        return dict(known)

    def need(self, column: str) -> None:
        """Raise SourceError, listing the columns, if this one is missing."""
        if column not in self.features:
            known = ", ".join(self.features)
            raise SourceError(f"{self.where}: no column {column!r} in {self.dataset!r}; there are: {known}")

    @cached_property
    def files(self) -> tuple[str, ...]:
        """The split's files: local paths, or Hub URLs with the commit."""
        splits = self._builder.config.data_files or {}
        if not splits:
            raise SourceError(
                f"{self.where}: {self.dataset!r} lists no data files; only datasets of data files can be read, loading "
                f"scripts are never run"
            )
        found = splits.get(self.split)
        if not found:
            known = ", ".join(map(str, splits))
            raise SourceError(f"{self.where}: no split {self.split!r} in {self.dataset!r}; there are: {known}")
        return tuple(str(file) for file in found)

    def pin(self) -> str:
        """Digest of the split's files: of their content if local, of their URLs with the commit on the Hub."""
        paths = [Path(file) for file in self.files if "://" not in file]
        folder = Path(os.path.commonpath([path.parent for path in paths])) if paths else Path()
        hashes = dict(zip(map(str, paths), file_hashes(folder, paths), strict=True))
        parts: list[Json] = [
            [Path(file).relative_to(folder).as_posix(), hashes[file]] if file in hashes else file for file in self.files
        ]
        return digest([self.config, self.split, parts])

    def size(self) -> int:
        """Rows of the split, as declared, or counted."""
        return self._size

    @cached_property
    def _size(self) -> int:
        splits = self._builder.info.splits or {}
        declared = splits[self.split].num_examples if self.split in splits else None
        if declared:
            return int(declared)
        if self.files[0].endswith(".parquet") and all("://" not in file for file in self.files):
            import pyarrow.parquet as pq

            return sum(pq.read_metadata(file).num_rows for file in self.files)
        return sum(1 for _ in self.rows(0, None, ()))

    def rows(self, start: int, stop: int | None, pictures: Sequence[str], columns: Sequence[str] = ()) -> Iterator[Any]:
        """Rows `start` to `stop - 1` (None: to the end) as dicts of these columns; `pictures` stay undecoded."""
        import datasets

        stream = self._stream
        wanted = [*pictures, *columns] or list(self.features)[:1]
        images = [name for name in wanted if isinstance(self.features.get(name), datasets.Image)]
        stream = stream.select_columns(wanted)
        for name in {*images, *pictures}:
            stream = stream.cast_column(name, datasets.Image(decode=False))
        if start:
            stream = stream.skip(start)
        if stop is not None:
            stream = stream.take(max(0, stop - start))
        return iter(stream)

    def distinct(self, column: str) -> list[Any]:
        """The distinct values of a column, sorted; reads the whole column."""
        return sorted({row[column] for row in self.rows(0, None, (), (column,)) if row[column] is not None})

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


def _line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else 'no message'}"
