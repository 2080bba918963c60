"""Tiny checkpoints that are laid out as the repositories of `hub.toml` are, with random weights.

As published: names of files and tensors, keys of configurations, the form of vocabularies, numbers of blocks, sizes of
pictures. Small: widths, layers, vocabularies. `save_pretrained` of a new library writes other names, so a model that it
saved and loaded says nothing about the Hub.

Each module of this package has `BUILDERS`: by alias, a function that writes the checkpoint's files into a folder.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import pkgutil
import shutil
from collections.abc import Callable, Collection, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from variorum.models import table_entries
from variorum.models.table_entries import Entry, HubFile, _checked
from variorum.models.weights import cached_file

SOME_COMMIT = "0" * 39 + "1"
"""For repositories that the table doesn't pin."""


NO_OTHERS: Mapping[str, Entry] = MappingProxyType({})


@cache
def builders() -> dict[str, Callable[[Path], None]]:
    """The builder of each alias."""
    found: dict[str, Callable[[Path], None]] = {}
    for module in pkgutil.iter_modules(__path__):
        found |= getattr(importlib.import_module(f"{__name__}.{module.name}"), "BUILDERS", {})
    return found


@cache
def entries() -> dict[str, Entry]:
    """The entries of profile hub whose weights are in a repository, by alias."""
    found = _checked(Path(table_entries.__file__).with_name("hub.toml"), Entry)
    return {alias: entry for alias, entry in found if entry.hub_repo or entry.hub_file}


def snapshot(alias: str, home: Path) -> Path:
    """Put an alias's checkpoint where `$HF_HOME = home` has it, as a download would; the table's listed files only.

    A single file that is pinned by its hash lies in this project's cache, `$VARIORUM_CACHE = home / "variorum"`.

    Returns:
        The folder of the snapshot, or the file.
    """
    entry, built = entries()[alias], _built(alias, home)
    if entry.hub_file:
        target = cached_file(_tiny(alias, home), home / "variorum")
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            os.link(built / entry.hub_file.file, target)
        return target
    place = entry.hub_repo
    assert place is not None
    repo = home / "hub" / f"models--{place.repo.replace('/', '--')}"
    folder = repo / "snapshots" / (place.revision or SOME_COMMIT)
    for name in place.files:
        link = folder / name
        if link.exists():
            continue
        data = (built / name).read_bytes()
        blob = repo / "blobs" / _blob_name(name, data)
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    (repo / "refs").mkdir(exist_ok=True)
    (repo / "refs" / "main").write_text(folder.name)
    return folder


def table(home: Path, aliases: Collection[str] | None = None, others: Mapping[str, Entry] = NO_OTHERS) -> Path:
    """Put the checkpoints of these aliases, by default all, below `home` and write a table for `$VARIORUM_MODELS`.

    Its entries are those of `hub.toml`, and of the models that they use, in float32, as a CPU needs it; holes are
    filled in two steps. `others` are entries that replace them, by alias.
    """
    asked = list(builders() if aliases is None else aliases)
    chosen = sorted({*asked, *(used for alias in asked for used in entries()[alias].uses if used in entries())})
    for alias in chosen:
        snapshot(alias, home)
    text = "\n".join(
        _toml(alias, entry) for alias, entry in ({alias: _tiny(alias, home) for alias in chosen} | others).items()
    )
    path = home / f"models-{hashlib.sha256(text.encode()).hexdigest()[:8]}.toml"
    path.write_text(text)
    return path


def single_files(home: Path, aliases: Collection[str]) -> list[tuple[HubFile, Path]]:
    """Where the single files among these checkpoints come from, and where `snapshot` put them."""
    places = [(entries()[alias].hub_file, alias) for alias in aliases]
    return [(place, snapshot(alias, home)) for place, alias in places if place]


def environment(
    home: Path, aliases: Collection[str] | None = None, others: Mapping[str, Entry] = NO_OTHERS
) -> dict[str, str]:
    """The variables for a process of its own that uses these checkpoints, and the embedded weights that are here."""
    link_embedded(home)
    return {
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "1",
        "VARIORUM_CACHE": str(home / "variorum"),
        "VARIORUM_MODELS": str(table(home, aliases, others)),
    }


def link_embedded(home: Path) -> None:
    """Link this machine's fetched weights into the cache below `home`."""
    from variorum.machine.cache import cache_dir

    own = home / "variorum" / "weights"
    own.mkdir(parents=True, exist_ok=True)
    for file in (cache_dir() / "weights").glob("*"):
        if not (own / file.name).exists() and file.parent.resolve() != own.resolve():
            (own / file.name).symlink_to(file)


def _built(alias: str, home: Path) -> Path:
    """The folder with all files of an alias's checkpoint; aliases of one builder share it."""
    builder = builders()[alias]
    folder = home / "built" / f"{builder.__module__}.{builder.__qualname__}"
    if not folder.exists():
        unfinished = folder.with_name(f"{folder.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        builder(unfinished)
        unfinished.rename(folder)
    return folder


def _tiny(alias: str, home: Path) -> Entry:
    """The entry of a tiny checkpoint: in float32, and pinned to what was built."""
    entry = entries()[alias].model_copy(update={"dtype": "float32", "optional": False, "vram": 0, "vram_each": 0})
    if entry.options.get("task") == "inpaint":
        entry = entry.model_copy(update={"options": {**entry.options, "steps": 2}})
    if entry.hub_file:
        data = (_built(alias, home) / entry.hub_file.file).read_bytes()
        place: Any = entry.hub_file.model_copy(update={"sha256": hashlib.sha256(data).hexdigest()})
        return entry.model_copy(update={"hub_file": place})
    assert entry.hub_repo is not None
    place = entry.hub_repo.model_copy(update={"revision": entry.hub_repo.revision or SOME_COMMIT})
    return entry.model_copy(update={"hub_repo": place})


def _blob_name(name: str, data: bytes) -> str:
    """The name that the Hub gives a file's content: large files by sha256, others as git does."""
    if name.endswith((".safetensors", ".pth")):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _toml(alias: str, entry: Entry) -> str:
    fields = entry.model_dump(mode="json", exclude_defaults=True)
    return "\n".join([f"[{alias}]", *(f"{key} = {_value(value)}" for key, value in fields.items()), ""])


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value)
