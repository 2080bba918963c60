"""Which tars a recipe means by paths, globs, brace ranges and URLs, each with a name that doesn't say where it lies."""

from __future__ import annotations

import glob
import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from variorum.generators.sources.reading.tars.remote import matching_urls, shown
from variorum.generators.sources.reading.texts import split_name
from variorum.schemas.errors import SourceError

WORD = re.compile(r"[A-Za-z]+")


@dataclass(frozen=True, slots=True)
class Shard:
    """One tar.

    Attributes:
        name: its path relative to the folder that all shards have in common; part of its samples' ids.
        place: its absolute path or its URL.
        split: what `name` and the folder say of its split; `""` if they say nothing, or two things.
    """

    name: str
    place: str
    split: str

    @property
    def remote(self) -> bool:
        """Whether it lies at a URL."""
        return "://" in self.place

    @property
    def shown(self) -> str:
        """Its place for messages."""
        return shown(self.place)


def find_shards(patterns: Sequence[str], where: str) -> tuple[Shard, ...]:
    """The tars that the patterns mean, in the order of their names, each once.

    Args:
        patterns: paths, globs, brace ranges or URLs.
        where: what errors call the source.

    Raises:
        SourceError: a file is missing, a pattern matches nothing, or two shards have the same name.
    """
    places = dict.fromkeys(place for pattern in patterns for place in _places(pattern, where))
    groups: dict[str, list[tuple[str, str]]] = {}
    for place in places:
        url = urlsplit(shown(place) if "://" in place else "")
        groups.setdefault(url.scheme, []).append((f"/{url.netloc}{url.path}" if url.scheme else place, place))
    found: dict[str, Shard] = {}
    for members in groups.values():
        folder = posixpath.commonpath([posixpath.dirname(path) or "/" for path, _ in members])
        for path, place in members:
            shard = Shard(name := posixpath.relpath(path, folder), place, _split(name, posixpath.basename(folder)))
            other = found.setdefault(name, shard)
            if other is not shard:
                raise SourceError(
                    f"{where}: two shards have the name {name}: {other.shown} and {shard.shown}; their samples' ids "
                    f"would be the same, so rename one"
                )
    return tuple(found[name] for name in sorted(found))


def _places(pattern: str, where: str) -> Iterator[str]:
    """Absolute paths and URLs."""
    if pattern.startswith("file://"):
        pattern = urlsplit(pattern).path
    if "://" not in pattern and Path(pattern).expanduser().is_file():
        yield os.path.abspath(Path(pattern).expanduser())
        return
    for one in _braces(pattern, where):
        origin = "" if one == pattern else f" (of {shown(pattern)})"
        if "://" in one:
            magic = "*" in one or "[" in one
            found = matching_urls(one) if magic else [one]
        else:
            path = str(Path(one).expanduser())
            magic = glob.has_magic(path) and not os.path.exists(path)
            found = [name for name in glob.glob(path, recursive=True) if os.path.isfile(name)] if magic else [path]
            if not magic and os.path.isdir(path):
                raise SourceError(f"{where}: shards: {one} is a folder; write {path.rstrip('/')}/*.tar for its tars")
            if not magic and not os.path.isfile(path):
                raise SourceError(f"{where}: shards: {path}{origin} doesn't exist")
            found = [os.path.abspath(name) for name in found]
        if not found:
            raise SourceError(f"{where}: shards: {shown(one)}{origin} matches no file")
        yield from found


def _braces(pattern: str, where: str) -> list[str]:
    """`a{0..2}.tar` as `a0.tar`, `a1.tar`, `a2.tar`."""
    if "{" not in pattern:
        return [pattern]
    from braceexpand import braceexpand

    try:
        return list(braceexpand(pattern))
    except ValueError:
        raise SourceError(f"{where}: shards: a brace of {shown(pattern)} has no partner") from None


def _split(name: str, common: str) -> str:
    """The split in a shard's name, else in the nearest of its folders that names one.

    The folder that all shards share counts only if it is called after a split (`val`, `train2017`): data lie in folders
    with all kinds of names.
    """
    *folders, file = name.split("/")
    for part in (file.partition(".")[0], *reversed(folders)):
        found = {split for word in WORD.findall(part) if (split := split_name(word))}
        if found:
            return found.pop() if len(found) == 1 else ""
    return split_name(common.strip("0123456789-_"))
