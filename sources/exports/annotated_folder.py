"""Read a folder of pictures annotated by another tool's export: labels, objects, licence.

The file names pictures by paths. A path counts only if a picture with it was found in the folder, so none leads out of
it, through `..` or through a link.
"""

from __future__ import annotations

import json
import posixpath
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from variorum.machine.file_hashes import forget_hash, pin_files
from variorum.machine.retrying import Pinned, read_pinned
from variorum.schemas.component import ClassInfo
from variorum.schemas.errors import SourceChanged, SourceError
from variorum.schemas.sample import Failure, Sample, source_id
from variorum.sources.exports.objects import BoxFormat
from variorum.sources.exports.texts import split_name
from variorum.sources.folders.folder import (
    Picture,
    Pins,
    find_pictures,
    list_folder,
    pin_pictures,
    read_picture,
)
from variorum.sources.folders.listing import Listing
from variorum.sources.tables.rows import RowValues, check_names, described, ordered, with_objects

LARGEST = 512 << 20
"""Bytes of an annotation file. It is held in memory."""
LICENCES = ("license", "licence")
"""Names that a picture's licence may have."""
PROVENANCE = "pictures.jsonl"
"""What our exports add to formats that have no place for it."""
KEPT = ("id", "sha256", "converted", "parent", "variant", "labels", "origin", "digital_source_type", "metadata")
"""Values of `PROVENANCE` that become metadata."""


@dataclass(frozen=True, slots=True)
class Told:
    """A file's annotation of one picture.

    Attributes:
        path: of the picture, relative to the folder.
        labels: its classes, the first one first.
        captions: texts.
        objects: as `read_objects` takes them, with categories as texts.
        licence: `""` for none.
        split: a name that `split_name` knows, or `""`.
        photograph: a value that all versions of one photograph share; `""` for none.
        metadata: everything else.
        variant: of the picture.
        parent: path of the picture that it was made from; `""` if there is none, or the file doesn't mention it.
        reason: why it has no label though it should have one, for the quarantine; `""` otherwise.
    """

    path: str
    labels: tuple[str, ...] = ()
    captions: Sequence[Any] = ()
    objects: Sequence[Mapping[str, Any]] = ()
    licence: str = ""
    split: str = ""
    photograph: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    variant: str = "original"
    parent: str = ""
    reason: str = ""


@dataclass(frozen=True)
class ToldPictures:
    """The pictures that a file names, in its order; other pictures of the folder are left out.

    Attributes:
        where: the source's name.
        listing: of the folder.
        told: what it says about each.
        pins: hashes of the files that were read, by name.
        names: classes that a file lists; others that occur follow.
        licence: of pictures for which none is given.
        box_format: of all objects.
        clip: whether boxes that leave their picture are clipped.
        finish: costly work on an object, done when its picture is read, which is given too.
    """

    where: str
    listing: Listing
    told: Sequence[Told]
    pins: Mapping[str, Pinned]
    names: Sequence[str] = ()
    licence: str = "unknown"
    box_format: BoxFormat = "xywh"
    clip: bool = False
    finish: Callable[[Mapping[str, Any], bytes], Mapping[str, Any]] = lambda item, _: item

    def __len__(self) -> int:
        return len(self.told)

    def pin(self) -> str:
        """Digest of the files and of the pictures that they name."""
        return self._pins.digest

    @cached_property
    def classes(self) -> tuple[ClassInfo, ...]:
        """The listed classes, then others that occur, by name.

        Raises:
            SourceError: two have the same name.
        """
        found = {label for one in self.told for label in one.labels}
        found |= {str(item["category"]) for one in self.told for item in one.objects if item.get("category")}
        names = check_names((*self.names, *ordered(found - set(self.names))), self.where)
        return tuple(ClassInfo(name, name) for name in names)

    @property
    def captioned(self) -> bool:
        """Return whether any picture has captions."""
        return any(one.captions for one in self.told)

    @property
    def annotated(self) -> bool:
        """Return whether any picture has captions or objects."""
        return any(one.captions or one.objects for one in self.told)

    def read(self, start: int, stop: int) -> Iterator[Sample | Failure]:
        """Samples with the bytes as stored; a Failure for a picture that isn't in the folder.

        Raises:
            SourceChanged: a picture isn't what was pinned.
            TemporaryError: the disk, the network or the machine failed.
        """
        for number in range(start, min(stop, len(self.told))):
            one, sample = self.told[number], self._bare(number)
            key = _key(one.path)
            if (picture := self._pictures.get(key)) is None:
                yield sample.failure("unreadable", f"{one.path[:200]!r} is no picture in the folder")
                continue
            item = read_picture(picture, sample, self._pins)
            if isinstance(item, Failure):
                yield item
                continue
            assert isinstance(item.image, bytes)
            objects = [self.finish(part, item.image) for part in one.objects]
            yield with_objects(item, objects, None, self._known, self.box_format, clip=self.clip)

    def outline(self, start: int, stop: int) -> Iterator[Sample]:
        """The same samples without pictures and objects."""
        for number in range(start, min(stop, len(self.told))):
            yield self._bare(number)

    def _bare(self, number: int) -> Sample:
        one = self.told[number]
        again = self._again[number]
        key = f"{_key(one.path)}#{again}" if again else _key(one.path)
        sample = Sample(
            source_id(self.where, key),
            b"",
            one.labels,
            origin=key,
            licence=self.licence,
            split=split_name(one.split),
            variant=one.variant,
            parent=source_id(self.where, parent) if (parent := _key(one.parent)) in self._paths else "",
            photograph=one.photograph,
        )
        found = described(sample, RowValues(None, one.captions, None, one.licence, one.metadata), None)
        if one.reason and not found.reason:
            found = replace(found, reason="no_label", detail=one.reason)
        return replace(found, labels=one.labels)

    @cached_property
    def _again(self) -> list[int]:
        """Count the entries before each one that name the same picture."""
        seen: Counter[str] = Counter()
        numbers = []
        for one in self.told:
            key = _key(one.path)
            numbers.append(seen[key])
            seen[key] += 1
        return numbers

    @cached_property
    def _paths(self) -> frozenset[str]:
        return frozenset(_key(one.path) for one in self.told) - {""}

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(one.id for one in self.classes)

    @cached_property
    def _pictures(self) -> dict[str, Picture]:
        there = {picture.key: picture for picture in find_pictures(self.listing, None, self.where)}
        found = {key: there[key] for key in sorted({_key(one.path) for one in self.told} & there.keys())}
        if not found:
            first = self.told[0].path if self.told else ""
            raise SourceError(
                f"{self.where}: none of the {len(self.told)} pictures that are named, such as {first[:200]!r}, is in "
                f"{self.listing.root}; their paths start from that folder"
            )
        return found

    @cached_property
    def _pins(self) -> Pins:
        return pin_pictures(self.listing.root, tuple(self._pictures.values()), self.pins)


