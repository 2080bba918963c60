"""The store of editions: a folder or fsspec URL in which finished files never change.

    objects/<sha256>.tar|parquet    shards and tables, named by their content
    units/<unit key>.json           receipts; a unit is done if its receipt exists
    measures/<key>.json             the same for tables of measurements and scores
    editions/<name>/<version>/      manifest.json, the card, ledgers/, and data/ linking to the shards under readable
                                    names; see `variorum.edition.editions`
    tmp/                            files being written; swept when their process is gone

A file is written as a temporary file, synced, and renamed to the hash of its content. Then its receipt is written,
unless there is one: the loser of a race takes the winner's receipt. After a `kill -9` at any point, the same command
completes the store.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import secrets
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from pydantic import BaseModel, ValidationError

from variorum.edition.shards import naming
from variorum.machine.cache import cache_dir
from variorum.machine.progress import Advance
from variorum.schemas.errors import CorruptShard, StoreError
from variorum.schemas.manifest import Receipt, ShardInfo

M = TypeVar("M", bound=BaseModel)
_counter = itertools.count()
_PROCESS = f"{secrets.token_hex(4)}."
"""Distinguishes this process from an earlier one with the same id; in containers every process may have id 1."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Sizes of a store's objects at one moment, by file name."""

    sizes: Mapping[str, int]

    def holds(self, files: Iterable[tuple[ShardInfo, str]]) -> bool:
        """Whether all of these files, each with its suffix, exist with the right size."""
        return all(self.sizes.get(info.sha256 + suffix) == info.size for info, suffix in files)


