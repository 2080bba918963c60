"""A set of tars as one long list of samples. Each tar is indexed once, and its index is kept in the cache.

What is kept belongs to a content, not to a path: a tar that was copied or renamed isn't indexed again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from variorum.machine.cache import cache_dir
from variorum.machine.retrying import changed, gone
from variorum.schemas.errors import SourceError
from variorum.sources.folders.pinned import PinnedFiles, guarded
from variorum.sources.tars.bytes import LocalTar, Readable
from variorum.sources.tars.facts import FactPaths, Facts, FactsBuilder
from variorum.sources.tars.headers import Bytes, NotTar
from variorum.sources.tars.index import FORMAT, TarIndex, build_index
from variorum.sources.tars.mapped_arrays import map_arrays, save_arrays, save_bytes
from variorum.sources.tars.members import Label
from variorum.sources.tars.ranges import RangedTar, check_remote, describe, streamed
from variorum.sources.tars.shards import Shard
from variorum.sources.web.hosts import ask

T = TypeVar("T")

log = logging.getLogger(__name__)

DOWNLOADS = 4
"""Tars that are read from hosts at the same time."""
OPEN = 64
"""Indices and facts that are kept mapped."""


class Known(NamedTuple):
    """One tar's facts, known without its index."""

    sha256: str
    size: int
    version: str
    samples: int
    endings: tuple[str, ...]

    @classmethod
    def of(cls, sha256: str, size: int, index: TarIndex, version: str = "") -> Known:
        """Summarise a tar with this index."""
        return cls(sha256, size, version, len(index), index.names)


@dataclass(frozen=True, slots=True)
class Summary:
    """The facts of all tars together.

    Attributes:
        sha256s: of each tar.
        sizes: length of each in bytes.
        versions: what the host says of each that lies at a URL; `""` if it says nothing.
        firsts: number of samples before each, and of all `[tars + 1]`.
        endings: of all members.
    """

    sha256s: tuple[str, ...]
    sizes: tuple[int, ...]
    versions: tuple[str, ...]
    firsts: NDArray[np.int64]
    endings: frozenset[str]


