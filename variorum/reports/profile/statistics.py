"""Intervals and paired tests of a report, over source photographs.

Draws depend on the number of photographs and the seed alone. So all rows and models over as many photographs share
them, differences are paired, and a row's interval doesn't change when another row joins the page. No figure mixes two
rows, so nothing is gained by pairing rows over different photographs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from variorum.statistics import mean_ratio

if TYPE_CHECKING:
    from variorum.arrays import Array, Floats
    from variorum.reports.profile.document import Verdict
    from variorum.schemas.rows import Better, Kind

DRAWS = 4_000
"""Resamples of the photographs, for every figure but a `whole`."""
WHOLE_DRAWS = 400
"""The first of them, for a figure that is computed of all answers anew in each draw."""
FLIPS = 20_000
EXACT = 12
"""With so many photographs on which two models differ, all swaps are counted instead of drawn."""
LEAST_GROUP = 20
"""Photographs of a group that can be the least one."""
LEVEL = 0.05
POWER = 0.8
AT_ONCE = 4_000_000
"""Counts or flips that are in memory at a time."""
KEPT = 25_000_000
"""Counts that are kept for the next row over as many photographs."""
NORMAL = NormalDist()
Z = NORMAL.inv_cdf(1 - LEVEL / 2)


class Draws:
    """Resamples of `n` photographs: how often each counts in each of 4,000 draws.

    Args:
        n: number of photographs.
        seed: seed of the draws.
    """

    def __init__(self, n: int, seed: int) -> None:
        self.n, self.seed = n, seed

    def counts(self) -> Iterator[Array]:
        """Count each photograph in each draw, whole numbers `[R, n]`, in parts."""
        return iter(_kept(self.n, self.seed)) if self.n * DRAWS <= KEPT else _drawn(self.n, self.seed)

    def first(self, draws: int) -> Floats:
        """The counts of the first draws, `[draws, n]`."""
        parts, missing = [], draws
        for part in self.counts():
            parts.append(part[:missing])
            missing -= len(parts[-1])
            if not missing:
                break
        return np.concatenate(parts).astype(np.float64)

    def sums(self, columns: Floats) -> Floats:
        """Sum each column `[n, C]` over the photographs of each draw, `[draws, C]`."""
        # 64 bits, since thirds of a photograph don't add up to the same sum on every processor with 32
        return np.concatenate([part.astype(np.float64) @ columns for part in self.counts()])


def _drawn(n: int, seed: int) -> Iterator[Array]:
    rng, step = np.random.default_rng([seed, n]), max(1, AT_ONCE // n)
    for done in range(0, DRAWS, step):
        chosen = rng.integers(0, n, (min(step, DRAWS - done), n), dtype=np.int32)
        yield np.stack([np.bincount(one, minlength=n) for one in chosen])


@lru_cache(maxsize=1)
def _kept(n: int, seed: int) -> tuple[Array, ...]:
    return tuple(part.astype(np.uint16) for part in _drawn(n, seed))


def least_ratio(tops: Floats, bottoms: Floats) -> Floats:
    """The least over the last axis of tops / bottoms, without those whose bottom is 0; NaN without any."""
    ratios = np.divide(tops, bottoms, out=np.full_like(tops, np.inf), where=bottoms > 0)
    least = ratios.min(axis=-1, initial=np.inf)
    return np.where(np.isfinite(least), least, np.nan)


def none_or_all(share: float) -> bool:
    """Whether a share is 0 or 1, so that draws can't vary; sums of thirds are a little off."""
    return not 1e-9 < share < 1 - 1e-9


@lru_cache(maxsize=256)
def tails(n: int, confidence: float = 1 - LEVEL) -> tuple[float, float]:
    """The quantiles of the draws that are the ends of a percentile interval over `n` photographs.

    With few photographs the draws spread too little; a bit more of them make up for it (Hesterberg, What
    teachers should know about the bootstrap, 2015, §4.1). From 400 on there is nothing to see of it.
    """
    from scipy.special import stdtrit

    low = NORMAL.cdf(-sqrt(n / (n - 1)) * float(stdtrit(n - 1, (1 + confidence) / 2)))
    return low, 1 - low


def percentile(draws: Floats, n: int, confidence: float = 1 - LEVEL) -> tuple[float, float]:
    """The percentile interval; draws without a value don't count."""
    low, high = np.nanquantile(draws, tails(n, confidence))
    return float(low), float(high)


def interval(kind: Kind, value: float, draws: Floats, n: int, confidence: float = 1 - LEVEL) -> tuple[float, float]:
    """The interval of a value, or of a difference, from its draws over `n` photographs.

    A `whole` or a `least` has the wider of the percentile and the basic interval at each end. The basic one mirrors the
    percentiles at the value: resampling raises a calibration error and lowers the least of equal groups, so that the
    percentiles alone miss the truth. Where nothing is raised or lowered, the basic one alone is too narrow.
    """
    low, high = percentile(draws, n, confidence)
    if kind in ("share", "bound"):
        return low, high
    return min(low, 2 * value - high), max(high, 2 * value - low)


