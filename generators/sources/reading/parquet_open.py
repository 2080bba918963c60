"""Parquet files by path, pattern, folder or URL: finding and opening them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from variorum.generators.sources.reading.texts import split_of_path
from variorum.generators.sources.reading.urls import one_line, shown, version_of
from variorum.schemas.canonical import Json
from variorum.schemas.errors import SourceError

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
        """Whether it lies on this machine."""
        from fsspec.implementations.local import LocalFileSystem

        return isinstance(self.system, LocalFileSystem)

    def version(self) -> list[Json]:
        """Its size, and which version of it there is. Raises any error of its file system."""
        known = self.system.info(self.path)
        return [known.get("size"), version_of(known)]

    def open(self) -> pq.ParquetFile:
        """The file, ready to be read."""
        return pq.ParquetFile(
            self.path,
            filesystem=None if self.local else self.system,
            buffer_size=BUFFER,
            pre_buffer=False,
            page_checksum_verification=True,
        )


def find_files(patterns: Sequence[str], where: str) -> tuple[File, ...]:
    """The files, in the order of the patterns, and of their names below each.

    Args:
        patterns: paths, patterns, folders (for all `.parquet` files below) or URLs.
        where: what errors call the source.

    Raises:
        SourceError: a pattern matches nothing, or a file can't be opened.
    """
    found: dict[str, tuple[Any, str]] = {}
    for pattern in patterns:
        for system, path in _matches(pattern, where):
            found.setdefault(system.unstrip_protocol(path), (system, path))
    bare = [
        File(name, path, system, pa.schema([]), ())
        for name, (system, path) in zip(_relative(list(found)), found.values(), strict=True)
    ]
    with ThreadPoolExecutor(FOOTERS) as pool:
        return tuple(pool.map(lambda file: _with_footer(file, where), bare))


def _matches(pattern: str, where: str) -> list[tuple[Any, str]]:
    from fsspec.core import url_to_fs

    try:
        system, path = url_to_fs(pattern if "://" in pattern else str(Path(pattern).expanduser().absolute()))
        if system.isfile(path):
            paths = [path]
        elif system.isdir(path):
            paths = [one for one in system.find(path) if one.endswith(".parquet")]
        else:
            paths = [one for one in system.glob(path) if system.isfile(one)]
    except Exception as error:  # file systems have their own errors, and lack packages; each says what to do
        raise SourceError(f"{where}: {shown(pattern)} can't be opened: {one_line(error)}") from error
    if not paths:
        raise SourceError(f"{where}: no parquet file at {shown(pattern)}; give a file, a folder or a pattern")
    return [(system, one) for one in sorted(paths)]


def _with_footer(file: File, where: str) -> File:
    """The file with what its footer says."""
    try:
        with file.open() as opened:
            groups = tuple(opened.metadata.row_group(group).num_rows for group in range(opened.num_row_groups))
            return replace(file, schema=opened.schema_arrow, groups=groups)
    except Exception as error:  # as above
        raise SourceError(f"{where}: {file.name} can't be read as parquet: {one_line(error)}") from error


def _relative(urls: Sequence[str]) -> list[str]:
    """Paths from the folder that all of these lie in, without what follows a question mark."""
    parts = [shown(url).split("/") for url in urls]
    shared = 0
    for folder in zip(*(part[:-1] for part in parts), strict=False):
        if len(set(folder)) > 1:
            break
        shared += 1
    return ["/".join(part[shared:]) for part in parts]
