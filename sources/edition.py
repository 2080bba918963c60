"""A sealed edition as the input of the next recipe; its pictures keep their ids and ops."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, PrivateAttr

from variorum.edition.editions import resolve
from variorum.edition.samples import CAPTION, read_sample
from variorum.edition.shards import ANNOTATIONS, read_shard
from variorum.edition.store import Store
from variorum.machine.retrying import may_pass, passing, why
from variorum.schemas.canonical import Json
from variorum.schemas.component import ClassInfo, Context, Source
from variorum.schemas.errors import CorruptShard, SourceError
from variorum.schemas.manifest import QUARANTINE, Manifest, ShardInfo, config_of, split_of
from variorum.schemas.sample import Failure, Sample
from variorum.sources.folders.patterns import file_kind


class Edition(Source):
    """The samples of an edition, shard after shard in the manifest's order.

    Everything that is known of them stays: id, labels, variant, split, photograph, annotations, ops, members.
    """

    location: ClassVar[frozenset[str]] = frozenset({"store"})

    edition: str
    """`name@version`, or `name` for the newest version, in `store`; or the path of an edition's folder
    (`.../editions/<name>/<version>`), without a store."""
    store: str | None = Field(default=None, min_length=1)
    """The store's folder or URL; null is the store that the recipe is run in."""
    split: Literal["all", "train", "validation", "test", "quarantine"] = "all"
    """`all` has the accepted pictures of every split; `quarantine` those that failed a check."""
    subset: str | None = None
    """Only one of the edition's configurations; null for all."""
    _opened: dict[str, tuple[Store, Manifest]] = PrivateAttr(default_factory=dict)

    def identity(self) -> dict[str, Json]:
        """Name, version and split, independent of where the edition lies; `pin` covers its content."""
        folder = Path(self.edition)
        name = f"{folder.parent.name}@{folder.name}" if self._is_path else self.edition
        return {**super().identity(), "edition": name}

    def pin(self, ctx: Context) -> str:
        """The manifest's digest, which covers every shard."""
        return self._manifest(ctx).digest()

    def size(self, ctx: Context) -> int:
        """Samples in the split and configuration."""
        return sum(shard.samples for shard in self._shards(ctx))

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """The edition's classes in its index order."""
        return tuple(ClassInfo(identity, name) for identity, name in self._manifest(ctx).classes)

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        """Samples `start` to `stop - 1`; only shards with samples in that range are opened.

        Raises:
            CorruptShard: a shard is missing or truncated, has fewer samples than the manifest says, or a picture
                doesn't match its record.
            TemporaryError: the disk, the network or the machine failed.
        """
        first = 0
        for shard in self._shards(ctx):
            low, high = max(start - first, 0), min(stop - first, shard.samples)
            if low < high:
                yield from self._samples(shard, low, high, ctx)
            first += shard.samples

    def _samples(self, shard: ShardInfo, low: int, high: int, ctx: Context) -> Iterator[Sample]:
        """The samples `low` to `high - 1` of a shard."""
        found = low
        try:
            path = self._open(ctx)[0].path(shard)
            for key, members in islice(read_shard(path), low, high):
                yield read_sample(f"{path}, sample {key}", members)[0]
                found += 1
        except OSError as error:
            if may_pass(error):
                raise passing(shard.sha256, error) from error
            raise CorruptShard(f"edition: shard {shard.sha256} can't be read: {why(error)}") from None
        if found < high:
            raise CorruptShard(f"{path} has {found} samples, but its manifest says {shard.samples}")

    @property
    def _is_path(self) -> bool:
        return self.store is None and "/" in self.edition

    def _open(self, ctx: Context) -> tuple[Store, Manifest]:
        place = "" if self._is_path else self.store or ctx.store
        if place not in self._opened:
            self._opened[place] = self._resolved(place)
        return self._opened[place]

    def _resolved(self, place: str) -> tuple[Store, Manifest]:
        if place:
            store = Store(place, writable=False)
            return store, resolve(self.edition, store)
        folder = Path(self.edition).expanduser().absolute()
        if file_kind(folder / "manifest.json")[0] != "file" or folder.parent.parent.name != "editions":
            raise SourceError(
                f"edition: {self.edition} is no edition's folder (.../editions/<name>/<version>); to give a name, set "
                f"store too"
            )
        store = Store(str(folder.parents[2]), writable=False)
        return store, resolve(f"{folder.parent.name}@{folder.name}", store)

    def _manifest(self, ctx: Context) -> Manifest:
        return self._open(ctx)[1]

    def captioned(self, ctx: Context) -> bool:
        """Return whether its samples have a member with a caption."""
        return CAPTION in self._manifest(ctx).members

    def annotated(self, ctx: Context) -> bool:
        """Return whether its samples have annotations."""
        return ANNOTATIONS in self._manifest(ctx).members

    def warning(self, ctx: Context) -> str:
        """The edition's content warning."""
        return self._manifest(ctx).warning

    def _shards(self, ctx: Context) -> list[ShardInfo]:
        manifest = self._manifest(ctx)
        if self.split == QUARANTINE:
            return list(manifest.shards.get(QUARANTINE, []))
        found = [pair for pair in manifest.accepted() if self.split in ("all", split_of(pair[0]))]
        if self.subset is not None:
            known = manifest.configs()
            if self.subset not in known:
                name = f"{manifest.dataset}@{manifest.version}"
                listed = ", ".join(known) or "none"
                raise SourceError(f"edition: {name} has no configuration {self.subset!r}; there are: {listed}")
            found = [pair for pair in found if config_of(pair[0]) == self.subset]
        return [shard for _, shard in found]