class Store:
    """A store at a local path or an fsspec URL (`s3://bucket/prefix`).

    Args:
        url: the store's folder or URL; a writable store is created if missing.
        writable: False for a store that is only read, which may be on a read-only disk.

    Raises:
        StoreError: it can't be created or written. Checked here rather than after the work.
    """

    def __init__(self, url: str, *, writable: bool = True) -> None:
        import fsspec.core

        if not url.strip():
            raise StoreError("a store needs a folder or a URL, not an empty name; the default is `store`")
        self.url = url
        try:
            self.fs, self.root = fsspec.core.url_to_fs(url, use_listings_cache=False)  # others write too
        except (ValueError, ImportError) as error:
            raise StoreError(f"store {url}: {error}; give a folder or a URL that fsspec knows") from None
        self.local = Path(self.root) if "file" in _protocols(self.fs) else None
        self.scratch = (self.local or cache_dir() / "stores" / hashlib.sha256(url.encode()).hexdigest()[:16]) / "tmp"
        if not writable:
            return
        try:
            self.scratch.mkdir(parents=True, exist_ok=True)
            with self.temporary(".probe") as probe:
                probe.write_bytes(b"")
            if not self.local:
                self.fs.pipe_file(f"{self.root}/.probe", b"")
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise StoreError(f"store {url}: can't be written ({why}); choose another place with --store") from error
        self._sweep()

    def can_write(self) -> bool:
        """Whether this process may write here, as far as known without trying."""
        return not self.local or os.access(self.local, os.W_OK)

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def temporary(self, suffix: str) -> Iterator[Path]:
        """A path for a file being written; if it still exists after the `with` block, it is removed.

        Errors of files in the store are explained. Errors of other files, raised by code in the `with` block, are
        passed on.
        """
        name = f"{socket.gethostname()}-{os.getpid()}-{_PROCESS}{next(_counter)}{suffix}"
        path = self.scratch / name
        try:
            with self.explained(only_inside=True):
                self.scratch.mkdir(parents=True, exist_ok=True)
                yield path
        finally:
            path.unlink(missing_ok=True)

    def keep(self, path: Path, *, sha256: str, samples: int) -> ShardInfo:
        """Move a finished, synced file to its place by content; this replaces a damaged one."""
        info = ShardInfo(sha256=sha256, size=path.stat().st_size, samples=samples)
        target = self.object(info, path.suffix)
        with self.explained():
            if self.local:
                final = Path(target)
                final.parent.mkdir(parents=True, exist_ok=True)
                path.replace(final)
                _sync_folder(final.parent)
            else:
                self.fs.put_file(str(path), target)
        return info

    def keep_bytes(self, data: bytes, suffix: str, *, samples: int) -> ShardInfo:
        """`keep` for content in memory."""
        with self.temporary(suffix) as path:
            _write_synced(path, data)
            return self.keep(path, sha256=hashlib.sha256(data).hexdigest(), samples=samples)

    def path(self, info: ShardInfo, suffix: str = ".tar") -> Path:
        """A local path to an object, downloaded and checked first when the store is remote.

        Raises:
            CorruptShard: it is missing, or its size or downloaded content doesn't match its name.
        """
        target = self.object(info, suffix)
        if self.local:
            local = Path(target)
        else:
            local = self.scratch.parent / "objects" / (info.sha256 + suffix)
            if not local.exists():
                local.parent.mkdir(parents=True, exist_ok=True)
                with self.temporary(suffix) as path:
                    self.fs.get_file(target, str(path))
                    if hash_file(path) != info.sha256:
                        raise CorruptShard(
                            f"{target}: downloaded content doesn't match its name; delete it and run the recipe again"
                        )
                    path.replace(local)
        if not local.exists() or local.stat().st_size != info.size:
            found = f"{local.stat().st_size} bytes" if local.exists() else "no file"
            raise CorruptShard(f"{local}: {found} where {info.size} bytes should be; run the recipe again to remake it")
        return local

    def damaged(self, info: ShardInfo, suffix: str, why: object) -> CorruptShard:
        """The error for an object that can't be read. Removes the object if its content doesn't match its name."""
        path = self.path(info, suffix)
        if hash_file(path) == info.sha256:
            return CorruptShard(f"{path}: can't be read ({why}), though it is as it was written")
        path.unlink()
        return CorruptShard(f"{path}: was damaged ({why}) and is removed; run the same command again to remake it")

    def has(self, files: Iterable[tuple[ShardInfo, str]]) -> bool:
        """Whether all of these files, each with its suffix, exist with the right size; one request per file."""
        try:
            return all(self.fs.size(self.object(info, suffix)) == info.size for info, suffix in files)
        except FileNotFoundError:
            return False

    def listing(self) -> Listing:
        """Names and sizes of all objects, found in one request rather than one per object."""
        folder = f"{self.root}/objects"
        if not self.local:
            found = self.fs.find(folder, detail=True)
            return Listing({str(path).rsplit("/", 1)[-1]: int(info["size"]) for path, info in found.items()})
        try:
            with os.scandir(folder) as entries:
                return Listing({entry.name: entry.stat().st_size for entry in entries})
        except FileNotFoundError:
            return Listing({})

    def hash(self, info: ShardInfo, suffix: str, advance: Advance = lambda _: None) -> str:
        """sha256 of an object in the store itself, not of a local copy.

        Raises:
            CorruptShard: it is missing.
        """
        target = self.object(info, suffix)
        try:
            with self.fs.open(target, "rb") as file:
                return hash_stream(file, advance)
        except FileNotFoundError:
            raise CorruptShard(f"{target}: no such file; run the recipe again to remake it") from None

    def object(self, info: ShardInfo, suffix: str) -> str:
        """Path of an object in the store's file system."""
        return f"{self.root}/objects/{info.sha256}{suffix}"

    # ── receipts ─────────────────────────────────────────────────────────────────────────────────────────────────

    def receipt(self, unit: str) -> Receipt | None:
        """The unit's receipt, or None. Doesn't check that its files exist."""
        return self.read_json(f"units/{unit}.json", Receipt)

    def put_receipt(self, receipt: Receipt) -> Receipt:
        """Store a receipt, which marks its unit as done. If another process was first, returns that one's receipt."""
        name = f"units/{receipt.unit}.json"
        if self.put_if_absent(name, receipt.model_dump_json(indent=1).encode()):
            return receipt
        winner = self.receipt(receipt.unit)
        if winner is None or not self.has(winner.files()):  # its files have been deleted since
            self.put(name, receipt.model_dump_json(indent=1).encode())
            return receipt
        return winner

    def table(self, key: str) -> ShardInfo | None:
        """The table stored under a key, or None. Doesn't check that its file exists."""
        return self.read_json(f"measures/{key}.json", ShardInfo)

    def put_table(self, key: str, info: ShardInfo) -> None:
        """Store under a key which table belongs to it."""
        self.put(f"measures/{key}.json", info.model_dump_json().encode())

    # ── small files ──────────────────────────────────────────────────────────────────────────────────────────────

    def read_json(self, name: str, kind: type[M]) -> M | None:
        """A small JSON file under the store's root as a model, or None. Raises CorruptShard for other content."""
        path = f"{self.root}/{name}"
        try:
            data = self.fs.cat_file(path)
        except FileNotFoundError:
            return None
        try:
            return kind.model_validate_json(data)
        except ValidationError:
            raise CorruptShard(f"{path}: not a {kind.__name__.lower()}; delete it and run the recipe again") from None

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Write a small file unless it exists; returns whether it was written."""
        path = f"{self.root}/{name}"
        if not self.local:
            try:
                self.fs.pipe_file(path, data, mode="create")
            except FileExistsError:
                return False
            return True
        final = Path(path)
        with self.temporary(".json") as temp:
            final.parent.mkdir(parents=True, exist_ok=True)
            _write_synced(temp, data)
            try:
                os.link(temp, final)
            except FileExistsError:
                return False
        _sync_folder(final.parent)
        return True

    def put(self, name: str, data: bytes) -> None:
        """Write a small file atomically, replacing an existing one."""
        path = f"{self.root}/{name}"
        if not self.local:
            self.fs.pipe_file(path, data)
            return
        final = Path(path)
        with self.temporary(".part") as temp:
            final.parent.mkdir(parents=True, exist_ok=True)
            _write_synced(temp, data)
            temp.replace(final)
        _sync_folder(final.parent)

    def _sweep(self) -> None:
        """Remove unfinished files of this host's processes that have ended."""
        host = socket.gethostname()
        for path in self.scratch.iterdir():
            owner, _, token = path.name.rpartition("-")
            owner, _, pid = owner.rpartition("-")
            if owner != host or not pid.isdigit():
                continue
            ours = int(pid) == os.getpid()
            if not token.startswith(_PROCESS) if ours else not _alive(int(pid)):
                path.unlink(missing_ok=True)

    @contextmanager
    def explained(self, *, only_inside: bool = False) -> Iterator[None]:
        """Turn an `OSError` of the store into a StoreError that says what to do; other errors are passed on."""
        try:
            yield
        except OSError as error:
            places = (str(self.scratch), str(self.root))
            if only_inside and not str(error.filename or "").startswith(places):
                raise
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                why = "no space left; what is finished is kept: free some and run the same command again"
            elif (
                isinstance(error, PermissionError | NotADirectoryError | FileExistsError) or error.errno == errno.EROFS
            ):
                why = f"can't be written ({error.strerror}); choose another place with --store"
            else:
                raise
            raise StoreError(f"store {self.url}: {why}") from error


def hash_file(path: Path, advance: Advance = lambda _: None) -> str:
    """sha256 of a file, read in pieces; `advance` is called with each piece's size."""
    with path.open("rb") as file:
        return hash_stream(file, advance)


def hash_stream(file: IO[bytes], advance: Advance = lambda _: None) -> str:
    """sha256 of an open file, read in pieces."""
    digest = hashlib.sha256()
    while piece := file.read(1 << 20):
        digest.update(piece)
        advance(len(piece))
    return digest.hexdigest()


def _protocols(fs: object) -> tuple[str, ...]:
    protocol = getattr(fs, "protocol", ())
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


def _write_synced(path: Path, data: bytes) -> None:
    with naming(path), path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