def read_file_of(root: Path, name: str, where: str, largest: int = LARGEST) -> tuple[bytes, Pinned]:
    """The content of a file in a folder, and its pin.

    Raises:
        SourceError: it isn't there, can't be read, or is larger.
        SourceChanged: it changed while it was read.
        TemporaryError: the disk, the network or the machine failed.
    """
    path = (root / name).absolute()
    (pinned,) = pin_files(root / "told by", [path])
    if pinned.why:
        raise SourceError(f"{where}: {path}: {pinned.why}")
    if (size := path.stat().st_size) > largest:
        raise SourceError(f"{where}: {path} has {size} bytes, more than the {largest} that are read; export in parts")
    try:
        return read_pinned(path, pinned, path), pinned
    except SourceChanged:
        forget_hash(root / "told by", path)
        raise


def read_json_of(root: Path, name: str, where: str) -> tuple[Any, Pinned]:
    """The value of a JSON file in a folder, and its pin. Raises as `read_file_of`; SourceError if it isn't JSON."""
    data, pinned = read_file_of(root, name, where)
    try:
        value = json.loads(data)
        if b"\\u" in data:
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{where}: {root / name} can't be read as JSON: {str(error).splitlines()[0][:200]}") from None
    return value, pinned


def provenance(root: Path, where: str) -> tuple[dict[str, dict[str, Any]], dict[str, Pinned]]:
    """Read `pictures.jsonl` of an export of ours: by path, what it says about each picture, and the file's pin.

    Empty if there is no such file. Raises as `read_file_of`, and SourceError for a line that no export has.
    """
    if not (root / PROVENANCE).is_file():
        return {}, {}
    data, pinned = read_file_of(root, PROVENANCE, where)
    found = {}
    for number, line in enumerate(data.splitlines(), 1):
        try:
            row = json.loads(line)
            found[str(row.pop("file_name"))] = row
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            message = f"{where}: {root / PROVENANCE}, line {number}: isn't a line of an export; remove the file"
            raise SourceError(message) from None
    return found, {PROVENANCE: pinned}


def with_provenance(told: Told, row: Mapping[str, Any] | None) -> Told:
    """Add the licence, split, photograph and ids of our export to what a file says about a picture."""
    if not row:
        return told
    kept = {name: row[name] for name in KEPT if isinstance(row.get(name), str | bool | list)}
    texts = {name: row[name] for name in ("license", "split", "photograph") if isinstance(row.get(name), str)}
    return replace(
        told,
        licence=told.licence or texts.get("license", ""),
        split=told.split or texts.get("split", ""),
        photograph=texts.get("photograph", "") or told.photograph,
        metadata={**kept, **told.metadata},
    )


def listed(path: Path, where: str, names: Iterable[str]) -> Listing:
    """The pictures below a folder, in which these files are expected."""
    return list_folder(path.expanduser(), where, also=tuple(names))


def texts_in(value: Any) -> tuple[str, ...]:
    """The texts of a list, or a text alone; nothing for anything else."""
    if isinstance(value, str):
        return (value,) if value else ()
    return tuple(text for text in value if isinstance(text, str) and text) if isinstance(value, list) else ()


def _key(path: str) -> str:
    """A path as the key of a picture in the folder; `""` if it can't be one."""
    plain = posixpath.normpath(path.replace("\\", "/")) if path else ""
    return "" if plain.startswith(("/", "..")) or "\0" in plain else plain
