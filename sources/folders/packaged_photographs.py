"""Photographs inside packages, with objects that were outlined by hand.

`sample_scenes_photographs.csv` lists them with licence, credit and a caption. A region is cut out and shrunk; a
photograph without one is taken as it is. `sample_scenes_objects.csv` has the outlines in pixels of the result: two
corners are a box, more are a polygon.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from variorum.annotations import decode_mask, with_mask
from variorum.pixels import decode, encode_png
from variorum.schemas.annotations import Object
from variorum.sources.exports.cutouts import package_file
from variorum.sources.exports.objects import rle_of

if TYPE_CHECKING:
    from variorum.arrays import Pixels

DEBIAN = "/usr/share/backgrounds"
PYTHON = ("skimage", "matplotlib")
"""Packages of Python; the others are Debian's."""
LONGER = 640
"""Pixels of the longer side of what is cut out."""
BY_HAND = "drawn by hand"
TABLES = Path(__file__).parents[1]


class Photograph(NamedTuple):
    """A photograph in a package.

    Attributes:
        name: a word.
        package: of Python or Debian.
        path: of the file, within the Python package or the folder of backgrounds.
        region: left, top, right and bottom of what is cut out, in pixels of the file; empty for all of it.
        licence: SPDX id.
        credit: who made it.
        caption: what it shows, in a sentence written by hand.
    """

    name: str
    package: str
    path: str
    region: tuple[int, ...]
    licence: str
    credit: str
    caption: str

    @property
    def origin(self) -> str:
        """A line for people."""
        return f"{self.package} {self.path}, by {self.credit}"

    def file(self) -> Path:
        """The file, whether or not it is there. Raises SourceError if a Python package lacks it."""
        if self.package in PYTHON:
            return package_file(self.package, self.path, "sample_scenes")
        return backgrounds_folder() / self.path

    def picture(self, data: bytes) -> bytes:
        """The picture of a sample, from the bytes of the file. Raises UndecodableImage."""
        if not self.region:
            return data
        left, top, right, bottom = self.region
        return encode_png(shrunk(decode(data)[top:bottom, left:right]))


def backgrounds_folder() -> Path:
    """The folder of Debian's backgrounds, or `$VARIORUM_BACKGROUNDS`."""
    return Path(os.environ.get("VARIORUM_BACKGROUNDS") or DEBIAN).expanduser()


@lru_cache(maxsize=1)
def photographs() -> Mapping[str, Photograph]:
    """The photographs by name."""
    with (TABLES / "sample_scenes_photographs.csv").open(encoding="utf-8", newline="") as file:
        return {
            row["name"]: Photograph(
                row["name"],
                row["package"],
                row["path"],
                tuple(map(int, row["region"].split())),
                row["licence"],
                row["credit"],
                row["caption"],
            )
            for row in csv.DictReader(file)
        }


@lru_cache(maxsize=1)
def outlines() -> Mapping[str, list[tuple[str, list[float]]]]:
    """Category and outline `[x, y, x, y, ...]` of each object, by the name of the photograph."""
    found: dict[str, list[tuple[str, list[float]]]] = {name: [] for name in photographs()}
    with (TABLES / "sample_scenes_objects.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            points = [float(number) for pair in row["outline"].split() for number in pair.split(",")]
            found[row["photograph"]].append((row["category"], points))
    return found


def objects(name: str, height: int, width: int) -> tuple[Object, ...]:
    """The objects in a photograph of this size. Those with a polygon have a mask, and its box."""
    found = []
    for number, (category, points) in enumerate(outlines()[name], 1):
        left, top, right, bottom = min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])
        item = Object((left, top, right - left, bottom - top), category, id=str(number), origin=BY_HAND)
        if len(points) > 4:
            region = Object(item.box, mask=rle_of([points], (height, width)))
            item = with_mask(item, decode_mask(region, height, width)) or item
        found.append(item)
    return tuple(found)


def shrunk(pixels: Pixels) -> Pixels:
    """The picture with a longer side of `LONGER`, or as it is if it is smaller."""
    scale = min(1.0, LONGER / max(pixels.shape[:2]))
    height, width = (round(side * scale) for side in pixels.shape[:2])
    return np.asarray(cv2.resize(np.ascontiguousarray(pixels), (width, height), interpolation=cv2.INTER_AREA), np.uint8)
