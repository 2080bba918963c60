"""Figures of `accuracy_drop`: accuracies, drops, calibration, and differences between classifiers."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.predicted.calibration import error_by_chance, expected_calibration_error, reliability
from variorum.kit.predicted.pairing import Paired
from variorum.kit.predicted.resamples import Ratio, Resamples, percent
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.sample import BASELINES

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats

MOST_PAIRS = 10
"""Differences between all pairs of classifiers; with more, only those from the first classifier."""


class Results:
    """Figures whose intervals are computed together, at the end.

    Args:
        resamples: of the sources.
    """

    def __init__(self, resamples: Resamples) -> None:
        self._resamples = resamples
        self._ratios: list[Ratio] = []
        self._figures: list[dict[str, Json]] = []

    def of(self, top: Floats, bottom: Floats, **more: Json) -> dict[str, Json]:
        """A figure with these details, which `fill` completes; arguments as of `Resamples.mean_of_ratios`."""
        self._ratios.append((top, bottom))
        self._figures.append(dict(more))
        return self._figures[-1]

    def fill(self) -> None:
        """Add `value`, `low` and `high` to all figures."""
        for figure, found in zip(self._figures, self._resamples.means_of_ratios(self._ratios), strict=True):
            figure |= found


def of_classifier(data: Paired, number: int, results: Results) -> dict[str, Json]:
    """Accuracy on the originals, drops by variant, and averages over the edits, of one classifier."""
    there, right = data.originals(number)
    edits = data.edits(number, there)
    count, correct = data.cells(edits), data.cells(edits, data.right[number])
    original = right.astype(np.float64)
    lost = original[:, None] * count - correct
    held = [column for column in range(len(data.variants)) if count[:, column].any()]
    variants: dict[str, Json] = {}
    for column in held:
        variant, n = data.variants[column], count[:, column].sum()
        figure: dict[str, Json] = {"n": int(n), "accuracy": percent(correct[:, column].sum() / n)}
        if not data.alone:
            figure["original_accuracy"] = percent((original * count[:, column]).sum() / n)
            figure["drop"] = results.of(lost[:, [column]], count[:, [column]])
        if data.starts.get(variant) in data.variants:
            start = data.variants.index(data.starts[variant])
            has_start = count[:, start] > 0
            both = has_start * count[:, column]
            before = correct[:, start] / np.maximum(count[:, start], 1)
            if both.any():
                change = both * before - has_start * correct[:, column]
                figure["drop_vs_reference"] = results.of(
                    change[:, None], both[:, None], reference=data.starts[variant], n=int(both.sum())
                )
        variants[variant] = figure
    summary: dict[str, Json] = {"n": int(there.sum()), "variants": variants}
    if there.any():
        summary["original_accuracy"] = percent(right.sum() / there.sum())
    if averaged := [column for column in held if data.variants[column] not in BASELINES]:
        summary["average_accuracy"] = results.of(correct[:, averaged], count[:, averaged])
        if not data.alone:
            summary["average_drop"] = results.of(lost[:, averaged], count[:, averaged])
    return summary


def unpaired(data: Paired, number: int) -> int:
    """Edited pictures that a classifier scored without their original."""
    edits = data.edits(number, data.originals(number)[0])
    return int((~data.original & data.scored[number]).sum() - edits.sum())


def calibrations(data: Paired, number: int, seed: int) -> dict[str, Json]:
    """Calibration of a classifier on the `originals` and on the paired `edits`, as far as there are any."""
    there, _ = data.originals(number)
    counted = np.array([name not in BASELINES for name in data.variants] + [False])
    sets = {
        "originals": data.original & data.scored[number],
        "edits": data.edits(number, there) & counted[data.variant],
    }
    return {name: _calibration(data, number, mine, seed, name) for name, mine in sets.items() if mine.any()}


def _calibration(data: Paired, number: int, pictures: Bools, seed: int, name: str) -> dict[str, Json]:
    confidence, right = data.confidence[number, pictures], data.right[number, pictures]
    bins = reliability(confidence, right)
    return {
        "n": len(right),
        "accuracy": percent(right.mean()),
        "confidence": percent(confidence.mean()),
        "ece": percent(expected_calibration_error(bins)),
        "ece_by_chance": percent(error_by_chance(confidence, derive_seed(seed, "calibration", name))),
        "bins": [
            {"confidence": round(float(sure), 4), "accuracy": round(float(share), 4), "n": int(n)}
            for sure, share, n in zip(*bins, strict=True)
        ],
    }


def pairs(classifiers: int) -> list[tuple[int, int]]:
    """The pairs that are compared: all up to `MOST_PAIRS`, else the first classifier with each other one."""
    every = list(combinations(range(classifiers), 2))
    return every if len(every) <= MOST_PAIRS else [(0, other) for other in range(1, classifiers)]


def difference(data: Paired, one: int, other: int, results: Results) -> dict[str, Json]:
    """The first classifier's figures minus the second's, in percentage points, on the pictures that both scored."""
    both = data.originals(one)[0] & data.originals(other)[0]
    gained = {name: results.of(*ratio) for name, ratio in gains(data, one, other).items()}
    return {"n": int(both.sum()), **gained}


def gains(data: Paired, one: int, other: int) -> dict[str, Ratio]:
    """The figures of a difference, as far as there are any.

    `original_accuracy`, `average_accuracy` over the edits, and `average_drop`; the latter two without the baselines.
    Both classifiers see the same photographs, and their errors go together, so these intervals are narrower than the
    two classifiers' own intervals suggest.
    """
    (there, first), (also, second) = data.originals(one), data.originals(other)
    there &= also
    found: dict[str, Ratio] = {}
    original = (first.astype(np.float64) - second) * there
    if there.any():
        found["original_accuracy"] = original[:, None], there[:, None].astype(np.float64)
    edits = data.edits(one, there) & data.scored[other]
    count = data.cells(edits)
    columns = [column for column, name in enumerate(data.variants) if name not in BASELINES and count[:, column].any()]
    if columns:
        count = count[:, columns]
        gained = data.cells(edits, data.right[one].astype(np.float64) - data.right[other])[:, columns]
        found["average_accuracy"] = gained, count
        if not data.alone:
            found["average_drop"] = original[:, None] * count - gained, count
    return found
