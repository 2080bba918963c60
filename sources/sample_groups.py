"""Real pictures of eight groups of things out of an installed package, for few-shot episodes without a download.

They are photographs of single things, cut out by hand for Tux Paint (Debian's `tuxpaint-stamps-default`, GPL-2+), on
photographic plates. The cut-out's alpha is the exact mask, and the plate without the thing is known.

The groups were assigned by eye and are no species: `bird`, `hoofed_animal`, `pawed_animal`, `flower`, `fruit`,
`vegetable`, `coin`, `vehicle`. `sample_groups_stamps.csv` lists only photographs of one thing: no drawings, no toys, no
mirror images of another stamp, and nothing that was cut out together with grass or a branch.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from pathlib import Path

from pydantic import Field

from variorum.schemas.canonical import Json, digest
from variorum.schemas.component import ClassInfo, Context
from variorum.schemas.errors import SourceError
from variorum.schemas.sample import COMPOSITE, Failure, Sample, source_id
from variorum.sources.exports.packaged_source import StampedSource
from variorum.sources.exports.stamps import stamps_there

FRAME = 256
"""Side of a picture in pixels."""
SCALE = (0.45, 0.85)
"""Least and largest length of the thing's longer side, as a share of the frame's side."""
NAMES: Mapping[str, str] = {
    "bird": "bird",
    "hoofed_animal": "hoofed animal",
    "pawed_animal": "animal with paws",
    "flower": "flower",
    "fruit": "fruit",
    "vegetable": "vegetable",
    "coin": "coin",
    "vehicle": "vehicle",
}
"""Groups in index order: id and name."""


class SampleGroups(StampedSource):
    """One picture for each stamp, 17 to 34 in a group, with `mask.png` and `plate.png`.

    The five plates are shared by all groups and drawn without regard to the group. `VARIORUM_STAMPS` is the folder of
    the stamps where that isn't Debian's.
    """

    per_group: int | None = Field(default=None, ge=1)
    """Only this many of each group, the first ones; null for all."""

    def pin(self, ctx: Context) -> str:
        """Digest of the files that the pictures are made from."""
        rows: list[Json] = [[path, group] for path, group in self._stamps.items()]
        return digest([rows, [pinned.sha256 for pinned in self._pins.values()]])

    def size(self, ctx: Context) -> int:
        """Number of pictures. Raises SourceError without the stamps."""
        if not self._stamps:
            raise SourceError(
                "sample_groups: the Tux Paint stamps are missing; install tuxpaint-stamps-default, set VARIORUM_STAMPS "
                "to their folder, or use photographs of your own: the source image_folder"
            )
        return len(self._stamps)

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """The eight groups."""
        return tuple(ClassInfo(group, name) for group, name in NAMES.items())

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        """Samples with `mask.png`, the cut-out's alpha, and `plate.png`, the picture without the thing.

        Raises:
            SourceChanged: a file isn't what was pinned.
            TemporaryError: the disk or the machine failed.
        """
        self._check_plates()
        for key in list(self._stamps)[start:stop]:
            yield self.stamped(key, self._stamps[key], FRAME, SCALE)

    def outline(self, start: int, stop: int, ctx: Context) -> Iterator[Sample]:
        """The same samples without pictures, from the table alone."""
        for key, group in list(self._stamps.items())[start:stop]:
            origin = f"tuxpaint-stamps {key}"
            yield Sample(source_id("sample_groups", key), b"", (group,), origin=origin, digital_source_type=COMPOSITE)

    @cached_property
    def _stamps(self) -> dict[str, str]:
        """Path to group, in order of the paths."""
        found, left = stamps_there(stamp_table(), "auto", "sample_groups"), dict.fromkeys(NAMES, 0)
        kept = {}
        for path, group in found.items():
            left[group] += 1
            if self.per_group is None or left[group] <= self.per_group:
                kept[path] = group
        return kept

    @cached_property
    def _files(self) -> list[Path]:
        return [*(self._root / path for path in self._stamps), *self._plates]


@lru_cache(maxsize=1)
def stamp_table() -> Mapping[str, str]:
    """Relative path of each stamp to its group, in order of the paths."""
    with Path(__file__).with_name("sample_groups_stamps.csv").open(encoding="utf-8", newline="") as file:
        return dict(sorted((row["path"], row["group"]) for row in csv.DictReader(file)))
