"""Figures of `accuracy_drop`: accuracies, drops, calibration, and differences between classifiers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from variorum.kit.predicted.calibration import error_by_chance, expected_calibration_error, reliability
from variorum.kit.predicted.pairing import Paired
from variorum.kit.predicted.resamples import Ratio, Resamples, percent
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.plot import FEWEST
from variorum.schemas.sample import is_baseline

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats

PLATE = "plate"
MOST_PAIRS = 10
"""Differences between all pairs of classifiers; with more, only those from the first classifier."""


class Results:
    """Figures whose intervals are computed together, at the end."""

    def __init__(self, resamples: Resamples) -> None:
        self._resamples = resamples
        self._ratios: list[Ratio] = []
        self._figures: list[dict[str, Json]] = []

    def of(self, top: Floats, bottom: Floats, signed: bool | None = False, /, **more: Json) -> dict[str, Json]:
        """A figure with these details, which `fill` completes; arguments as of `Ratio`."""
        self._ratios.append(Ratio(top, bottom, signed))
        self._figures.append(dict(more))
        return self._figures[-1]

    def told(self, top: Floats, bottom: Floats, signed: bool = False, /, **more: Json) -> dict[str, Json]:
        """The same with the number of `photographs` of the variant that has the fewest."""
        return self.of(top, bottom, signed, photographs=self._resamples.fewest(bottom), **more)

    def fill(self) -> None:
        """Add `value`, `low` and `high` to all figures."""
        for figure, found in zip(self._figures, self._resamples.means_of_ratios(self._ratios), strict=True):
            figure |= found


def of_classifier(data: Paired, number: int, results: Results, families: Families) -> dict[str, Json]:
    """Figures of one classifier: accuracy on the originals, drops by variant and by family, averages over the edits."""
    there, right = data.originals(number)
    cells = Cells.of(data, number)
    variants: dict[str, Json] = {}
    for column in cells.held:
        variant, n = data.variants[column], cells.count[:, column].sum()
        figure: dict[str, Json] = {
            "n": int(n),
            "photographs": fewest(data, cells.count[:, [column]]),
            "accuracy": percent(cells.correct[:, column].sum() / n),
        }
        if not data.alone:
            figure["original_accuracy"] = percent((cells.original * cells.count[:, column]).sum() / n)
            figure["drop"] = results.told(*cells.lost([column]), True)
        if starts := data.starts.get(variant):
            change, both = cells.lost_since([column])
            if both.any():
                more: dict[str, Json] = {"n": int(both.sum()), "reference": " or ".join(starts)}
                figure["drop_vs_reference"] = results.told(change, both, True, **more)
        variants[variant] = figure
    summary: dict[str, Json] = {"n": int(there.sum()), "variants": variants}
    if there.any():
        summary["original_accuracy"] = percent(right.sum() / there.sum())
    if averaged := averaged_columns(data, cells.count):
        summary["averaged"] = [data.variants[column] for column in data.order or averaged if column in averaged]
        summary["average_accuracy"] = results.told(cells.correct[:, averaged], cells.count[:, averaged])
        if not data.alone:
            summary["average_drop"] = results.told(*cells.lost(averaged), True)
    if together := {name: _family(cells, columns, results) for name, columns in _families(cells, families)}:
        summary["families"] = together
    return summary


Families: TypeAlias = "Mapping[str, Sequence[str]]"
"""By name of a family, patterns of the variants that are compared with each other."""
TOGETHER: dict[str, tuple[str, ...]] = {"all variants": ("*",)}


def averaged_columns(data: Paired, count: Floats) -> list[int]:
    """The edits, baselines left out, that an average is over: those of `FEWEST` photographs, else all there are."""
    edits = [column for column, name in enumerate(data.variants) if not is_baseline(name) and count[:, column].any()]
    enough = [column for column in edits if fewest(data, count[:, [column]]) >= FEWEST]
    return enough or edits


def fewest(data: Paired, count: Floats) -> int:
    """Number of photographs of the variant that has the fewest; `count` is by unit or source and variant."""
    return int((data.by_source(count) > 0).sum(axis=0).min())


@dataclass(frozen=True, slots=True)
class Cells:
    """One classifier's answers by unit and variant.

    Attributes:
        data: answers of all.
        count: number of pictures, `[U, V]`.
        correct: of them, those that it is right on.
        original: whether it is right on the original, `[U]`.
        started: number of pictures whose start it scored too, the original or another variant, `[U, V]`.
        change: how many more of these are wrong than of their starts, `[U, V]`.
    """

    data: Paired
    count: Floats
    correct: Floats
    original: Bools
    started: Floats
    change: Floats

    @classmethod
    def of(cls, data: Paired, number: int) -> Cells:
        """Those of one classifier."""
        there, right = data.originals(number)
        edits = data.edits(number, there)
        count, correct = (data.cells(edits, weights) for weights in (None, data.right[number]))
        pictures = np.flatnonzero(edits)
        source, start = data.source[pictures], data.start[pictures]
        has, before = np.zeros((2, len(edits)))
        has[pictures] = np.where(start < 0, there[source], count[source, start] > 0)
        before[pictures] = np.where(start < 0, right[source], (correct / np.maximum(count, 1))[source, start])
        return cls(
            data,
            data.parts(edits),
            data.parts(edits, data.right[number]),
            data.spread(right),
            data.parts(edits, has),
            data.parts(edits, has * (before - data.right[number])),
        )

    @property
    def held(self) -> list[int]:
        """Variants that have pictures."""
        return [column for column in range(len(self.data.variants)) if self.count[:, column].any()]

    def lost(self, columns: Sequence[int]) -> tuple[Floats, Floats]:
        """How many more of these variants' pictures are wrong than if they were originals, and their number."""
        count = self.count[:, columns]
        return self.original[:, None] * count - self.correct[:, columns], count

    def lost_since(self, columns: Sequence[int]) -> tuple[Floats, Floats]:
        """The same, compared with the pictures that these started from, as far as there are such."""
        return self.change[:, columns], self.started[:, columns]

    def common(self, columns: Sequence[int]) -> tuple[Cells, int]:
        """The answers on the sources that have all of these variants, and the number of these sources."""
        inside = np.all(self.data.by_source(self.count[:, columns]) > 0, axis=1)
        kept = self.data.spread(inside)[:, None]
        parts = {name: getattr(self, name) * kept for name in ("count", "correct", "started", "change")}
        return replace(self, **parts), int(inside.sum())


