"""Intervals over source pictures: bootstrap from the same resamples for all figures, exact where few pictures tell.

Pictures that share a lent plate or texture aren't independent, so there intervals are wider, see `statistics.widened`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from variorum.schemas.canonical import Json
from variorum.statistics import few_interval, mean_ratio, pulls, scale_of, widened

if TYPE_CHECKING:
    from variorum.arrays import Array, Floats, Ints


class Ratio(NamedTuple):
    """A figure: the mean over variants of Σ top / Σ bottom.

    Attributes:
        top: by source and variant, `[n, V]`; or by unit and variant, see `Units`.
        bottom: the same, such as the number of pictures.
        signed: top is a difference, such as right before less right now, so that 0 isn't the end of the scale; None if
            bottom doesn't count what top is of, so that intervals are drawn.
    """

    top: Floats
    bottom: Floats
    signed: bool | None = False


class Units(NamedTuple):
    """Pictures of one source that borrow from one lender. The first `n` units are the sources' own pictures.

    Attributes:
        source: of each unit, `[U]`.
        lender: of each unit, -1 for none, `[U]`.
    """

    source: Ints
    lender: Ints

    def by_source(self, part: Floats, n: int) -> Floats:
        """Sums `[n, V]` by source of what is by unit, `[U, V]`, or by source already."""
        if len(part) == n:
            return part
        found = np.zeros((n, part.shape[1]))
        np.add.at(found, self.source, part)
        return found


AT_ONCE = 4_000_000
"""Weights drawn at a time."""
KEPT = 25_000_000
"""Weights that are kept for the next figures over as many sources, such as those of a leaderboard's next model."""


class Resamples:
    """Bootstrap resamples of `n` sources, the same for every figure, so that figures and their differences are paired.

    Args:
        n: number of sources.
        draws: number of resamples.
        confidence: level of the percentile intervals (Efron & Tibshirani, An Introduction to the Bootstrap, 1993,
            ch. 13).
        seed: seed of the resampling.
        units: who borrows from whom; None where nobody does.

    Attributes:
        tails: the two quantiles that are the ends of an interval.
    """

    def __init__(self, n: int, draws: int, confidence: float, seed: int, units: Units | None = None) -> None:
        self._n, self._draws, self._confidence, self._seed = n, draws, confidence, seed
        self._units = units
        self.tails = (1 - confidence) / 2, (1 + confidence) / 2

    def mean_of_ratios(self, top: Floats, bottom: Floats, *, signed: bool = False) -> dict[str, Json]:
        """Mean over columns of sum(top) / sum(bottom), with its interval: `value`, `low`, `high` in percent.

        Args:
            top: `[n, V]`, the loss of each source in each variant.
            bottom: `[n, V]`, the number of pictures of each source in each variant; no column sums to 0.
            signed: as of `Ratio`.
        """
        return self.means_of_ratios([Ratio(top, bottom, signed)])[0]

    def means_of_ratios(self, ratios: Sequence[Ratio]) -> list[dict[str, Json]]:
        """`mean_of_ratios` of several figures in one pass over the resamples; equal columns are summed once."""
        if not ratios:
            return []
        pool: dict[bytes, int] = {}
        columns: list[Floats] = []

        def place(column: Floats) -> int:
            column = np.ascontiguousarray(column, np.float64)
            position = pool.setdefault(column.tobytes(), len(columns))
            if position == len(columns):
                columns.append(column)
            return position

        own = [Ratio(self._by_source(top), self._by_source(bottom), signed) for top, bottom, signed in ratios]
        places = [tuple([place(column) for column in part.T] for part in ratio[:2]) for ratio in own]
        pool.clear()
        sums = np.stack(columns, axis=1)
        values = _means(sums.sum(axis=0)[None], places)[:, 0]
        parts = [_means(part.astype(np.float64) @ sums, places) for part in self.weights()]
        lows, highs = np.nanquantile(np.concatenate(parts, axis=1), self.tails, axis=1)
        found: list[dict[str, Json]] = []
        for ratio, whole, value, *ends in zip(ratios, own, values, lows, highs, strict=True):
            low, high = ends
            if ratio.signed is not None:
                low, high = few_interval(*whole[:2], ratio.signed, (low, high), self._confidence)
            wider = self._widened(ratio)
            if wider > 1:
                least, most = scale_of(*whole)
                low, high = max(value - wider * (value - low), least), min(value + wider * (high - value), most)
            found.append({"value": percent(value), "low": percent(low), "high": percent(high)})
        return found

    def fewest(self, bottom: Floats) -> int:
        """Number of sources of the variant that has the fewest; `bottom` as of `Ratio`."""
        return int((self._by_source(bottom) > 0).sum(axis=0).min())

    def _by_source(self, part: Floats) -> Floats:
        """Sums `[n, V]` of what may be by unit, `[U, V]`."""
        return part if self._units is None else self._units.by_source(part, self._n)

    def _widened(self, ratio: Ratio) -> float:
        """How many times wider an interval is because sources share lenders; 1 where none do."""
        if self._units is None or len(ratio.top) == self._n:
            return 1.0
        pull, weight = (part.sum(axis=1) for part in pulls(ratio.top, ratio.bottom))
        return widened(pull, weight, *self._units, self._confidence)

    def weights(self) -> Iterable[Array]:
        """Count each source in each resample, whole numbers `[R, n]`, in parts."""
        few = self._n * self._draws <= KEPT and self._n < 2**16
        return (_kept if few else _drawn)(self._n, self._draws, self._seed)


def _drawn(n: int, draws: int, seed: int) -> Iterator[Array]:
    """Count each of `n` sources in each of `draws` resamples, `[R, n]`, in parts."""
    rng, step = np.random.default_rng(seed), max(1, AT_ONCE // n)
    for done in range(0, draws, step):
        yield rng.multinomial(n, np.full(n, 1 / n), min(step, draws - done))


@lru_cache(maxsize=1)
def _kept(n: int, draws: int, seed: int) -> tuple[Array, ...]:
    return tuple(part.astype(np.uint16) for part in _drawn(n, draws, seed))


def _means(sums: Floats, places: Sequence[Sequence[list[int]]]) -> Floats:
    """Each ratio `[ratios, R]` from the sums of columns `[R, columns]`."""
    return np.stack([mean_ratio(sums[:, top], sums[:, bottom]) for top, bottom in places])


def percent(value: float) -> float:
    """A share in percent, rounded to two decimals; 0 has no sign."""
    return round(100 * float(value), 2) + 0.0
