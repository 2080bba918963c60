"""The store of editions: a folder or fsspec URL in which finished files never change.

    objects/<sha256>.tar|parquet    shards and tables, named by their content; .part until a unit has all of its parts
    units/<unit key>.json           receipts; a unit is done if its receipt exists
    measures/<key>.json             the same for tables of measurements and scores; one record may name several
    editions/<name>/<version>/      manifest.json, the card, ledgers/, and in a folder data/ linking to the shards
                                    under readable names; see `variorum.edition.editions`
    tmp/                            files being written; `variorum.machine.workplace` says when they are swept
    damaged/                        what was found damaged and has been made again

A file is written as a temporary file, synced, and renamed to the hash of its content. Then its receipt is written,
unless there is one: the loser of a race takes the winner's receipt. After a `kill -9` at any point, the same command
completes the store.

A disk may damage what was written well. So each process hashes an object before it relies on it for the first time.

At a URL there are no renames: a file appears when its upload is complete, and a receipt is written under the condition
that there is none. `variorum.edition.bucket` has these operations.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import logging
import os
import pwd
import re
import shlex
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel

from variorum.edition import bucket, remote_errors
from variorum.edition.records import BadRecord, parse, to_json
from variorum.edition.shards import naming
from variorum.machine.cache import cache_dir
from variorum.machine.progress import QUIET, Advance, Progress
from variorum.machine.retrying import hash_content, may_pass, passing
from variorum.machine.together import AT_ONCE, each
from variorum.machine.workplace import sweep, workplace
from variorum.schemas.errors import CorruptShard, StoreError, VariorumError, cut
from variorum.schemas.manifest import Measured, Receipt, ShardInfo
from variorum.schemas.secrets import remember, shown

log = logging.getLogger(__name__)

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")
File = tuple[ShardInfo, str]
"""An object and its suffix, `.tar`, `.parquet` or `.part`."""

FEW = 16
"""Up to this many objects or records are looked up one by one; a listing takes as long as the store is large."""
MANY = 10_000
"""Beyond this many, a listing of a bucket is divided, and its parts are asked for at the same time."""
ONE_SLASH = re.compile(r"(s3a?|gs|gcs|https?|sftp):(?!//|.*://)")
"""What would be a folder and is meant as a URL."""
PROBE = ".probe"
"""An empty file of a remote store, by which a writable one is known."""
ALLOWED = "VARIORUM_STORES"
"""The variable with folders in which stores of other users may be written, separated as in `PATH`."""
LONG = 1 << 30
"""Bytes from which hashing is worth a progress report."""


class Store:
    """A store at a local path or an fsspec URL (`s3://bucket/prefix`).

    Args:
        url: the store's folder or URL; a writable store is created if missing.
        writable: False for a store that is only read, which may be on a read-only disk, or be another user's.
        trust: whether objects count as intact when they have the right size, without hashing them.

    Raises:
        StoreError: it can't be created or written, or is another user's. Checked here rather than after the work.
    """

    def __init__(self, url: str, *, writable: bool = True, trust: bool = False) -> None:
        if not url.strip():
            raise StoreError("a store needs a folder or a URL, not an empty name; the default is `store`")
        if "\0" in url:
            raise StoreError(f"store {cut(ascii(url))}: no folder has a null character in its name")
        if found := ONE_SLASH.match(url):
            raise StoreError(
                f"store {found[1]}:…: a URL has two slashes, {found[1]}://…; for a folder write ./{found[1]}:…"
            )
        remember(url)
        try:
            urlsplit(url)
        except ValueError as error:  # brackets where a host's name should be
            raise StoreError(f"store {cut(url)}: no folder or URL ({cut(str(error))})") from None
        self.url, self.writable, self.trust = url, writable, trust
        self._intact: set[str] = set()
        """Names of objects whose content this process has hashed or written."""
        self._gone: set[str] = set()
        """Listed objects that turned out missing; checked individually."""
        self._conditional = True
        """Whether a remote store writes a file only if there is none."""
        try:
            self.fs, self.root = bucket.opened(url)
            self.local = Path(self.root) if "file" in bucket.protocols(self.fs) else None
            with self.explained(reading=True):
                bucket.check(self.fs, self.root)
        except VariorumError:
            raise
        except Exception as error:  # file systems' errors have no common base
            raise self._unusable(error) from None
        here = hashlib.sha256(shown(url).encode(errors="surrogatepass")).hexdigest()[:16]
        self.scratch = (self.local or cache_dir() / "stores" / here) / "tmp"
        self._inside: set[Path] = set()
        """Folders that are known to lie in the store."""
        self._refused = _whose(self.local) if self.local else ""
        """Why a store of another user isn't written."""
        if not writable:
            return
        try:
            with self.temporary(PROBE) as probe:
                probe.write_bytes(b"")
            if not self.local:
                self._check_conditions()
                sweep(self.scratch.parent / "objects", "*.part")  # copies of parts of units that others have joined
            sweep(self.scratch)
        except VariorumError:
            raise
        except OSError as error:
            why = error.strerror or cut(str(error)) or type(error).__name__
            raise StoreError(f"{self}: can't be written ({why}); choose another place with --store") from error
        except Exception as error:
            raise self._unusable(error) from error

    def __str__(self) -> str:
        return f"store {shown(self.url)}"

    def _unusable(self, error: Exception) -> StoreError:
        why = cut(str(error)) or type(error).__name__
        return StoreError(f"{self}: {why}; give a folder or a URL that fsspec knows")

    def _check_conditions(self) -> None:
        """Find out whether several processes may write here at once."""
        with self.explained():
            self._conditional = bucket.writes_if_absent(self.fs, f"{self.root}/{PROBE}")
        if not self._conditional:
            log.warning(
                "%s: its server ignores the condition If-None-Match, so let only one process at a time write to it: of "
                "two at once, one may replace the other's ledger",
                self,
            )

    @property
    def theirs(self) -> bool:
        """Whether this is another user's and isn't allowed, so that what was measured there may be planted."""
        return bool(self._refused)

    def can_write(self) -> bool:
        """Return whether this process may write here, as far as known without trying."""
        return not self.local or (not self._refused and os.access(self.local, os.W_OK))

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def temporary(self, suffix: str) -> Iterator[Path]:
        """A path for a file being written; if it still exists after the `with` block, it is removed.

        Errors of files in the store are explained. Errors of other files, raised by code in the `with` block, are
        passed on.
        """
        with self.explained(only_inside=True):
            if self.local:
                self._check_inside(self.scratch)
            with workplace(self.scratch) as folder:
                yield folder / f"file{suffix}"

    def keep(self, path: Path, *, sha256: str, samples: int, near: bool = False) -> ShardInfo:
        """Move a finished, synced file to its place by content; this replaces a damaged one.

        Args:
            path: of the file.
            sha256: of its content.
            samples: in it.
            near: keep a copy on this machine if the store is remote, as it is read soon. Tables always have one.
        """
        info = ShardInfo(sha256=sha256, size=path.stat().st_size, samples=samples)
        target, name = self.object(info, path.suffix), sha256 + path.suffix
        with self.explained():
            if self.local:
                final = Path(target)
                self.make_folder(str(final.parent))
                path.replace(final)
                _sync_folder(final.parent)
            else:
                bucket.upload(self.fs, path, target)
                if near or path.suffix == ".parquet":  # all units' tables are read when an edition is sealed
                    self._copy_of(name).parent.mkdir(parents=True, exist_ok=True)
                    path.replace(self._copy_of(name))
        self._intact.add(name)
        self._gone.discard(name)
        return info

    def keep_bytes(self, data: bytes, suffix: str, *, samples: int) -> ShardInfo:
        """`keep` for content in memory."""
        with self.temporary(suffix) as path:
            _write_synced(path, data)
            return self.keep(path, sha256=hashlib.sha256(data).hexdigest(), samples=samples)

    def path(self, info: ShardInfo, suffix: str = ".tar", *, check: bool = True) -> Path:
        """A local path to an object, downloaded first when the store is remote.

        Args:
            info: of the object.
            suffix: of the object.
            check: whether to hash the content, at its first use in this process. Not needed by readers of single
                samples, which check those.

        Raises:
            CorruptShard: it is missing, or isn't what its name says.
        """
        target = self.object(info, suffix)
        local = Path(target) if self.local else self._downloaded(info, suffix)
        if not check and _size(local) == info.size:
            return local
        size = _size(local)
        if not self._sound(local, info, suffix):
            found = "no file" if size is None else f"{size} bytes where {info.size} bytes should be"
            found = "damaged: its content doesn't match its name" if size == info.size else found
            raise CorruptShard(f"{target}: {found}; run the recipe again to remake it")
        return local

    def _downloaded(self, info: ShardInfo, suffix: str) -> Path:
        """This machine's copy of a remote object; a damaged one is downloaded again."""
        name = info.sha256 + suffix
        local = self._copy_of(name)
        if not local.exists() or not self._sound(local, info, suffix):
            target = self.object(info, suffix)
            local.parent.mkdir(parents=True, exist_ok=True)
            with self.temporary(suffix) as path:
                try:
                    with self.explained(reading=True):
                        bucket.download(self.fs, target, path)
                except FileNotFoundError:
                    self._gone.add(name)
                    raise CorruptShard(f"{target}: no file; run the recipe again to remake it") from None
                if hash_content(path) != info.sha256:
                    self._gone.add(name)
                    raise CorruptShard(
                        f"{target}: downloaded content doesn't match its name; {self._set_aside(name)}run the recipe "
                        f"again to remake it"
                    )
                path.replace(local)
            self._intact.add(name)
        return local

    def _copy_of(self, name: str) -> Path:
        """Where this machine's copy of a remote object lies."""
        return self.scratch.parent / "objects" / name

    def _set_aside(self, name: str) -> str:
        """Move a damaged remote object to `damaged/`, so that it counts as missing; returns what is left to do."""
        if not self.writable:
            return "delete it and "
        with self.explained(), suppress(FileNotFoundError):
            self.fs.cp_file(f"{self.root}/objects/{name}", f"{self.root}/damaged/{name}")
            self.fs.rm_file(f"{self.root}/objects/{name}")
        return ""

    def damaged(self, info: ShardInfo, suffix: str, why: object) -> CorruptShard:
        """The error for an object that can't be read. Moves the object aside if its content doesn't match its name."""
        self._intact.discard(info.sha256 + suffix)
        path = self.path(info, suffix, check=False)
        if self._sound(path, info, suffix, trust=False):
            return CorruptShard(f"{path}: can't be read ({why}), though it is as it was written")
        return CorruptShard(f"{path}: damaged: its content doesn't match its name; run the recipe again to remake it")

    def whole(self, files: Iterable[File], progress: Progress = QUIET) -> bool:
        """Return whether all of these objects are there as they were written; see `sound`."""
        wanted = list(files)
        return self.sound(wanted, progress).issuperset(info.sha256 + suffix for info, suffix in wanted)

    def sound(self, files: Iterable[File], progress: Progress = QUIET, *, check: bool = True) -> set[str]:
        """Names of those objects that are there as they were written; without `check`, of those with the right size.

        Objects in a local store are hashed, each once per process. A damaged one is moved to `damaged/`, so that it
        counts as missing and is made again. Of a remote store only sizes are compared, because it has its own checks.
        """
        wanted = {info.sha256 + suffix: (info, suffix) for info, suffix in files}
        sizes = self._sizes(wanted)
        there = {name for name, (info, _) in wanted.items() if sizes.get(name) == info.size}
        if not self.local or not check:
            return there
        todo = [name for name in wanted if name in sizes and name not in self._intact]
        long = not self.trust and sum(sizes[name] for name in todo) > LONG
        if long:
            progress.start("checking finished files", len(todo))

        def is_sound(name: str) -> bool:
            info, suffix = wanted[name]
            found = self._sound(Path(self.object(info, suffix)), info, suffix)
            if long:
                progress.advance(1)
            return found

        if todo:
            with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
                there -= {name for name, good in zip(todo, pool.map(is_sound, todo), strict=True) if not good}
        return there

    def _sizes(self, wanted: Iterable[str]) -> dict[str, int]:
        """Sizes of those of these objects that exist; from one listing if there are many."""
        folder, names = f"{self.root}/objects", list(wanted)
        found: dict[str, int] = {}
        if not self.local:
            return self._remote_sizes(names)
        if len(names) <= FEW:
            for name in names:
                with suppress(FileNotFoundError, NotADirectoryError):
                    found[name] = os.lstat(f"{folder}/{name}").st_size
            return found
        try:
            with os.scandir(folder) as entries:
                return {entry.name: entry.stat(follow_symlinks=False).st_size for entry in entries}
        except (FileNotFoundError, NotADirectoryError):
            return {}

    def _remote_sizes(self, names: list[str]) -> dict[str, int]:
        """`_sizes` at a URL. A listing may be old, so what it lacks is asked for before it counts as missing.

        An object that it still has though it is gone is noticed when it is read; then it is asked for too.
        """
        folder = f"{self.root}/objects/"
        with self.explained(reading=True):
            listed: dict[str, int] = {}
            if len(names) > FEW:
                listed = bucket.listed_sizes(self.fs, folder[:-1], many=len(names) > MANY)
            found = {name: listed[name] for name in names if name in listed and name not in self._gone}
            asked = bucket.sizes(self.fs, (folder + name for name in names if name not in found))
        return found | {path.removeprefix(folder): size for path, size in asked.items()}

    def _sound(self, path: Path, info: ShardInfo, suffix: str, *, trust: bool | None = None) -> bool:
        """Return whether a local file is the object. Any other file there is moved aside.

        Args:
            path: of the file.
            info: of the object.
            suffix: of the object.
            trust: whether the right size is enough; by default what the store was opened with.
        """
        name = info.sha256 + suffix
        try:
            status = path.lstat()
        except FileNotFoundError:
            return False
        fits = status.st_size == info.size
        if stat.S_ISREG(status.st_mode):
            if fits and ((self.trust if trust is None else trust) or name in self._intact):
                return True
            with self.explained(reading=True), path.open("rb") as file:
                status, sha256 = os.fstat(file.fileno()), hash_stream(file)
            if sha256 == info.sha256:
                if fits:
                    self._intact.add(name)
                return fits  # if not, the record that names it is wrong about its size
        if self.writable or not self.local:
            self._move_aside(path, status)
        return False

    def _move_aside(self, path: Path, seen: os.stat_result) -> None:
        """Move a damaged file out of the way, unless another process has replaced it with a good one meanwhile."""
        aside = self.scratch.parent / "damaged" / path.name
        with self.explained():
            self._check_inside(path.parent)
            self._check_inside(aside.parent)
            aside.parent.mkdir(parents=True, exist_ok=True)
            try:
                path.replace(aside)
            except FileNotFoundError:
                return
            if aside.lstat().st_ino != seen.st_ino:
                aside.replace(path)
                return
        log.warning("%s was damaged and has to be made again; the damaged file is now %s", path, aside)

    def hash(self, info: ShardInfo, suffix: str, advance: Advance = lambda _: None) -> str:
        """sha256 of an object in the store itself, not of a local copy.

        Raises:
            CorruptShard: it is missing.
        """
        target = self.object(info, suffix)
        try:
            with self.explained(reading=True), self.fs.open(target, "rb") as file:
                found = hash_stream(file, advance)
        except FileNotFoundError:
            raise CorruptShard(f"{target}: no such file; run the recipe again to remake it") from None
        if self.local and found == info.sha256:
            self._intact.add(info.sha256 + suffix)
        return found

    def object(self, info: ShardInfo, suffix: str) -> str:
        """Path of an object in the store's file system."""
        return f"{self.root}/objects/{info.sha256}{suffix}"

    # ── receipts ─────────────────────────────────────────────────────────────────────────────────────────────────

    def receipt(self, unit: str) -> Receipt | None:
        """The unit's receipt, or None. Doesn't check that its files exist."""
        return self.made_record(f"units/{unit}.json", Receipt)

    def receipts(self, units: Iterable[str]) -> dict[str, Receipt]:
        """The receipts of those units that have one, by key; see `_records`."""
        return self._records("units", units, self.receipt)

    def put_receipt(self, receipt: Receipt) -> Receipt:
        """Store a receipt, which marks its unit as done. If another process was first, returns that one's receipt."""
        name, data = f"units/{receipt.unit}.json", to_json(receipt)
        if self.put_if_absent(name, data):
            return receipt
        winner = self.receipt(receipt.unit)
        if winner is None or not self.whole(winner.files()):  # its files have been deleted since
            self.put(name, data)
            return receipt
        return winner

    def drop_parts(self, receipts: Sequence[Receipt]) -> None:
        """Remove the files of parts and then their receipts, as their units have receipts now."""
        files = [file for receipt in receipts for file in receipt.files()]
        for info, suffix in files:
            self._intact.discard(info.sha256 + suffix)
            if not self.local:
                self._copy_of(info.sha256 + suffix).unlink(missing_ok=True)
        with self.explained():
            bucket.remove(self.fs, [self.object(*file) for file in files])
            bucket.remove(self.fs, [f"{self.root}/units/{receipt.unit}.json" for receipt in receipts])

    def table(self, key: str) -> ShardInfo | None:
        """The table stored under a key, or None. Doesn't check that its file exists."""
        return self.made_record(f"measures/{key}.json", ShardInfo)

    def tables(self, keys: Iterable[str]) -> dict[str, ShardInfo]:
        """The tables that are stored under these keys, by key; see `_records`."""
        return self._records("measures", keys, self.table)

    def put_table(self, key: str, info: ShardInfo) -> None:
        """Store under a key which table belongs to it."""
        self.put_record(f"measures/{key}.json", info)

    def together(self, shards: Iterable[str]) -> dict[str, Mapping[str, ShardInfo]]:
        """Of each of these records of `put_tables` that exists, its tables by key; see `_records`."""
        return self._records("measures", shards, self._together)

    def _together(self, shard: str) -> Mapping[str, ShardInfo] | None:
        found = self.made_record(f"measures/{shard}.json", Measured)
        return found.tables if found else None

    def put_tables(self, shard: str, tables: Mapping[str, ShardInfo]) -> None:
        """Store which tables belong to these keys, in one record instead of one for each.

        The record is written once, so that of two processes neither undoes what the other did; tables that are made
        later have records of their own. It is replaced only where it names another table for one of the keys, because
        that one was damaged or missing, or made on a machine that rounds differently.

        Args:
            shard: key of the record.
            tables: by key.
        """
        if self.put_if_absent(f"measures/{shard}.json", to_json(Measured(tables=dict(tables)))):
            return
        there = self._together(shard) or {}
        if not there or any(there.get(key, info) != info for key, info in tables.items()):
            self.put_record(f"measures/{shard}.json", Measured(tables={**there, **tables}))
            return
        for key in tables.keys() - there.keys():
            self.put_table(key, tables[key])

    # ── small files ──────────────────────────────────────────────────────────────────────────────────────────────

    def put_record(self, name: str, record: BaseModel) -> None:
        """Store a record as a small JSON file."""
        self.put(name, to_json(record))

    def _records(self, folder: str, keys: Iterable[str], read: Callable[[str], T | None]) -> dict[str, T]:
        """Those of these records that exist. Many are looked up by one listing, and only those that it has are read.

        A listing may lack what another process has just written. Whoever makes it again looks first, and writes it only
        if there is none.
        """
        wanted = list(dict.fromkeys(keys))
        if len(wanted) > FEW:
            there = self.recorded(folder, many=len(wanted) > MANY)
            wanted = [key for key in wanted if key in there]
        found = each(read, wanted, at_once=1 if self.local else AT_ONCE)
        return {key: record for key, record in zip(wanted, found, strict=True) if record is not None}

    def recorded(self, folder: str, *, many: bool = False) -> set[str]:
        """Keys of all records in a folder, `units` or `measures`, from a listing, which may be old.

        Args:
            folder: of the store.
            many: whether thousands are expected, so that a listing of a bucket is divided.
        """
        with self.explained(reading=True):
            if self.local:
                with suppress(FileNotFoundError, NotADirectoryError):
                    return {name.removesuffix(".json") for name in os.listdir(self.local / folder)}
                return set()
            names = bucket.listed_sizes(self.fs, f"{self.root}/{folder}", many=many)
            return {name.removesuffix(".json") for name in names}

    def finished(self, units: Sequence[str], begin: str) -> set[str]:
        """Those of a few units that have a receipt; their keys begin alike, so that a bucket is asked only once."""
        with self.explained(reading=True):
            if self.local:
                return {unit for unit in units if os.path.exists(self.local / "units" / f"{unit}.json")}
            names = bucket.listed_sizes(self.fs, f"{self.root}/units", begin)
            return {unit for unit in units if f"{unit}.json" in names}

    def read_record(self, name: str, kind: type[M], *, bare: bool = False) -> M | None:
        """A small JSON file under the store's root as a model, or None. `bare` ones may lack a digest.

        Raises:
            CorruptShard: for other content.
        """
        path = f"{self.root}/{name}"
        data = self.read(name)
        if data is None:
            return None
        try:
            return parse(data, kind, bare=bare)
        except BadRecord as error:
            raise CorruptShard(f"{path}: {error}; delete it and run the recipe again") from None

    def made_record(self, name: str, kind: type[M]) -> M | None:
        """`read_record` for a file that can be made again: a damaged one counts as missing."""
        try:
            return self.read_record(name, kind)
        except CorruptShard as error:
            log.warning("%s", error.args[0].replace("delete it and run the recipe again", "it is made again"))
            return None

    def has(self, name: str) -> bool:
        """Return whether there is a file of this name."""
        with self.explained(reading=True):
            return bucket.size(self.fs, f"{self.root}/{name}") is not None

    def read(self, name: str) -> bytes | None:
        """The content of a small file, or None."""
        try:
            with self.explained(reading=True):
                path = f"{self.root}/{name}"
                if self.local and not stat.S_ISREG(os.stat(path).st_mode):  # a pipe or a device would be read for ever
                    raise CorruptShard(f"{path}: no regular file; delete it and run the recipe again")
                return bytes(self.fs.cat_file(path))
        except FileNotFoundError:
            return None

    def listed(self, pattern: str) -> list[str]:
        """Full paths of the files below the root whose names fit a pattern, sorted.

        Signs of patterns in the root itself, as in `pictures [old]/store`, mean themselves.
        """
        with self.explained(reading=True):
            if self.local:
                return sorted(map(str, self.local.glob(pattern)))
            return sorted(map(str, self.fs.glob(f"{glob.escape(self.root)}/{pattern}")))

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Write a small file unless it exists; returns whether it was written."""
        path = f"{self.root}/{name}"
        if not self.local:
            with self.explained():
                if self._conditional:
                    return bucket.create(self.fs, path, data)
                if bucket.size(self.fs, path) is not None:
                    return False
                bucket.put(self.fs, path, data)
                return True
        with self.temporary(".json") as temp:
            _write_synced(temp, data)
            return self._linked(temp, Path(path))

    def put_file_if_absent(self, name: str, file: Path) -> bool:
        """Put a file of any size, made with `temporary`, in the store unless there is one of this name.

        Returns whether it was put there.
        """
        path = f"{self.root}/{name}"
        if self.local:
            with naming(file), file.open("rb") as written:
                os.fsync(written.fileno())
            return self._linked(file, Path(path))
        with self.explained():
            if self._conditional:
                return bucket.create_file(self.fs, path, file)
            if bucket.size(self.fs, path) is not None:
                return False
            bucket.upload(self.fs, file, path)
            return True

    def _linked(self, file: Path, final: Path) -> bool:
        """Give a file in the store another name unless something has it; returns whether it got the name."""
        self.make_folder(str(final.parent))
        try:
            os.link(file, final)
        except FileExistsError:
            return False
        _sync_folder(final.parent)
        return True

    def put(self, name: str, data: bytes) -> None:
        """Write a small file atomically, replacing an existing one."""
        path = f"{self.root}/{name}"
        if not self.local:
            with self.explained():
                bucket.put(self.fs, path, data)
            return
        final = Path(path)
        with self.temporary(".part") as temp:
            self.make_folder(str(final.parent))
            _write_synced(temp, data)
            temp.replace(final)
        _sync_folder(final.parent)

    def make_folder(self, folder: str) -> None:
        """Create a folder of the store, unless it exists. Raises StoreError if links lead out of the store."""
        if self.local:
            self._check_inside(Path(folder))  # before, as a folder could be created outside
        if not bucket.on_s3(self.fs):  # it has no folders
            self.fs.makedirs(folder, exist_ok=True)

    def _check_inside(self, folder: Path) -> None:
        if self._refused:
            raise StoreError(f"{self}: {self._refused}")
        if folder in self._inside:
            return
        root = self.scratch.parent
        if not folder.resolve().is_relative_to(root.resolve()):
            raise StoreError(
                f"{self}: {folder} leads out of the store through a link; nothing is written there: remove "
                f"the link, or link the whole store"
            )
        self._inside.add(folder)

    @contextmanager
    def explained(self, *, only_inside: bool = False, reading: bool = False) -> Iterator[None]:
        """Turn an error of the store into a StoreError or TemporaryError that says what to do; others are passed on.

        That a file isn't there is passed on as FileNotFoundError.
        """
        try:
            yield
        except VariorumError:
            raise
        except Exception as error:
            said = None
            if not self.local and not only_inside and not _missing(error):
                said = remote_errors.explained(self, self.root, error, reading=reading)
            said = said or self._said_of_files(error, only_inside=only_inside, reading=reading)
            if said is None:
                raise
            raise said from error

    def _said_of_files(self, error: Exception, *, only_inside: bool, reading: bool) -> VariorumError | None:
        """Explain an error of the operating system as `explained` does; None if it is passed on."""
        places = (str(self.scratch), str(self.root))
        if not isinstance(error, OSError) or (only_inside and not str(error.filename or "").startswith(places)):
            return None
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            why = "no space left; what is finished is kept: free some and run the same command again"
        elif isinstance(error, PermissionError | NotADirectoryError | FileExistsError) or error.errno == errno.EROFS:
            if reading:
                return StoreError(f"{self}: {error.filename} can't be read ({error.strerror})")
            why = f"can't be written ({error.strerror}); choose another place with --store"
        else:
            return passing(self, error) if may_pass(error) else None
        return StoreError(f"{self}: {why}")


def hash_stream(file: IO[bytes], advance: Advance = lambda _: None) -> str:
    """sha256 of an open file, read in pieces."""
    digest = hashlib.sha256()
    while piece := file.read(1 << 20):
        digest.update(piece)
        advance(len(piece))
    return digest.hexdigest()


def _whose(folder: Path) -> str:
    """Why a folder isn't written, if it belongs to another user, as its content may be planted; `""` if it may be.

    Folders of root, and under `sudo` of the user who called it, count as one's own.
    """
    try:
        owner = folder.stat().st_uid
    except OSError:
        return ""
    own, called = os.geteuid(), os.environ.get("SUDO_UID", "")
    if owner in (0, own) or (own == 0 and called == str(owner)):
        return ""
    here = folder.resolve()
    if any(here.is_relative_to(Path(one).resolve()) for one in os.environ.get(ALLOWED, "").split(os.pathsep) if one):
        return ""
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = str(owner)
    return (
        f"it belongs to the user {name}, so it is only read; if you trust everybody who writes to it, allow it once, "
        f"in ~/.profile: export {ALLOWED}={shlex.quote(str(here))}; or choose another place with --store"
    )


def _missing(error: Exception) -> bool:
    """Return whether a file isn't there, in a bucket that is."""
    return isinstance(error, FileNotFoundError) and remote_errors.code_of(error) != "NoSuchBucket"


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


def _size(path: Path) -> int | None:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return None