def _families(cells: Cells, families: Families) -> Iterator[tuple[str, list[int]]]:
    """The variants of each family that have pictures; a plate has no object, so it is compared with none."""
    for name, patterns in families.items():
        names = {column: cells.data.variants[column] for column in cells.held}
        found = [one for one, text in names.items() if text != PLATE and any(fnmatchcase(text, p) for p in patterns)]
        if any(not is_baseline(names[one]) for one in found):
            yield name, found


def _family(cells: Cells, columns: Sequence[int], results: Results) -> dict[str, Json]:
    """Figures over the photographs that have all variants of a family."""
    data, (mine, n) = cells.data, cells.common(columns)
    edits = [column for column in columns if not is_baseline(data.variants[column])]
    ordered = [column for column in data.order or columns if column in columns]
    found: dict[str, Json] = {"n": n, "edits": [data.variants[column] for column in ordered if column in edits]}
    if n:
        found["accuracy"] = results.told(mine.correct[:, edits], mine.count[:, edits])
    if n and not data.alone:
        original = mine.original[:, None] * mine.count[:, edits]
        found["original_accuracy"] = percent((original.sum(axis=0) / mine.count[:, edits].sum(axis=0)).mean())
        found["drop"] = results.told(*mine.lost(edits), True)
        change, started = mine.lost_since(edits)
        if any(data.starts.get(data.variants[one]) for one in edits) and started.any(axis=0).all():
            found["drop_vs_reference"] = results.told(change, started, True)
        found["drops"] = {data.variants[one]: results.told(*mine.lost([one]), True) for one in ordered}
    return found


def unpaired(data: Paired, number: int) -> int:
    """Edited pictures that a classifier scored without their original."""
    edits = data.edits(number, data.originals(number)[0])
    return int((~data.original & data.scored[number]).sum() - edits.sum())


def calibrations(data: Paired, number: int, seed: int) -> dict[str, Json]:
    """Calibration of a classifier on the `originals` and on the paired `edits`, as far as there are any."""
    there, _ = data.originals(number)
    counted = np.array([not is_baseline(name) for name in data.variants] + [False])
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
    gained = {name: results.told(*ratio) for name, ratio in gains(data, one, other).items()}
    return {"n": int(both.sum()), **gained}


def ordering(classifiers: Mapping[str, Any], differences: Sequence[Any]) -> list[Json]:
    """The classifiers by falling average accuracy over the edits, each with its difference to the one before."""
    known = {tuple(one["of"]): one["average_accuracy"] for one in differences if "average_accuracy" in one}
    ranked = {name: one["average_accuracy"] for name, one in classifiers.items() if "average_accuracy" in one}
    names = sorted(ranked, key=lambda name: -ranked[name]["value"])
    found: list[Json] = []
    for before, name in zip([None, *names], names, strict=False):
        change = known.get((before, name))
        if change is None and (turned := known.get((name, before))):
            ends = {"value": -turned["value"] + 0.0, "low": -turned["high"] + 0.0, "high": -turned["low"] + 0.0}
            change = {**turned, **ends}
        found.append({"name": name, "accuracy": ranked[name], "behind": change})
    return found


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
        found["original_accuracy"] = Ratio(original[:, None], there[:, None].astype(np.float64), signed=True)
    edits = data.edits(one, there) & data.scored[other]
    count = data.parts(edits)
    if columns := averaged_columns(data, count):
        count = count[:, columns]
        gained = data.parts(edits, data.right[one].astype(np.float64) - data.right[other])[:, columns]
        found["average_accuracy"] = Ratio(gained, count, signed=True)
        if not data.alone:
            found["average_drop"] = Ratio(data.spread(original)[:, None] * count - gained, count, signed=True)
    return found
