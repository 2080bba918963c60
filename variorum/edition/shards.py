"""WebDataset shards: a writer whose output is the same to the byte, and a reader on a memory map.

An edition is identified by its bytes. So the writer makes plain ustar without times and users, with members in a fixed
order, and computes the sha256 of the file on the way. Any tar reader can read the result. `read_shard` accepts only
files of this writer and reports anything else as corrupt.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from variorum.schemas.errors import CorruptShard, StoreError
from variorum.schemas.fields import ENDING

BLOCK = 512
PICTURES = ("avif", "bmp", "gif", "jp2", "jpg", "png", "ppm", "tif", "webp")
"""Endings of the member with the picture; `mask.png` and other endings with a dot are further members."""
ANNOTATIONS = "annotations.json"
"""Member with objects, texts and the states of labels, in editions whose source or generators have annotations."""
MAX_NAME = 100
MAX_MEMBER = 8**11 - 1
KEY = re.compile(r"[A-Za-z0-9_-]+")
MOST_OPEN = 64
"""Shards that `OpenShards` keeps open."""
OCTAL = re.compile(rb"[0-7]{11}")

# ustar: name 100, mode 8, uid 8, gid 8, size 12, mtime 12, checksum 8, type 1, link 100, magic 6, version 2, ...
_AFTER_NAME = b"0000644\x00" + b"0000000\x00" * 2
_AFTER_SIZE = b"00000000000\x00"
_AFTER_SUM = b"0" + bytes(100) + b"ustar\x0000" + bytes(247)
_CONSTANT_SUM = sum(_AFTER_NAME) + sum(_AFTER_SIZE) + sum(_AFTER_SUM) + 8 * ord(" ")
_PADDING = bytes(BLOCK)
_END = bytes(2 * BLOCK)
_FLUSH = 1 << 20


class ShardWriter:
    """Writes one shard. `sha256` and `size` are final after `close`, or after the `with` block.

    Keys are unique and have neither dots nor slashes, endings are lower case, the members of a sample are adjacent, and
    all samples have the same members, except that their pictures may be of several formats. Loaders silently misread
    shards that break any of these rules.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.samples = 0
        self.size = 0
        self.sha256 = ""
        self._keys: set[str] = set()
        self.members: tuple[str, ...] = ()
        """File endings of the samples, sorted; empty before the first sample."""
        self._seen: list[tuple[str, ...]] = []
        self._hash = hashlib.sha256()
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        self._pending: list[bytes] = []
        self._pending_size = 0

    def write(self, key: str, members: Mapping[str, bytes]) -> int:
        """Append one sample.

        Args:
            key: the sample's name: ASCII letters, digits, `_` and `-`.
            members: file ending (`png`, `mask.png`, `json`) to content, at least one.

        Returns:
            The byte offset of the sample, for `sample_at`.

        Raises:
            StoreError: loaders would misread this key or set of members.
        """
        if not KEY.fullmatch(key):
            raise StoreError(f"shard key {key!r}: only ASCII letters, digits, _ and - are allowed")
        if key in self._keys:
            raise StoreError(f"shard key {key!r}: occurs twice; a component gave two samples the same id")
        endings = tuple(sorted(members))
        if endings not in self._seen:
            self._check_endings(key, endings)
            if self._seen and shape(endings) != shape(self._seen[0]):
                raise StoreError(
                    f"sample {key} has members {', '.join(endings)}; the shard's other samples have "
                    f"{', '.join(self._seen[0])}: all must have the same, apart from the picture's format; a generator "
                    "passes on those of its input with extras=sample.extras"
                )
            self._seen.append(endings)
            self.members = tuple(sorted({*self.members, *endings}))
        start = self.size
        for ending in endings:
            if len(key) + 1 + len(ending) > MAX_NAME or len(members[ending]) > MAX_MEMBER:
                raise StoreError(
                    f"shard member {key}.{ending}: the limits are {MAX_NAME} bytes for a name and 8 GiB for the content"
                )
        for ending in endings:
            data = members[ending]
            self._append(_header(f"{key}.{ending}", len(data)), data)
            if rest := len(data) % BLOCK:
                self._append(_PADDING[rest:])
        self._keys.add(key)
        self.samples += 1
        if self._pending_size >= _FLUSH:
            self._flush()
        return start

    def _check_endings(self, key: str, endings: tuple[str, ...]) -> None:
        if not endings:
            raise StoreError(f"sample {key} has no members, so loaders would skip it")
        if wrong := [ending for ending in endings if not ENDING.fullmatch(ending)]:
            raise StoreError(
                f"sample {key}: file ending {wrong[0]!r}: only lower-case letters, digits, _ - . are allowed"
            )

    def _append(self, *parts: bytes) -> None:
        for part in parts:
            self._hash.update(part)
            self.size += len(part)
            self._pending_size += len(part)
        self._pending.extend(parts)

    def _flush(self) -> None:
        parts = [memoryview(part) for part in self._pending]
        while parts:
            batch = parts[:512]  # IOV_MAX is 1024 on Linux; POSIX guarantees 16
            with naming(self.path):
                written = os.writev(self._fd, batch)
            while parts and written >= len(parts[0]):
                written -= len(parts[0])
                del parts[0]
            if written:
                parts[0] = parts[0][written:]
        self._pending.clear()
        self._pending_size = 0

    def close(self) -> None:
        """Finish the file and sync it to disk. `sha256` and `size` are final after this."""
        if self._fd < 0:
            return
        try:
            self._append(_END)
            self._flush()
            with naming(self.path):
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


