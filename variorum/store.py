"""Where editions live: a folder (or any fsspec URL) in which a file, once there, never changes.

    objects/<sha256>.tar|parquet    shards and tables, named by their content
    units/<unit key>.json           receipts: their existence is the only "done" that anyone asks for
    measures/<key>.json             the same for evaluations
    editions/<name>/<version>/      manifest.json, the card, plan.parquet, and data/ linking to the shards under
                                    readable names
    tmp/                            files being written; swept when their process is gone

Writing goes temp file, fsync, rename to the content's hash, then the receipt, put if absent: the loser of a race
takes the winner's receipt. `kill -9` between any two of these leaves a store that the same command completes.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import secrets
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TypeVar

from pydantic import BaseModel, ValidationError

from schemas.errors import CorruptShard, StoreError, VersionDrift
from schemas.manifest import Manifest, Receipt, ShardInfo
from variorum.cache import cache_dir
from variorum.shards import naming

M = TypeVar("M", bound=BaseModel)
SOURCE = "source.txt"
"""Where the data of an edition lay when it was last made; in no digest."""
PLAN = "plan.parquet"
"""The plan's readable name."""
_counter = itertools.count()
_PROCESS = f"{secrets.token_hex(4)}."
"""Tells this process from an earlier one with its number: in containers every process is number 1."""


