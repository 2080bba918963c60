"""Find the tars of a recipe by paths, globs, brace ranges and URLs, each with a name that doesn't say where it lies."""

from __future__ import annotations

import glob
import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import prod
from urllib.parse import urlsplit

from variorum.machine.retrying import printable
from variorum.schemas.errors import SourceError
from variorum.schemas.lookup import cut
from variorum.schemas.secrets import shown
from variorum.sources.exports.texts import split_name, split_of_path
from variorum.sources.folders.listing import key_of
from variorum.sources.folders.patterns import file_kind, matching_files
from variorum.sources.tars.ranges import matching_urls

MOST = 1_000_000
"""Tars that one pattern may stand for."""
BRACE = re.compile(r"\{([^{}]*)\}")


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
        """Return whether it lies at a URL."""
        return "://" in self.place

    @property
    def shown(self) -> str:
        """Its place for messages."""
        return printable(shown(self.place))


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
            name = key_of(posixpath.relpath(path, folder))
            # data lie in folders with all kinds of names, so the common one counts only if it is called after a split
            common = split_name(posixpath.basename(folder).strip("0123456789-_"))
            shard = Shard(name, place, split_of_path(name) or common)
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
    if "://" not in pattern and file_kind(os.path.expanduser(pattern))[0] == "file":
        yield os.path.abspath(os.path.expanduser(pattern))
        return
    for one in _braces(pattern, where):
        origin = "" if one == pattern else f" (of {shown(pattern)})"
        if "://" in one:
            magic = "*" in one or "[" in one
            found = matching_urls(one) if magic else [one]
        else:
            path = os.path.abspath(os.path.expanduser(one))
            kind, told = file_kind(path)
            magic = glob.has_magic(path) and kind == "missing"
            found = matching_files(path, where) if magic else [path]
            if kind == "folder":
                raise SourceError(f"{where}: shards: {one} is a folder; write {one.rstrip('/')}/*.tar for its tars")
            if not magic and kind != "file":
                told = told or "doesn't exist"
                raise SourceError(f"{where}: shards: {printable(cut(path))}{origin} {told}")
        if not found:
            raise SourceError(f"{where}: shards: {shown(one)}{origin} matches no file")
        yield from found


def _braces(pattern: str, where: str) -> list[str]:
    """`a{0..2}.tar` as `a0.tar`, `a1.tar`, `a2.tar`."""
    if "{" not in pattern:
        return [pattern]
    from braceexpand import braceexpand

    try:
        too_many = prod(map(_width, BRACE.findall(pattern))) > MOST
        places = [] if too_many else list(islice(braceexpand(pattern), MOST + 1))
        if not 0 < len(places) <= MOST:
            raise SourceError(f"{where}: shards: {cut(pattern)} stands for more than {MOST} tars; give fewer")
        return places
    except ValueError:
        raise SourceError(f"{where}: shards: a brace of {shown(pattern)} has no partner") from None


def _width(brace: str) -> int:
    """Count the values inside a brace: `0..2` or `a,b,c`."""
    found = re.match(r"(-?[0-9]+)\.\.(-?[0-9]+)", brace)
    return abs(int(found[2]) - int(found[1])) + 1 if found else brace.count(",") + 1
