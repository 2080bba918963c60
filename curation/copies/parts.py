"""One set of known pictures in arrays that can be searched where they lie: a list, an edition or a folder.

A part is a folder of `.npy` files, which are mapped into memory, so that a search in millions reads only a few pages.
It is written once, under another name first, and never changes.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from variorum.curation.copies.banded import BUCKETS, NONE, Bands, bands, nearest
from variorum.kit.copies.join import hamming_join
from variorum.schemas.errors import SourceError

if TYPE_CHECKING:
    from variorum.arrays import Ints

BANDED = 1 << 16
"""Hashes from which on their bands are kept; fewer are compared one by one or sorted on the spot."""
ABOUT = "about.json"
WIDTHS = {"files": 32, "pixels": 16, "pdq": 32}
"""Bytes per hash: sha256 of the files, digests of the pixels, PDQ."""


class About(BaseModel):
    """The subject of a part of an index.

    Attributes:
        format: of the files.
        kind: what its pictures lie in.
        name: of the list, `dataset@version` of the edition, or the path of the folder.
        content: sha256 of the list, digest of the edition, or a digest of the folder's pictures.
        pictures: how many there are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    kind: Literal["list", "edition", "folder"]
    name: str = Field(min_length=1, max_length=4096)
    content: str = Field(pattern="^[0-9a-f]{64}$")
    pictures: int = Field(ge=0)