class Store:
    """A store at a local path or an fsspec URL (`s3://bucket/prefix`).

    Args:
        url: where it is, or shall be.
        writable: False for a store that is only read, which then may lie on a read-only disk.

    Raises:
        StoreError: when the place can't be made or written, at once rather than after the work.
    """

    def __init__(self, url: str, *, writable: bool = True) -> None:
        import fsspec.core

        self.url = url
        try:
            self.fs, self.root = fsspec.core.url_to_fs(url, use_listings_cache=False)  # others write too
        except (ValueError, ImportError) as error:
            raise StoreError(f"store {url}: {error}; give a folder or a URL that fsspec knows") from None
        self.local = Path(self.root) if "file" in _protocols(self.fs) else None
        self.scratch = (self.local or cache_dir() / "stores" / hashlib.sha256(url.encode()).hexdigest()[:16]) / "tmp"
        if self.local and not writable:
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

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def temporary(self, suffix: str) -> Iterator[Path]:
        """A path for a file being written; whatever is left of it afterwards is removed.

        Errors of files in the store are explained; those of other files, which may come from anyone's code in the
        `with` block, pass as they are.
        """
        name = f"{socket.gethostname()}-{os.getpid()}-{_PROCESS}{next(_counter)}{suffix}"
        path = self.scratch / name
        try:
            with self._explained(only_inside=True):
                yield path
        finally:
            path.unlink(missing_ok=True)

    def keep(self, path: Path, *, sha256: str, samples: int) -> ShardInfo:
        """Move a finished, synced file to its place by content; a damaged one there is mended by that."""
        info = ShardInfo(sha256=sha256, size=path.stat().st_size, samples=samples)
        target = self.object(info, path.suffix)
        with self._explained():
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
            CorruptShard: when it is missing or its size or downloaded content isn't what its name says.
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
        """The error for an object that can't be read; removes it when its content isn't what its name says."""
        path = self.path(info, suffix)
        if hash_file(path) == info.sha256:
            return CorruptShard(f"{path}: can't be read ({why}), though it is as it was written")
        path.unlink()
        return CorruptShard(f"{path}: was damaged ({why}) and is removed; run the same command again to remake it")

    def has(self, info: ShardInfo, suffix: str = ".tar") -> bool:
        """Whether an object is there, at its right size."""
        target = self.object(info, suffix)
        try:
            return bool(self.fs.size(target) == info.size)
        except FileNotFoundError:
            return False

    def hash(self, info: ShardInfo, suffix: str, advance: Callable[[int], None] = lambda _: None) -> str:
        """sha256 of an object as the store itself holds it, whatever copies this machine has.

        Raises:
            CorruptShard: when it isn't there.
        """
        target = self.object(info, suffix)
        try:
            with self.fs.open(target, "rb") as file:
                return _hash(file, advance)
        except FileNotFoundError:
            raise CorruptShard(f"{target}: no such file; run the recipe again to remake it") from None

    def object(self, info: ShardInfo, suffix: str) -> str:
        """Where an object lies, as the store's file system names it."""
        return f"{self.root}/objects/{info.sha256}{suffix}"

    # ── receipts ─────────────────────────────────────────────────────────────────────────────────────────────────

    def receipt(self, unit: str) -> Receipt | None:
        """The unit's receipt, if it is done and all that it names is still there."""
        receipt = self.read_json(f"units/{unit}.json", Receipt)
        if receipt is None or not self.has(receipt.rows, ".parquet"):
            return None
        return receipt if all(self.has(shard) for shard in receipt.shards.values()) else None

    def put_receipt(self, receipt: Receipt) -> Receipt:
        """Declare a unit done. When another process was first, its receipt is returned and ours forgotten."""
        name = f"units/{receipt.unit}.json"
        if self.put_if_absent(name, receipt.model_dump_json(indent=1).encode()):
            return receipt
        winner = self.receipt(receipt.unit)
        if winner is None:  # it names files that were deleted since
            self.put(name, receipt.model_dump_json(indent=1).encode())
        return winner or receipt

    def measure(self, key: str) -> ShardInfo | None:
        """The table kept under an evaluation's key, if it is there."""
        info = self.read_json(f"measures/{key}.json", ShardInfo)
        return info if info and self.has(info, ".parquet") else None

    def put_measure(self, key: str, info: ShardInfo) -> None:
        """Declare an evaluation of one shard done."""
        self.put(f"measures/{key}.json", info.model_dump_json().encode())

    # ── editions ─────────────────────────────────────────────────────────────────────────────────────────────────

    def commit(self, manifest: Manifest) -> Manifest:
        """Seal an edition and link its shards under readable names; returns what is sealed now.

        The same recipe, data and models sealed before are left as they are, unless files of theirs were lost.

        Raises:
            VersionDrift: when the version is sealed and holds something else; `-dev` versions move instead.
        """
        name, data = self._edition(manifest, "manifest.json"), manifest.model_dump_json(indent=1).encode()
        self.check_version(manifest.dataset, manifest.version, manifest.fingerprint)
        if not self.put_if_absent(name, data):
            self.check_version(manifest.dataset, manifest.version, manifest.fingerprint)
            sealed = self.read_json(name, Manifest)
            if sealed and sealed.fingerprint == manifest.fingerprint and self.whole(sealed):
                manifest = sealed
            else:
                self.put(name, data)
        self._link_data(manifest)
        return manifest

    def whole(self, manifest: Manifest) -> bool:
        """Whether every file that the manifest names is there, at its right size."""
        tables = tables_of(manifest)
        shards = [shard for split in manifest.shards.values() for shard in split]
        return all(self.has(shard) for shard in shards) and all(self.has(table, ".parquet") for table in tables)

    def check_version(self, dataset: str, version: str, fingerprint: str, source: str = "") -> None:
        """Raises VersionDrift when this version is sealed from another recipe, other data or other models.

        A -dev version may move, but not to another source: its ledgers and people's answers are about this one.
        """
        sealed = self.read_json(f"editions/{dataset}/{version}/manifest.json", Manifest)
        if sealed is None or sealed.fingerprint == fingerprint:
            return
        if not version.endswith("-dev"):
            raise VersionDrift(
                f"{dataset}@{version} is sealed in {self.url} and was made from another recipe, other data or other "
                f"models (fingerprint {sealed.fingerprint[:12]}, this run {fingerprint[:12]}); give this one a new "
                f"version (--set version=...), or a -dev version, which may move"
            )
        self.check_source(sealed, source)

    def check_source(self, manifest: Manifest, source: str) -> None:
        """Raises VersionDrift when an edition was made from data in another place, so far as that is known."""
        before = (self.read_beside(manifest, SOURCE) or b"").decode()
        if source and before and source != before:
            raise VersionDrift(
                f"{manifest.dataset}@{manifest.version} in {self.url} is made from {before}, and this is {source}; "
                f"give what is made of that a name of its own: --set dataset=NAME"
            )

    def resolve(self, name: str) -> Manifest:
        """The manifest of `dataset@version`, or of the dataset's newest version that isn't a release.

        Raises:
            StoreError: naming the editions there are.
        """
        dataset, _, version = name.partition("@")
        known = self.editions()
        versions = [v for d, v in known if d == dataset]
        if versions and not version:
            version = next((v for v in reversed(versions) if not _version_key(v)[2]), versions[-1])
        manifest = (
            self.read_json(f"editions/{dataset}/{version}/manifest.json", Manifest) if version in versions else None
        )
        if manifest is None:
            listed = ", ".join(f"{d}@{v}" for d, v in known) or "none yet"
            raise StoreError(f"no edition {name!r} in {self.url}; there are: {listed}")
        return manifest

    def editions(self) -> list[tuple[str, str]]:
        """(dataset, version) of every sealed edition, versions in order."""
        found = self.fs.glob(f"{self.root}/editions/*/*/manifest.json")
        pairs = [tuple(str(path).split("/")[-3:-1]) for path in found]
        return sorted(((d, v) for d, v in pairs), key=lambda pair: (pair[0], _version_key(pair[1])))

    def write_beside(self, manifest: Manifest, name: str, data: bytes) -> str:
        """Put a file (the card, a contact sheet) beside the manifest; returns where it lies."""
        target = self._edition(manifest, name)
        self.put(target, data)
        return f"{self.root}/{target}"

    def read_beside(self, manifest: Manifest, name: str) -> bytes | None:
        """A file beside the manifest, or None."""
        path = f"{self.root}/{self._edition(manifest, name)}"
        return bytes(self.fs.cat_file(path)) if self.fs.exists(path) else None

    def edition_path(self, manifest: Manifest) -> str:
        """The edition's folder; `datasets.load_dataset` takes it as it is."""
        return f"{self.root}/editions/{manifest.dataset}/{manifest.version}"

    def _edition(self, manifest: Manifest, name: str) -> str:
        return f"editions/{manifest.dataset}/{manifest.version}/{name}"

    def check_data(self, manifest: Manifest) -> list[str]:
        """What is wrong with the readable names in `data/`: a line each for a missing, stray or differing file."""
        folder, wanted = self._readable(manifest)
        found = self._readable_found(folder)
        remedy = "run the recipe again to link it anew"
        problems = [f"{folder}/{name}: missing; {remedy}" for name in sorted(set(wanted) - found)]
        problems += [f"{folder}/{name}: no shard of this edition; delete it" for name in sorted(found - set(wanted))]
        for name, (info, suffix) in wanted.items():
            if name not in found or (self.local and os.path.samefile(self.object(info, suffix), f"{folder}/{name}")):
                continue
            with self.fs.open(f"{folder}/{name}", "rb") as file:
                if _hash(file, lambda _: None) != info.sha256:
                    problems.append(f"{folder}/{name}: content isn't the shard's; {remedy}")
        return problems

    def _readable(self, manifest: Manifest) -> tuple[str, dict[str, tuple[ShardInfo, str]]]:
        """The edition's folder, and by readable name within it the file that must be there, with its suffix."""
        wanted = {
            f"data/{split}-{number:05d}-of-{len(shards):05d}.tar": (info, ".tar")
            for split, shards in manifest.shards.items()
            for number, info in enumerate(shards)
        }
        if manifest.plan:
            wanted[PLAN] = manifest.plan, ".parquet"
        return f"{self.root}/{self._edition(manifest, '')}".rstrip("/"), wanted

    def _readable_found(self, folder: str) -> set[str]:
        """Readable names in an edition's folder, whether they belong there or not."""
        data = {f"data/{str(path).rsplit('/', 1)[-1]}" for path in self.fs.glob(f"{folder}/data/*")}
        return data | ({PLAN} if self.fs.exists(f"{folder}/{PLAN}") else set())

    def _link_data(self, manifest: Manifest) -> None:
        folder, wanted = self._readable(manifest)
        with self._explained():
            self.fs.makedirs(f"{folder}/data", exist_ok=True)
            for name in self._readable_found(folder) - set(wanted):
                with suppress(FileNotFoundError):  # another process seals the same -dev version
                    self.fs.rm_file(f"{folder}/{name}")
            for name, (info, suffix) in wanted.items():
                if not self.local:
                    self.fs.cp_file(self.object(info, suffix), f"{folder}/{name}")
                    continue
                with self.temporary(".link") as link:
                    try:
                        os.link(self.object(info, suffix), link)
                    except OSError:  # a file system without hard links
                        shutil.copyfile(self.object(info, suffix), link)
                    link.replace(Path(folder) / name)
                    Path(folder, name).touch()  # loaders that cache by modification time must notice a new edition

    # ── small files ──────────────────────────────────────────────────────────────────────────────────────────────

    def read_json(self, name: str, kind: type[M]) -> M | None:
        """A small file under the store's root as a model, or None. Raises CorruptShard when it is something else."""
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
        """Write a small file unless there is one of its name; whether it was written."""
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
        """Write a small file in one step, over whatever is there."""
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
        """Remove what processes of this host that are gone left half written."""
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
    def _explained(self, *, only_inside: bool = False) -> Iterator[None]:
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


def tables_of(manifest: Manifest) -> list[ShardInfo]:
    """Every parquet file that a manifest names: rows, plan and, of a release, what curation measured and said."""
    own = [*manifest.rows, *([manifest.plan] if manifest.plan else [])]
    ledger = manifest.ledger
    if ledger is None:
        return own
    measured = [info for parts in ledger.measured.values() for info in parts]
    return [*own, *measured, *ledger.scored.values(), ledger.verdicts]


def hash_file(path: Path, advance: Callable[[int], None] = lambda _: None) -> str:
    """sha256 of a file, read in pieces; `advance` is called with each piece's size."""
    with path.open("rb") as file:
        return _hash(file, advance)


def _hash(file: IO[bytes], advance: Callable[[int], None]) -> str:
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


def _version_key(version: str) -> tuple[tuple[int, ...], bool, int]:
    numbers, *marks = version.split("-")
    release = next((int(mark[1:]) for mark in marks if mark[:1] == "r" and mark[1:].isdigit()), 0)
    return tuple(int(part) for part in numbers.split(".") if part.isdigit()), "dev" not in marks, release
