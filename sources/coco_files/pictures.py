"""The pictures of an annotation file in COCO's format, as samples with objects, labels and captions."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from variorum.machine.file_hashes import forget_hash, pin_files
from variorum.machine.retrying import Pinned, changed, read_pinned, why
from variorum.pixels import UndecodableImage, open_header, orientation, upright_size_of
from variorum.schemas.annotations import Text
from variorum.schemas.canonical import Json, digest
from variorum.schemas.errors import BadObjects, SourceChanged, SourceError
from variorum.schemas.sample import Failure, Sample, source_id
from variorum.sources.coco_files.annotations import annotation, objects_of, present, unread
from variorum.sources.coco_files.entries import whole
from variorum.sources.coco_files.file import CocoFile, Entry
from variorum.sources.exports.objects import checked, short
from variorum.sources.exports.rle import TURNS, turned
from variorum.sources.exports.texts import BadText, read_texts
from variorum.sources.folders.patterns import file_kind
from variorum.sources.tables.rows import plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T")

SHA256 = 32
"""Bytes."""
OWN = ("id", "file_name", "width", "height", "license")
"""Keys of a picture's entry that have a place of their own; the others are metadata."""


@dataclass(frozen=True)
class CocoPictures:
    """The pictures of an annotation file.

    Attributes:
        annotations: the file with the objects.
        folder: where the pictures lie, by their file names.
        captions: a file with captions of the same pictures, or None.
        masks: whether objects keep their regions.
        labelled: whether a picture's categories are its labels.
        clip: whether boxes are clipped at any distance.
        licence: of pictures for which the file gives none.
        split: of all pictures.
    """

    annotations: CocoFile
    folder: Path
    captions: CocoFile | None
    masks: bool
    labelled: bool
    clip: bool
    licence: str
    split: str
    _safe: dict[str, bool] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.annotations)

    def pin(self) -> str:
        """Digest of the annotation files and of the content of the pictures that they name.

        Raises:
            SourceError: none of the pictures is there.
            TemporaryError: the disk, the network or the machine failed.
        """
        return self._pinned[0]

    @cached_property
    def _pinned(self) -> tuple[str, NDArray[np.uint8]]:
        """The pin, and the sha256 of each picture as bytes `[N, 32]`; 0 for one that can't be read."""
        files = {entry.key: self._file(entry) for entry in self.annotations.entries(0, len(self.annotations))}
        kinds = {key: file_kind(file)[0] if file else "missing" for key, file in files.items()}
        there = {key: file for key, file in files.items() if file and kinds[key] == "file"}
        if not there:
            raise SourceError(
                f"coco: none of the pictures of {self.annotations.path}, such as {next(iter(files))!a}, is in "
                f"{self.folder}; set pictures to the folder that their file names start from"
            )
        pins = pin_files(self._cache, list(there.values()), listed=True)
        hashes = {key: pinned.sha256 for key, pinned in zip(there, pins, strict=True)}
        captions = self.captions.sha256 if self.captions else None
        pictures: list[Json] = [[key, hashes.get(key, "")] for key in files]
        contents = np.zeros((len(files), SHA256), np.uint8)
        for row, key in enumerate(files):
            if hashes.get(key):
                contents[row] = np.frombuffer(bytes.fromhex(hashes[key]), np.uint8)
        return digest([self.annotations.sha256, captions, self.split, pictures]), contents

    def read(self, start: int, stop: int) -> Iterator[Sample | Failure]:
        """Samples `start` to `stop - 1`, in order of the file names.

        Raises:
            SourceChanged: an annotation file or a picture isn't the one that was pinned.
            TemporaryError: the disk, the network or the machine failed, or a folder is gone.
        """
        return self._through(self._read(start, stop))

    def _read(self, start: int, stop: int) -> Iterator[Sample | Failure]:
        for entry in self.annotations.entries(start, stop):
            sample = self._bare(entry)
            yield sample.failure(*entry.trouble) if entry.trouble else self._pictured(sample, entry)

    def _through(self, items: Iterator[T]) -> Iterator[T]:
        items = self.annotations.through(items)
        return self.captions.through(items) if self.captions else items

    def outline(self, start: int, stop: int) -> Iterator[Sample]:
        """The same samples without pictures and objects."""
        found = self.annotations.entries(start, stop)
        return self._through(self._captioned(self._bare(entry), entry) for entry in found)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The categories in order of their ids."""
        return tuple(name for _, name in self.annotations.about["categories"])

    def _bare(self, entry: Entry) -> Sample:
        """The sample without picture and annotations."""
        labels: tuple[str, ...] = ()
        if self.labelled:
            boxes = self.annotations.boxes(entry.row)
            known = boxes[boxes["category"] >= 0]
            labels = present([self.names[category] for category in known["category"]], known["area"].tolist())
        return Sample(
            source_id("coco", entry.key),
            b"",
            labels,
            origin=entry.name,
            licence=entry.licence or self.licence,
            split=self.split,
        )

    def _captioned(self, sample: Sample, entry: Entry) -> Sample:
        """The sample with its captions."""
        row = self._captions.get(entry.id) if entry.id and not entry.trouble else None
        if row is None or self.captions is None:
            return sample
        texts: list[Text] = []
        try:
            for box in self.captions.boxes(row):
                texts += read_texts(annotation(self.captions, box).get("caption"))
        except BadText as error:
            return replace(sample, reason="bad_text", detail=error.detail)
        except (UnicodeDecodeError, RecursionError) as error:
            return replace(sample, reason="bad_text", detail=f"a caption {unread(error)}")
        return replace(sample, annotations=replace(sample.annotations, texts=tuple(texts)))

    def _pictured(self, sample: Sample, entry: Entry) -> Sample | Failure:
        """The sample with its picture and all annotations, or why there is none."""
        file, pinned = self._file(entry), self._pinned[1][entry.row]
        sha256 = pinned.tobytes().hex() if pinned.any() else ""
        if file is None:
            if sha256:
                raise changed(self.folder / entry.name, "a link leads out of the folder")
            return sample.failure("unsafe_name", f"{entry.name}: a link leads out of the folder")
        kind, told = ("file", "") if sha256 else file_kind(file)
        if kind != "file":
            return sample.failure("unreadable", f"{entry.name}: {told or 'there is no such file'}")
        try:
            image = read_pinned(file, Pinned(sha256), file)
            header = open_header(image, 1)
        except SourceChanged:
            forget_hash(self._cache, file)  # the same command looks at the file again
            raise
        except OSError as error:
            return sample.failure("unreadable", f"{entry.name}: {why(error)}")
        except UndecodableImage as error:
            return sample.failure(error.reason, str(error))
        try:
            said = self.annotations.value(entry.start, entry.length)
        except RecursionError as error:
            return replace(sample, image=image, reason="bad_entry", detail=f"the entry {unread(error)}")
        try:
            metadata = {key: plain(value) for key, value in said.items() if key not in OWN}
            sample = replace(sample, metadata={**metadata, "image_id": json.loads(entry.id)})
        except BadText as error:
            sample = replace(sample, reason="bad_text", detail=error.detail)
        sample = self._captioned(replace(sample, image=image), entry)
        return self._with_objects(sample, entry, said, upright_size_of(header), orientation(header))

    def _with_objects(
        self, sample: Sample, entry: Entry, said: Mapping[str, Any], size: tuple[int, int], turn: int
    ) -> Sample:
        """The sample with its objects, in pixels of the upright picture.

        Args:
            sample: with its picture.
            entry: of the picture.
            said: the entry's JSON.
            size: height and width of the upright picture.
            turn: how the stored picture is to be turned, as EXIF counts.
        """
        stored = (said.get("height"), said.get("width"))
        trouble: BadObjects | None = None
        if None in stored or stored == size:
            turn = 1
        elif stored != size[::-1] or turn not in TURNS:
            said_size = f"{short(stored[1])} x {short(stored[0])}"
            detail = f"the file says {said_size} pixels, but the picture has {size[1]} x {size[0]}"
            trouble, turn = BadObjects("size_mismatch", detail), 1
        rows, unread = self._rows(entry, masks=self.masks and trouble is None)
        objects, bad = objects_of(rows, size if turn == 1 else size[::-1])
        objects = [turned(item, size[::-1], turn) for item in objects]
        sample = replace(sample, annotations=replace(sample.annotations, objects=tuple(objects)))
        if trouble is not None and not sample.reason:
            sample = replace(sample, reason=trouble.reason, detail=trouble.detail)
        sample = checked(sample, size, self._known, clip=self.clip)
        trouble = unread or bad
        if trouble is None or sample.reason:
            return sample
        return replace(sample, reason=trouble.reason, detail=trouble.detail)

    def _rows(self, entry: Entry, *, masks: bool) -> tuple[list[dict[str, Any]], BadObjects | None]:
        """The picture's annotations as `read_objects` takes them, and what is wrong with the first bad one."""
        rows: list[dict[str, Any]] = []
        trouble: BadObjects | None = None
        for box in self.annotations.boxes(entry.row):
            place, category = f"the annotation at byte {box['start']}", int(box["category"])
            try:
                found = annotation(self.annotations, box)
            except (UnicodeDecodeError, RecursionError) as error:
                has = "has a text that " if isinstance(error, UnicodeDecodeError) else ""
                trouble = trouble or BadObjects("bad_objects", f"{place} {has}{unread(error)}")
                continue
            row = {key: found.get(key) for key in ("bbox", "area", "iscrowd", "score")} | {"id": whole(found.get("id"))}
            if masks:
                row["segmentation"] = found.get("segmentation")
            if category >= 0:
                row["category"] = self.names[category]
            elif trouble is None:
                detail = f"{place} has the category_id {short(found.get('category_id'))}, which no category has"
                trouble = BadObjects("unknown_category", detail)
            if box["repeated"] and trouble is None:
                detail = f"{place} has the id {short(found.get('id'))}, which an earlier one has"
                trouble = BadObjects("duplicate_object", detail)
            rows.append(row)
        return rows, trouble

    @property
    def _cache(self) -> Path:
        """Name the cache of hashes; it is its own, as other sources may read other pictures of the folder."""
        return self.annotations.path / "pictures"

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.names)

    @cached_property
    def _captions(self) -> Mapping[str, int]:
        """Where the captions of a picture are, by its id as JSON.

        Raises:
            SourceError: a picture has another file name there, or none of the pictures is there.
        """
        if self.captions is None:
            return {}
        found = {entry.id: entry for entry in self.captions.entries(0, len(self.captions)) if not entry.trouble}
        shared = False
        for entry in self.annotations.entries(0, len(self.annotations)):
            other = None if entry.trouble else found.get(entry.id)
            shared = shared or other is not None
            if other and Path(other.name).name != Path(entry.name).name:
                raise SourceError(
                    f"{self.captions.name} has captions of other pictures: {entry.id} is {other.name!a} there, and "
                    f"{entry.name!a} in {self.annotations.path}"
                )
        if not shared:
            raise SourceError(
                f"{self.captions.name} has captions of other pictures: no picture of {self.annotations.path} has an id "
                f"that is there; give the captions of the same pictures"
            )
        return {key: entry.row for key, entry in found.items()}

    def _file(self, entry: Entry) -> Path | None:
        """The picture's file; None if the name or a link leads out of the folder."""
        if entry.trouble:
            return None
        path = os.path.join(os.path.abspath(self.folder), entry.name)
        parent = os.path.dirname(path)
        if parent not in self._safe:
            self._safe[parent] = self._is_inside(parent)
        return Path(path) if self._safe[parent] and (not os.path.islink(path) or self._is_inside(path)) else None

    def _is_inside(self, path: str) -> bool:
        inside = os.path.realpath(self.folder)
        return os.path.commonpath([inside, os.path.realpath(path)]) == inside
