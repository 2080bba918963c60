"""mAP with pictures counted as often as told, as in resamples: a picture drawn twice counts twice, matched once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.detection.matching import RECALLS, THRESHOLDS, Cell, Matches

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Ints


def resampled_map(matches: Matches, weights: Floats) -> Floats:
    """The mAP in [0, 1] of each resample, `[B]`; NaN without any object.

    Args:
        matches: of P pictures.
        weights: how often each picture is in each resample, whole numbers, `[B, P]`.
    """
    weighted = WeightedMap(matches)
    return np.array([weighted(one) for one in weights], np.float64)


class WeightedMap:
    """The mAP of matches as a function of how often each picture counts; with 1 each, that of pycocotools.

    The likeliest detections of a class, at an IoU threshold, are a run; all runs lie in one array. Those after a run's
    last hit change nothing and are left out.
    """

    def __init__(self, matches: Matches) -> None:
        cells = [one for (_, area), one in sorted(matches.cells.items()) if area == 0 and len(one.objects)]
        self._classes = len(cells)
        self._objects = _joined([one.objects for one in cells])
        self._of_object = np.repeat(np.arange(len(cells)), [len(one.objects) for one in cells])
        runs = [(of, *run) for of, cell in enumerate(cells) for run in _runs(cell)]
        self._class = np.array([of for of, *_ in runs], np.int64)
        self._times = np.array([times for *_, times in runs], np.float64)
        sizes = np.array([len(pictures) for _, pictures, _, _ in runs], np.int64)
        self._picture = _joined([pictures for _, pictures, _, _ in runs])
        hits = np.concatenate([np.zeros(0, bool), *(hit for _, _, hit, _ in runs)])
        self._hits = np.flatnonzero(hits)
        run = np.repeat(np.arange(len(runs)), sizes)
        self._run = run[self._hits]
        self._starts = np.cumsum(sizes) - sizes
        self._first = np.diff(self._run, prepend=-1) > 0
        self._ahead = 2.0 * (len(runs) - self._run[::-1])
        """More for each earlier run, so that the highest value from the end on starts anew in it."""

    def __call__(self, weights: Floats) -> float:
        """The mAP in [0, 1] with the pictures counted so often, whole numbers `[P]`; NaN without any object."""
        objects = np.bincount(self._of_object, weights[self._objects], self._classes)
        there = objects > 0
        if not there.any():
            return float("nan")
        drawn = weights[self._picture]
        both = np.concatenate([[0.0], np.cumsum(drawn)])
        right = np.concatenate([[0.0], np.cumsum(drawn[self._hits])])
        begun = right[np.flatnonzero(self._first)][self._run] if len(self._run) else right[:0]
        tops = right[1:] - begun
        precise = tops / (both[self._hits + 1] - both[self._starts[self._run]] + np.spacing(1))
        envelope = (np.maximum.accumulate(precise[::-1] + self._ahead) - self._ahead)[::-1]
        reached = np.searchsorted(RECALLS, tops / np.maximum(objects, 1)[self._class[self._run]], side="right")
        steps = np.where(self._first, reached, np.diff(reached, prepend=0))
        areas = np.bincount(self._run, envelope * steps, len(self._class)) * self._times
        averages = np.bincount(self._class, areas, self._classes) / (len(RECALLS) * len(THRESHOLDS))
        return float(averages[there].mean())


def _runs(cell: Cell) -> list[tuple[Ints, Bools, int]]:
    """Of each different run of a class with a hit: the pictures, whether a detection is a hit, and at how many IoUs."""
    order = np.argsort(-cell.score, kind="mergesort")
    found: dict[bytes, tuple[Ints, Bools, int]] = {}
    for counts, right in zip(~cell.ignored[:, order], cell.right[:, order], strict=True):
        hits = right[counts]
        if not hits.any():
            continue
        end = int(np.flatnonzero(hits)[-1]) + 1
        key = counts.tobytes() + hits.tobytes()
        times = found[key][2] if key in found else 0
        found[key] = cell.picture[order][counts][:end], hits[:end], times + 1
    return list(found.values())


def _joined(parts: list[Ints]) -> Ints:
    return np.concatenate([np.zeros(0, np.int64), *parts])
