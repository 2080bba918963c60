"""Measure how well scores separate marked from unmarked pictures, with bootstrap intervals over the photographs.

A photograph is drawn with all that was made of it, so a marked picture and its unmarked twin come together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.predicted.resamples import Resamples
from variorum.kit.resampling.thresholds import allowed
from variorum.schemas.canonical import Json
from variorum.statistics import clustered_interval

if TYPE_CHECKING:
    from variorum.arrays import Floats, Ints

AT_ONCE = 4_000_000
"""Weights of pictures in memory at a time."""
MOST_POINTS = 41
"""Of a trade-off curve."""
CLEAR = 0.02
"""How near 0 or 1 an AUROC is that resamples alone don't vouch for."""
ENOUGH = 20
"""Photographs below which resamples alone don't vouch for any AUROC: intervals of 95 % hold in 88 to 95 % of cases."""

NO_REACH = np.inf, -np.inf


class Draws:
    """Resamples of the photographs, the same for all figures."""

    def __init__(self, photographs: int, bootstrap: int, confidence: float, seed: int) -> None:
        self.photographs = photographs
        self._tails = (1 - confidence) / 2, (1 + confidence) / 2
        self.resamples = Resamples(photographs, bootstrap, confidence, seed)

    def weights(self, at_once: int = AT_ONCE) -> Iterator[Ints]:
        """Count each photograph in each resample, `[R, photographs]`, in parts of this many rows."""
        for part in self.resamples.weights():
            for start in range(0, len(part), at_once):
                yield part[start : start + at_once].astype(np.int64)

    def exact(self, sums: Floats, counts: Floats) -> tuple[float, float]:
        """The exact interval of a share, see `statistics.clustered_interval`."""
        return clustered_interval(sums, counts, self._tails[1] - self._tails[0])

    def interval(
        self, value: float, samples: Floats, digits: int = 4, reach: tuple[float, float] = NO_REACH
    ) -> dict[str, Json]:
        """A figure with its percentile interval, which has at least this reach; samples that are NaN don't count."""
        sure = samples[np.isfinite(samples)]
        low, high = np.quantile(sure, self._tails) if len(sure) else (value, value)
        ends = {"value": value, "low": min(float(low), reach[0]), "high": max(float(high), reach[1])}
        return {name: round(end, digits) for name, end in ends.items()}


