"""Bootstrap intervals over source pictures, from the same resamples for all figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from variorum.schemas.canonical import Json
from variorum.statistics import mean_ratio

if TYPE_CHECKING:
    from variorum.arrays import Array, Floats, Ints

Ratio: TypeAlias = "tuple[Floats, Floats]"
"""`top [n, V]` and `bottom [n, V]`, by source and variant; the figure is the mean over variants of Σ top / Σ bottom."""
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

    Attributes:
        tails: the two quantiles that are the ends of an interval.
    """

    def __init__(self, n: int, draws: int, confidence: float, seed: int) -> None:
        self._n, self._draws, self._seed = n, draws, seed
        self.tails = (1 - confidence) / 2, (1 + confidence) / 2

    def mean_of_ratios(self, top: Floats, bottom: Floats) -> dict[str, Json]:
        """Mean over columns of sum(top) / sum(bottom), with its interval: `value`, `low`, `high` in percent.

        Args:
            top: `[n, V]`, the loss of each source in each variant.
            bottom: `[n, V]`, the number of pictures of each source in each variant; no column sums to 0.
        """
        return self.means_of_ratios([(top, bottom)])[0]

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

        places = [tuple([place(column) for column in part.T] for part in ratio) for ratio in ratios]
        pool.clear()
        sums = np.stack(columns, axis=1)
        values = _means(sums.sum(axis=0)[None], places)[:, 0]
        parts = [_means(part.astype(np.float64) @ sums, places) for part in self.weights()]
        lows, highs = np.nanquantile(np.concatenate(parts, axis=1), self.tails, axis=1)
        return [
            {"value": percent(value), "low": percent(low), "high": percent(high)}
            for value, low, high in zip(values, lows, highs, strict=True)
        ]

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


def ratio_means(weights: Ints | Floats, top: Floats, bottom: Floats) -> Floats:
    """`mean_v (W top)_v / (W bottom)_v` for each row of W `[R, n]`, without columns that are empty in a resample."""
    return mean_ratio(weights @ top, weights @ bottom)


def percent(value: float) -> float:
    """A share in percent, rounded to two decimals; 0 has no sign."""
    return round(100 * float(value), 2) + 0.0