def shape(endings: Iterable[str]) -> list[str]:
    """A sample's members for comparison with others: sorted, each picture as `picture`, whatever its format."""
    return sorted("picture" if ending in PICTURES else ending for ending in endings)


def alike(members: Iterable[Sequence[str]], where: str) -> list[str]:
    """File endings of several shards' samples together, sorted. Loaders need the same members in all shards.

    Raises:
        StoreError: shards differ in more than the formats of their pictures.
    """
    found = [endings for endings in members if endings]
    sets = sorted({tuple(sorted(set(shape(endings)))) for endings in found})
    if len(sets) > 1:
        listed = "; ".join(", ".join(endings) for endings in sets)
        raise StoreError(
            f"{where}: shards differ in their samples' members ({listed}); a source must give all or none an extra, "
            f"and a generator passes on those of its input with extras=sample.extras"
        )
    return sorted({ending for endings in found for ending in endings})


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the file's name to an `OSError` of a call that knows only the descriptor."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _header(name: str, size: int) -> bytes:
    raw = name.encode()
    octal = b"%011o\x00" % size
    checksum = _CONSTANT_SUM + sum(raw) + sum(octal)
    return b"".join((raw.ljust(MAX_NAME, b"\0"), _AFTER_NAME, octal, _AFTER_SIZE, b"%06o\x00 " % checksum, _AFTER_SUM))


def read_shard(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Samples of a shard in order, as (key, {ending: content}).

    Raises:
        CorruptShard: `ShardWriter` can't have written this file; the message has the offset.
    """
    with _map(path) as data:
        offset, keys, form = 0, set[str](), list[str]()
        while offset + BLOCK <= len(data) and data[offset] != 0:
            start = offset
            key, members, offset = _sample(path, data, start)
            mine = shape(members)
            form = form or mine
            if key in keys or mine != form:
                odd = "is there twice" if key in keys else "has other members than the samples before it"
                raise CorruptShard(f"{path}: {key}, at byte {start}, {odd}")
            keys.add(key)
            yield key, members
        if len(data) - offset != len(_END) or data[offset:] != _END:
            raise CorruptShard(f"{path}: no end-of-archive mark at byte {offset}, or more data after it")


def sample_at(path: Path, start: int) -> tuple[str, dict[str, bytes]]:
    """The sample at byte `start`, as (key, {ending: content}), without reading the rest of the shard.

    Raises:
        CorruptShard: no sample begins there.
    """
    with _map(path) as data:
        return _sample_at(path, data, start)


class OpenShards:
    """Reads single samples of shards that stay open, in a third of the time that `sample_at` takes.

    Copies in other processes, by fork or pickle, open the files themselves.
    """

    def __init__(self) -> None:
        self._maps: dict[Path, mmap.mmap] = {}

    def sample_at(self, path: Path, start: int) -> tuple[str, dict[str, bytes]]:
        """The sample at byte `start` of a shard, as `sample_at` gives it. Raises CorruptShard as that does."""
        data = self._maps.get(path)
        if data is None:
            data = _map(path)
            while len(self._maps) >= MOST_OPEN:
                self._maps.pop(next(iter(self._maps)), None)  # closed when no thread reads it any more
            self._maps[path] = data
        return _sample_at(path, data, start)

    def __getstate__(self) -> dict[str, dict[Path, mmap.mmap]]:
        return {"_maps": {}}


def stored_size(members: Mapping[str, bytes]) -> int:
    """Bytes that a sample takes in a shard, so that the next one begins this many bytes after it."""
    return sum(BLOCK + -(-len(data) // BLOCK) * BLOCK for data in members.values())


def _map(path: Path) -> mmap.mmap:
    if path.stat().st_size == 0:
        raise CorruptShard(f"{path}: empty file")
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _sample_at(path: Path, data: mmap.mmap, start: int) -> tuple[str, dict[str, bytes]]:
    if not 0 <= start <= len(data) - BLOCK or data[start] == 0:
        raise CorruptShard(f"{path}: no sample at byte {start}")
    key, members, _ = _sample(path, data, start)
    return key, members


def _sample(path: Path, data: mmap.mmap, offset: int) -> tuple[str, dict[str, bytes], int]:
    """Key and members of the sample at `offset`, and the offset of the next one."""
    key, members, end = "", dict[str, bytes](), len(data)
    while offset + BLOCK <= end:
        if members and data[offset] == 0:
            return key, members, offset
        header = data[offset : offset + BLOCK]
        name, digits = header[:MAX_NAME].rstrip(b"\0").decode("latin-1"), header[124:135]
        stem, _, ending = name.partition(".")
        if members and stem != key:
            return key, members, offset
        named = KEY.fullmatch(stem) and ENDING.fullmatch(ending) and ending not in members
        if not named or not OCTAL.fullmatch(digits) or header != _header(name, size := int(digits, 8)):
            raise CorruptShard(f"{path}: no shard member at byte {offset}")
        key, start, offset = stem, offset + BLOCK, offset + BLOCK + -(-size // BLOCK) * BLOCK
        members[ending] = data[start : start + size]
    # in a finished shard the next sample or the end mark follows, so this sample may lack members
    raise CorruptShard(f"{path}: {key} is cut short at byte {end}")
