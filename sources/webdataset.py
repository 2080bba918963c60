"""Anybody's WebDataset tars: img2dataset's, those of `webdataset.ShardWriter`, Variorum's own, on disk or at URLs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import Field, field_validator

from variorum.schemas.annotations import Annotations, Text
from variorum.schemas.canonical import Json, digest
from variorum.schemas.component import ClassInfo, Context, Source
from variorum.schemas.errors import SourceError
from variorum.schemas.sample import Failure, Sample, source_id
from variorum.sources.exports.objects import BoxFormat
from variorum.sources.folders.folder import mask_trouble
from variorum.sources.tables.rows import with_objects
from variorum.sources.tars import members as tar_members
from variorum.sources.tars.bytes import Readable, read_members
from variorum.sources.tars.checks import check_members, fits, listed, no_picture
from variorum.sources.tars.classes import GivenClasses, found_classes
from variorum.sources.tars.facts import FactPaths
from variorum.sources.tars.index import FLAWS, Entry
from variorum.sources.tars.members import BadMember, Contents, MemberPath
from variorum.sources.tars.set import TarSet
from variorum.sources.tars.shards import Shard, find_shards
from variorum.sources.web.urls import in_full

LABEL, CAPTION = "cls", "txt"
"""Where most tars have them; a set of tars without these has no labels or no captions, without an error."""
BATCH = 256
"""Samples whose places are looked up at a time."""
NOTHING = Annotations()

Name = Annotated[str, Field(min_length=1)]
Value = TypeVar("Value")


class Webdataset(Source):
    """The samples of tars, tar after tar in the order of their names.

    A sample's id comes from the tar's path, from the folder that all tars lie in, and its key. Every tar is read
    through once, for its sha256 and an index that is kept in the cache. Afterwards only what is needed is read.
    """

    location: ClassVar[frozenset[str]] = frozenset({"shards", "class_names"})

    shards: Name | tuple[Name, ...] = Field(min_length=1)
    """Paths, globs (`data/*.tar`), brace ranges (`train-{00000..00009}.tar`), or URLs (`https://`, `s3://`, `hf://`)."""
    image: tuple[Name, ...] = Field(
        default=("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "jp2", "avif", "ppm"), min_length=1
    )
    """Endings of the members that may hold the picture; the first that a sample has counts."""
    label: str | None = LABEL
    """The member with the class, or a value in a JSON member: `json.label`, `json.meta.class`. It holds a number, a
    name, or in JSON a list of those."""
    class_names: tuple[str, ...] | Path = ()
    """The classes in the order of their numbers: names, a file with one name per line, or a CSV file with the columns
    `id` and `name`. By default each value of `label` is a class."""
    caption: str | None = CAPTION
    """The member with the caption, or a value in a JSON member: a text, or a list of texts."""
    objects: str | None = None
    """The value with objects, such as `json.objects`: lists by name, or a list of mappings, with `bbox` and
    `category`."""
    box_format: BoxFormat = "xywh"
    """What `bbox` holds."""
    clip: bool = False
    """Whether boxes that leave their picture are clipped; otherwise the picture goes into quarantine."""
    mask: str | None = None
    """Ending of the member with a mask of the same size as the picture, object above 127."""
    licence: str = "unknown"
    """Licence of all pictures: an SPDX id or the terms in a few words."""
    licence_field: str | None = None
    """The value with the licence of each picture, such as `json.license`; where it is empty, `licence` holds."""
    metadata: tuple[str, ...] = ()
    """Values to keep as metadata: `json.url` becomes `url`, `json.meta.source` `meta_source`."""
    split: Literal["", "train", "validation", "test", "none"] = ""
    """The split of all pictures. By default the one that a tar's name has (`train-000.tar`), or else a folder's
    (`val/000.tar`); `none` for no split."""

    @field_validator("image", "metadata", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("image", "label", "caption", "objects", "mask", "licence_field", "metadata")
    @classmethod
    def _paths_into_samples(cls, value: Any) -> Any:
        paths = [MemberPath.of(text) for text in ([value] if isinstance(value, str) else value or ())]
        names = [path.name for path in paths]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two of these have the name {twice!r}")
        return value

    def pin(self, ctx: Context) -> str:
        """Digest of the tars' names, contents and splits, and of the class names."""
        sha256s = self._tars.summary().sha256s
        tars: Json = [[one.name, sha, self._split(one)] for one, sha in zip(self._tars.shards, sha256s, strict=True)]
        return digest([tars, [[info.id, info.name] for info in self._given.infos]])

    def size(self, ctx: Context) -> int:
        """Samples of all tars, and a row for each tar that breaks off.

        Raises:
            SourceError: a tar can't be read, or no sample has a member that a field names.
        """
        return self._size

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """The given classes, or else the distinct labels and then categories of objects, for which tars are read once.

        Raises:
            SourceError: `label` was given, but no sample has one; or two classes have the same name.
        """
        return self._classes

    def endings(self) -> frozenset[str]:
        """Endings of all members of the tars; raises as `size` does."""
        return self._tars.summary().endings

    def captioned(self, ctx: Context) -> bool:
        """Return whether the samples have captions."""
        path = self._paths.caption
        return path is not None and path.ending in self._tars.summary().endings

    def annotated(self, ctx: Context) -> bool:
        """Return whether the samples have captions or objects."""
        return self.objects is not None or self.captioned(ctx)

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        """Samples with the bytes as stored; a `Failure` for one without a picture, or that the tar doesn't really hold.

        Raises:
            SourceChanged: a tar isn't the one that was pinned, or is gone.
            TemporaryError: it can't be read or reached now. That says nothing about its pictures, so it must not become
                part of the edition.
        """
        for number, low, high in self._tars.parts(start, min(stop, self._size)):
            yield from self._tars.through(number, self._items(number, low, high))

    def outline(self, start: int, stop: int, ctx: Context) -> Iterator[Sample]:
        """The samples with labels and captions, which were noted when the tars were read through."""
        for number, low, high in self._tars.parts(start, min(stop, self._size)):
            index, facts, shard = self._tars.index(number), self._tars.facts(number), self._tars.shards[number]
            for first in range(low, high, BATCH):
                last = min(first + BATCH, high)
                rows = zip(
                    index.entries(first, last), facts.labels(first, last), facts.captions(first, last), strict=True
                )
                for entry, values, texts in rows:
                    found = Annotations(texts=tuple(map(Text, texts)))
                    yield self._bare(shard, entry, self._usable(values), found)

    def place(self) -> str:
        """The paths in full, and URLs without what may be a secret in them."""
        patterns = (self.shards,) if isinstance(self.shards, str) else self.shards
        return f"webdataset shards={','.join(map(in_full, patterns))}"

    def _items(self, number: int, low: int, high: int) -> Iterator[Sample | Failure]:
        """The samples `low` to `high - 1` of a tar."""
        index, shard = self._tars.index(number), self._tars.shards[number]
        with self._tars.open(number, index.end(high)) as tar:
            for first in range(low, high, BATCH):
                for entry in index.entries(first, min(first + BATCH, high)):
                    yield self._item(shard, entry, tar)

    def _item(self, shard: Shard, entry: Entry, tar: Readable) -> Sample | Failure:
        if entry.flaw:
            reason, detail = FLAWS[entry.flaw]
            return self._bare(shard, entry).failure(reason, f"{entry.key or shard.name}: {detail}")
        picture = next((ending for ending in self._pictures if ending in entry.members), "")
        wanted = self._wanted
        places = {name: place for name, place in entry.members.items() if name == picture or name in wanted}
        mask_name = (self.mask or "").lower()
        large = [name for name, at in places.items() if not fits(at, picture=name in (picture, mask_name))]
        members = read_members(tar, {name: places[name] for name in places if name not in large} if large else places)
        sample = self._sample(shard, entry, Contents(members), members.get(picture, b""))
        if not picture:
            return sample.failure("no_picture", no_picture(entry, self._pictures))
        if large:
            size = places[large[0]][1]
            return sample.failure("too_large", f"its {large[0]} has {size} bytes, more than can be read at once")
        if not sample.image:
            return sample.failure("empty", f"its {picture} has 0 bytes")
        if self.mask is None:
            return sample
        mask = members.get(mask_name)
        if mask is None:
            return sample.failure("no_mask", f"it has no {self.mask}; its members are {listed(entry)}")
        if wrong := mask_trouble(members[picture], mask):
            return sample.failure(*wrong)
        return replace(sample, extras={"mask.png": mask})

    def _sample(self, shard: Shard, entry: Entry, contents: Contents, image: bytes) -> Sample:
        """The sample, quarantined for the first member that can't be used; the others are used all the same."""
        wrong: list[BadMember] = []

        def value(path: MemberPath | None, read: Callable[[Any], Value], default: Value) -> Value:
            if path is None or path.ending not in contents.members:
                return default
            try:
                return read(contents.value(path))
            except BadMember as error:
                wrong.append(error)
                return default

        paths = self._paths
        nothing: tuple[Any, ...] = ()
        labels = value(paths.label, self._given.labelled, nothing)
        texts = value(paths.caption, tar_members.captions, nothing)
        objects = value(paths.objects, lambda found: found, None)
        licence = value(self._licence, tar_members.licence, "")
        metadata = {path.name: value(path, tar_members.metadata, None) for path in self._metadata}
        identity, origin = self._named(shard, entry)
        sample = Sample(
            identity,
            image,
            labels,
            origin,
            licence or self.licence,
            reason=wrong[0].reason if wrong else "",
            detail=wrong[0].detail if wrong else "",
            split=self._split(shard),
            annotations=Annotations(texts=texts) if texts else NOTHING,
            metadata=metadata,
        )
        if objects is None or not image:
            return sample
        return with_objects(sample, objects, self._given.ids or None, self._known, self.box_format, clip=self.clip)

    def _bare(
        self, shard: Shard, entry: Entry, labels: tuple[str, ...] = (), annotations: Annotations = NOTHING
    ) -> Sample:
        """The sample without its picture and what lies in the tar."""
        identity, origin = self._named(shard, entry)
        split = self._split(shard)
        return Sample(identity, b"", labels, origin, self.licence, split=split, annotations=annotations)

    def _named(self, shard: Shard, entry: Entry) -> tuple[str, str]:
        """The sample's id, and where it comes from."""
        origin = f"{shard.name}/{entry.key}"
        key = f"{origin}\0{entry.repeat}" if entry.repeat else origin  # no other key has a NUL in it
        return source_id("webdataset", key), origin

    def _split(self, shard: Shard) -> str:
        return shard.split if self.split == "" else self.split.replace("none", "")

    def _usable(self, value: list[Any]) -> tuple[str, ...]:
        """The class ids of labels; none if one of them is unknown, which shows when the sample is read."""
        try:
            return self._given.labelled(value)
        except BadMember:
            return ()

    @cached_property
    def _pictures(self) -> tuple[str, ...]:
        return tuple(ending.lower() for ending in self.image)

    @cached_property
    def _paths(self) -> FactPaths:
        return FactPaths(*(MemberPath.of(text) if text else None for text in (self.label, self.objects, self.caption)))

    @cached_property
    def _licence(self) -> MemberPath | None:
        return MemberPath.of(self.licence_field) if self.licence_field else None

    @cached_property
    def _metadata(self) -> tuple[MemberPath, ...]:
        return tuple(MemberPath.of(text) for text in self.metadata)

    @cached_property
    def _fields(self) -> Mapping[str, MemberPath]:
        """The paths that must lead somewhere, by the field that has each."""
        usual = {"label": LABEL, "caption": CAPTION}
        single = ("label", "caption", "objects", "licence_field", "mask")
        given = [(name, getattr(self, name)) for name in single] + [("metadata", text) for text in self.metadata]
        return {f"{name} {text}": MemberPath.of(text) for name, text in given if text and text != usual.get(name)}

    @cached_property
    def _wanted(self) -> Set[str]:
        """Endings of the members that are read besides the picture."""
        mask = {self.mask.lower()} if self.mask else set()
        more = (path.ending for path in (self._licence, *self._metadata) if path)
        return self._paths.endings() | mask | set(more)

    @cached_property
    def _tars(self) -> TarSet:
        patterns = (self.shards,) if isinstance(self.shards, str) else self.shards
        return TarSet(find_shards(patterns, "webdataset"), self._paths, "webdataset")

    @cached_property
    def _size(self) -> int:
        check_members(self._tars, self._pictures, self._fields)
        return int(self._tars.summary().firsts[-1])

    @cached_property
    def _given(self) -> GivenClasses:
        return GivenClasses(self.class_names, "webdataset")

    @cached_property
    def _classes(self) -> tuple[ClassInfo, ...]:
        endings = self._tars.summary().endings
        paths = [path for path in (self._paths.label, self._paths.objects) if path and path.ending in endings]
        if not paths or self._given:
            return self._given.infos
        labels, categories = self._tars.distinct()
        if not labels and self.label not in (None, LABEL):
            raise SourceError(
                f"webdataset: label: no sample has a value at {self.label}; correct it, or set it to null"
            )
        return found_classes(labels, categories, "webdataset")

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(info.id for info in self._classes)
