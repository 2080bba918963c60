"""Where every sample of a WebDataset tar lies, found in one pass over its headers and kept in the cache.

A sample is what `webdataset` takes for one: neighbours in the archive whose names are the same up to the first dot of
the base name, its key. What follows that dot is the member's ending.
"""

from __future__ import annotations

import logging
import re
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from variorum.sources.tars.bytes import LARGEST_VALUE
from variorum.sources.tars.headers import Bytes, Kind, walk
from variorum.sources.tars.mapped_arrays import Arrays, Texts

log = logging.getLogger(__name__)

FORMAT = 1
"""Increased when the arrays of an unchanged tar would change."""

_META = re.compile(r"__[^/]*__($|/)")
"""Names that `webdataset` leaves out."""

DUPLICATE, UNSAFE, CUT, MORE = 1, 2, 3, 4
FLAWS: Mapping[int, tuple[str, str]] = {
    DUPLICATE: (
        "duplicate_key",
        "an earlier sample of this tar has the same key; a key may occur once, with each member once, and a sample's "
        "members must lie side by side",
    ),
    UNSAFE: ("unsafe_name", "its name is absolute, or leads out of the folder with .."),
    CUT: ("truncated", "the tar breaks off here, or has no readable header for what follows"),
    MORE: ("after_end", "more data follow the tar's end mark; unpack it with `tar --ignore-zeros` to see them"),
}
"""What may be wrong with a sample before its members are looked at: a word and a sentence for its row."""

NO_CONTENT = -1
"""The size of a member that is a link or a device."""


class Entry(NamedTuple):
    """A sample of a tar.

    Attributes:
        key: its name; `""` for the row that stands for what can't be read.
        members: byte offset and size by ending, in lower case.
        links: endings of members that are links or devices, which have no content.
        flaw: a key of `FLAWS`; 0 for none.
        repeat: how many earlier samples of the tar have the same key.
    """

    key: str
    members: dict[str, tuple[int, int]]
    links: tuple[str, ...]
    flaw: int
    repeat: int


@dataclass(frozen=True, slots=True)
class TarIndex:
    """All samples of a tar, as columns.

    Attributes:
        keys: the samples' names `[N]`.
        firsts: number of each sample's first member `[N + 1]`; the last value is the number of members.
        offsets: byte offset of each member's content `[M]`.
        sizes: its size in bytes `[M]`; `NO_CONTENT` for a link or a device.
        endings: position of its ending in `names` `[M]`.
        names: the distinct endings, in lower case, in order of appearance.
        flaws: keys of `FLAWS`, 0 for none `[N]`.
        repeats: how many earlier samples have the same key `[N]`.
    """

    keys: Texts
    firsts: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    endings: NDArray[np.uint32]
    names: tuple[str, ...]
    flaws: NDArray[np.uint8]
    repeats: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.keys)

    def end(self, stop: int) -> int:
        """The byte after the last one of the samples up to `stop - 1`."""
        last = int(self.firsts[stop]) - 1
        return int(self.offsets[last] + self.sizes[last]) if last >= 0 else 0

    def entries(self, start: int, stop: int) -> list[Entry]:
        """The samples `start` to `stop - 1`."""
        firsts = self.firsts[start : stop + 1].tolist()
        low, high = firsts[0], firsts[-1]
        sizes = self.sizes[low:high].tolist()
        places = list(zip(self.offsets[low:high].tolist(), sizes, strict=True))
        names = [self.names[code] for code in self.endings[low:high].tolist()]
        flaws, repeats = self.flaws[start:stop].tolist(), self.repeats[start:stop].tolist()
        linked = NO_CONTENT in sizes
        found = []
        for number, key in enumerate(self.keys.part(start, stop)):
            part = slice(firsts[number] - low, firsts[number + 1] - low)
            members = dict(zip(names[part], places[part], strict=True))
            links = tuple(name for name, (_, size) in members.items() if size == NO_CONTENT) if linked else ()
            for name in links:
                del members[name]
            found.append(Entry(key, members, links, flaws[number], repeats[number]))
        return found

    def arrays(self) -> Arrays:
        """The columns as arrays to keep; `of` reads them back."""
        names = Texts.of(self.names)
        return {
            "keys": self.keys.data,
            "key_ends": self.keys.ends,
            "firsts": self.firsts,
            "offsets": self.offsets,
            "sizes": self.sizes,
            "endings": self.endings,
            "names": names.data,
            "name_ends": names.ends,
            "flaws": self.flaws,
            "repeats": self.repeats,
        }

    @classmethod
    def of(cls, arrays: Arrays) -> TarIndex | None:
        """The index with these columns, or None if they don't fit together."""
        try:
            keys = Texts(arrays["keys"], arrays["key_ends"])
            names = Texts(arrays["names"], arrays["name_ends"])
            rest: dict[str, Any] = {
                name: arrays[name] for name in ("firsts", "offsets", "sizes", "endings", "flaws", "repeats")
            }
        except KeyError:
            return None
        members, samples = len(rest["offsets"]), len(keys)
        fits = (
            len(rest["firsts"]) == samples + 1
            and rest["firsts"][-1] == members == len(rest["sizes"]) == len(rest["endings"])
            and samples == len(rest["flaws"]) == len(rest["repeats"])
        )
        return cls(keys, names=tuple(names.part(0, len(names))), **rest) if fits else None


