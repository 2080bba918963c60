"""Check the sizes of a parquet file's pages in their own headers, before any is unpacked.

Arrow unpacks a page as a whole, into as many bytes as its header says; the sizes in the file's footer may be others. A
page of a gigabyte can be packed into twenty kilobytes. The footer is read here too, as `pyarrow` ends the process when
it is asked for a column that a damaged footer doesn't describe.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

LARGEST, SWOLLEN = 128 << 20, 4
"""A page that takes more memory than both this many bytes and this many times its size in the file is refused. Most
writers end a page at 1 MiB, the others at 100 MB; what is larger holds pictures, which can't be packed."""
WHOLE, TIMES = 1 << 30, 1000
"""The same for a file that is read as a whole."""
HEADER, LONGEST = 1 << 10, 16 << 20
"""Bytes that a page's header takes usually, and at most."""
DEEPEST, MOST = 16, 1_000_000
"""Structs in each other, and values of a list, as Arrow allows them."""


class TooLarge(ValueError):
    """Packed data takes too much memory to be unpacked."""


class Chunk(NamedTuple):
    """A column in a row group.

    Attributes:
        path: as in `objects.list.element.category`.
        binary: whether it holds bytes that aren't known to be texts.
        values: how many.
        start, end: where its pages lie.
    """

    path: str
    binary: bool
    values: int
    start: int
    end: int


def check_pages(file: Path | BinaryIO) -> None:
    """Look at all pages of a file that is to be read as a whole; an open file is at its start afterwards.

    Raises:
        TooLarge: a page is too large, or all together take more than `WHOLE` and `TIMES` the file.
        ValueError: the footer or a page has no header that can be read.
        OSError: the file can't be read.
    """
    if isinstance(file, Path):
        with file.open("rb") as opened:
            return check_pages(opened)
    total = sum(chain.from_iterable(_pages(file, chunk) for group in read_chunks(file) for chunk in group))
    if total > max(WHOLE, TIMES * file.seek(0, 2)):
        raise TooLarge(f"it would take {total} bytes in memory, more than {TIMES} times its size")
    file.seek(0)
    return None


def largest_page(file: BinaryIO, chunks: Iterable[Chunk]) -> int:
    """Bytes of the largest page of these columns, once it is unpacked; 0 without one.

    Raises:
        TooLarge: a page is too large.
        ValueError: a page has no header that can be read.
    """
    return max(chain.from_iterable(_pages(file, chunk) for chunk in chunks), default=0)


def read_chunks(file: BinaryIO) -> list[list[Chunk]]:
    """The columns of each row group, from the footer. Raises ValueError if it doesn't describe each column."""
    size = file.seek(0, 2)
    file.seek(max(0, size - 8))
    length, mark = int.from_bytes(file.read(4), "little"), file.read(4)
    if mark != b"PAR1" or length > size - 8:
        raise ValueError("it has no footer")
    file.seek(size - 8 - length)
    try:
        footer = _Thrift(file.read(length)).struct()  # `FileMetaData` of parquet.thrift: its schema is 2, its groups 4
        leaves = [element for element in footer[2][1:] if not element.get(5)]
        found = [[_chunk(*one) for one in zip(group[1], leaves, strict=True)] for group in footer[4]]
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"its footer is damaged ({error or 'it is cut off'})") from None
    return found


def _chunk(chunk: dict[int, Any], leaf: dict[int, Any]) -> Chunk:
    """From a `ColumnChunk` and a `SchemaElement`; its pages are found as Arrow finds them."""
    column = chunk[3]
    binary = leaf[1] == 6 and 6 not in leaf and 10 not in leaf
    start, dictionary, values = int(column[9]), int(column.get(11, 0)), int(column[5])
    start = dictionary if 0 < dictionary < start else start
    return Chunk(b".".join(column[3]).decode("utf-8", "replace"), binary, values, start, start + int(column[7]))


def _pages(file: BinaryIO, chunk: Chunk) -> Iterator[int]:
    """Bytes of each page of a column in a row group, once it is unpacked."""
    at, seen = chunk.start, 0
    while seen < chunk.values and at < chunk.end:
        header, length = _header(file, at)
        try:  # data of version 1 or 2
            unpacked, packed = int(header[2]), int(header[3])
            values = sum(max(int(header[kind].get(1, 0)), 0) for kind in (5, 8) if kind in header)
        except (LookupError, TypeError, ValueError, AttributeError):
            raise ValueError(f"column {chunk.path[:200]} has a page with a damaged header") from None
        if unpacked < 0 or packed < 0:
            raise ValueError(f"column {chunk.path[:200]} has a page without a size")
        if unpacked > max(LARGEST, SWOLLEN * packed):
            raise TooLarge(
                f"column {chunk.path[:200]} has a page of {packed} bytes that would take {unpacked} in memory"
            )
        yield unpacked
        seen += values
        at += length + packed


def _header(file: BinaryIO, at: int) -> tuple[dict[int, Any], int]:
    """A `PageHeader`, and its length."""
    wanted = HEADER
    while True:
        file.seek(at)
        thrift = _Thrift(data := file.read(wanted))
        try:
            return thrift.struct(), thrift.at
        except LookupError:
            if len(data) < wanted or wanted >= LONGEST:
                raise ValueError("a page has a header that is damaged") from None
            wanted *= 16


class _Thrift:
    """A reader of values in Thrift's compact protocol. It raises LookupError where the data ends, or ValueError."""

    def __init__(self, data: bytes) -> None:
        self.at = 0
        self._data = data

    def struct(self, deep: int = DEEPEST) -> dict[int, Any]:
        """The values of a struct by their numbers."""
        if not deep:
            raise ValueError("its footer or a page's header is nested too deep")
        found, number = dict[int, Any](), 0
        while kind := self._byte():
            number = number + (kind >> 4) if kind >> 4 else self._whole()
            found[number] = kind & 15 == 1 if kind & 15 in (1, 2) else self._value(kind & 15, deep)
        return found

    def _value(self, kind: int, deep: int) -> Any:
        if kind in (1, 2, 3):
            return self._byte()
        if kind in (4, 5, 6):
            return self._whole()
        if kind in (7, 8):
            return self._bytes(8 if kind == 7 else self._varint())
        if kind in (9, 10):
            return list(self._list(deep))
        if kind == 12:
            return self.struct(deep - 1)
        raise ValueError("its footer or a page's header has a value of an unknown kind")  # parquet has no maps

    def _list(self, deep: int) -> Iterator[Any]:
        kind = self._byte()
        size = kind >> 4 if kind >> 4 < 15 else self._varint()
        if size > MOST:
            raise ValueError(f"its footer or a page's header has a list of {size} values")
        for _ in range(size):
            yield self._value(kind & 15, deep - 1)

    def _whole(self) -> int:
        coded = self._varint()
        return coded >> 1 ^ -(coded & 1)

    def _varint(self) -> int:
        found = shift = 0
        while (part := self._byte()) >= 128 and shift < 70:
            found |= (part & 127) << shift
            shift += 7
        return found | part << shift

    def _bytes(self, length: int) -> bytes:
        self.at += length
        if self.at > len(self._data):
            raise LookupError
        return self._data[self.at - length : self.at]

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]
