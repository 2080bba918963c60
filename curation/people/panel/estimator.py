"""Estimates the error rate of a dataset from a few reviewed pictures: stratified random samples.

All functions are pure functions of arrays by stratum: the number of pictures, of answered ones, and of wrong ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Ints

Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval; NaN if the answers don't determine it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Strata:
    """A stratified random sample and people's answers.

    Attributes:
        pictures: `[H]` number of pictures in each stratum.
        answered: `[H]` number drawn at random and answered.
        wrong: `[H]` number of these that are wrong; fractions if reviewers are split.
    """

    pictures: Floats
    answered: Floats
    wrong: Floats

    @classmethod
    def of(cls, wrong: Floats, strata: Ints, pictures: ArrayLike) -> Strata:
        """From answers `[n]` in [0, 1], their strata `[n]`, and the sizes of the strata `[H]`."""
        sizes = np.asarray(pictures, np.float64)
        answered = np.bincount(strata, minlength=len(sizes)).astype(np.float64)
        # without answers bincount returns integers
        return cls(sizes, answered, np.bincount(strata, weights=wrong, minlength=len(sizes)).astype(np.float64))

    def __getitem__(self, chosen: Bools) -> Strata:
        """The chosen strata."""
        return Strata(self.pictures[chosen], self.answered[chosen], self.wrong[chosen])

    def right(self) -> Strata:
        """The same sample with right answers counted in place of wrong ones."""
        return Strata(self.pictures, self.answered, self.answered - self.wrong)

    def rates(self) -> tuple[Floats, Floats, Floats]:
        """Share wrong in each stratum and the ends of its interval (`agresti_coull`); NaN, 0 and 1 without answers."""
        value = np.divide(self.wrong, self.answered, out=np.full_like(self.wrong, np.nan), where=self.answered > 0)
        return value, *agresti_coull(self.wrong, self.answered, self.pictures)


def agresti_coull(wrong: ArrayLike, answered: ArrayLike, pictures: ArrayLike = np.inf) -> tuple[Floats, Floats]:
    """Low and high end of the interval for a share from few answers (Agresti & Coull 1998).

    For a finite number N of pictures, n answers count as n' = n (N - 1) / (N - n), so the interval has length 0 once
    all pictures are answered.
    """
    wrong, n, size = np.broadcast_arrays(
        np.asarray(wrong, np.float64), np.asarray(answered, np.float64), np.asarray(pictures, np.float64)
    )
    share = np.divide(wrong, n, out=np.full(n.shape, 0.5), where=n > 0)
    left = np.divide(size - n, size - 1, out=np.ones_like(share), where=np.isfinite(size) & (size > 1))
    left = np.where(n >= size, 0.0, left)
    more = Z95**2 * left  # z² rescaled from n' to n: (n' + z²) / n' = (n + z² left) / n
    middle = (n * share + more / 2) / np.maximum(n + more, 1e-300)
    spread = Z95 * np.sqrt(left * middle * (1 - middle) / np.maximum(n + more, 1e-300))
    low, high = np.clip(middle - spread, 0, 1), np.clip(middle + spread, 0, 1)
    return np.where(n > 0, low, 0.0), np.where(n > 0, high, 1.0)


def stratified_rate(strata: Strata, whole: float | None = None) -> Estimate:
    """Share wrong of all pictures, Σ N_h ȳ_h / N, whatever share of each stratum was drawn.

    The interval combines those of the strata (MOVER, Zou, Huang & Zhang 2009). Unlike one from variances, it stays
    inside [0, 1] and doesn't collapse when no error was found.

    Args:
        strata: the sample.
        whole: N, if it isn't the number of pictures in the strata.
    """
    held = strata[strata.pictures > 0]
    total = held.pictures.sum() if whole is None else whole
    if not total or not len(held.pictures):
        return Estimate(np.nan, np.nan, np.nan)
    value, low, high = held.rates()
    if np.isnan(value).any():
        return Estimate(np.nan, np.nan, np.nan)
    weight = held.pictures / total
    middle = float((weight * value).sum())
    below = float(np.sqrt(((weight * (value - low)) ** 2).sum()))
    above = float(np.sqrt(((weight * (high - value)) ** 2).sum()))
    return Estimate(middle, max(0.0, middle - below), min(1.0, middle + above))


def share_of(part: Strata, rest: Strata) -> Estimate:
    """The share of all wrong pictures that are in `part`: a detector's recall if `part` is what it flagged.

    A / (A + B) for two independent totals. The interval comes from the ratio B / A (MOVER for ratios, Donner & Zou
    2012), which is valid for small counts. NaN if nothing wrong was found.
    """
    a, b = _total(part), _total(rest)
    if np.isnan(a.value + b.value) or a.value + b.value == 0:
        return Estimate(np.nan, np.nan, np.nan)
    if not a.high or not b.high:
        return Estimate(*[float(a.high > 0)] * 3)
    low, high = _ratio_interval(b, a)
    return Estimate(a.value / (a.value + b.value), 1 / (1 + high), 1 / (1 + low))


def difference_estimate(values: Floats, strata: Ints, guesses: Floats, pictures: Ints, means: Floats) -> Estimate:
    """Share wrong with the help of a model's guesses g: λ · mean of all g + Σ N_h/N · mean_h(y - λ g).

    The survey difference estimator (Särndal et al. 1992), by strata, with the λ in [0, 1] that fits the answers best
    (prediction-powered inference with power tuning, Angelopoulos et al. 2023, 2311.01453). Good guesses narrow the
    interval of `stratified_rate`, useless ones leave it unchanged. That interval is scaled by the reduction of the
    standard error, because one from the variance alone is far too narrow when few errors were found.

    Args:
        values: `[n]` answers in [0, 1].
        strata: `[n]` stratum of each answer.
        guesses: `[n]` the model's probability that each label is wrong.
        pictures: `[H]` number of pictures in each stratum.
        means: `[H]` mean guess over all pictures of each stratum.
    """
    sizes, y, g = (np.asarray(array, np.float64) for array in (pictures, values, guesses))
    held = sizes > 0
    count = np.bincount(strata, minlength=len(sizes)).astype(np.float64)
    if not held.any() or (count[held] == 0).any():
        return Estimate(np.nan, np.nan, np.nan)
    weight, some = sizes / sizes.sum(), np.maximum(count, 1)

    def mean(array: Floats) -> Floats:
        return np.asarray(np.bincount(strata, weights=array, minlength=len(sizes)) / some)

    def variance(a: Floats, b: Floats) -> float:
        products = np.bincount(strata, weights=(a - mean(a)[strata]) * (b - mean(b)[strata]), minlength=len(sizes))
        pooled = products.sum() / max(1.0, (count - 1).clip(0).sum())
        within = np.where(count > 1, products / np.maximum(count - 1, 1), pooled)
        return float((weight**2 * (1 - count / np.maximum(sizes, 1)).clip(0) * within / some)[held].sum())

    of_guesses = variance(g, g)
    tuned = float(np.clip(variance(y, g) / of_guesses, 0, 1)) if of_guesses > 0 else 0.0
    gap = y - tuned * g
    value = float((weight * (tuned * np.asarray(means, np.float64) + mean(gap)))[held].sum())
    plain, of_answers = stratified_rate(Strata.of(y, strata, sizes)), variance(y, y)
    narrowed = float(np.sqrt(variance(gap, gap) / of_answers)) if of_answers > 0 else 1.0
    below, above = narrowed * (plain.value - plain.low), narrowed * (plain.high - plain.value)
    return Estimate(value, max(0.0, value - below), min(1.0, value + above))


def allocate(pictures: Ints, total: int, spread: Floats | None = None, least: Ints | int = 0) -> Ints:
    """Allocate draws to strata: in proportion to N_h s_h (Neyman 1934), at most N_h.

    Args:
        pictures: `[H]` number of pictures in each stratum.
        total: how many to draw in all. The minimums may raise it; the number of pictures limits it.
        spread: `[H]` expected standard deviation s_h of the answers; None means all equal.
        least: minimum for each stratum, if it has as many.
    """
    sizes = np.asarray(pictures, np.int64)
    least = np.minimum(sizes, least)
    total = min(max(total, int(least.sum())), int(sizes.sum()))
    spread = np.ones(len(sizes)) if spread is None or not np.max(spread, initial=0) else np.asarray(spread, np.float64)
    # a stratum without expected spread is drawn from only once the others are exhausted
    weight = sizes * np.maximum(spread, 1e-6 * spread.max(initial=0))
    low, high = 0.0, float((sizes[sizes > 0] / weight[sizes > 0]).max(initial=0))
    for _ in range(100):
        middle = (low + high) / 2
        enough = np.clip(middle * weight, least, sizes).sum() >= total
        low, high = (low, middle) if enough else (middle, high)
    share = np.clip(high * weight, least, sizes)
    drawn = np.floor(share + 1e-9).astype(np.int64)
    order = np.lexsort((np.arange(len(sizes)), drawn - share))
    drawn[order[: total - drawn.sum()]] += 1
    return np.asarray(drawn)


def _total(strata: Strata) -> Estimate:
    """The number of wrong pictures."""
    number = float(strata.pictures.sum())
    rate = stratified_rate(strata) if number else Estimate(0.0, 0.0, 0.0)
    return Estimate(rate.value * number, rate.low * number, rate.high * number)


def _ratio_interval(a: Estimate, b: Estimate) -> tuple[float, float]:
    """Interval for a / b, with a and b independent and at least 0."""
    product = a.value * b.value
    of_low = a.low * (2 * a.value - a.low)
    below = product + np.sqrt(max(0.0, product**2 - of_low * b.high * (2 * b.value - b.high)))
    low = of_low / below if below > 0 else 0.0
    of_high = b.low * (2 * b.value - b.low)
    above = product + np.sqrt(max(0.0, product**2 - a.high * (2 * a.value - a.high) * of_high))
    return float(low), float(above / of_high) if of_high > 0 else np.inf
