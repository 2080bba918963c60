"""Any folder of pictures: flat, or with one folder per class, and optionally with masks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

from variorum.generators.sources.imagenet import class_infos, is_wnid
from variorum.generators.sources.reading.folder import (
    Picture,
    find_pictures,
    outline_picture,
    pin_pictures,
    read_picture,
)
from variorum.schemas.component import ClassInfo, Context, Source, place_of
from variorum.schemas.errors import SourceError
from variorum.schemas.sample import Failure, Sample

LEADING_WNID = re.compile(r"(n\d{8})(?!\d)")
"""`n01440764_tench.JPEG`, `n01440764-12.png`."""


class ImageFolder(Source):
    """The pictures under a folder, in order of their relative paths, which also decide their ids.

    Links to folders, and links to files outside the folder, are not followed. A picture's class is the folder that it
    lies in, at any depth. If all of these folders are ImageNet wnids, or all file names start with one, the classes are
    ImageNet's thousand in ImageNet's order.
    """

    location: ClassVar[frozenset[str]] = frozenset({"path", "masks"})

    path: Path
    labels: Literal["auto", "folder", "wnid", "none"] = "auto"
    """Where labels come from: the picture's folder, the wnid at the start of its file name, or nowhere. `auto` is
    `folder` when every picture lies in one, else `wnid` when every file name starts with one, else `none`."""
    masks: Path | None = None
    """A folder with `<relative path without ending>.png` for each picture, object above 127."""
    licence: str = "unknown"
    """Licence of all pictures: an SPDX id or the terms in a few words."""

    def pin(self, ctx: Context) -> str:
        """Digest of relative paths and contents, masks included; hashes of unchanged files are cached."""
        return pin_pictures(self.path, self._pictures)

    def size(self, ctx: Context) -> int:
        """Pictures in the folder."""
        return len(self._pictures)

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        """Samples with the bytes as stored; a `Failure` for an unreadable file or a missing or mismatching mask."""
        for picture in self._pictures[start:stop]:
            yield read_picture(picture, source="image_folder", labels=self._label(picture), licence=self.licence)

    def outline(self, start: int, stop: int, ctx: Context) -> Iterator[Sample]:
        """The samples from the file names alone."""
        for picture in self._pictures[start:stop]:
            yield outline_picture(picture, source="image_folder", labels=self._label(picture), licence=self.licence)

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """The folders in order of their names, or ImageNet's thousand, or none.

        Raises:
            SourceError: the names of two folders differ only in case, spaces or underscores.
        """
        if self._labelling == "none":
            return ()
        if self._labelling == "wnid" or all(is_wnid(_folder(picture)) for picture in self._pictures):
            return class_infos()
        return self._folders

    def place(self) -> str:
        """The folder."""
        return place_of(self, ["path"])

    @cached_property
    def _pictures(self) -> tuple[Picture, ...]:
        return find_pictures(self.path, self.masks, "image_folder")

    @cached_property
    def _labelling(self) -> Literal["folder", "wnid", "none"]:
        """What `labels` means for these pictures."""
        flat = next((picture.key for picture in self._pictures if "/" not in picture.key), None)
        strange = next((picture.key for picture in self._pictures if not _wnid(picture)), None)
        if self.labels == "auto":
            if flat is None:
                return "folder"
            if any("/" in picture.key for picture in self._pictures):
                raise SourceError(
                    f"image_folder: {self.path} has pictures in folders and beside them ({flat}), so the classes are "
                    f"unclear; move these pictures, or set labels to none"
                )
            return "none" if strange else "wnid"
        if self.labels == "wnid" and strange:
            raise SourceError(f"image_folder: labels is wnid, but {strange} doesn't start with a wnid of ImageNet-1k")
        if self.labels == "folder" and flat:
            raise SourceError(f"image_folder: labels is folder, but {flat} lies in no folder")
        return self.labels

    def _label(self, picture: Picture) -> tuple[str, ...]:
        if self._labelling == "none":
            return ()
        return (_wnid(picture) if self._labelling == "wnid" else _folder(picture),)

    @cached_property
    def _folders(self) -> tuple[ClassInfo, ...]:
        seen: dict[str, str] = {}
        for path in sorted({picture.key.rpartition("/")[0] for picture in self._pictures}):
            name = " ".join(path.rpartition("/")[2].replace("_", " ").split())
            other = seen.setdefault(name.casefold(), path)
            if other != path:
                raise SourceError(
                    f"image_folder: {self.path} has two folders with the same class name, {other} and {path}; rename "
                    f"one, or set path to the folder above one of them"
                )
        ids = sorted(path.rpartition("/")[2] for path in seen.values())
        return tuple(ClassInfo(name, " ".join(name.replace("_", " ").split())) for name in ids)


def _folder(picture: Picture) -> str:
    """The name of the folder that a picture lies in."""
    return picture.key.rpartition("/")[0].rpartition("/")[2]


def _wnid(picture: Picture) -> str:
    """The ImageNet wnid at the start of the file's name, or `""`."""
    found = LEADING_WNID.match(picture.file.name)
    return found[1] if found and is_wnid(found[1]) else ""
