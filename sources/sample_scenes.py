"""Real pictures with boxes and masks out of installed packages, in COCO's 80 categories, without a download.

- photographs: of scikit-image, Matplotlib and, where they are installed, Debian's `budgie-backgrounds`,
  `lomiri-wallpapers-16.04` and `-20.04`, with objects that were outlined by hand.
- composites: one to four photographs of single things, cut out by hand for Tux Paint (Debian's
  `tuxpaint-stamps-default`, GPL-2+), on photographic plates. What is visible of each is known to the pixel.
- drawings: the same with Tux Paint's drawn things in a drawn landscape. They are cartoons that people drew, so they
  show how a detector does on that domain without a filter.

The categories were assigned by eye, by COCO's use of the words: a penguin is a bird, a pick-up a truck, a fox nothing.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from variorum.machine.retrying import read_pinned, steady
from variorum.models.coco import CATEGORIES
from variorum.pixels import encode_png, open_header
from variorum.schemas.annotations import Annotations, Object, Text
from variorum.schemas.canonical import Json, derive_seed, digest
from variorum.schemas.component import ClassInfo, Context
from variorum.schemas.errors import SourceError
from variorum.schemas.sample import CAPTURED, COMPOSITE, Failure, Sample, source_id
from variorum.sources.exports.composites import Cutout, compose
from variorum.sources.exports.counted_objects import sentence
from variorum.sources.exports.cutouts import PLATES, read_stamp
from variorum.sources.exports.packaged_source import StampedSource
from variorum.sources.exports.stamps import stamps_there
from variorum.sources.folders.packaged_photographs import Photograph, objects, outlines, photographs

MOST = 4
"""Cut-outs of a composite."""


class SampleScenes(StampedSource):
    """Pictures with objects out of installed packages, in COCO's categories: photographs, then composites.

    `VARIORUM_STAMPS` and `VARIORUM_BACKGROUNDS` are the folders of stamps and backgrounds where those aren't Debian's.
    """

    pictures: Literal["photographs", "drawings"] = "photographs"
    """Photographs and composites of photographs, or composites of drawings, whose variant is `cartoon`."""
    stamps: Literal["auto", "required", "none"] = "auto"
    """Whether to make composites: if the stamps are installed, always (an error without them), or never."""
    photographs: bool = True
    """Whether to include photographs that aren't composites."""
    composites: int = Field(24, ge=0)
    """Number of composites."""
    captions: bool = False
    """Whether pictures have captions: photographs one that was written by hand, composites a list of what is there and
    where."""

    def identity(self) -> dict[str, Json]:
        """Without `captions` where it is false."""
        found = super().identity()
        return found if self.captions else {key: found[key] for key in found if key != "captions"}

    def pin(self, ctx: Context) -> str:
        """Digest of the files that the pictures are made from, and of the outlines."""
        drawn: list[Json] = [
            [item.name, item.region, [[category, tuple(points)] for category, points in outlines()[item.name]]]
            for item in self._photographs
        ]
        stamps: list[Json] = [[path, category] for path, category in self._stamps.items()]
        captions: list[Json] = []
        if self.captions:
            captions = [[item.caption for item in self._photographs], [plate.where for plate in PLATES]]
        return digest([drawn, stamps, [pinned.sha256 for pinned in self._pins.values()], *captions])

    def size(self, ctx: Context) -> int:
        """Number of photographs and composites."""
        number = len(self._photographs) + self._number
        if not number:
            raise SourceError(
                "sample_scenes: there are no pictures; composites need the Debian package tuxpaint-stamps-default, "
                "stamps other than none, and composites above 0"
            )
        return number

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """COCO's 80 categories in the order of their ids."""
        return tuple(ClassInfo(item.name, item.name) for item in CATEGORIES)

    def annotated(self, ctx: Context) -> bool:
        """Always."""
        return True

    def captioned(self, ctx: Context) -> bool:
        """If there are captions."""
        return self.captions

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        """Samples with objects; the labels are the categories that are present, the largest area first.

        Raises:
            SourceChanged: a file isn't what was pinned.
            TemporaryError: the disk or the machine failed.
        """
        self._check_plates()
        for position in range(start, min(stop, self.size(ctx))):
            if position < len(self._photographs):
                yield self._photograph(self._photographs[position])
            else:
                yield self._composite(position - len(self._photographs))

    def _photograph(self, item: Photograph) -> Sample | Failure:
        identity = source_id("sample_scenes", item.name)
        file = item.file()
        try:
            picture = item.picture(read_pinned(file, self._pins[file], file))
            width, height = open_header(picture, 1).size
        except (OSError, ValueError, SyntaxError) as error:
            return Failure(identity, "", "failed", "unreadable", origin=item.origin, detail=str(error))
        found = objects(item.name, height, width)
        return Sample(
            identity,
            picture,
            _present(found),
            origin=item.origin,
            licence=item.licence,
            annotations=Annotations(found, self._texts(item.caption)),
            metadata={"credit": item.credit},
            digital_source_type=CAPTURED,
        )

    def _composite(self, number: int) -> Sample | Failure:
        drawn = self.pictures == "drawings"
        key = f"{'drawing' if drawn else 'composite'} {number}"
        identity = source_id("sample_scenes", key)
        rng = np.random.default_rng(derive_seed("sample_scenes", key))
        chosen = self._choose(rng)
        origin = "tuxpaint-stamps " + ", ".join(chosen)
        try:
            stamps = [read_stamp(self._root / path, self._pins[self._root / path]) for path in chosen]
        except (OSError, ValueError, SyntaxError) as error:
            return Failure(identity, "", "failed", "unreadable", origin=origin, detail=str(error))
        cutouts = [
            Cutout(stamp, self._stamps[path], f"tuxpaint-stamps {path}")
            for stamp, path in zip(stamps, chosen, strict=True)
        ]
        picture, found, plates = compose(cutouts, rng, drawn=drawn)
        where, licences = [one.where for one in plates], sorted({one.licence for one in plates})
        metadata: dict[str, Json] = {"domain": "cartoon", "synthetic": False} if drawn else {}
        return Sample(
            identity,
            encode_png(picture),
            _present(found),
            origin=origin,
            licence=" AND ".join(("GPL-2.0-or-later", *licences)),
            variant="cartoon" if drawn else "original",
            annotations=Annotations(found, self._texts(sentence(found, drawn=drawn, where=where))),
            metadata=metadata,
            digital_source_type=COMPOSITE,
        )

    def _texts(self, caption: str) -> tuple[Text, ...]:
        return (Text(caption),) if self.captions else ()

    def _choose(self, rng: np.random.Generator) -> list[str]:
        """Paths of a composite's stamps. Each category is as likely as another."""
        by_category: dict[str, list[str]] = {}
        for path, category in self._stamps.items():
            by_category.setdefault(category, []).append(path)
        categories = sorted(by_category)
        chosen = []
        for which in rng.integers(len(categories), size=int(rng.integers(1, MOST + 1))):
            paths = by_category[categories[which]]
            chosen.append(paths[int(rng.integers(len(paths)))])
        return chosen

    @cached_property
    def _photographs(self) -> tuple[Photograph, ...]:
        """Those whose files are there, in order of the table."""
        if not self.photographs or self.pictures == "drawings":
            return ()
        return tuple(item for item in photographs().values() if steady(item.file().is_file, item.file()))

    @cached_property
    def _number(self) -> int:
        """Composites."""
        return self.composites if self._stamps else 0

    @cached_property
    def _stamps(self) -> dict[str, str]:
        """Path to category, in order of the paths."""
        kind = {"photographs": "photograph", "drawings": "drawing"}[self.pictures]
        return stamps_there(stamp_table(kind), self.stamps if self.composites else "none", "sample_scenes")

    @cached_property
    def _plates(self) -> tuple[Path, ...]:
        """The files that backgrounds are cut from."""
        return () if self.pictures == "drawings" else super()._plates

    @cached_property
    def _files(self) -> list[Path]:
        photographs, stamps = (item.file() for item in self._photographs), (self._root / path for path in self._stamps)
        return [*photographs, *stamps, *self._plates]


@lru_cache(maxsize=2)
def stamp_table(kind: str) -> Mapping[str, str]:
    """Relative path of each stamp that is a `photograph` or a `drawing` to its category, in order of the paths."""
    with Path(__file__).with_name("sample_scenes_stamps.csv").open(encoding="utf-8", newline="") as file:
        return dict(sorted((row["path"], row["category"]) for row in csv.DictReader(file) if row["kind"] == kind))


def _present(found: tuple[Object, ...]) -> tuple[str, ...]:
    """The categories of objects, the largest area first."""
    areas: dict[str, float] = {}
    for item in found:
        areas[item.label] = areas.get(item.label, 0.0) + (item.area or item.box[2] * item.box[3])
    return tuple(sorted(areas, key=lambda label: (-areas[label], label)))
