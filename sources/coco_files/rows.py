"""The rows of a `datasets` dataset with a column of objects, as samples whose labels are the categories present."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from variorum.schemas.errors import BadObjects
from variorum.schemas.sample import Failure, Sample, source_id
from variorum.sources.coco_files.annotations import present
from variorum.sources.exports.objects import NAMES, BoxFormat, read_objects
from variorum.sources.tables.rows import (
    categories_of,
    category_names,
    check_names,
    ordered,
    with_objects,
)
from variorum.sources.web.hub import HubTable


@dataclass(frozen=True)
class CocoRows:
    """The rows.

    Attributes:
        table: the split.
        image: its column with the pictures.
        objects: its column with the objects.
        box_format: what their boxes hold.
        masks: whether objects keep their regions.
        labelled: whether a picture's categories are its labels.
        clip: whether boxes are clipped at any distance.
        licence: of all pictures.
        split: of all pictures.
    """

    table: HubTable
    image: str
    objects: str
    box_format: BoxFormat
    masks: bool
    labelled: bool
    clip: bool
    licence: str
    split: str

    @property
    def local(self) -> bool:
        """Return whether the data lies on this machine rather than on the Hub."""
        return self.table.local

    def __len__(self) -> int:
        return self.table.size()

    def pin(self) -> str:
        """Digest of the split's files."""
        return self.table.dataset.pin([self.table.split])

    def read(self, start: int, stop: int) -> Iterator[Sample | Failure]:
        """Samples `start` to `stop - 1`."""
        self.table.need(self.image)
        self.table.need(self.objects)
        for number, row in enumerate(self.table.rows(start, stop, [self.image], [self.objects]), start):
            yield self._pictured(self._bare(number, row), row)

    def outline(self, start: int, stop: int) -> Iterator[Sample]:
        """The same samples without pictures and objects; the column of objects is read if it gives labels."""
        self.table.need(self.objects)
        rows = self.table.rows(start, stop, (), [self.objects]) if self.labelled else ({} for _ in range(start, stop))
        for number, row in enumerate(rows, start):
            yield self._bare(number, row)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The categories as the column's type names them, else those that occur, for which the column is read once."""
        names = self._named
        if names is None:
            values = {value for cell in self.table.values(self.objects) for value in categories_of(cell)}
            names = ordered(values)
        return check_names(names, f"coco: {self.table.dataset.name!r}")

    @cached_property
    def _named(self) -> tuple[str, ...] | None:
        return category_names(self.table.described(self.objects))

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.names)

    def _bare(self, number: int, row: Mapping[str, Any]) -> Sample:
        """The sample without picture and objects."""
        dataset = self.table.dataset
        key = f"{'' if self.local else f'{dataset.name}/'}{dataset.config or ''}/{self.table.split}/{number}"
        labels = self._labels(row[self.objects]) if self.labelled else ()
        return Sample(source_id("coco", key), b"", labels, origin=key, licence=self.licence, split=self.split)

    def _labels(self, cell: Any) -> tuple[str, ...]:
        """The categories in a cell; none if it can't be read, as its sample says then."""
        try:
            # without the picture its size isn't known; relative boxes compare as well in a picture of one pixel
            objects = read_objects(
                _without_masks(cell), box_format=self.box_format, size=(1, 1), names=self._named, origin=""
            )
        except BadObjects:
            return ()
        known = [item for item in objects if item.label in self._known]
        areas = [item.box[2] * item.box[3] if item.area is None else item.area for item in known]
        return present([item.label for item in known], areas)

    def _pictured(self, sample: Sample, row: Mapping[str, Any]) -> Sample | Failure:
        try:
            image = self.table.picture_bytes(row[self.image])
        except OSError as error:
            return sample.failure("unreadable", str(error))
        if not image:
            return sample.failure("no_picture", f"column {self.image} is empty")
        cell = row[self.objects] if self.masks else _without_masks(row[self.objects])
        return with_objects(
            replace(sample, image=image), cell, self._named, self._known, self.box_format, clip=self.clip
        )


def _without_masks(cell: Any) -> Any:
    """A cell of objects without their regions."""
    if isinstance(cell, Mapping):
        return {key: value for key, value in cell.items() if key not in NAMES["mask"]}
    return [_without_masks(item) if isinstance(item, Mapping) else item for item in cell] if cell else cell