@dataclass(frozen=True, slots=True)
class Column:
    """Hashes of one kind, and whose they are.

    Attributes:
        hashes: `[M, width]` uint8; those of files and pixels are sorted.
        rows: `[M]` uint32, picture of each hash, a position in `Part.ids`. Empty if the part has no ids.
    """

    hashes: NDArray[np.uint8]
    rows: NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Part:
    """Hashes of some pictures, ready for a search.

    Attributes:
        about: what they are of.
        columns: `files`, `pixels` and `pdq`.
        by: bands of `pdq`, if there are `BANDED` hashes or more.
        text: uint8, the ids one behind the other, in UTF-8.
        ends: `[N]` uint64, where each id ends. Empty for a list, which has no ids.
    """

    about: About
    columns: dict[str, Column]
    by: Bands | None
    text: NDArray[np.uint8]
    ends: NDArray[np.uint64]

    @classmethod
    def of(
        cls, about: About, hashes: Mapping[str, tuple[NDArray[np.uint8], Ints | None]], ids: Sequence[str] = ()
    ) -> Part:
        """Sort hashes for the search.

        Args:
            about: what they are of.
            hashes: for `files`, `pixels` and `pdq`, the hashes `[M, width]` and the picture of each, a position in
                `ids`; None without ids.
            ids: `[N]`, names of the pictures.
        """
        columns = {}
        for name, (values, rows) in hashes.items():
            order = np.arange(len(values)) if name == "pdq" else np.argsort(_whole(values), kind="stable")
            columns[name] = Column(
                np.ascontiguousarray(values[order]),
                np.empty(0, np.uint32) if rows is None else rows[order].astype(np.uint32),
            )
        encoded = [one.encode("utf-8", "surrogateescape") for one in ids]
        return cls(
            about,
            columns,
            bands(columns["pdq"].hashes) if len(columns["pdq"].hashes) >= BANDED else None,
            np.frombuffer(b"".join(encoded), np.uint8),
            np.cumsum([len(one) for one in encoded], dtype=np.uint64),
        )

    def id(self, row: int) -> str:
        """The name of a picture; `""` if there is none."""
        if not 0 <= row < len(self.ends):
            return ""
        start = int(self.ends[row - 1]) if row else 0
        return self.text[start : int(self.ends[row])].tobytes().decode("utf-8", "replace")

    def same(self, name: str, asked: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], Ints]:
        """Return whether each hash `[N, width]` is in a column, and the picture that has it; -1 for none.

        Args:
            name: `files` or `pixels`.
            asked: the hashes.
        """
        column = self.columns[name]
        if not len(column.hashes):
            return np.zeros(len(asked), bool), np.full(len(asked), -1)
        stored, wanted = _whole(column.hashes), _whole(asked)
        place = np.minimum(np.searchsorted(stored, wanted), len(stored) - 1)
        found = np.asarray(stored[place] == wanted)
        return found, self._rows(column, np.where(found, place, -1))

    def near(self, turns: NDArray[np.uint8]) -> tuple[NDArray[np.uint16], Ints]:
        """Bits to the nearest PDQ hash of each picture `[N, 8, 32]` in any orientation, and whose it is.

        Beyond 31 bits they are `NONE` and -1.

        Raises:
            SourceError: the part is damaged.
        """
        column = self.columns["pdq"]
        if self.by is not None:
            try:
                bits, place = nearest(turns, column.hashes, self.by)
            except ValueError as error:
                raise SourceError(
                    f"the hashes of {self.about.name} are damaged: {error}; make the index anew"
                ) from None
            return bits, self._rows(column, place)
        bits, place = np.full(len(turns), NONE, np.uint16), np.full(len(turns), -1)
        pairs = hamming_join(turns, column.hashes, exact=True)
        order = np.lexsort((pairs.j, pairs.distance, pairs.i))[::-1]  # the nearest is written last
        bits[pairs.i[order]], place[pairs.i[order]] = pairs.distance[order], pairs.j[order]
        return bits, self._rows(column, place)

    @staticmethod
    def _rows(column: Column, place: Ints) -> Ints:
        if not len(column.rows):
            return np.full(len(place), -1)
        return np.where(place >= 0, column.rows[np.maximum(place, 0)], -1).astype(np.int64)

    def save(self, folder: Path) -> None:
        """Write it as a folder, all of it or nothing. Another process may write the same at the same time.

        Raises:
            OSError: it can't be written.
        """
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".part-", dir=folder.parent))
        try:
            arrays: dict[str, NDArray[Any]] = {"text": self.text, "ends": self.ends}
            for name, column in self.columns.items():
                arrays |= {name: column.hashes, f"{name}_rows": column.rows}
            if self.by is not None:
                arrays |= self.by._asdict()
            for name, array in arrays.items():
                with (part / f"{name}.npy").open("wb") as file:
                    np.save(file, array, allow_pickle=False)
                    _synced(file)
            with (part / ABOUT).open("w", encoding="utf-8") as text:
                json.dump(self.about.model_dump(), text)
                _synced(text)
            part.chmod(0o755)
            if not folder.exists():
                part.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
        finally:
            shutil.rmtree(part, ignore_errors=True)

    @classmethod
    def load(cls, folder: Path) -> Part:
        """Map what `save` wrote.

        Raises:
            FileNotFoundError: there is no such part.
            SourceError: it is damaged.
        """
        try:
            about = About.model_validate_json((folder / ABOUT).read_bytes())
            arrays = {file.stem: np.load(file, mmap_mode="r", allow_pickle=False) for file in folder.glob("*.npy")}
            columns = {
                name: Column(_shaped(arrays[name], np.uint8, width), _shaped(arrays[f"{name}_rows"], np.uint32))
                for name, width in WIDTHS.items()
            }
            by = None
            if "order" in arrays:
                by = Bands(
                    _shaped(arrays["order"], np.uint32, len(columns["pdq"].hashes)),
                    _shaped(arrays["starts"], np.uint32, BUCKETS + 1),
                    _shaped(arrays["half"], np.uint8, 16),
                )
            text, ends = _shaped(arrays["text"], np.uint8), _shaped(arrays["ends"], np.uint64)
            if any(len(one.rows) not in (0, len(one.hashes)) for one in columns.values()):
                raise ValueError("hashes without pictures")
        except (ValueError, ValidationError, KeyError, EOFError, FileNotFoundError) as error:
            if not folder.is_dir():  # it was replaced while it was read
                raise FileNotFoundError(folder) from error
            raise SourceError(f"{folder} is damaged: {' '.join(str(error).split())[:200]}; delete it") from None
        return cls(about, columns, by, text, ends)


def _whole(hashes: NDArray[np.uint8]) -> NDArray[np.void]:
    """Hashes `[M, width]` as `[M]` values that sort and compare as bytes."""
    return np.ascontiguousarray(hashes).view(f"V{hashes.shape[1]}").ravel()


def _shaped(array: NDArray[Any], kind: Any, width: int = 0) -> NDArray[Any]:
    if array.dtype != kind or array.shape[1:] != ((width,) if width else ()) or array.ndim != (2 if width else 1):
        raise ValueError(f"an array of {array.dtype} {list(array.shape)}")
    return array


def _synced(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
