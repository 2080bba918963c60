"""ImageNet-E as its authors released it (Li et al., CVPR 2023, arXiv 2303.17096), or an export in its folders."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

from variorum.models.imagenet_classes import class_infos
from variorum.schemas.component import ClassInfo, Context
from variorum.schemas.errors import SourceError
from variorum.sources.exports.annotated_folder import (
    Told,
    ToldPictures,
    listed,
    provenance,
    read_file_of,
    with_provenance,
)
from variorum.sources.exports.annotated_source import ToldSource
from variorum.sources.folders.folder import is_picture
from variorum.sources.folders.listing import key_of

LARGEST = 64 << 20
"""Bytes of the file with the labels."""
INDEX = re.compile("[0-9]{1,9}")


class ImagenetE(ToldSource):
    """The photographs, and each edit as a picture made from its photograph.

    A picture's variant is its folder; the folder `originals` has the variant `original`. Pictures of one name are of
    one photograph, and have its class. Pictures that `labels` doesn't name go into quarantine as `no_label`.
    """

    path: Path
    """The folder with `labels.txt` and a folder for each edit."""
    labels: str = "labels.txt"
    """The file with a line for each photograph: its name, a tab, and the index of its class."""
    originals: str = "ori"
    """The folder with the photographs as they were."""
    folders: tuple[str, ...] = ()
    """Only these folders; all by default."""
    class_names: tuple[str, ...] = ()
    """The classes by index; ImageNet's thousand by default."""
    licence: str = "unknown"
    """Licence of pictures without one in `pictures.jsonl`: an SPDX id or the terms in a few words."""

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """ImageNet's thousand, or those of `class_names`.

        Raises:
            SourceError: two have the same name.
        """
        return self._classes if not self.class_names else self._pictures.classes

    @cached_property
    def _classes(self) -> tuple[ClassInfo, ...]:
        return tuple(ClassInfo(name, name) for name in self.class_names) or class_infos()

    @cached_property
    def _pictures(self) -> ToldPictures:
        root = self.path.expanduser()
        listing = listed(root, "imagenet_e", (self.labels,))
        data, pinned = read_file_of(root, self.labels, "imagenet_e", LARGEST)
        labels = self._labels(data)
        known, pins = provenance(root, "imagenet_e")
        keys = [key for key in map(key_of, listing.files) if is_picture(key) and key.count("/") == 1]
        there = {_stem(key): key for key in keys if key.startswith(f"{self.originals}/")}
        if not there:
            raise SourceError(
                f"imagenet_e: {root} has no pictures in {self.originals}, where the photographs are as they were; set "
                "originals to the name of their folder"
            )
        told = []
        for key in sorted(keys, key=lambda key: (_stem(key), key)):
            folder, name = key.partition("/")[0], _stem(key)
            if self.folders and folder not in self.folders:
                continue
            edited = folder != self.originals
            found = Told(
                key,
                labels.get(name, ()),
                photograph=name,
                variant=folder if edited else "original",
                parent=there.get(name, "") if edited else "",
                reason="" if name in labels else f"{self.labels} has no line for {name}",
            )
            told.append(with_provenance(found, known.get(key)))
        if not told:
            raise SourceError(f"imagenet_e: {root} has no pictures in {', '.join(self.folders)}")
        return ToldPictures("imagenet_e", listing, told, {self.labels: pinned, **pins}, self.class_names, self.licence)

    def _labels(self, data: bytes) -> dict[str, tuple[str, ...]]:
        """The class of each photograph by its name without an ending."""
        found: dict[str, tuple[str, ...]] = {}
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            name, _, index = line.strip().partition("\t")
            if not name:
                continue
            if not INDEX.fullmatch(index.strip()) or int(index) >= len(self._classes):
                raise SourceError(
                    f"imagenet_e: {self.path / self.labels}, line {number}: {line[:80]!r} isn't a name, a tab and an "
                    f"index below {len(self._classes)}"
                )
            found[_stem(name)] = (self._classes[int(index)].id,)
        return found


def _stem(path: str) -> str:
    """The name of a file without folder and ending."""
    return path.rpartition("/")[2].rpartition(".")[0] or path.rpartition("/")[2]
