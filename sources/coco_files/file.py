"""An annotation file in COCO's format, of which any picture can be read with its own annotations and no others.

Such a file may have millions of annotations, so it is never loaded. Its index is made once, kept in the cache under the
file's sha256, and mapped into memory.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa

from variorum.machine.cache import cache_dir
from variorum.machine.retrying import changed, may_pass, open_file, passing, printable, steady, why
from variorum.schemas.errors import SourceError
from variorum.sources.coco_files.entries import TROUBLES
from variorum.sources.coco_files.index import build_index
from variorum.sources.folders.patterns import file_kind
from variorum.sources.folders.pinned import PinnedFiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T")

log = logging.getLogger(__name__)

FORMAT = 2
"""Of the index. Another format lies in another folder of the cache."""
PAGE = 4096
"""Pictures whose entries are in memory at a time."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture of the file.

    Attributes:
        row: its position in the order of file names.
        key: what identifies it in the file: its file name, or the number of its entry if the name isn't its own.
        name: the file name, with `/` between folders.
        id: as JSON.
        licence: an SPDX id, or the name or URL that the file gives; `""` if it gives none.
        trouble: reason and detail if the entry can't be used, else None.
        start: its position in the file, in bytes.
        length: in bytes.
    """

    row: int
    key: str
    name: str
    id: str
    licence: str
    trouble: tuple[str, str] | None
    start: int
    length: int


class CocoFile:
    """An annotation file with its index, which is made first if there is none.

    Raises:
        SourceError: it can't be read, isn't in COCO's format, or the index can't be written.
    """

    def __init__(self, path: Path, where: str) -> None:
        self.path = path.absolute()
        self.name = f"coco: {where} {printable(path)}"
        kind, told = file_kind(path)
        if kind != "file":
            raise SourceError(f"{self.name} {'does not exist' if kind == 'missing' else told or 'is no file'}")
        self.files = PinnedFiles(f"coco: {where}")
        (self.sha256,) = self.files.pin(self.path, [self.path])
        try:
            self._file = steady(partial(open_file, path), path)
        except OSError as error:
            raise SourceError(f"{self.name} can't be read: {why(error)}") from None
        weakref.finalize(self, self._file.close)
        folder = cache_dir() / "coco" / f"{self.sha256}-{FORMAT}"
        if not self._load(folder):
            self._make(path, folder)
            if not self._load(folder):
                raise SourceError(f"{self.name}: its index in {folder} can't be read; delete it")
        if self.about["strays"]:
            log.warning(
                "%s: %d annotations are of no picture in the file and are left out; the first lies at byte %d",
                self.name,
                self.about["strays"],
                self.about["stray"],
            )

    def __len__(self) -> int:
        return int(self.pictures.num_rows)

    def entries(self, start: int, stop: int) -> Iterator[Entry]:
        """The pictures `start` to `stop - 1` in order of their file names."""
        for page in range(start, min(stop, len(self)), PAGE):
            for row, found in enumerate(self.pictures.slice(page, min(PAGE, stop - page)).to_pylist(), page):
                trouble, number = TROUBLES[found["trouble"]], found["entry"]
                yield Entry(
                    row,
                    # no file name has a NUL, so this is the key of no other picture
                    f"\0{number}" if trouble and trouble.unnamed else found["name"],
                    found["name"] or f"images[{number}]",
                    found["id"],
                    found["licence"],
                    (trouble.reason, trouble.detail) if trouble else None,
                    found["start"],
                    found["length"],
                )

    def boxes(self, row: int) -> NDArray[np.void]:
        """Where a picture's annotations lie: an array of `coco_index.BOX`, in the order of the file."""
        return self._boxes[self._starts[row] : self._starts[row + 1]]

    def value(self, start: int, length: int) -> Any:
        """The JSON value in these bytes of the file.

        Raises:
            UnicodeDecodeError: a text in it isn't UTF-8.
            RecursionError: it is nested too deep.
            SourceChanged: the file has been changed.
            TemporaryError: the disk, the network or the machine failed.
        """
        try:
            data = steady(partial(os.pread, self._file.fileno(), length, start), self.path)
        except OSError as error:  # of a file that is open, so it isn't the file's fault
            raise passing(self.path, error) from error
        try:
            return json.loads(data.decode("utf-8"))
        except json.JSONDecodeError:
            raise changed(self.path, "another content") from None

    def through(self, items: Iterable[T]) -> Iterator[T]:
        """Items for which the file is read, given only if it is the one that was pinned."""
        return self.files.through([str(self.path)], items)

    def _load(self, folder: Path) -> bool:
        """Map the index into memory; False if there is none, or it is damaged."""
        try:
            self.about: dict[str, Any] = json.loads((folder / "about.json").read_bytes())
            self.pictures = pa.ipc.open_file(pa.memory_map(str(folder / "pictures.arrow"))).read_all()
            self._boxes: NDArray[np.void] = np.load(folder / "boxes.npy", "r", allow_pickle=False)
            self._starts: NDArray[np.int64] = np.load(folder / "starts.npy", "r", allow_pickle=False)
        except (OSError, ValueError, pa.ArrowException):
            return False
        return len(self._starts) == len(self) + 1 and int(self._starts[-1]) == len(self._boxes)

    def _make(self, path: Path, folder: Path) -> None:
        """Make the index beside its place, and move it there unless another process was faster."""
        log.info("%s: making the index of %d MB, once", self.name, os.fstat(self._file.fileno()).st_size >> 20)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            part = Path(tempfile.mkdtemp(prefix=".part-", dir=folder.parent))
            try:
                build_index(path, self.name, part)
                self.files.check([str(self.path)])  # the index is kept under the content's hash
                shutil.rmtree(folder, ignore_errors=True)  # damaged, if it is there at all
                part.rename(folder)
            finally:
                shutil.rmtree(part, ignore_errors=True)
        except OSError as error:
            if may_pass(error):
                raise passing(folder, error) from error
            if not folder.exists():
                place = f"set VARIORUM_CACHE to a folder that can hold it instead of {cache_dir()}"
                raise SourceError(f"{self.name}: its index can't be written: {error.strerror}; {place}") from None
