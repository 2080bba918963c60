"""Precision, recall and their means from matches: what pycocotools' `accumulate` and `summarize` give, to the bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.detection.matching import AREAS, RECALLS, THRESHOLDS, Cell, Matches

if TYPE_CHECKING:
    from variorum.arrays import Floats, Ints

ABSENT = -1.0
"""Of a category without objects."""
AVERAGES = {
    "map": ("all", None),
    "ap50": ("all", 0.5),
    "ap75": ("all", 0.75),
    "ap_small": ("small", None),
    "ap_medium": ("medium", None),
    "ap_large": ("large", None),
}
"""Average precisions: range of areas, and the IoU threshold; None for the mean over all thresholds."""


def accumulated(matches: Matches) -> tuple[Floats, Floats]:
    """Precision `[T, R, K, A]` and the highest recall `[T, K, A]`, with up to 100 detections of a class in a picture.

    Both are -1 for a category without objects.
    """
    shape = len(THRESHOLDS), len(RECALLS), matches.categories, len(AREAS)
    precision, recall = np.full(shape, ABSENT), np.full((shape[0], *shape[2:]), ABSENT)
    for (category, area), cell in matches.cells.items():
        if len(cell.objects):
            precision[:, :, category, area], recall[:, category, area] = curves(cell)
    return precision, recall


def curves(cell: Cell) -> tuple[Floats, Floats]:
    """Interpolated precision at each recall `[T, R]`, and the highest recall `[T]`; the cell has objects."""
    order = np.argsort(-cell.score, kind="mergesort")
    counts = ~cell.ignored[:, order]
    right = cell.right[:, order] & counts
    tops = np.cumsum(right, axis=1).astype(np.float64)
    both = np.cumsum(counts, axis=1).astype(np.float64)
    out = np.zeros((len(THRESHOLDS), len(RECALLS)))
    if not tops.shape[1]:
        return out, np.zeros(len(THRESHOLDS))
    reached = tops / len(cell.objects)
    precise = tops / (both + np.spacing(1))
    envelope = np.maximum.accumulate(precise[:, ::-1], axis=1)[:, ::-1]
    for row, got, best in zip(out, reached, envelope, strict=True):
        places = np.searchsorted(got, RECALLS, side="left")
        row[:] = np.where(places < len(best), best[np.minimum(places, len(best) - 1)], 0.0)
    return out, reached[:, -1]


def summary(matches: Matches) -> dict[str, float | None]:
    """`AVERAGES` and `ar100`, the average recall, in [0, 1]; None where there are no objects."""
    precision, recall = accumulated(matches)
    found: dict[str, float | None] = {}
    for name, (area, threshold) in AVERAGES.items():
        chosen = precision if threshold is None else precision[np.flatnonzero(threshold == THRESHOLDS)]
        found[name] = _mean(chosen[..., AREAS.index(area)])
    found["ar100"] = _mean(recall[..., 0])
    return found


def found_first(matches: Matches) -> tuple[Ints, Ints]:
    """Number of a picture's objects, `[P]`, and how many of them its likeliest detections have, as many as the objects.

    A detection has an object if their IoU is .5 or more and it names its class.
    """
    cells = [one for (_, area), one in sorted(matches.cells.items()) if area == 0]
    nothing = np.zeros(0, np.int64)
    objects = np.bincount(np.concatenate([nothing, *(one.objects for one in cells)]), minlength=matches.pictures)
    picture = np.concatenate([nothing, *(one.picture[~one.ignored[0]] for one in cells)])
    score = np.concatenate([np.zeros(0), *(one.score[~one.ignored[0]] for one in cells)])
    right = np.concatenate([nothing, *(one.right[0][~one.ignored[0]] for one in cells)])
    order = np.lexsort((-score, picture))
    picture, right = picture[order], right[order]
    rank = np.arange(len(picture)) - np.searchsorted(picture, picture)
    return objects, np.bincount(picture, right * (rank < objects[picture]), matches.pictures).astype(np.int64)


def _mean(values: Floats) -> float | None:
    there = values[values > ABSENT]
    return float(np.mean(there)) if len(there) else None
