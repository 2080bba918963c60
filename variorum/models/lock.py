"""Writes the lock file: the commits of Hub repositories that the tables leave open.

A table that we ship names a commit where one is known. Where it isn't, or for repositories of one's own, the first
candidate that the Hub still has is looked up once, and the lock file keeps the answer: `main` is never followed.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schemas.errors import ModelUnavailable
from variorum.models.entries import Entry, HubRepo, Locked, lock_path, read_lock
from variorum.models.weights import replace_with

PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")


def find_commits(entries: Mapping[str, Entry], api: Any = None) -> dict[str, str]:
    """Add the present commits of these entries' repositories to the lock file.

    Args:
        entries: alias to an entry with a `hub_repo`.
        api: answers `model_info(repo)` as huggingface_hub's `HfApi` does, which it is by default.

    Returns:
        For each alias that no commit was found for, why.
    """
    if api is None:
        from huggingface_hub import HfApi

        api = HfApi()
    locked, problems = read_lock(), {}
    for alias, entry in entries.items():
        assert entry.hub_repo is not None
        try:
            locked[alias] = resolve(entry.hub_repo, api)
        except ModelUnavailable as error:
            problems[alias] = str(error)
    if len(problems) < len(entries):
        write_lock(locked)
    return problems


def resolve(place: HubRepo, api: Any) -> Locked:
    """The first of a place's repositories that exists, at the commit that its main branch is at.

    Raises:
        ModelUnavailable: when there is none, the Hub can't be asked, or the commit lacks a file that the entry needs.
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
            raise ModelUnavailable(f"{repo} at {info.sha} holds no {', '.join(missing)}{_only_pickles(missing, names)}")
        return Locked(repo=repo, revision=info.sha)
    raise ModelUnavailable(f"the Hub has no {' and no '.join(place.repos)}, or wants a login for it")


def write_lock(locked: Mapping[str, Locked]) -> Path:
    """Write the whole lock file in one step, aliases sorted."""
    path = lock_path()
    lines = ["# Written by `variorum doctor --pin`. Delete an entry to have it looked up again.", ""]
    for alias, found in sorted(locked.items()):
        # a JSON string is a TOML string too
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


def _only_pickles(missing: list[str], names: set[str]) -> str:
    folders = {str(Path(name).parent) for name in missing if name.endswith(".safetensors")}
    pickled = sorted(name for name in names if str(Path(name).parent) in folders and name.endswith(PICKLES))
    if not pickled:
        return ""
    return f"; it has pickles ({', '.join(pickled)}), which are never loaded: docs/models.md says how to convert them"
