"""Parquet files by path, pattern, folder or URL: finding and opening them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from variorum.machine.retrying import open_file, printable
from variorum.schemas.canonical import Json
from variorum.schemas.errors import SourceError
from variorum.schemas.secrets import shown
from variorum.sources.exports.texts import is_utf8, split_of_path
from variorum.sources.folders.listing import key_of
from variorum.sources.folders.patterns import file_kind, files_below, matching_files, warn_of_unread
from variorum.sources.web.hosts import ask, host_may_pass, patiently, refused
from variorum.sources.web.urls import one_line, version_of

ENDING = ".parquet"
"""Of the files that are read in a folder."""
MOST_ROWS = 1_000_000
"""Rows that a file may have in any case; of more, each must take at least a byte."""
BUFFER = 8 << 20
"""Bytes that are requested at a time."""
FOOTERS = 16
"""Footers that are read at once; they lie in as many files, each perhaps far away."""


@dataclass(frozen=True, slots=True)
class File:
    """One file: its path from the folder that all files lie in, where it is, its columns, and rows by row group."""

    name: str
    path: str
    system: Any
    schema: pa.Schema
    groups: tuple[int, ...]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(self.groups)

    @property
    def split(self) -> str:
        """The split that the file's name names, as in `train-00000-of-00001.parquet`, or else the folders above it."""
        return split_of_path(self.name)

    @property
    def local(self) -> bool:
        """Return whether it lies on this machine."""
        from fsspec.implementations.local import LocalFileSystem

        return isinstance(self.system, LocalFileSystem)

    def version(self, *, pinned: bool = False) -> list[Json]:
        """Its size, and which version of it there is, if it lies elsewhere.

        Raises:
            SourceError: there is no such file.
            SourceChanged: the same, if it is `pinned`, which means that it was there when the run began.
            TemporaryError: the host or the network failed.
        """

        def asked() -> list[Json]:
            self.system.invalidate_cache()
            known = self.system.info(self.path)
            return [known.get("size"), version_of(known)]

        return ask(asked, self.place, pinned=pinned)

    def size(self) -> int:
        """Its size in bytes. Raises as `version` does."""
        return int(ask(lambda: self.system.info(self.path)["size"], self.place))

    @property
    def place(self) -> str:
        """Where it is, for messages: its path or its URL."""
        return self.path if self.local else str(self.system.unstrip_protocol(self.path))

    def stored(self) -> Any:
        """The bytes of the file, to be read at any place. Raises any error of its file system."""
        return open_file(Path(self.path)) if self.local else self.system.open(self.path, block_size=BUFFER)

    @contextmanager
    def open(self) -> Iterator[pq.ParquetFile]:
        """The file, ready to be read. Raises any error of its file system."""
        given: Any = self.path
        with ExitStack() as held:
            if self.local:
                file = held.enter_context(open_file(Path(self.path)))  # nothing else, as opening a FIFO would wait
                if not is_utf8(self.path):  # Arrow takes no such name
                    given = held.enter_context(pa.PythonFile(file, "r"))
            yield held.enter_context(
                pq.ParquetFile(
                    given,
                    filesystem=None if self.local else self.system,
                    buffer_size=BUFFER,
                    pre_buffer=False,
                    page_checksum_verification=True,
                )
            )


def find_files(patterns: Sequence[str], where: str) -> tuple[File, ...]:
    """The files, in the order of the patterns, and of their names below each.

    Args:
        patterns: paths, patterns, folders (for all `.parquet` files below) or URLs.
        where: what errors call the source.

    Raises:
        SourceError: a pattern matches nothing, or a file can't be opened.
        TemporaryError: the disk, the network, a host or the machine failed.
    """
    found: dict[str, tuple[Any, str]] = {}
    for pattern in patterns:
        for system, path in _matches(pattern, where):
            found.setdefault(system.unstrip_protocol(path), (system, path))
    bare = [
        File(key_of(name), path, system, pa.schema([]), ())
        for name, (system, path) in zip(_relative(list(found)), found.values(), strict=True)
    ]
    with ThreadPoolExecutor(FOOTERS) as pool:
        return tuple(pool.map(lambda file: _with_footer(file, where), bare))


def _matches(pattern: str, where: str) -> list[tuple[Any, str]]:
    from fsspec.core import url_to_fs
    from fsspec.implementations.local import LocalFileSystem

    def listed() -> tuple[Any, list[str]]:
        system, path = url_to_fs(pattern if "://" in pattern else os.path.abspath(os.path.expanduser(pattern)))
        if isinstance(system, LocalFileSystem):
            return system, _local(path, where)
        system.invalidate_cache()
        if system.isfile(path):
            return system, [path]
        if system.isdir(path):
            return system, [one for one in system.find(path) if one.endswith(ENDING)]
        return system, [one for one in system.glob(path) if system.isfile(one)]

    try:
        system, paths = ask(listed, pattern)
    except SourceError as error:
        raise SourceError(f"{where}: {error}") from None
    if not paths:
        raise SourceError(f"{where}: no parquet file at {shown(pattern)}; give a file, a folder or a pattern")
    return [(system, one) for one in sorted(paths)]


def _local(path: str, where: str) -> list[str]:
    """The files of this machine at a path, in a folder, or for a pattern. What isn't read is counted in warnings."""
    kind, told = file_kind(path)
    if kind == "odd":
        raise SourceError(f"{printable(path)} {told}")
    if kind == "missing":
        return matching_files(path, where)
    if kind == "file":
        return [path]
    files = files_below(path, where)
    warn_of_unread([name for name in files if not name.endswith(ENDING)], path, where)
    return [name for name in files if name.endswith(ENDING)]


def _with_footer(file: File, where: str) -> File:
    """The file with what its footer says."""

    def read() -> File:
        with file.open() as opened:
            groups = tuple(opened.metadata.row_group(group).num_rows for group in range(opened.num_row_groups))
            schema = opened.schema_arrow
            assert isinstance(schema.names, list)  # raises what is wrong with a name
            return replace(file, schema=schema, groups=groups)

    try:
        found = patiently(read)
    except Exception as error:  # file systems have their own errors
        if host_may_pass(error):
            raise refused(error, file.place) from None
        raise SourceError(f"{where}: {file.name} can't be read as parquet: {one_line(error)}") from None
    if min(found.groups, default=0) < 0 or (found.rows > MOST_ROWS and found.rows > file.size()):
        raise SourceError(f"{where}: {file.name} says that it has {found.rows} rows, which it can't; write it again")
    return found


def _relative(urls: Sequence[str]) -> list[str]:
    """Paths from the folder that all of these lie in, without what follows a question mark."""
    parts = [shown(url).split("/") for url in urls]
    shared = 0
    for folder in zip(*(part[:-1] for part in parts), strict=False):
        if len(set(folder)) > 1:
            break
        shared += 1
    return ["/".join(part[shared:]) for part in parts]
