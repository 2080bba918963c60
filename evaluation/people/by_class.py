"""Shares of hits over pictures and averaged over classes, with bootstrap intervals from the same resamples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.predicted.resamples import AT_ONCE, percent
from variorum.schemas.canonical import Json
from variorum.statistics import TINY, share_interval

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Ints


@dataclass(frozen=True, slots=True)
class Shares:
    """A share of hits: its value and those in the resamples `[R]`, over pictures and averaged over classes.

    NaN without pictures. Differences of two are paired, as all are of the same resamples; `least` is the lowest value
    that there can be.
    """

    by_picture: Floats
    by_class: Floats
    n: int
    least: float = 0.0

    def __sub__(self, other: Shares) -> Shares:
        return Shares(self.by_picture - other.by_picture, self.by_class - other.by_class, min(self.n, other.n), -1.0)

    def figures(self, confidence: float) -> dict[str, Json]:
        """`n`, and `by_class` and `by_picture` with `value`, `low` and `high` in percent; None without pictures."""
        tails = (1 - confidence) / 2, (1 + confidence) / 2
        found: dict[str, Json] = {"n": self.n}
        for name, values in (("by_class", self.by_class), ("by_picture", self.by_picture)):
            if np.isnan(values[0]):
                found[name] = None
                continue
            low, high = (float(end) for end in np.nanquantile(values[1:], tails))
            if high - low < TINY:  # all pictures are alike, which says little of others if they are few
                reach = share_interval(0, self.n, confidence)[1]
                low, high = max(low - reach, self.least), min(high + reach, 1.0)
            found[name] = {"value": percent(values[0]), "low": percent(low), "high": percent(high)}
        return found


def shares(classes: Ints, hits: Sequence[tuple[Bools, Bools]], draws: int, seed: int) -> list[Shares]:
    """Shares of hits among the pictures that count, resampled over pictures.

    The mean over classes is of the classes that have a picture which counts, in each resample.

    Args:
        classes: `[n]` number of each picture's class.
        hits: pairs `[n]` of whether the prediction is right and whether the picture counts.
        draws: number of resamples.
        seed: of the resampling.
    """
    n = len(classes)
    if not n:
        nothing = np.full(draws + 1, np.nan)
        return [Shares(nothing, nothing, 0) for _ in hits]
    order = np.argsort(classes, kind="stable")
    starts = np.flatnonzero(np.diff(classes[order], prepend=-1))
    tops = [(right & counts)[order].astype(np.float64) for right, counts in hits]
    bottoms = [counts[order].astype(np.float64) for _, counts in hits]
    found = [np.empty((2, draws + 1)) for _ in hits]
    rng, step, done = np.random.default_rng(seed), max(1, AT_ONCE // n), 0
    while done <= draws:  # the first row counts each picture once
        number = min(step, draws + 1 - done) if done else 1
        weights = rng.multinomial(n, np.full(n, 1 / n), number).astype(np.float64) if done else np.ones((1, n))
        for values, top, bottom in zip(found, tops, bottoms, strict=True):
            by_class = [np.add.reduceat(weights * part, starts, axis=1) for part in (top, bottom)]
            values[0, done : done + number] = _ratio(*(part.sum(axis=1, keepdims=True) for part in by_class))
            values[1, done : done + number] = _ratio(*by_class)
        done += number
    return [Shares(one[0], one[1], int(counts.sum())) for one, (_, counts) in zip(found, hits, strict=True)]


def _ratio(top: Floats, bottom: Floats) -> Floats:
    """Mean of top / bottom `[R]` over the columns `[R, C]` whose bottom isn't 0; NaN without any."""
    filled = bottom > 0
    ratio = np.divide(top, bottom, out=np.zeros_like(top), where=filled).sum(axis=1)
    number = filled.sum(axis=1)
    return np.where(number > 0, ratio / np.maximum(number, 1), np.nan)