Collect = Callable[[Mapping[str, bytes]], None]


def build_index(data: Bytes, wanted: Collection[str] = (), collect: Collect | None = None) -> TarIndex:
    """The index of a tar, in one pass forwards.

    Args:
        data: the tar.
        wanted: endings of members to read on the way, but for those above `LARGEST_VALUE`.
        collect: called with these members' contents by ending, once per sample, in order.

    Raises:
        NotTar: the file is no tar, or is compressed.
    """
    found = _Builder(collect)
    odd: list[str] = []
    for name, offset, size, kind in walk(data):
        if not name:
            found.remark(kind)
            continue
        key, ending = key_and_ending(name)
        found.inside = bool(key)
        if not key:
            odd.append(name)
            continue
        found.add(key, ending, offset, size if kind == "file" else NO_CONTENT)
        if _unsafe(name):
            found.flaws[-1] = UNSAFE
        if collect and kind == "file" and ending in wanted and size <= LARGEST_VALUE:
            found.contents[ending] = data.read(offset, size)
    if odd:
        log.warning("%d members without an ending in their names belong to no sample, such as %s", len(odd), odd[0])
    return found.index()


def key_and_ending(name: str) -> tuple[str, str]:
    """A member's key and ending, in lower case; two empty texts if it belongs to no sample.

    The rule is that of `webdataset`: the name is split at the first dot of its base name, and `__meta__` is left out.
    """
    folder, slash, base = name.rpartition("/")
    stem, dot, ending = base.partition(".")
    if not stem or not dot or (name.startswith("__") and _META.match(name)):
        return "", ""
    return f"{folder}{slash}{stem}", ending.lower()


class _Builder:
    """The columns of an index while it is made. The arrays hold numbers, not objects, so they stay small."""

    def __init__(self, collect: Collect | None) -> None:
        self.collect = collect
        self.contents: dict[str, bytes] = {}
        """Of the open sample, by ending."""
        self.inside = False
        """Whether the last member belongs to the open sample."""
        self.flaws = bytearray()
        self._keys, self._key_ends, self._hashes = bytearray(), array("q"), array("q")
        self._firsts, self._offsets, self._sizes, self._endings = array("q"), array("q"), array("q"), array("I")
        self._names: dict[str, int] = {}
        self._key, self._own = "", set[str]()

    def add(self, key: str, ending: str, offset: int, size: int) -> None:
        """Add a member, to the open sample or to a new one."""
        if not self.flaws or key != self._key or ending in self._own:
            self._open(key)
        self._own.add(ending)
        self._offsets.append(offset)
        self._sizes.append(size)
        self._endings.append(self._names.setdefault(ending, len(self._names)))

    def remark(self, kind: Kind) -> None:
        """Say of the last sample, or in a row of its own, how the archive ends."""
        if kind == "more":
            self._open("", MORE)
        elif (kind == "cut" and self.inside) or (kind != "cut" and self._lacks_members()):
            self.flaws[-1] = CUT
        elif kind != "unmarked":
            self._open("", CUT)

    def index(self) -> TarIndex:
        """The finished index."""
        self._flush()
        keys = Texts(np.frombuffer(bytes(self._keys), np.uint8), np.array(self._key_ends, np.int64))
        repeats = _repeats(keys, np.array(self._hashes, np.int64))
        flaws = np.frombuffer(bytes(self.flaws), np.uint8)
        return TarIndex(
            keys,
            np.append(np.array(self._firsts, np.int64), len(self._offsets)),
            np.array(self._offsets, np.int64),
            np.array(self._sizes, np.int64),
            np.array(self._endings, np.uint32),
            tuple(self._names),
            np.where((flaws == 0) & (repeats > 0), np.uint8(DUPLICATE), flaws),
            repeats,
        )

    def _open(self, key: str, flaw: int = 0) -> None:
        self._flush()
        self._key, self._own = key, set()
        self._keys += key.encode()
        self._key_ends.append(len(self._keys))
        self._hashes.append(hash(key))
        self._firsts.append(len(self._offsets))
        self.flaws.append(flaw)

    def _flush(self) -> None:
        if self.collect and self.flaws:
            self.collect(self.contents)
            self.contents = {}

    def _lacks_members(self) -> bool:
        """Return whether the last sample lacks a member that the one before it has."""
        if len(self._firsts) < 2:
            return False
        before, last = self._endings[self._firsts[-2] : self._firsts[-1]], self._endings[self._firsts[-1] :]
        return bool(set(before) - set(last))


def _unsafe(name: str) -> bool:
    return name[0] == "/" or "\0" in name or (".." in name and ".." in name.split("/"))


def _repeats(keys: Texts, hashes: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Count each key's occurrences before `[N]`. Only keys whose hash another one has are compared."""
    found = np.zeros(len(keys), np.uint32)
    order = np.sort(hashes)
    shared = order[1:][order[1:] == order[:-1]]
    seen: Counter[str] = Counter()
    for number in np.flatnonzero(np.isin(hashes, shared)) if shared.size else ():
        key = keys[number]
        found[number] = seen[key]
        seen[key] += 1
    return found