class TarSet:
    """The tars of a source, in their order. Threads may share it."""

    def __init__(self, shards: tuple[Shard, ...], paths: FactPaths, where: str) -> None:
        self.shards = shards
        self._paths, self._where = paths, where
        self._files = PinnedFiles(where)
        self._lock = threading.RLock()
        self._summary: Summary | None = None
        self._index = lru_cache(maxsize=OPEN)(self._load_index)
        self._facts = lru_cache(maxsize=OPEN)(self._load_facts)

    def summary(self) -> Summary:
        """Summarise all tars. At first use each is hashed and indexed, unless the cache knows it.

        Raises:
            SourceError: a tar can't be read, is compressed, or is none.
        """
        with self._lock:
            if self._summary is None:
                self._summary = self._survey()
            return self._summary

    def parts(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """The tars with some of the samples `start` to `stop - 1`: number, and the range of the tar's own samples."""
        firsts = self.summary().firsts
        for number in range(max(int(np.searchsorted(firsts, start, "right")) - 1, 0), len(self.shards)):
            first, after = int(firsts[number]), int(firsts[number + 1])
            if first >= stop:
                return
            if max(start, first) < min(stop, after):
                yield number, max(start, first) - first, min(stop, after) - first

    def index(self, number: int) -> TarIndex:
        """The index of a tar."""
        self.summary()
        with self._lock:
            return self._index(number)

    def facts(self, number: int) -> Facts:
        """Labels and captions of a tar's samples."""
        self.summary()
        with self._lock:
            return self._facts(number)

    def distinct(self) -> tuple[set[Label], set[Label]]:
        """All labels and all categories of objects that occur."""
        labels, categories = set[Label](), set[Label]()
        for number in range(len(self.shards)):
            found = self.facts(number).distinct()
            labels |= found[0]
            categories |= found[1]
        return labels, categories

    def open(self, number: int, stop: int) -> Readable:
        """The content of a tar, to be read up to byte `stop`.

        Raises:
            SourceChanged: it is gone, or isn't the one that was indexed.
            TemporaryError: the disk, the network, a host or the machine failed.
        """
        shard, summary = self.shards[number], self.summary()
        if shard.remote:
            return RangedTar(shard.place, summary.sizes[number], summary.sha256s[number], stop)
        return self._opened(shard)

    def through(self, number: int, items: Iterable[T]) -> Iterator[T]:
        """Items that are read from a tar, given only if it is the one that was indexed; raises as `open` does."""
        shard, summary = self.shards[number], self.summary()
        if shard.remote:
            return guarded(partial(check_remote, shard.place, summary.sizes[number], summary.versions[number]), items)
        return self._files.through([shard.place], items)

    def _opened(self, shard: Shard) -> LocalTar:
        try:
            return LocalTar(shard.place)
        except OSError as error:
            raise gone(Path(shard.place), shard.shown, error) from error

    def _survey(self) -> Summary:
        local = {number: shard for number, shard in enumerate(self.shards) if not shard.remote}
        found: dict[int, Known] = {}
        if local:
            paths = [Path(shard.place) for shard in local.values()]
            hashes = self._files.pin(Path(os.path.commonpath([path.parent for path in paths])), paths)
            for (number, shard), sha256 in zip(local.items(), hashes, strict=True):
                size = self._files.pins[shard.place].stamp[0]
                found[number] = Known.of(sha256, size, self._indexed(sha256, shard))
        with ThreadPoolExecutor(DOWNLOADS) as pool:
            remote = [number for number in range(len(self.shards)) if number not in local]
            found.update(zip(remote, pool.map(lambda number: self._fetched(self.shards[number]), remote), strict=True))
        tars = [found[number] for number in range(len(self.shards))]
        for tar, shard in zip(tars, self.shards, strict=True):
            if not tar.samples:
                log.warning("%s: %s has no samples", self._where, shard.shown)
        return Summary(
            tuple(tar.sha256 for tar in tars),
            tuple(tar.size for tar in tars),
            tuple(tar.version for tar in tars),
            np.cumsum([0, *(tar.samples for tar in tars)]),
            frozenset(ending for tar in tars for ending in tar.endings),
        )

    def _load_index(self, number: int) -> TarIndex:
        return self._indexed(self.summary().sha256s[number], self.shards[number])

    def _load_facts(self, number: int) -> Facts:
        shard, sha256 = self.shards[number], self.summary().sha256s[number]
        kept = map_arrays(self._facts_file(sha256))
        facts = Facts.of(kept, len(self.index(number))) if kept else None
        return facts or self._scanned(sha256, shard)[1]

    def _indexed(self, sha256: str, shard: Shard) -> TarIndex:
        kept = map_arrays(_index_file(sha256))
        index = TarIndex.of(kept) if kept else None
        return index or self._scanned(sha256, shard)[0]

    def _scanned(self, sha256: str, shard: Shard) -> tuple[TarIndex, Facts]:
        """Index and facts of a tar with this content, read through once and kept."""
        if shard.remote:
            return self._streamed(shard, sha256)[2:]
        with self._opened(shard) as tar:
            index, facts = self._scan(shard, tar)
        self._files.check([shard.place])  # what is kept belongs to the content that was hashed
        self._keep(sha256, index, facts)
        return index, facts

    def _fetched(self, shard: Shard) -> Known:
        """Content, length and index of a tar at a URL; from the cache if the host says that it is the same as then."""
        size, tag = describe(shard.place)
        note = _folder() / "remote" / f"{hashlib.sha256(shard.place.encode()).hexdigest()}.json"
        try:
            known_size, known_tag, sha256 = json.loads(note.read_bytes())
        except (OSError, ValueError):
            known_size = known_tag = sha256 = ""
        if tag and [known_size, known_tag] == [size, tag]:
            return Known.of(sha256, known_size, self._indexed(sha256, shard), tag)
        sha256, length, index, _ = self._streamed(shard, "", size)
        check_remote(shard.place, length, tag)  # it may have changed while it was sent
        if tag:
            save_bytes(note, json.dumps([length, tag, sha256]).encode())
        return Known.of(sha256, length, index, tag)

    def _streamed(self, shard: Shard, expected: str, size: int | None = None) -> tuple[str, int, TarIndex, Facts]:
        """Content, length, index and facts of a tar at a URL. One that doesn't have the length is asked for again."""
        log.info("%s: reading %s once, for its index", self._where, shard.shown)

        def sent() -> tuple[str, int, TarIndex, Facts]:
            with streamed(shard.place) as tar:
                index, facts = self._scan(shard, tar)
                sha256 = tar.finish()
            if size not in (None, tar.total):
                raise ConnectionError(f"{tar.total} bytes arrived instead of {size}")
            return sha256, tar.total, index, facts

        sha256, total, index, facts = ask(sent, shard.place, pinned=bool(expected))
        if expected not in ("", sha256):
            raise changed(shard.shown, "another content")
        self._keep(sha256, index, facts)
        return sha256, total, index, facts

    def _scan(self, shard: Shard, tar: Bytes) -> tuple[TarIndex, Facts]:
        builder = FactsBuilder(self._paths)
        try:
            index = build_index(tar, self._paths.endings(), builder.collect)
        except NotTar as error:
            raise SourceError(f"{self._where}: {shard.shown} {error}") from None
        return index, builder.facts(index.flaws)

    def _keep(self, sha256: str, index: TarIndex, facts: Facts) -> None:
        save_arrays(_index_file(sha256), index.arrays())
        save_arrays(self._facts_file(sha256), facts.arrays())

    def _facts_file(self, sha256: str) -> Path:
        paths = hashlib.sha256(str(self._paths).encode()).hexdigest()[:16]
        return _folder() / sha256[:2] / f"{sha256}.{FORMAT}.{paths}.npz"


def _folder() -> Path:
    return cache_dir() / "webdataset"


def _index_file(sha256: str) -> Path:
    return _folder() / sha256[:2] / f"{sha256}.{FORMAT}.npz"
