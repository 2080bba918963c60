"""Average precision by the size of objects, in COCO's three ranges of areas or in ranges with equally many objects."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.detection.figures import SHARE, interval, map_of
from variorum.kit.detection.matching import AREAS, PARAMS, Matches, match
from variorum.kit.detection.precision import summary
from variorum.kit.detection.records import Picture, counted
from variorum.kit.predicted.resamples import percent
from variorum.schemas.annotations import Check
from variorum.schemas.canonical import Json

if TYPE_CHECKING:
    from variorum.arrays import Array, Floats, Ints

MOST_AREA = 1e10
"""Square pixels of the largest object, as pycocotools has it."""


def coco_ranges() -> dict[str, tuple[float, float]]:
    """Least and largest area of `all`, `small`, `medium` and `large`, in square pixels."""
    return {name: (float(low), float(high)) for name, (low, high) in zip(AREAS, PARAMS.areaRng, strict=True)}


def quantile_ranges(areas: Floats, number: int) -> dict[str, tuple[float, float]]:
    """`all`, and ranges of areas that hold equally many of the objects, as far as their areas differ."""
    inner = np.quantile(areas, np.arange(1, number) / number, method="midpoint").tolist() if len(areas) else []
    ends = [0.0, *dict.fromkeys(inner), MOST_AREA]
    found = {"all": (0.0, MOST_AREA)}
    return found | {f"q{place + 1}": (ends[place], ends[place + 1]) for place in range(len(ends) - 1)}


def by_size(
    pictures: Sequence[Picture],
    ids: Sequence[int],
    ranges: Mapping[str, tuple[float, float]],
    ignore: Collection[Check],
    weights: Floats,
    tails: tuple[float, float],
) -> dict[str, Json]:
    """`boxes`, `map` with its interval, `ap50`, `ap75` and `ar100` of each range in percent; None without objects.

    Args:
        pictures: detections and objects.
        ids: of each class, its id in COCO's format.
        ranges: of areas, by name.
        ignore: objects with these checks are ignored.
        weights: how often each picture is in each resample, `[B, P]`.
        tails: quantiles of the intervals' ends.
    """
    matches = match(pictures, ids, ignore, [list(one) for one in ranges.values()])
    found: dict[str, Json] = {}
    for place, name in enumerate(ranges):
        mine = only_range(matches, place)
        averages = summary(mine)
        found[name] = {
            "boxes": mine.boxes,
            "map": interval(map_of(mine, weights), tails, SHARE),
            **{one: None if (value := averages[one]) is None else percent(value) for one in ("ap50", "ap75", "ar100")},
        }
    return found


def only_range(matches: Matches, place: int) -> Matches:
    """The matches of one range of areas, in the place of the range of all."""
    cells = {(category, 0): cell for (category, area), cell in matches.cells.items() if area == place}
    return Matches(matches.pictures, matches.categories, cells)


def mean_by_size(there: Array, values: Array, ranges: Mapping[str, tuple[float, float]]) -> dict[str, Json]:
    """Mean of a value `[n]` of objects with dtype `THERE` in each range; None without any. NaN doesn't count."""
    found: dict[str, Json] = {}
    for name, (low, high) in ranges.items():
        mine = counted(there, ()) & (there["area"] >= low) & (there["area"] <= high) & np.isfinite(values)
        found[name] = round(float(values[mine].mean()), 4) if mine.any() else None
    return found


def weights_of(photograph: Ints, size: int, draws: int, seed: int) -> Floats:
    """Count each picture in each resample of the photographs, `[B, P]`."""
    drawn = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), draws)
    return drawn.astype(np.float64)[:, photograph]
