"""Object detection sets in COCO's format: an annotation file with a folder of pictures, or a `datasets` dataset."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import model_validator

from variorum.schemas.canonical import Json
from variorum.schemas.component import ClassInfo, Context, Source, place_of
from variorum.schemas.errors import SourceError
from variorum.schemas.sample import Failure, Sample
from variorum.sources.exports.objects import BoxFormat
from variorum.sources.exports.texts import split_name, split_of_path
from variorum.sources.folders.patterns import file_kind
from variorum.sources.web.hub import DataFiles

if TYPE_CHECKING:
    from variorum.sources.coco_files.pictures import CocoPictures
    from variorum.sources.coco_files.rows import CocoRows


class Coco(Source):
    """Pictures with objects: boxes, categories and masks; with captions if there are any.

    They come from `annotations` and `pictures`, in order of the file names, or from the rows of a `dataset`. Classes
    are the names of the categories, in order of their ids, whether or not they occur.
    """

    location: ClassVar[frozenset[str]] = frozenset({"annotations", "pictures", "captions"})

    annotations: Path | None = None
    """The JSON file with images, annotations and categories: `instances_train2017.json`."""
    pictures: Path | None = None
    """The folder that the file names in `annotations` start from."""
    captions: Path | None = None
    """A JSON file with captions of the same pictures: `captions_train2017.json`."""
    dataset: str | None = None
    """A Hub id, a local folder, or a builder's name (`parquet`) for `data_files`; instead of `annotations`."""
    subset: str | None = None
    """Of `dataset`: its configuration, if it has several."""
    dataset_split: str = "train"
    """Of `dataset`."""
    commit: str | None = None
    """Branch, tag or commit of `dataset` on the Hub; give a commit for data that must not change."""
    data_files: DataFiles | None = None
    """Files of `dataset` to read, or patterns of them."""
    image: str = "image"
    """The column of `dataset` with the pictures."""
    objects: str = "objects"
    """The column of `dataset` with the objects: lists by name, or a list of mappings."""
    box_format: BoxFormat = "xywh"
    """What the boxes of `dataset` hold. Those of `annotations` are always `xywh`."""
    masks: bool = True
    """Whether objects keep their regions."""
    labels: Literal["present", "none"] = "present"
    """What the labels of a picture are: the categories that are present, the largest area first, or nothing."""
    clip: bool = False
    """Whether boxes that leave their picture are clipped; otherwise the picture goes into quarantine. Boxes that leave
    it by one pixel at most are always clipped."""
    split: Literal["", "train", "validation", "test", "none"] = ""
    """Of all pictures. By default the name of the annotation file says it, or `dataset_split`: the pictures of
    `instances_val2017.json` are in `validation`."""
    licence: str = "unknown"
    """Licence of the pictures for which the annotation file gives none: an SPDX id or the terms in a few words."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.annotations is None) == (self.dataset is None):
            raise ValueError("give either annotations (a JSON file) with pictures (a folder), or dataset")
        if (self.annotations is None) != (self.pictures is None):
            raise ValueError("annotations and pictures go together: the file, and the folder that its names start from")
        if self.captions is not None and self.annotations is None:
            raise ValueError("captions go with annotations; the huggingface source reads captions of a dataset")
        return self

    def identity(self) -> dict[str, Json]:
        """The fields without locations, which include the path of a local dataset."""
        identity = super().identity()
        local = self.dataset is not None and self._rows.local
        return {**identity, "dataset": None, "data_files": None} if local else identity

    def pin(self, ctx: Context) -> str:
        """Digest of the annotation files and the pictures that they name, or of the dataset's files."""
        return self._data.pin()

    def size(self, ctx: Context) -> int:
        """Pictures in the file, with and without annotations, or rows of the dataset."""
        return len(self._data)

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """The categories in order of their ids; those of a dataset as its column names them, or as it holds them.

        Raises:
            SourceError: two have the same name.
        """
        return tuple(ClassInfo(name, name) for name in self._data.names)

    def captioned(self, ctx: Context) -> bool:
        """Return whether there is a file with captions."""
        return self.captions is not None

    def annotated(self, ctx: Context) -> bool:
        """Always."""
        return True

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        """Samples with the bytes as stored, quarantined if their objects aren't sound; a Failure without a picture."""
        return self._data.read(start, stop)

    def outline(self, start: int, stop: int, ctx: Context) -> Iterator[Sample]:
        """The samples with labels and captions; no picture is opened."""
        return self._data.outline(start, stop)

    def place(self) -> str:
        """The annotation file and the folder, or the dataset."""
        if self.annotations:
            return place_of(self, ["annotations", "pictures", "captions"])
        return place_of(self, ["dataset", "subset", "dataset_split", "data_files"])

    @cached_property
    def _split(self) -> str:
        if self.split:
            return "" if self.split == "none" else self.split
        if self.annotations is None:
            return split_name(self.dataset_split)
        return split_of_path(self.annotations.name)

    @property
    def _data(self) -> CocoPictures | CocoRows:
        return self._rows if self.dataset else self._pictures

    @cached_property
    def _pictures(self) -> CocoPictures:
        from variorum.sources.coco_files.file import CocoFile
        from variorum.sources.coco_files.pictures import CocoPictures

        assert self.annotations
        assert self.pictures
        kind, told = file_kind(self.pictures)
        if kind != "folder":
            what = "is a file" if kind == "file" else told or "doesn't exist"
            raise SourceError(f"coco: pictures {self.pictures} {what}; it must be the folder of the pictures")
        annotations = CocoFile(self.annotations, "annotations")
        if annotations.about["categories"] is None:
            raise SourceError(f"{annotations.name} has no list 'categories'; a file of captions goes into captions")
        if annotations.about["strays"] and not annotations.about["boxes"]:
            raise SourceError(
                f"{annotations.name}: none of its {annotations.about['strays']} annotations is of a picture in the "
                f"file; an image_id must be the id of a picture, a number or a text in both places"
            )
        captions = CocoFile(self.captions, "captions") if self.captions else None
        if captions and not captions.about["captions"]:
            raise SourceError(f"{captions.name} has no annotation with a caption")
        return CocoPictures(
            annotations,
            self.pictures,
            captions,
            masks=self.masks,
            labelled=self.labels == "present",
            clip=self.clip,
            licence=self.licence,
            split=self._split,
        )

    @cached_property
    def _rows(self) -> CocoRows:
        from variorum.sources.coco_files.rows import CocoRows
        from variorum.sources.web.hub import HubDataset

        assert self.dataset
        return CocoRows(
            HubDataset(self.dataset, self.subset, self.commit, self.data_files, "coco").table(self.dataset_split),
            self.image,
            self.objects,
            self.box_format,
            masks=self.masks,
            labelled=self.labels == "present",
            clip=self.clip,
            licence=self.licence,
            split=self._split,
        )
