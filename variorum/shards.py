"""WebDataset shards, written to the byte and read without a copy.

The writer is ours because an edition is its bytes: plain ustar, no clock, no user, members in a fixed order, the
sha256 of the whole file computed on the way. Any tar reader reads the result; `read_shard` reads these files only,
from a memory map, and calls anything else corrupt.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from schemas.errors import CorruptShard, StoreError

BLOCK = 512
MAX_NAME = 100
MAX_MEMBER = 8**11 - 1

# ustar: name 100, mode 8, uid 8, gid 8, size 12, mtime 12, checksum 8, type 1, link 100, magic 6, version 2, ...
_AFTER_NAME = b"0000644\x00" + b"0000000\x00" * 2
_AFTER_SIZE = b"00000000000\x00"
_AFTER_SUM = b"0" + bytes(100) + b"ustar\x0000" + bytes(247)
_CONSTANT_SUM = sum(_AFTER_NAME) + sum(_AFTER_SIZE) + sum(_AFTER_SUM) + 8 * ord(" ")
_PADDING = bytes(BLOCK)
_END = bytes(2 * BLOCK)
_FLUSH = 1 << 20


class ShardWriter:
    """Writes one shard. `close`, or leaving the `with` block, makes `sha256` and `size` final.

    Keys hold no dot and no slash, every sample has the same members, and the members of a sample are adjacent:
    loaders misread shards that break any of these, silently.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.samples = 0
        self.size = 0
        self.sha256 = ""
        self._members: tuple[str, ...] | None = None
        self._hash = hashlib.sha256()
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        self._pending: list[bytes] = []
        self._pending_size = 0

    def write(self, key: str, members: Mapping[str, bytes]) -> int:
        """Append one sample.

        Args:
            key: the sample's name.
            members: file ending (`png`, `mask.png`, `json`) to content.

        Returns:
            The byte at which the sample begins; `sample_at` reads it back.

        Raises:
            StoreError: for a key or a set of members that loaders would misread.
        """
        if not key or "." in key or "/" in key:
            raise StoreError(f"shard key {key!r}: must be non-empty and hold no dot and no slash")
        endings = tuple(sorted(members))
        if self._members is None:
            self._members = endings
        elif endings != self._members:
            raise StoreError(
                f"sample {key} has members {', '.join(endings)}; the shard's other samples have "
                f"{', '.join(self._members)}: all must have the same"
            )
        start = self.size
        for ending in endings:
            data = members[ending]
            self._append(_header(f"{key}.{ending}", len(data)), data)
            if rest := len(data) % BLOCK:
                self._append(_PADDING[rest:])
        self.samples += 1
        if self._pending_size >= _FLUSH:
            self._flush()
        return start

    def _append(self, *parts: bytes) -> None:
        for part in parts:
            self._hash.update(part)
            self.size += len(part)
            self._pending_size += len(part)
        self._pending.extend(parts)

    def _flush(self) -> None:
        parts = [memoryview(part) for part in self._pending]
        while parts:
            batch = parts[:512]  # IOV_MAX is 1024 on Linux, 16 in POSIX's promise
            written = os.writev(self._fd, batch)
            while parts and written >= len(parts[0]):
                written -= len(parts[0])
                del parts[0]
            if written:
                parts[0] = parts[0][written:]
        self._pending.clear()
        self._pending_size = 0

    def close(self) -> None:
        """Finish the file: after this `sha256` and `size` are final and the bytes are on disk."""
        if self._fd < 0:
            return
        try:
            self._append(_END)
            self._flush()
            os.fsync(self._fd)
            self.sha256 = self._hash.hexdigest()
        finally:
            self._release()

    def _release(self) -> None:
        descriptor, self._fd = self._fd, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._release()


def _header(name: str, size: int) -> bytes:
    raw = name.encode()
    if len(raw) > MAX_NAME or size > MAX_MEMBER:
        raise StoreError(f"shard member {name!r} of {size} bytes: names go to {MAX_NAME} bytes, members to 8 GiB")
    octal = b"%011o\x00" % size
    checksum = _CONSTANT_SUM + sum(raw) + sum(octal)
    return b"".join((raw.ljust(MAX_NAME, b"\0"), _AFTER_NAME, octal, _AFTER_SIZE, b"%06o\x00 " % checksum, _AFTER_SUM))


def read_shard(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Samples of a shard in order, as (key, {ending: content}).

    Raises:
        CorruptShard: for a file that `ShardWriter` can't have written, naming the offset.
    """
    with _mapped(path) as data:
        offset = 0
        while offset + BLOCK <= len(data) and data[offset] != 0:
            key, members, offset = _sample(path, data, offset)
            yield key, members
        if data[offset : offset + 2 * BLOCK] != _END:
            raise CorruptShard(f"{path}: no end-of-archive mark at byte {offset}; the file is cut short")


def sample_at(path: Path, start: int) -> tuple[str, dict[str, bytes]]:
    """The one sample that begins at byte `start`, as (key, {ending: content}); the rest of the shard isn't read."""
    with _mapped(path) as data:
        if not 0 <= start <= len(data) - BLOCK or data[start] == 0:
            raise CorruptShard(f"{path}: no sample at byte {start}")
        key, members, _ = _sample(path, data, start)
        return key, members


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    if path.stat().st_size == 0:
        raise CorruptShard(f"{path}: empty file")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def _sample(path: Path, data: mmap.mmap, offset: int) -> tuple[str, dict[str, bytes], int]:
    """Key and members of the sample at `offset`, and where the next one begins."""
    key, members, end = "", dict[str, bytes](), len(data)
    while offset + BLOCK <= end and data[offset] != 0:
        header = data[offset : offset + BLOCK]
        stem, dot, ending = header[:MAX_NAME].rstrip(b"\0").decode("ascii", "replace").partition(".")
        if header[156:157] != b"0" or not dot or not header[124:135].isdigit():
            raise CorruptShard(f"{path}: no shard member at byte {offset}")
        if members and stem != key:
            break
        size = int(header[124:135], 8)
        if offset + BLOCK + size > end:
            raise CorruptShard(f"{path}: {stem}.{ending} at byte {offset} is cut short")
        key = stem
        members[ending] = data[offset + BLOCK : offset + BLOCK + size]
        offset += BLOCK + -(-size // BLOCK) * BLOCK
    return key, members, offset