def seen(draws: Floats, n: int) -> float:
    """The difference that `n` photographs show with power .8, from the draws of one."""
    return (NORMAL.inv_cdf(tails(n)[1]) + NORMAL.inv_cdf(POWER)) * float(np.nanstd(draws))


def draws_p(value: float, draws: Floats) -> float:
    """P of a difference from its draws: how many lie as far from the difference as 0 does. At least 1 / draws."""
    draws = draws[np.isfinite(draws)]
    if value == 0 or not len(draws):
        return 1.0
    return max(float(np.mean(np.abs(draws - value) >= abs(value) - 1e-12)), 1 / len(draws))


def swap_p(pairs: Sequence[tuple[Floats, Floats, Floats, Floats]], seed: int) -> list[float]:
    """P of each pair's difference under sign flips: both models' answers to a photograph are swapped, or none.

    A pair is exact if its models differ on at most 12 photographs; otherwise 20,000 flips are drawn, the same for all
    pairs.

    Args:
        pairs: `(top, bottom, other top, other bottom)`, `[n, V]` each, over the same photographs.
        seed: seed of the flips.
    """
    swaps = [_Swaps(*pair) for pair in pairs]
    found = [_exact(one) if len(one.moving) <= EXACT else 0.0 for one in swaps]
    if drawn := [place for place, one in enumerate(swaps) if len(one.moving) > EXACT]:
        rows = np.unique(np.concatenate([swaps[place].moving for place in drawn]))
        columns = [np.zeros((len(rows), swaps[place].differences.shape[1])) for place in drawn]
        for place, column in zip(drawn, columns, strict=True):
            column[np.searchsorted(rows, swaps[place].moving)] = swaps[place].differences
        ends = np.cumsum([column.shape[1] for column in columns])[:-1]
        hits = np.zeros(len(drawn))
        for flips in _flips(len(rows), seed):
            sums = np.split(flips @ np.hstack(columns), ends, axis=1)
            hits += [swaps[place].hits(part) for place, part in zip(drawn, sums, strict=True)]
        for place, hit in zip(drawn, hits, strict=True):
            found[place] = float((1 + hit) / (1 + FLIPS))
    return found


class _Swaps:
    """The difference of two models' means of ratios when the answers to some photographs are swapped.

    Attributes:
        differences: what a swap changes, of the photographs that change anything, `[m, C]`.
        moving: their indices, `[m]`.
    """

    def __init__(self, top: Floats, bottom: Floats, other_top: Floats, other_bottom: Floats) -> None:
        self._statistic: Callable[[Floats], Floats]
        if np.array_equal(bottom, other_bottom):
            # with equal bottoms the difference is a sum over photographs, each with its sign
            whole = bottom.sum(axis=0)
            differences = mean_ratio(top - other_top, np.broadcast_to(whole, top.shape))[:, None]
            self._statistic = lambda sums: sums[:, 0]
        else:
            differences = np.hstack([top - other_top, bottom - other_bottom])
            tops, bottoms, columns = (top + other_top).sum(axis=0), (bottom + other_bottom).sum(axis=0), top.shape[1]

            def statistic(sums: Floats) -> Floats:
                moved_top, moved_bottom = sums[:, :columns], sums[:, columns:]
                one = mean_ratio(tops + moved_top, np.round(bottoms + moved_bottom, 9))
                return one - mean_ratio(tops - moved_top, np.round(bottoms - moved_bottom, 9))

            self._statistic = statistic
        self.moving = np.flatnonzero((np.abs(differences) > 1e-12).any(axis=1))
        self.differences = differences[self.moving]
        self._bar = abs(float(self._statistic(self.differences.sum(axis=0)[None])[0])) - 1e-9

    def hits(self, sums: Floats) -> int:
        """How many flips show a difference at least as wide, from their sums `[F, C]`."""
        return int(np.sum(np.abs(self._statistic(sums)) >= self._bar))


def _exact(swaps: _Swaps) -> float:
    m = len(swaps.moving)
    every = (np.arange(2**m)[:, None] >> np.arange(m) & 1) * 2.0 - 1
    return float(swaps.hits(every @ swaps.differences) / 2**m)


def _flips(m: int, seed: int) -> Iterator[Floats]:
    """20,000 rows of `m` signs, in parts."""
    rng, step = np.random.default_rng([seed, m]), max(1, AT_ONCE // m)
    for done in range(0, FLIPS, step):
        rows = min(step, FLIPS - done)
        bits = np.unpackbits(np.frombuffer(rng.bytes(rows * -(-m // 8)), np.uint8).reshape(rows, -1), axis=1, count=m)
        yield bits.astype(np.float64) * 2 - 1


def verdict(value: float, low: float, high: float, adjusted: float, better: Better) -> Verdict:
    """Which mark a difference gets; positive is better unless `better` is none."""
    if adjusted < LEVEL and value != 0:
        return "differs" if better == "none" else "better" if value > 0 else "worse"
    if low > 0 or high < 0:
        return "perhaps differs" if better == "none" else "perhaps better" if low > 0 else "perhaps worse"
    return "same"
