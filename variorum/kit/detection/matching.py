"""Match detections to objects as pycocotools does; pictures can be chosen or resampled afterwards.

Matching looks at one picture at a time, so it is done once, however many selections of the pictures are measured.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools.cocoeval import COCOeval, Params

from variorum.kit.detection.records import Picture, counted
from variorum.schemas.annotations import Check

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints

PARAMS = Params("bbox")
THRESHOLDS: Floats = PARAMS.iouThrs
"""IoU from .5 to .95."""
RECALLS: Floats = PARAMS.recThrs
"""Recall from 0 to 1."""
AREAS: tuple[str, ...] = tuple(PARAMS.areaRngLbl)
"""Ranges of an object's area: all, small, medium, large."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One category and one range of areas.

    Attributes:
        score: of each detection, in the order of the pictures, `[D]`.
        picture: of each detection, `[D]`.
        right: whether a detection has an object, by IoU threshold, `[T, D]`.
        ignored: whether it counts neither for nor against the detector, `[T, D]`.
        objects: the picture of each object that counts, `[G]`.
    """

    score: Floats
    picture: Ints
    right: Bools
    ignored: Bools
    objects: Ints

    def only(self, pictures: Bools) -> Cell:
        """The same on some of the pictures `[P]`."""
        kept = pictures[self.picture]
        return Cell(
            self.score[kept],
            self.picture[kept],
            self.right[:, kept],
            self.ignored[:, kept],
            self.objects[pictures[self.objects]],
        )


@dataclass(frozen=True)
class Matches:
    """The matches of some pictures.

    Attributes:
        pictures: their number.
        categories: number of categories, in the order of their ids.
        cells: by category and range of areas; see `match`.
    """

    pictures: int
    categories: int
    cells: Mapping[tuple[int, int], Cell]

    def only(self, pictures: Bools) -> Matches:
        """The same on some of the pictures `[P]`, which keep their numbers."""
        return Matches(self.pictures, self.categories, {key: one.only(pictures) for key, one in self.cells.items()})

    @cached_property
    def boxes(self) -> int:
        """Number of objects that count."""
        return sum(len(one.objects) for (_, area), one in self.cells.items() if area == 0)


def match(
    pictures: Sequence[Picture],
    ids: Sequence[int],
    ignore: Collection[Check] = (),
    ranges: Sequence[Sequence[float]] = PARAMS.areaRng,
    *,
    strays: bool = False,
) -> Matches:
    """The matches of detections and objects.

    Args:
        pictures: their records.
        ids: id of each class; categories are taken in the order of these.
        ignore: objects with these checks are ignored, as crowds are.
        ranges: of areas, the least and the largest of each; those of `AREAS` by default.
        strays: whether categories without an object in any picture are there too; no average precision counts them.
    """
    order = sorted(range(len(ids)), key=lambda one: ids[one])
    place = {one: number for number, one in enumerate(order)}
    judge = _Matching(pictures, place, ignore)
    collected: dict[tuple[int, int], list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    for picture, category in judge.pairs(strays):
        most = judge.params.maxDets[-1]
        if judge.objects(picture, category):
            judge.ious[picture, category] = judge.computeIoU(picture, category)
            found = [judge.evaluateImg(picture, category, limits, most) for limits in ranges]
        else:
            found = judge.strays(picture, category, ranges, most)
        for area, one in enumerate(found):
            collected[category, area].append((picture, one))
    return Matches(len(pictures), len(ids), {key: _cell(found) for key, found in collected.items()})


class _Matching(COCOeval):  # type: ignore[misc]
    """pycocotools' matching without its prints and its files: what `evaluate` calls for each picture and category."""

    def __init__(self, pictures: Sequence[Picture], place: Mapping[int, int], ignore: Collection[Check]) -> None:
        super().__init__(None, None, "bbox")
        number = 0  # ids start at 1, as a match with id 0 would count as none
        for picture, (found, there) in enumerate(pictures):
            crowds = (~counted(there, ignore)).astype(int).tolist()
            for (box, area, category, *_), crowd in zip(there.tolist(), crowds, strict=True):
                number += 1
                record = {"id": number, "bbox": list(box), "area": area, "iscrowd": crowd, "ignore": crowd}
                self._gts[picture, place[category]].append(record)
            for (left, top, right, bottom), score, category in found.tolist():
                number += 1
                wide, high = right - left, bottom - top
                record = {"id": number, "bbox": [left, top, wide, high], "area": wide * high, "score": score}
                self._dts[picture, place[category]].append(record)

    def objects(self, picture: int, category: int) -> bool:
        """Return whether a picture has objects of a category; crowds count."""
        return (picture, category) in self._gts

    def strays(self, picture: int, category: int, ranges: Sequence[Sequence[float]], most: int) -> list[dict[str, Any]]:
        """What `evaluateImg` gives for each range where there is no object, as is most often the case."""
        found = sorted(self._dts[picture, category], key=lambda one: -one["score"])[:most]
        scores, areas = [one["score"] for one in found], np.array([one["area"] for one in found])
        every, nothing = np.ones((len(THRESHOLDS), 1), bool), np.zeros((len(THRESHOLDS), len(found)))
        return [
            {
                "dtScores": scores,
                "gtIgnore": [],
                "dtMatches": nothing,
                "dtIgnore": every & ((areas < low) | (areas > high)),
            }
            for low, high in ranges
        ]

    def pairs(self, strays: bool) -> list[tuple[int, int]]:
        """The pictures and categories with something in them, picture by picture; see `match` for `strays`."""
        there = {category for _, category in self._gts}
        return sorted({*self._gts, *(pair for pair in self._dts if strays or pair[1] in there)})


def _cell(found: Sequence[tuple[int, Mapping[str, Any]]]) -> Cell:
    detections = [len(one["dtScores"]) for _, one in found]
    pictures = np.array([picture for picture, _ in found], np.int64)
    counted = [int(np.count_nonzero(np.asarray(one["gtIgnore"]) == 0)) for _, one in found]
    return Cell(
        np.concatenate([np.asarray(one["dtScores"], np.float64) for _, one in found]),
        np.repeat(pictures, detections),
        _joined([one["dtMatches"] for _, one in found]) != 0,
        _joined([one["dtIgnore"] for _, one in found]) != 0,
        np.repeat(pictures, counted),
    )


def _joined(parts: Sequence[Array]) -> Array:
    return np.concatenate([np.asarray(part).reshape(len(THRESHOLDS), -1) for part in parts], axis=1)
