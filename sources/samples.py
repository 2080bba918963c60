"""Real, labelled pictures out of installed packages, so that every recipe runs on a fresh machine without a download.

- photographs: scikit-image's pictures of an ImageNet class.
- composites: photographs of single things, cut out by hand for Tux Paint (Debian's `tuxpaint-stamps-default`,
  GPL-2+), on photographic plates. The cut-out's alpha is the exact mask, and the plate without the object is known.

The labels were assigned by eye: `samples_stamps.csv` lists only photographs that show exactly a class of ImageNet-1k,
no drawings, no similar species, and no object that was cut out together with something else.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

from variorum.machine.retrying import read_pinned
from variorum.models.imagenet_classes import class_infos
from variorum.schemas.canonical import digest
from variorum.schemas.component import ClassInfo, Context
from variorum.schemas.sample import CAPTURED, Failure, Sample, source_id
from variorum.sources.exports.cutouts import package_file
from variorum.sources.exports.packaged_source import StampedSource
from variorum.sources.exports.stamps import stamps_there

FRAME = 288
"""Side of a composite in pixels."""
SCALE = (0.35, 0.7)
"""Least and largest length of the object's longer side, as a share of the frame's side."""

PHOTOGRAPHS: Mapping[str, tuple[str, str]] = {
    "chelsea.png": ("n02123045", "CC0-1.0"),  # a tabby cat's face
    "coffee.png": ("n07920052", "CC0-1.0"),  # an espresso
}
"""Scikit-image's pictures of an ImageNet class, with wnid and licence."""


class Samples(StampedSource):
    """Pictures out of installed packages, labelled with ImageNet's wnids: photographs, then composites.

    Composites have `mask.png` and `plate.png`, photographs don't. The members of an edition's samples must be alike, so
    set `masks` to false for an edition of both without a generator. `VARIORUM_STAMPS` is the folder of the stamps where
    that isn't Debian's.
    """

    stamps: Literal["auto", "required", "none"] = "auto"
    """Whether to make composites: if the stamps are installed, always (an error without them), or never."""
    photographs: bool = True
    """Whether to include photographs."""
    masks: bool = True
    """Whether composites have their mask and plate as members."""

    def pin(self, ctx: Context) -> str:
        """Digest of the files that the samples are made from."""
        return digest([[*self._photographs, *self._stamps], [pinned.sha256 for pinned in self._pins.values()]])

    def size(self, ctx: Context) -> int:
        """Number of photographs and composites."""
        return len(self._photographs) + len(self._stamps)

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """ImageNet's thousand, so that indices are ImageNet's."""
        return class_infos()

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        """Samples; composites with `mask.png`, the cut-out's alpha, and `plate.png`, the picture without the object.

        Raises:
            SourceChanged: a file isn't what was pinned.
            TemporaryError: the disk or the machine failed.
        """
        self._check_plates()
        items = [*self._photographs.items(), *self._stamps.items()]
        for position, (key, wnid) in enumerate(items[start:stop], start):
            identity = source_id("samples", key)
            if position < len(self._photographs):
                file = _photograph(key)
                data = read_pinned(file, self._pins[file], file)
                yield Sample(
                    identity,
                    data,
                    (wnid,),
                    origin=f"scikit-image {key}",
                    licence=PHOTOGRAPHS[key][1],
                    digital_source_type=CAPTURED,
                )
                continue
            yield self.stamped(key, wnid, FRAME, SCALE, masks=self.masks)

    @cached_property
    def _photographs(self) -> dict[str, str]:
        """Key to wnid, in order."""
        return {key: wnid for key, (wnid, _) in sorted(PHOTOGRAPHS.items())} if self.photographs else {}

    @cached_property
    def _stamps(self) -> dict[str, str]:
        """Key to wnid, in order."""
        return stamps_there(stamp_table(), self.stamps, "samples")

    @cached_property
    def _files(self) -> list[Path]:
        photographs, stamps = map(_photograph, self._photographs), (self._root / key for key in self._stamps)
        return [*photographs, *stamps, *self._plates]


@lru_cache(maxsize=1)
def stamp_table() -> Mapping[str, str]:
    """Relative path of each stamp to the wnid of what it shows, in order of the paths."""
    with Path(__file__).with_name("samples_stamps.csv").open(encoding="utf-8", newline="") as file:
        return dict(sorted((row["path"], row["wnid"]) for row in csv.DictReader(file)))


def _photograph(name: str) -> Path:
    return package_file("skimage", f"data/{name}", "samples")
