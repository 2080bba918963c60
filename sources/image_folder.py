"""Any folder of pictures: flat, with one folder per class or split, with files that describe them, or with masks."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

from variorum.models.imagenet_classes import class_infos, is_wnid
from variorum.schemas.component import ClassInfo, Context, Source, place_of
from variorum.schemas.errors import SourceError
from variorum.schemas.sample import Failure, Sample
from variorum.sources.exports.objects import BoxFormat
from variorum.sources.exports.texts import split_name
from variorum.sources.folders.folder import (
    Picture,
    Pins,
    find_pictures,
    is_picture,
    list_folder,
    outline_picture,
    pin_pictures,
    read_picture,
)
from variorum.sources.folders.listing import Listing
from variorum.sources.folders.metadata import FILES, Metadata
from variorum.sources.tables.rows import RowValues, described, with_objects

log = logging.getLogger(__name__)

LEADING_WNID = re.compile(r"(n\d{8})(?!\d)")
"""`n01440764_tench.JPEG`, `n01440764-12.png`."""


class ImageFolder(Source):
    """The pictures under a folder, in order of their relative paths, which also decide their ids.

    Links to folders, and links to files outside the folder, are not followed. A picture's class is the folder that it
    lies in, at any depth, unless metadata files have labels. If all classes are ImageNet wnids, or all file names start
    with one, the classes are ImageNet's thousand in ImageNet's order.
    """

    revision: ClassVar[int] = 2
    location: ClassVar[frozenset[str]] = frozenset({"path", "masks"})

    path: Path
    """The folder."""
    labels: Literal["auto", "folder", "wnid", "none"] = "auto"
    """Where labels come from: the picture's folder, the wnid at the start of its file name, or nowhere.

    `auto` takes the column `label` of metadata files, and no labels if these have no such column, as `datasets` does.
    Without metadata files, or with captions and groups alone, it is `folder` when every picture lies in one, else
    `wnid` when every file name starts with one, else `none`.
    """
    splits: Literal["auto", "none"] = "auto"
    """`auto` takes the topmost folders for splits, not classes, if all of them have the name of one (`train`, `val`,
    `test` ...)."""
    metadata: Literal["auto", "none"] = "auto"
    """`auto` reads `metadata.csv`, `.jsonl` and `.parquet`, `labels.csv`, `captions.csv` and `groups.csv`, in any
    folder."""
    box_format: BoxFormat = "xywh"
    """What `bbox` holds in the column `objects` of metadata files."""
    clip: bool = False
    """Whether boxes that leave their picture are clipped; otherwise the picture goes into quarantine."""
    masks: Path | None = None
    """A folder with `<relative path without ending>.png` for each picture, object above 127."""
    licence: str = "unknown"
    """Licence of pictures without one in a metadata file: an SPDX id or the terms in a few words."""

    def pin(self, ctx: Context) -> str:
        """Digest of relative paths and contents, masks and metadata files included; hashes are cached.

        `read` of the same object gives what is pinned here, or raises SourceChanged.
        """
        return self._pins.digest

    def size(self, ctx: Context) -> int:
        """Pictures in the folder, and those that metadata files name in vain."""
        return len(self._pictures)

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        """Samples with the bytes as stored; a `Failure` for an unreadable file or a missing or mismatching mask.

        A picture that metadata files name in vain is a `Failure` too. One that they should name and don't has the
        reason `no_metadata`.

        Raises:
            SourceChanged: a file isn't what was pinned.
            TemporaryError: the disk, the network or the machine failed, or the folder is gone.
        """
        for position, picture in enumerate(self._pictures[start:stop], start):
            values = self._metadata.values(position)
            sample = self._bare(picture, values)
            if place := self._metadata.missing.get(picture.key):
                why = "but there is no such picture"
                if not is_picture(picture.key) or any(part.startswith(".") for part in picture.key.split("/")):
                    why = "which is hidden or has no ending of a picture"
                yield sample.failure("unreadable", f"{place} names {picture.key}, {why}")
                continue
            item = read_picture(picture, sample, self._pins)
            if values is None or isinstance(item, Failure):
                yield item
                continue
            names = self._metadata.category_names
            yield with_objects(item, values.objects, names, self._known, self.box_format, clip=self.clip)

    def outline(self, start: int, stop: int, ctx: Context) -> Iterator[Sample]:
        """The samples from file names and metadata alone, without objects."""
        for position, picture in enumerate(self._pictures[start:stop], start):
            yield self._bare(picture, self._metadata.values(position))

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """The folders in order of their names, or the labels of metadata files, or ImageNet's thousand, or none.

        Categories of objects that aren't among them follow.

        Raises:
            SourceError: the names of two classes differ only in case, spaces or underscores.
        """
        return self._classes

    def captioned(self, ctx: Context) -> bool:
        """Return whether a metadata file has captions."""
        return self._metadata.captioned

    def annotated(self, ctx: Context) -> bool:
        """Return whether a metadata file has captions or objects."""
        return self._metadata.captioned or self._metadata.has_objects

    def stored_bytes(self, ctx: Context) -> int:
        """The size of the files."""
        sizes = 0
        for picture in self._found:
            with suppress(OSError):  # found when it is read
                sizes += picture.file.stat().st_size
        return sizes

    def place(self) -> str:
        """The folder."""
        return place_of(self, ["path"])

    @cached_property
    def _found(self) -> tuple[Picture, ...]:
        return find_pictures(self._listing, self.masks, "image_folder")

    @cached_property
    def _listing(self) -> Listing:
        return list_folder(self.path, "image_folder", also=FILES if self.metadata == "auto" else ())

    @cached_property
    def _metadata(self) -> Metadata:
        return Metadata(self._listing, self._found, "image_folder", read=self.metadata == "auto")

    @cached_property
    def _pins(self) -> Pins:
        return pin_pictures(self.path, self._found, self._metadata.pins)

    @property
    def _pictures(self) -> tuple[Picture, ...]:
        return self._metadata.pictures

    @cached_property
    def _has_splits(self) -> bool:
        """Return whether the topmost folders are splits."""
        return self.splits == "auto" and all(
            "/" in picture.key and split_name(picture.key.partition("/")[0]) for picture in self._found
        )

    def _inner(self, picture: Picture) -> str:
        """A picture's path below its split."""
        return picture.key.partition("/")[2] if self._has_splits else picture.key

    @cached_property
    def _labelling(self) -> Literal["metadata", "folder", "wnid", "none"]:
        """Return what `labels` means for these pictures."""
        if self.labels == "none":
            return "none"
        inner = [(self._inner(picture), picture) for picture in self._found]
        flat = next((picture.key for path, picture in inner if "/" not in path), None)
        deep = next((picture.key for path, picture in inner if "/" in path), None)
        strange = next((picture.key for picture in self._found if not _wnid(picture)), None)
        if self.labels == "wnid" and strange:
            raise SourceError(f"image_folder: labels is wnid, but {strange} doesn't start with a wnid of ImageNet-1k")
        if self.labels == "folder" and flat:
            raise SourceError(f"image_folder: labels is folder, but {flat} lies in no folder of a class")
        if self.labels != "auto":
            return self.labels
        if self._metadata and not self._metadata.leaves_classes:
            if not self._metadata.labelled and len({_folder(path) for path, _ in inner}) > 1:
                log.warning(
                    "image_folder: no metadata file of %s has labels, so its pictures have none; set labels to folder "
                    "to take them from the folders",
                    self.path,
                )
            return "metadata" if self._metadata.labelled else "none"
        if deep is None:
            return "none" if strange else "wnid"
        parts = {self._part(picture) for path, picture in inner if "/" in path}
        if mixed := next((p.key for path, p in inner if "/" not in path and self._part(p) in parts), None):
            raise SourceError(
                f"image_folder: {self.path} has pictures in folders and beside them ({mixed}), so the classes are "
                f"unclear; move these pictures, or set labels to none"
            )
        return "folder"

    def _part(self, picture: Picture) -> str:
        """The folder of a picture's split."""
        return picture.key.partition("/")[0] if self._has_splits else ""

    def _bare(self, picture: Picture, values: RowValues | None) -> Sample:
        """The sample without its picture."""
        labels: tuple[str, ...] = ()
        if self._labelling in ("folder", "wnid"):
            found = _wnid(picture) if self._labelling == "wnid" else _folder(self._inner(picture))
            labels = (found,) if found else ()
        sample = outline_picture(
            picture,
            source="image_folder",
            labels=labels,
            licence=self.licence,
            split=split_name(self._part(picture)),
        )
        if values is None:
            if not self._metadata.covers(picture):
                return sample
            return replace(sample, reason="no_metadata", detail=f"no metadata file has a row for {picture.key}")
        if self._labelling != "metadata" and values.label is not None:
            values = replace(values, label=None, metadata={**values.metadata, "label": values.label})
        return described(sample, values, self._metadata.label_names)

    @cached_property
    def _classes(self) -> tuple[ClassInfo, ...]:
        if self._labelling == "metadata":
            ids = self._metadata.labels()
        else:
            ids = self._folder_names if self._labelling == "folder" else ()
        thousand = self._labelling == "wnid" or (ids and all(map(is_wnid, ids)))
        known = class_infos() if thousand else tuple(ClassInfo(name, _shown(name)) for name in ids)
        names = {info.id: info.name for info in known}
        names |= {name: _shown(name) for name in self._metadata.categories() if name not in names}
        seen: dict[str, str] = {}
        for identity, name in names.items():
            if (other := seen.setdefault(name.casefold(), identity)) != identity:
                raise SourceError(
                    f"image_folder: {self.path} has two classes with the same name, {other!r} and {identity!r}; write "
                    f"one class in one way"
                )
        return tuple(ClassInfo(identity, name) for identity, name in names.items())

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(info.id for info in self._classes)

    @cached_property
    def _folder_names(self) -> tuple[str, ...]:
        seen: dict[str, str] = {}
        inner = {self._inner(picture).rpartition("/")[0] for picture in self._found}
        for path in sorted(inner - {""}):
            other = seen.setdefault(_shown(path.rpartition("/")[2]).casefold(), path)
            if other != path:
                raise SourceError(
                    f"image_folder: {self.path} has two folders with the same class name, {other} and {path}; rename "
                    f"one, or set path to the folder above one of them"
                )
        return tuple(sorted(path.rpartition("/")[2] for path in seen.values()))


def _shown(identity: str) -> str:
    """The name of a class for people."""
    return " ".join(identity.replace("_", " ").split())


def _folder(path: str) -> str:
    """The name of the folder that a picture lies in; `""` for none."""
    return path.rpartition("/")[0].rpartition("/")[2]


def _wnid(picture: Picture) -> str:
    """The ImageNet wnid at the start of the file's name, or `""`."""
    found = LEADING_WNID.match(picture.file.name)
    return found[1] if found and is_wnid(found[1]) else ""
