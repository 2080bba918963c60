"""Datasets that Hugging Face's `datasets` reads, from the Hub, a folder, or files, streamed.

Code that comes with a dataset is never run. Pictures are returned as the bytes that are stored.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any

from variorum.machine.retrying import printable
from variorum.schemas.canonical import Json, digest
from variorum.schemas.errors import SourceError, VariorumError
from variorum.schemas.secrets import shown
from variorum.sources.folders.listing import key_of
from variorum.sources.folders.patterns import file_kind, files_below, warn_of_unread
from variorum.sources.folders.pinned import guarded
from variorum.sources.web import hosts
from variorum.sources.web.hosts import host_may_pass, patiently, refused
from variorum.sources.web.hub_files import HubFiles, folder_of
from variorum.sources.web.urls import one_line

MOST_ROWS = 10**10
"""Rows that a dataset may say to have."""
DESCRIPTIONS = ("README.md", "dataset_infos.json", ".huggingface.yaml")
"""Files of a folder that `datasets` reads before all else."""

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
        held: its files, as they were when they were pinned.
    """

    name: str
    config: str | None
    commit: str | None
    data_files: DataFiles | None
    where: str
    held: HubFiles = field(default_factory=HubFiles, compare=False, repr=False)

    @property
    def local(self) -> bool:
        """Return whether the data lies on this machine rather than on the Hub."""
        builder = self.data_files is not None and "/" not in self.name
        return builder or os.path.exists(os.path.expanduser(self.name))

    @cached_property
    def builder(self) -> Any:
        """The dataset as `datasets` opens it.

        Raises:
            SourceError: it can't be opened.
            TemporaryError: the Hub, the disk, the network or the machine failed.
        """
        import datasets

        folder = os.path.expanduser(self.name)
        here = os.path.isdir(folder)
        if here:
            self._check_descriptions(folder)
            assert self._below is not None  # raises an error that may pass, which `datasets` would take for no files
        if not self.local and not datasets.config.HF_HUB_OFFLINE:
            hosts.resolved(datasets.config.HF_ENDPOINT, f"{self.where}: dataset {self._shown!r}")
        load = partial(datasets.load_dataset_builder, folder if here else self.name, self.config)
        try:
            return patiently(partial(load, revision=self.commit, data_files=self.data_files))
        except Exception as error:  # Hub, network, builder and file errors have no common base; each says what to do
            if host_may_pass(error):
                raise refused(error, self._shown) from None
            raise SourceError(f"{self.where}: dataset {self._shown!r} can't be opened: {one_line(error)}") from None

    @property
    def _shown(self) -> str:
        return printable(shown(self.name))

    def _check_descriptions(self, folder: str) -> None:
        """Raise SourceError for a FIFO, a folder and the like in place of a file that `datasets` reads unseen."""
        for name in DESCRIPTIONS:
            kind, told = file_kind(os.path.join(folder, name))
            if kind not in ("file", "missing"):
                raise SourceError(f"{self.where}: {printable(folder)}/{name} {told}; remove it")

    @cached_property
    def files(self) -> Mapping[str, tuple[str, ...]]:
        """The files of each split: local paths, or Hub URLs with the commit."""
        splits = self.builder.config.data_files or {}
        if not splits:
            raise SourceError(
                f"{self.where}: {self.name!r} lists no data files; only datasets of data files can be read, loading "
                f"scripts are never run"
            )
        found = {str(split): tuple(map(str, files)) for split, files in splits.items()}
        if self.data_files is None and self._below:
            read = {os.path.realpath(file) for file in chain.from_iterable(found.values())}
            others = [file for file in self._below if os.path.realpath(file) not in read]
            warn_of_unread(others, self.name, self.where)
        return found

    @cached_property
    def _below(self) -> Sequence[str]:
        """The files of a local folder. Raises TemporaryError."""
        folder = os.path.abspath(os.path.expanduser(self.name))
        return files_below(folder, self.where) if os.path.isdir(folder) else ()

    def table(self, split: str) -> HubTable:
        """One split of it."""
        return HubTable(self, split)

    def pin(self, splits: Sequence[str]) -> str:
        """Digest of these splits' files: of their content if local, of their URLs with the commit on the Hub.

        Raises:
            SourceError: a file at a URL isn't there.
            TemporaryError: the disk, the network, a host or the machine failed.
        """
        files = [self.table(split).files for split in splits]
        hashes = self.held.pin(list(chain.from_iterable(files)))
        pins: list[Json] = []
        for split, found in zip(splits, files, strict=True):
            folder = folder_of([Path(file) for file in found if file in hashes])
            parts: list[Json] = [
                [key_of(Path(file).relative_to(folder).as_posix()), hashes[file]] if file in hashes else file
                for file in found
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
        """Return whether the data lies on this machine rather than on the Hub."""
        return self.dataset.local

    @property
    def _what(self) -> str:
        return f"{self.dataset.where}: split {self.split!r} of {self.dataset._shown!r}"

    @cached_property
    def _stream(self) -> Any:
        assert self.files  # raises what is wrong with the split
        try:
            return patiently(partial(self.dataset.builder.as_streaming_dataset, split=self.split))
        except Exception as error:  # an unknown split is a ValueError here and a KeyError there
            raise self._trouble(error, "") from None

    @cached_property
    def features(self) -> Mapping[str, Any]:
        """Columns by name, each with its `datasets` feature."""
        stream = self._stream
        try:
            known = stream.features or patiently(lambda: stream._resolve_features().features)
        except Exception as error:  # as in `rows`
            raise self._trouble(error, "its columns can't be read: ") from None
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
        if declared and not 0 < declared <= MOST_ROWS:
            raise SourceError(f"{self._what}: its description says that it has {declared} rows; correct it")
        if declared:
            return int(declared)
        if self.files[0].endswith(".parquet") and all("://" not in file for file in self.files):
            return sum(map(self._rows_of, self.files))
        return sum(1 for _ in self.rows(0, None, ()))

    def _rows_of(self, file: str) -> int:
        import pyarrow.parquet as pq

        try:
            rows = patiently(lambda: pq.read_metadata(file)).num_rows
        except Exception as error:  # Arrow's and the system's
            raise self._trouble(error, f"{printable(file)} can't be read as parquet: ") from None
        if not 0 <= rows <= MOST_ROWS:
            raise SourceError(f"{self._what}: {printable(file)} says that it has {rows} rows; write it again")
        return int(rows)

    def _trouble(self, error: Exception, doing: str) -> VariorumError:
        """The error to raise for one of `datasets`. Raises SourceChanged if a file was changed meanwhile."""
        if isinstance(error, VariorumError):
            return error
        self.dataset.held.check(self.files)
        if host_may_pass(error):
            return refused(error, self._what)
        return SourceError(f"{self._what}: {doing}{one_line(error)}")

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
        end the stream. After an error that may pass, the stream is opened again.

        Raises:
            SourceError: there are fewer rows, or one can't be read, which ends the stream of `datasets`.
            SourceChanged: a file isn't the one that was pinned.
            TemporaryError: the disk, the network, the Hub or the machine failed.
        """
        return guarded(lambda: self.dataset.held.check(self.files), self._rows(start, stop, pictures, columns, texts))

    def _rows(
        self, start: int, stop: int | None, pictures: Sequence[str], columns: Sequence[str], texts: Sequence[str]
    ) -> Iterator[Any]:
        waits = list(hosts.WAITS)
        at = start
        while True:
            try:
                for row in self._opened(at, stop, pictures, columns, texts):
                    yield row
                    at += 1
                break
            except Exception as error:  # those of Arrow, of file systems, of clients of the Hub and of zip files
                if not host_may_pass(error) or not waits:
                    raise self._trouble(error, f"row {at} can't be read: ") from None
                time.sleep(waits.pop(0))
        if stop is not None and at < stop:
            raise SourceError(f"{self._what} has only {at} rows, fewer than its description says; correct that")

    def _opened(
        self, start: int, stop: int | None, pictures: Sequence[str], columns: Sequence[str], texts: Sequence[str]
    ) -> Iterator[Any]:
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
            SourceChanged: it isn't the one that was pinned.
            TemporaryError: the disk, the network, the Hub or the machine failed.
        """
        if not cell:
            return None
        if cell.get("bytes"):
            return bytes(cell["bytes"])
        path = cell.get("path")
        if not path:
            return b"" if cell.get("bytes") is not None else None
        if path.rpartition("::")[2] not in self._own_files:  # `zip://a.png::file.zip` is a member of file.zip
            raise OSError(f"{printable(path)} is not one of the dataset's files")
        return self.dataset.held.picture(str(path))

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
