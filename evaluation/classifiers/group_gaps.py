"""Differences between groups of pictures: rates by group, the largest gap, tests of all pairs.

Intervals and tests of shares use effective numbers of pictures. Resamples and variances between households aren't
trusted with shares, because a small group whose answers are all right has no variance at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from variorum.evaluation.classifiers.groups import Alike, Answers, Cells, effective
from variorum.kit.predicted.resamples import Resamples, percent
from variorum.reports.profile.statistics import interval
from variorum.schemas.canonical import Json
from variorum.statistics import holm, wilson_interval

if TYPE_CHECKING:
    from variorum.arrays import Floats

DRAWS = 200
"""Of groups at random, for the gap that chance alone gives."""
ALPHA = 0.05
"""Level of the tests, over all pairs of groups of one key."""


class Rates(NamedTuple):
    """A rate by group with its interval, and the interval of the highest less the lowest.

    Attributes:
        value: `[G]`.
        low: likewise.
        high: likewise.
        gap: low and high end.
    """

    value: Floats
    low: Floats
    high: Floats
    gap: tuple[float, float]


def scored(answers: Answers, cells: Cells, correlation: Floats, *, level: float) -> Rates:
    """Shares of right answers, with Wilson's intervals on effective numbers of pictures and Student's distribution.

    The interval of the gap combines those of its two groups (Newcombe, Statistics in Medicine 1998, method 10).

    Args:
        answers: with a weight above 0 in each group.
        cells: of two or more groups.
        correlation: by group, of `alike`.
        level: confidence level in (0, 1).
    """
    from scipy import stats

    n = effective(answers, cells, correlation)
    value = cells.by_group(answers.right) / cells.by_group(answers.weight)
    households = np.bincount(cells.group[answers.weight > 0], minlength=len(value))
    beyond = stats.t.isf((1 - level) / 2, np.maximum(households - 1, 1))
    low, high = np.array(
        [wilson_interval(share * size, size, z) for share, size, z in zip(value, n, beyond, strict=True)]
    ).T
    best, worst = int(value.argmax()), int(value.argmin())
    gap, below = value[best] - value[worst], np.hypot(value[best] - low[best], high[worst] - value[worst])
    above = np.hypot(high[best] - value[best], value[worst] - low[worst])
    return Rates(value, low, high, (float(gap - below), float(gap + above)))


def resampled(top: Floats, bottom: Floats, cells: Cells, resamples: Resamples) -> Rates:
    """Rates sum(top) / sum(bottom) that aren't shares, with bootstrap intervals over households.

    Args:
        top: by cell, `[C]`.
        bottom: by cell, `[C]`; above 0 in each group.
        cells: of two or more groups.
        resamples: of the households.
    """
    value = cells.by_group(top) / cells.by_group(bottom)
    found = _drawn(top, bottom, cells, resamples)
    gap = found[:, value.argmax()] - found[:, value.argmin()]
    low, high = np.nanquantile(np.column_stack([found, gap]), resamples.tails, axis=0)
    return Rates(value, low[:-1], high[:-1], (float(low[-1]), float(high[-1])))


def _drawn(top: Floats, bottom: Floats, cells: Cells, resamples: Resamples) -> Floats:
    """Rates in each resample, `[R, G]`; NaN where a group has no household."""
    tops, bottoms, parts = cells.spread(top), cells.spread(bottom), []
    for weights in resamples.weights():
        drawn = weights.astype(np.float64)
        below = drawn @ bottoms.T
        parts.append(np.divide(drawn @ tops.T, below, out=np.full_like(below, np.nan), where=below > 0))
    return np.concatenate(parts)


def disparity(top: Floats, bottom: Floats, cells: Cells, *, rates: Rates, rng: np.random.Generator) -> dict[str, Json]:
    """Measure how far groups are apart in a rate, sum(top) / sum(bottom).

    Args:
        top: by cell, such as the number of right answers, `[C]`.
        bottom: by cell, such as the number of pictures, `[C]`; above 0 in each group.
        cells: of two or more groups.
        rates: of these.
        rng: for the gap by chance.

    Returns:
        `rates` by group, and `gap`, the largest rate less the smallest, with intervals, in percent; `best` and `worst`
        are these groups; `ratio` is the worst rate divided by the best, None if that isn't above 0; `deviation` is the
        rates' standard deviation, and `by_chance` the mean gap when households are put into groups of these sizes at
        random.
    """
    best, worst = int(rates.value.argmax()), int(rates.value.argmin())
    each = zip(cells.names, rates.value, rates.low, rates.high, strict=True)
    return {
        "rates": {name: _interval(value, low, high) for name, value, low, high in each},
        "gap": _interval(rates.value[best] - rates.value[worst], *rates.gap),
        "by_chance": percent(_gap_by_chance(top, bottom, cells, rng)),
        "best": cells.names[best],
        "worst": cells.names[worst],
        "deviation": percent(rates.value.std()),
        "ratio": round(float(rates.value[worst] / rates.value[best]), 4) if rates.value[best] > 0 else None,
    }


def _interval(value: float, low: float, high: float) -> dict[str, Json]:
    return {"value": percent(value), "low": percent(low), "high": percent(high)}


def changes(
    tops: Sequence[Floats], bottom: Floats, cells: Cells, resamples: Resamples, confidence: float
) -> dict[str, dict[str, Json]]:
    """How far one classifier's worst rate and gap are above another's; `tops` are theirs, see `resampled`."""
    value = [cells.by_group(top) / cells.by_group(bottom) for top in tops]
    rates = [np.vstack([one, _drawn(top, bottom, cells, resamples)]) for one, top in zip(value, tops, strict=True)]
    moved = _worst_and_gap(rates[0]) - _worst_and_gap(rates[1])
    ends = [interval("least", float(one[0]), one[1:], cells.households, confidence) for one in moved]
    return {name: _interval(moved[one, 0], *ends[one]) for one, name in enumerate(("worst", "gap"))}


def _worst_and_gap(rates: Floats) -> Floats:
    return np.stack([np.nanmin(rates, axis=-1), np.nanmax(rates, axis=-1) - np.nanmin(rates, axis=-1)])


def _gap_by_chance(top: Floats, bottom: Floats, cells: Cells, rng: np.random.Generator) -> float:
    gaps = []
    for _ in range(DRAWS):
        group = rng.permutation(cells.group)
        tops, bottoms = (np.bincount(group, part, len(cells.names)) for part in (top, bottom))
        filled = bottoms > 0
        gaps.append(np.ptp(tops[filled] / bottoms[filled]))
    return float(np.mean(gaps))


def pairs(answers: Answers, cells: Cells, correlations: Alike) -> list[dict[str, Json]]:
    """Tests of all pairs of groups for equal rates, by rising p.

    That is the test of two proportions with the continuity correction of Yates, on effective numbers of pictures, and
    with Student's distribution, with two degrees of freedom less than there are households. The correction keeps a
    small group from being told apart from a large one by two or three answers. `p_holm` is corrected for the number of
    pairs (Holm, Scandinavian Journal of Statistics 1979), and `significant` means that it is below 0.05.

    Args:
        answers: each of weight 1.
        cells: of two or more groups.
        correlations: of these answers.
    """
    from scipy import stats

    held, n, hits = cells.spread(answers.weight), cells.by_group(answers.weight), cells.by_group(answers.right)
    one_by = 1 / effective(answers, cells, correlations.by_group)
    rate = hits / n
    shared, there = held @ held.T, (held > 0).astype(np.float64)
    households, together = there.sum(axis=1), there @ there.T
    found = list(combinations(range(len(n)), 2))
    p = np.ones(len(found))
    for place, (one, other) in enumerate(found):
        pooled = (hits[one] + hits[other]) / (n[one] + n[other])
        common = correlations.overall * shared[one, other] / (n[one] * n[other])
        variance = pooled * (1 - pooled) * (one_by[one] + one_by[other] - 2 * common)
        apart = abs(rate[one] - rate[other]) - (one_by[one] + one_by[other]) / 2
        if apart > 0 and variance > 0:
            freedom = households[one] + households[other] - together[one, other] - 2
            p[place] = 2 * stats.t.sf(apart / np.sqrt(variance), max(1, freedom))
    corrected = holm(p)
    return [
        {
            "of": [cells.names[number] for number in found[place]],
            "difference": percent(rate[found[place][0]] - rate[found[place][1]]),
            "p": float(f"{p[place]:.3g}"),
            "p_holm": float(f"{corrected[place]:.3g}"),
            "significant": bool(corrected[place] < ALPHA),
        }
        for place in np.argsort(p, kind="stable").tolist()
    ]