class Separation:
    """Scores of P marked and N unmarked pictures; higher means more surely marked.

    Args:
        marked: `[P]`, at least one.
        unmarked: `[N]`, at least one.
        of_marked: number of each marked picture's photograph, `[P]`.
        of_unmarked: the same for the unmarked ones, `[N]`.
    """

    def __init__(self, marked: Floats, unmarked: Floats, of_marked: Ints, of_unmarked: Ints) -> None:
        # at equal scores nothing is told apart, so ties are one place
        values, places = np.unique(-np.concatenate([marked, unmarked]), return_inverse=True)
        self._scores = -values
        self._marked, self._unmarked = places[: len(marked)], places[len(marked) :]
        self._of_marked, self._of_unmarked = of_marked, of_unmarked

    def auroc(self) -> float:
        """Compute how often a marked picture scores higher than an unmarked one, in [0, 1]; ties count half."""
        return float(_auroc(*self._counts())[0])

    def tpr(self, rate: float) -> float:
        """The share of marked pictures above the score that at most a share `rate` of the unmarked ones exceeds."""
        return float(_tpr(*self._counts(), rate)[0])

    def resampled_auroc(self, draws: Draws) -> dict[str, Json]:
        """The AUROC in [0, 1] with its interval.

        Resamples of fewer than 20 photographs, or of those that are told apart nearly without a mistake, vary too
        little. There the interval reaches as far as the exact one of the share of photographs whose own marked picture
        has the higher score.
        """
        value, reach = self.auroc(), NO_REACH
        if min(value, 1 - value) < CLEAR or len(np.unique(self._of_marked)) < ENOUGH:
            reach = draws.exact(*self._won())
        return draws.interval(value, self.auroc_samples(draws), reach=reach)

    def auroc_samples(self, draws: Draws) -> Floats:
        """The AUROC in each resample, `[R]`; NaN where one has no marked or no unmarked picture."""
        return np.concatenate([_auroc(*some) for some in self._drawn(draws)])

    def _won(self) -> tuple[Floats, Floats]:
        """By photograph, how often its marked pictures score higher than its own unmarked ones, and out of how many."""
        both = np.intersect1d(self._of_marked, self._of_unmarked)
        won, pairs = np.zeros(len(both)), np.zeros(len(both))
        for place, one in enumerate(both):
            marked, unmarked = self._marked[self._of_marked == one], self._unmarked[self._of_unmarked == one]
            later = marked[:, None] - unmarked[None]  # places are from the highest score down
            won[place], pairs[place] = (later < 0).sum() + 0.5 * (later == 0).sum(), later.size
        return won, pairs

    def average_precision(self) -> float:
        """Mean precision over the marked pictures, each at its own score as the threshold, in [0, 1]."""
        return float(_average_precision(*self._counts())[0])

    def resampled_average_precision(self, draws: Draws) -> dict[str, Json]:
        """The average precision in [0, 1] with its interval."""
        samples = [_average_precision(*some) for some in self._drawn(draws)]
        return draws.interval(self.average_precision(), np.concatenate(samples))

    def resampled_tpr(self, rate: float, draws: Draws) -> dict[str, Json]:
        """The true positive rate in percent with its interval, which reaches as far as that at a fixed threshold."""
        samples = [100 * _tpr(*some, rate) for some in self._drawn(draws)]
        found = self._marked < _inside(self._counts()[1], rate)[0]
        sums, counts = (np.bincount(self._of_marked, part).astype(np.float64) for part in (found, np.ones(len(found))))
        low, high = draws.exact(sums, counts)
        return draws.interval(100 * self.tpr(rate), np.concatenate(samples), reach=(100 * low, 100 * high))

    def tradeoff(self) -> list[list[float]]:
        """Pairs of spoofing and evasion error in [0, 1] over all thresholds, from strict to lenient, thinned out.

        The evasion error is the share of marked pictures that are missed, the spoofing error that of unmarked ones
        that are taken for marked.
        """
        marked, unmarked = (counts[0] / counts[0].sum() for counts in self._counts())
        points = np.vstack([[0.0, 1.0], np.stack([np.cumsum(unmarked), 1 - np.cumsum(marked)], axis=1)])
        kept = np.unique(np.linspace(0, len(points) - 1, MOST_POINTS).round().astype(int))
        return [[round(float(number), 4) + 0.0 for number in point] for point in points[kept]]

    def _counts(self) -> tuple[Ints, Ints]:
        size = len(self._scores)
        return (
            np.bincount(self._marked, minlength=size)[None],
            np.bincount(self._unmarked, minlength=size)[None],
        )

    def _drawn(self, draws: Draws) -> Iterator[tuple[Floats, Floats]]:
        size = len(self._scores)
        for weights in draws.weights(max(1, AT_ONCE // size)):
            yield (
                _by_place(weights[:, self._of_marked], self._marked, size),
                _by_place(weights[:, self._of_unmarked], self._unmarked, size),
            )


def _by_place(drawn: Ints, places: Ints, size: int) -> Floats:
    """Weights of pictures `[R, n]`, summed by the place of their score, `[R, size]`."""
    order = np.argsort(places, kind="stable")
    present, first = np.unique(places[order], return_index=True)
    found = np.zeros((len(drawn), size))
    found[:, present] = np.add.reduceat(drawn[:, order], first, axis=1)
    return found


def _auroc(marked: Ints | Floats, unmarked: Ints | Floats) -> Floats:
    """From counts by score `[R, size]`, the highest first, `[R]`; NaN where there are none."""
    below = unmarked.sum(axis=1, keepdims=True) - np.cumsum(unmarked, axis=1)
    pairs = (marked * (below + unmarked / 2)).sum(axis=1)
    total = marked.sum(axis=1) * unmarked.sum(axis=1)
    return np.asarray(np.divide(pairs, total, out=np.full(len(total), np.nan), where=total > 0))


def _average_precision(marked: Ints | Floats, unmarked: Ints | Floats) -> Floats:
    """From counts by score `[R, size]`, the highest first, `[R]`; NaN without marked pictures."""
    hits = np.cumsum(marked, axis=1)
    called = hits + np.cumsum(unmarked, axis=1)
    precision = np.divide(hits, called, out=np.zeros(hits.shape), where=called > 0)
    total = marked.sum(axis=1)
    gained = (marked * precision).sum(axis=1)
    return np.asarray(np.divide(gained, total, out=np.full(len(total), np.nan), where=total > 0))


def _inside(unmarked: Ints | Floats, rate: float) -> Ints:
    """The number of scores above the threshold, from counts by score `[R, size]`, the highest first, `[R]`."""
    most = np.array([allowed(int(count), rate) for count in unmarked.sum(axis=1)])
    return np.asarray((np.cumsum(unmarked, axis=1) <= most[:, None]).sum(axis=1))


def _tpr(marked: Ints | Floats, unmarked: Ints | Floats, rate: float) -> Floats:
    counts, inside = unmarked.sum(axis=1), _inside(unmarked, rate)
    hits = np.concatenate([np.zeros((len(marked), 1)), np.cumsum(marked, axis=1)], axis=1)
    found, total = hits[np.arange(len(hits)), inside], marked.sum(axis=1)
    known = (total > 0) & (counts > 0)
    return np.asarray(np.divide(found, total, out=np.full(len(total), np.nan), where=known))
