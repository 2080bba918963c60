"""ImageNet-1k, as a tree of wnid folders or as a `datasets` dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from pydantic import model_validator

from variorum.models.imagenet_classes import class_infos, is_wnid, table
from variorum.pixels import UndecodableImage, decode, encode_png
from variorum.schemas.canonical import Json
from variorum.schemas.component import ClassInfo, Context, Source, place_of
from variorum.schemas.errors import SourceError
from variorum.schemas.sample import Failure, Sample, source_id
from variorum.sources.exports.texts import split_name
from variorum.sources.folders.folder import (
    Picture,
    Pins,
    find_pictures,
    list_folder,
    outline_picture,
    pin_pictures,
    read_mask,
    read_picture,
)
from variorum.sources.web.hub import HubDataset, HubTable

if TYPE_CHECKING:
    from variorum.arrays import Array


MERGED: Mapping[str, str] = {
    "n04356056": "n04355933",  # sunglasses into sunglass
    "n04493381": "n02808440",  # tub into bathtub
    "n03642806": "n03832673",  # laptop into notebook
    "n04008634": "n03773504",  # projectile into missile
    "n03887697": "n15075141",  # paper towel into toilet tissue
}
"""The five classes that ImageNet-S merges into another, as their pictures are indistinguishable."""

IGNORE = 1000
"""ImageNet-S's value for pixels of unclear class."""


