"""Compute precision, recall, F1 and coverage of labelers by category and group, their means and drops.

All intervals are percentiles of the same resamples of photographs, so that differences are paired.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from variorum.evaluation.safety.truth_arrays import Answerer, Judged
from variorum.evaluation.safety.truths import MODELS, PHOTOGRAPHS, SAFE, UNSAFE
from variorum.kit.predicted.drops import Results
from variorum.kit.predicted.resamples import Ratio, percent
from variorum.kit.resampling.separation import Draws
from variorum.schemas.canonical import Json
from variorum.schemas.safety import ANY, CONTROL
from variorum.statistics import clustered_interval, mean_ratio

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats

ALL = "all"
"""Name of all groups together."""
MEANT = ("f1", "recall", "precision")
"""Figures that are averaged over categories."""


class Counted(NamedTuple):
    """Pictures of one category in one group, by photograph `[P]`; `hits`, `alarms` and `misses` are among `answered`.

    Attributes:
        known: whose truth is known.
        answered: of those, the ones that the labeler doesn't abstain from.
        unsafe: answered and unsafe.
        safe: answered and safe.
        hits: unsafe and called unsafe.
        alarms: safe and called unsafe.
        of_unsafe: unsafe, answered or not.
        of_safe: safe, answered or not.
    """

    known: Floats
    answered: Floats
    unsafe: Floats
    safe: Floats
    hits: Floats
    alarms: Floats
    of_unsafe: Floats
    of_safe: Floats

    def ratios(self) -> dict[str, Ratio]:
        """Return the two parts of each ratio, as far as there are pictures to compute it from."""
        unsafe, safe, called = self.unsafe.sum() > 0, self.safe.sum() > 0, (self.hits + self.alarms).sum() > 0
        found: dict[str, tuple[Floats, Floats]] = {}
        if self.known.sum() > 0:
            found["coverage"] = self.answered, self.known
        if unsafe and safe:
            found["f1"] = 2 * self.hits, self.hits + self.alarms + self.unsafe
        if unsafe and safe and called:
            found["precision"] = self.hits, self.hits + self.alarms
        if unsafe:
            found["recall"] = self.hits, self.unsafe
        if safe:
            found["alarms"] = self.alarms, self.safe
        return {name: Ratio(top[:, None], bottom[:, None]) for name, (top, bottom) in found.items()}


def counted(data: Judged, answerer: Answerer, category: str, rows: Bools) -> Counted:
    """The counts of some pictures, `rows [N]`."""
    truth, score, calls = data.truth[category], answerer.scores[category], answerer.calls(category)
    unsafe, safe, answers = rows & (truth == UNSAFE), rows & (truth == SAFE), np.isfinite(score)
    by_photograph = data.by_photograph
    return Counted(
        by_photograph(unsafe | safe),
        by_photograph((unsafe | safe) & answers),
        by_photograph(unsafe & answers),
        by_photograph(safe & answers),
        by_photograph(unsafe & calls),
        by_photograph(safe & calls),
        by_photograph(unsafe),
        by_photograph(safe),
    )


def rows_of(data: Judged, group: str, answerer: Answerer) -> Bools:
    """Pictures of a group, or of all, that a labeler is judged on, `[N]`."""
    judged = data.seen if answerer.seen else data.counts
    return judged if group == ALL else judged & (data.group == group)


def cell(found: Counted, results: Results) -> dict[str, Json]:
    """Figures of one category in one group, which `results` completes; those without pictures are None.

    `unsafe` and `safe` are numbers of pictures, answered or not. `f1`, `precision`, `recall` and `alarms` are of those
    that the labeler answers, in percent, and `coverage` is their share. The interval of `alarms` is exact.
    """
    ratios = found.ratios()
    figures: dict[str, Json] = {
        "unsafe": int(found.of_unsafe.sum()),
        "safe": int(found.of_safe.sum()),
        **{name: results.of(*ratios[name]) if name in ratios else None for name in ("f1", "precision", "recall")},
        "coverage": results.of(*ratios["coverage"]) if "coverage" in ratios else None,
        "alarms": alarm_rate(found.alarms, found.safe),
    }
    return figures


def alarm_rate(alarms: Floats, safe: Floats) -> dict[str, Json] | None:
    """The share of safe pictures that are called unsafe, in percent with its exact 95 % interval; None without any.

    Args:
        alarms: by photograph, how many are, `[P]`.
        safe: by photograph, out of how many, `[P]`.
    """
    if not (n := int(safe.sum())):
        return None
    low, high = clustered_interval(alarms, safe)
    called = int(alarms.sum())
    return {"n": n, "called": called, "value": percent(called / n), "low": percent(low), "high": percent(high)}


def flagged(data: Judged, answerer: Answerer, rows: Bools) -> dict[str, Json] | None:
    """`alarm_rate` of pictures that are safe in all categories: called unsafe in one or more. None without any."""
    safe = rows & (data.truth[ANY] == SAFE) & np.any([np.isfinite(one) for one in answerer.scores.values()], axis=0)
    called = np.any([answerer.calls(name) for name in answerer.scores], axis=0)
    return alarm_rate(*(data.by_photograph(which) for which in (safe & called, safe)))


def means(cells: Mapping[str, Counted], results: Results) -> dict[str, Json]:
    """Means over the categories that have unsafe and safe pictures with answers, and how many those are.

    `coverage` is over all categories with a known truth. None if there is no such category.
    """
    found: dict[str, Json] = {"categories": len(both_kinds(cells))}
    for name in MEANT:
        some = [ratios[name] for one in both_kinds(cells) if name in (ratios := cells[one].ratios())]
        found[name] = results.of(*_beside(some)) if some else None
    known = [ratios["coverage"] for one in cells.values() if "coverage" in (ratios := one.ratios())]
    found["coverage"] = results.of(*_beside(known)) if known else None
    return found


def both_kinds(cells: Mapping[str, Counted]) -> list[str]:
    """The categories, without the reserved names, that have unsafe and safe pictures with answers."""
    plain = [name for name in cells if name not in (ANY, CONTROL)]
    return [name for name in plain if cells[name].unsafe.sum() and cells[name].safe.sum()]


def drops(data: Judged, answerer: Answerer, draws: Draws) -> dict[str, Json] | None:
    """Compute what a labeler loses from photographs to generated pictures.

    `f1` and `recall` are means over the categories with unsafe and safe pictures of both kinds, photographs minus
    generated pictures. `alarms` is the mean over those with safe pictures of both, the other way round, so that more is
    always worse. All are in percentage points; `by_category` has the same for each. None if there is no such category.
    """
    parts = {
        maker: {name: counted(data, answerer, name, data.counts & (data.maker == maker)) for name in answerer.scores}
        for maker in (PHOTOGRAPHS, MODELS)
    }
    real, made = ({name: one.ratios() for name, one in parts[maker].items()} for maker in parts)
    names = [name for name in answerer.scores if name not in (ANY, CONTROL)]

    def of(some: Sequence[str]) -> dict[str, Json]:
        figures: dict[str, Json] = {}
        for figure, sign in (("f1", 1), ("recall", 1), ("alarms", -1)):
            wanted = "alarms" if figure == "alarms" else "f1"
            both = [name for name in some if wanted in real[name] and wanted in made[name]]
            sides = [_beside([side[name][figure] for name in both]) for side in (real, made)] if both else None
            figures[figure] = difference(sides[0], sides[1], draws, sign) if sides else None
            figures[f"{figure}_categories"] = len(both)
        return figures

    found = of(names)
    if not found["alarms_categories"]:
        return None
    return {**found, "by_category": {name: of([name]) for name in names}}


def difference(first: Ratio, second: Ratio, draws: Draws, sign: int = 1) -> dict[str, Json]:
    """The first mean of ratios minus the second, times `sign`, in percentage points, on the same resamples."""
    there = np.flatnonzero(first[1].any(axis=1) | second[1].any(axis=1))
    pairs = [(top[there], bottom[there]) for top, bottom, _ in (first, second)]

    def gap(weights: Floats) -> Floats:
        one, other = (mean_ratio(weights @ top, weights @ bottom) for top, bottom in pairs)
        return 100 * sign * (one - other)

    samples = np.concatenate([gap(np.asarray(part)[:, there].astype(np.float64)) for part in draws.resamples.weights()])
    every = np.ones((1, len(there)))
    return draws.interval(float(gap(every)[0]) + 0.0, samples, 2)


def _beside(ratios: Iterable[Ratio]) -> Ratio:
    """Several ratios as the columns of one."""
    every = list(ratios)
    tops, bottoms = [one.top for one in every], [one.bottom for one in every]
    return Ratio(np.concatenate(tops, axis=1), np.concatenate(bottoms, axis=1))
