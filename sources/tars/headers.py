"""The headers of a tar, one after the other: what each member is called, where it lies and how long it is.

ustar, GNU and PAX archives are read. `tarfile` reads them too, but takes ten times as long and holds every header.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import Literal, NamedTuple, Protocol

BLOCK = 512
_ZEROS = bytes(BLOCK)
_LONGEST_NAME = 1 << 20
"""Bytes of an extended header. A longer one is damage, and isn't worth the memory."""
_LONGEST_COMMON_NAME = 4096
"""Bytes of a name that all members get. A longer one would make a few bytes a member take much memory."""
_LONGEST_MEMBER = 1 << 62
_STEP = 1 << 20

COMPRESSED = {
    b"\x1f\x8b": ("gzip", "gunzip"),
    b"BZh": ("bzip2", "bunzip2"),
    b"\xfd7zXZ\0": ("xz", "unxz"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
}
"""First bytes of compressed files, with the format's name and the program that unpacks it."""

_PAX_NEEDED = re.compile(rb"path=|size=|GNU\.sparse\.")
"""What matters in PAX headers. `webdataset` writes one for every member, with nothing but the time in it."""
_SPARSE = "GNU.sparse."
"""Start of the keys that sparse files have; stands for all of them."""
_PAX_RECORD = re.compile(rb"(\d{1,20}) ([^=]+)=")

Kind = Literal["file", "other", "cut", "lost", "unmarked", "more"]


class Member(NamedTuple):
    """A member, or what is wrong with the archive's end.

    `kind` is `file` for a regular file and `other` for a link, a device or a sparse file, which hold no plain content;
    folders are left out. The last item may be a remark without a name: `cut` if the archive breaks off at `offset`,
    `unmarked` if only its end mark is missing, `more` if data follow the end mark.
    """

    name: str
    offset: int
    size: int
    kind: Kind


class Bytes(Protocol):
    """A file that is read forwards."""

    total: int
    """Its length. That of a stream is known when a read comes out short."""

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on, fewer at the end. Offsets never decrease."""


class NotTar(ValueError):
    """A file is no tar, or is one that must be unpacked first; the message says which."""


class _Broken(Exception):
    """A header can't be what it is taken for."""


def walk(data: Bytes) -> Iterator[Member]:
    """The members in their order, and a remark if the archive doesn't end as it should.

    Raises:
        NotTar: the file doesn't begin with a tar header.
    """
    offset, end = 0, 0  # of the next header, and of the content of the last member
    extended = False  # whether the last header only extends the next
    pax: dict[str, str] = {}
    for_all: dict[str, str] = {}
    while True:
        header = data.read(offset, BLOCK)
        if len(header) < BLOCK:
            if not offset:
                raise NotTar(_strange(header))
            # a last member without its padding is whole all the same
            yield Member("", offset, 0, "cut" if end > data.total else "lost" if header or extended else "unmarked")
            return
        if header == _ZEROS:
            if not _only_zeros(data, offset + BLOCK):
                yield Member("", offset, 0, "more")
            return
        try:
            if not _sums_up(header):
                raise _Broken
            kind, size = header[156:157], _number(header[124:136])
            start = offset + BLOCK
            if kind in b"xXgLK":
                content = data.read(start, size) if size <= _LONGEST_NAME else b""
                if len(content) < size:
                    raise _Broken
                if kind == b"L":
                    pax["path"] = _text(content.partition(b"\0")[0])
                elif kind != b"K" and _PAX_NEEDED.search(content):
                    found = _pax(content)
                    if kind == b"g" and len(found.get("path", "")) > _LONGEST_COMMON_NAME:
                        raise _Broken
                    (for_all if kind == b"g" else pax).update(found)
                offset, extended = start + _padded(size), True
                continue
            if for_all:
                pax = for_all | pax
            size = _pax_size(pax) if "size" in pax else size
            name = pax.get("path") or _name(header)
            if kind in b"0\0" and name.endswith("/"):  # before POSIX, that was a folder
                kind = b"5"
            if kind == b"S":
                start = _after_sparse_map(data, header, start)
            sparse = kind == b"S" or _SPARSE in pax
            if kind in b"123456":  # links, devices and folders have no content, whatever their size says
                size = 0
        except _Broken:
            if not offset:
                raise NotTar(_strange(header)) from None
            yield Member("", offset, 0, "lost")
            return
        if kind != b"5":
            yield Member(name, start, size, "file" if kind in b"07\0" and not sparse else "other")
        pax, extended = {}, False
        offset, end = start + _padded(size), start + size


def _sums_up(header: bytes) -> bool:
    """Return whether the checksum fits: the sum of all bytes, with the checksum's own eight as spaces."""
    try:
        stored = int(header[148:156].strip(b" \0") or b"0", 8)
    except ValueError:
        return False
    # the lower half of Adler-32 is 1 + the sum of all bytes, modulo 65521; Python's own sum takes twenty times as long
    total = (zlib.adler32(header) & 0xFFFF) - 1 - sum(header[148:156]) + 8 * ord(" ")
    if (total - stored) % 65521 == 0:
        return True
    signed = sum(byte - 256 if byte > 127 else byte for byte in header[:148] + header[156:]) + 256
    return signed == stored  # some old programs added signed bytes


def _number(field: bytes) -> int:
    """A size: octal digits, or with a first byte of 128 a binary number."""
    if field[0] & 0x80:
        value = int.from_bytes(field[1:], "big") if field[0] == 0x80 else -1
    else:
        try:
            value = int(field.partition(b"\0")[0].strip() or b"0", 8)
        except ValueError:
            raise _Broken from None
    if not 0 <= value < _LONGEST_MEMBER:
        raise _Broken
    return value


def _pax_size(pax: dict[str, str]) -> int:
    text = pax["size"]
    if not (text.isascii() and text.isdecimal()) or len(text) > 20 or int(text) >= _LONGEST_MEMBER:
        raise _Broken
    return int(text)


def _name(header: bytes) -> str:
    name = header[:100].partition(b"\0")[0]
    if header[345] and header[257:263] == b"ustar\0":  # GNU archives keep times there
        name = header[345:500].partition(b"\0")[0] + b"/" + name
    return _text(name)


def _text(name: bytes) -> str:
    """A name as text; bytes that aren't UTF-8 are written as `\\xff`."""
    return name.decode("utf-8", "backslashreplace")


def _pax(content: bytes) -> dict[str, str]:
    """The records of a PAX header that matter: `<length of the record> <key>=<value>` and a newline."""
    found: dict[str, str] = {}
    position = 0
    while position < len(content) and content[position]:
        record = _PAX_RECORD.match(content, position)
        stop = position + int(record[1]) if record else 0
        if not record or not record.end() < stop <= len(content):
            raise _Broken
        key = record[2].decode("latin-1")
        if key in ("path", "size"):
            found[key] = _text(content[record.end() : stop - 1])
        elif key.startswith(_SPARSE):
            found[_SPARSE] = ""
        position = stop
    return found


def _after_sparse_map(data: Bytes, header: bytes, start: int) -> int:
    """Where the content of a sparse file in GNU's old format begins: its map may go on in further blocks."""
    more = header[482]
    while more:
        block = data.read(start, BLOCK)
        if len(block) < BLOCK:
            raise _Broken
        more, start = block[504], start + BLOCK
    return start


def _only_zeros(data: Bytes, offset: int) -> bool:
    while rest := data.read(offset, _STEP):
        if rest.strip(b"\0"):
            return False
        offset += len(rest)
    return True


def _strange(header: bytes) -> str:
    """Name the kind of a file that begins with this instead of a tar's header."""
    if not header:
        return "is empty: 0 bytes; delete it, or write it again"
    for magic, (name, program) in COMPRESSED.items():
        if header.startswith(magic):
            return f"is compressed ({name}), so no picture can be read without all before it; unpack it with {program}"
    return "is no tar: it doesn't begin with a tar header"


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