class ImageNet(Source):
    """ImageNet-1k pictures labelled with wnids.

    They lie in `path`, a folder with one folder per wnid, or in `dataset`, with columns `image` and `label` whose
    labels are ImageNet's indices.
    """

    revision: ClassVar[int] = 2
    location: ClassVar[frozenset[str]] = frozenset({"path", "masks"})

    path: Path | None = None
    """Folder of the split with a folder for each wnid, such as `ILSVRC2012/val`."""
    dataset: str | None = None
    """Hub id or local path of a `datasets` dataset."""
    split: str = "validation"
    """Of `dataset`, and of its samples; no effect on a `path`, whose samples have none."""
    commit: str | None = None
    """Branch, tag or commit of `dataset` on the Hub; give a commit for data that must not change."""
    masks: Path | None = None
    """A folder of ImageNet-S masks, `<wnid>/<stem>.png`, that go with `path`; they become each sample's `mask.png`."""
    licence: str = "ImageNet terms of access"
    """Licence that every picture gets."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.dataset is None):
            raise ValueError("give either path (a folder of wnid folders) or dataset (a Hub id or local dataset)")
        if self.masks is not None and self.path is None:
            raise ValueError("masks need a path, as they are found by <wnid>/<stem>.png")
        return self

    def identity(self) -> dict[str, Json]:
        """The fields without locations, which include the path of a local dataset."""
        identity = super().identity()
        return {**identity, "dataset": None} if self.dataset is None or self._table.local else identity

    def pin(self, ctx: Context) -> str:
        """Digest of the pictures and masks, or of the dataset's files."""
        return self._pins.digest if self.path else self._table.dataset.pin([self.split])

    def size(self, ctx: Context) -> int:
        """Pictures in the folder, or rows of the split."""
        return len(self._pictures) if self.path else self._table.size()

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """All thousand classes, including those that don't occur."""
        return class_infos()

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        """Samples with the bytes as stored; masks become `mask.png`, 255 on the picture's class and 0 elsewhere.

        ImageNet-S writes a pixel's class as red + 256 x green, 0 for other things and 1000 for pixels to ignore; both
        become 0. The class number of a wnid is the most frequent one in the wnid's masks.
        """
        if self.path is None:
            yield from self._read_table(start, stop)
            return
        for picture in self._pictures[start:stop]:
            wnid = picture.file.parent.name
            bare = outline_picture(picture, source="imagenet", labels=(wnid,), licence=self.licence)
            sample = read_picture(picture, bare, self._pins)
            if isinstance(sample, Sample) and picture.mask is not None:
                try:
                    binary = _class_ids(bytes(sample.extras["mask.png"])) == self._own_id(wnid)
                except UndecodableImage as error:
                    yield bare.failure("bad_mask", str(error))
                    continue
                if not binary.any():
                    yield bare.failure("no_mask", "its class isn't in the mask")
                    continue
                sample = replace(sample, extras={"mask.png": encode_png(binary.astype(np.uint8) * 255)})
            yield sample

    def outline(self, start: int, stop: int, ctx: Context) -> Iterator[Sample]:
        """The samples from the file names or the label column alone."""
        if self.path is None:
            rows = enumerate(self._table.rows(start, stop, (), ("label",)), start)
            yield from (self._bare(number, row["label"]) for number, row in rows)
            return
        for picture in self._pictures[start:stop]:
            labels = (picture.file.parent.name,)
            yield outline_picture(picture, source="imagenet", labels=labels, licence=self.licence)

    def place(self) -> str:
        """The folder, or the dataset and split."""
        return place_of(self, ["path", "dataset", "split"])

    def _read_table(self, start: int, stop: int) -> Iterator[Sample | Failure]:
        for number, row in enumerate(self._table.rows(start, stop, ("image",), ("label",)), start):
            sample = self._bare(number, row["label"])
            try:
                image = self._table.picture_bytes(row["image"])
            except OSError as error:
                yield sample.failure("unreadable", str(error))
                continue
            yield replace(sample, image=image) if image else sample.failure("no_picture", "column image is empty")

    def _bare(self, number: int, label: int | None) -> Sample:
        """The sample of a dataset's row, without its picture."""
        key, wnids = f"{self.split}/{number}", self._wnids
        labels = (wnids[label],) if label is not None and 0 <= label < len(wnids) else ()
        return Sample(
            source_id("imagenet", key),
            b"",
            labels,
            origin=f"{self.dataset} {key}",
            licence=self.licence,
            split=split_name(self.split),
        )

    @cached_property
    def _pictures(self) -> tuple[Picture, ...]:
        assert self.path is not None
        pictures = find_pictures(list_folder(self.path, "imagenet"), self.masks, "imagenet")
        for picture in pictures:
            if not is_wnid(picture.file.parent.name):
                raise SourceError(
                    f"imagenet: {picture.key} in {self.path} doesn't lie in a wnid folder of ImageNet-1k "
                    f"(n01440764/); for a flat folder or other classes use the source image_folder"
                )
        return pictures

    @cached_property
    def _pins(self) -> Pins:
        assert self.path is not None
        return pin_pictures(self.path, self._pictures)

    @cached_property
    def _table(self) -> HubTable:
        assert self.dataset is not None
        return HubDataset(self.dataset, None, self.commit, None, "imagenet").table(self.split)

    @cached_property
    def _wnids(self) -> tuple[str, ...]:
        """Label to wnid: by the names if they are wnids, else in ImageNet's order."""
        for column in ("image", "label"):
            self._table.need(column)
        names = getattr(self._table.features["label"], "names", None)
        if names and all(is_wnid(name) for name in names):
            return tuple(names)
        if names and len(names) != len(table()):
            raise SourceError(
                f"imagenet: the labels of {self.dataset!r} have {len(names)} names that aren't wnids, so their order "
                f"isn't ImageNet's; use the source huggingface"
            )
        return tuple(item.wnid for item in table())

    def _own_id(self, wnid: str) -> int:
        """The wnid's class number in masks: that of the largest region in most of its masks; -1 if unknown."""
        if wnid not in self._own_ids:
            votes: Counter[int] = Counter()
            for picture in self._pictures:
                if picture.file.parent.name == wnid and picture.masked:
                    with suppress(UndecodableImage, OSError):
                        ids, counts = np.unique(_class_ids(read_mask(picture, self._pins)), return_counts=True)
                        areas = {int(i): int(n) for i, n in zip(ids, counts, strict=True) if i not in (0, IGNORE)}
                        if areas:
                            votes[max(areas, key=lambda number: (areas[number], -number))] += 1
            self._own_ids[wnid] = min(votes, key=lambda number: (-votes[number], number)) if votes else -1
        return self._own_ids[wnid]

    @cached_property
    def _own_ids(self) -> dict[str, int]:
        return {}


def _class_ids(mask: bytes) -> Array:
    pixels = decode(mask, min_side=1).astype(np.int32)
    return np.asarray(pixels[..., 0] + 256 * pixels[..., 1])
