"""Effective robustness: how much better a model does on shifted data than its accuracy on unshifted data explains.

Taori et al., NeurIPS 2020, arXiv 2007.00644: the logits of ordinary models' two accuracies lie on a line, and a model's
effective robustness is its distance above that line. Models of different kinds may share no line. So here the ordinary
models are classifiers of the same kind, trained on real pictures: on fewer other ones, on as many others, and on twice
as many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Array, Floats

FEWEST = 5
"""Minimum number of ordinary models."""
FURTHEST = 0.25
"""How far a model's accuracy may lie outside those of the ordinary ones, as a share of their range."""


class Accuracies(NamedTuple):
    """A model's accuracies in the sample, first, and in R resamples of the pictures.

    Attributes:
        plain: on n unshifted pictures, `[1 + R]`.
        shifted: on m shifted ones, `[1 + R]`.
    """

    plain: Floats
    shifted: Floats


def effective_robustness(
    ordinary: Sequence[Accuracies],
    model: Accuracies,
    pictures: tuple[int, int],
    *,
    confidence: float,
    rng: np.random.Generator,
) -> dict[str, float]:
    """`value`, `low`, `high` of a model, as shares; NaN if the line doesn't reach its accuracy.

    The interval covers the choice of the tested pictures, and how far ordinary models scatter about their line. So that
    of another ordinary model contains 0 at the given confidence.

    Args:
        ordinary: accuracies of the ordinary models; at least `FEWEST`, of different accuracy.
        model: those of the model, in the same resamples.
        pictures: n and m.
        confidence: level of the percentile interval.
        rng: draws the scatter.
    """
    n, m = pictures
    x, y = logit(np.stack([one.plain for one in ordinary]), n), logit(np.stack([one.shifted for one in ordinary]), m)
    at = logit(model.plain, n)
    low, high = x[:, 0].min(), x[:, 0].max()
    if not low - FURTHEST * (high - low) <= at[0] <= high + FURTHEST * (high - low):
        return dict.fromkeys(("value", "low", "high"), float("nan"))
    expected, scatter = on_line(x, y, at)
    expected[1:] += scatter[0] * rng.standard_t(len(ordinary) - 2, len(at) - 1)
    above = model.shifted - 1 / (1 + np.exp(-expected))
    ends = np.quantile(above[1:], [(1 - confidence) / 2, (1 + confidence) / 2])
    return {"value": float(above[0]), "low": float(ends[0]), "high": float(ends[1])}


def on_line(x: Floats, y: Floats, at: Floats) -> tuple[Floats, Floats]:
    """The value at `at [R]` of the line through B points, and the standard error of another point there, both `[R]`.

    Args:
        x: `[B, R]`, not all alike.
        y: `[B, R]`.
        at: `[R]`.
    """
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    centred = x - x_mean
    spread = (centred**2).sum(axis=0)
    spread = np.where(spread > 0, spread, np.inf)
    slope = (centred * (y - y_mean)).sum(axis=0) / spread
    left = y - y_mean - slope * centred
    deviation = np.sqrt((left**2).sum(axis=0) / (len(x) - 2))
    return y_mean + slope * (at - x_mean), deviation * np.sqrt(1 + 1 / len(x) + (at - x_mean) ** 2 / spread)


def logit(accuracy: Array, n: int) -> Floats:
    """Log odds of accuracies measured on n pictures; 0 and 1 count as half a picture away."""
    kept = np.clip(accuracy, 0.5 / n, 1 - 0.5 / n)
    return np.asarray(np.log(kept / (1 - kept)))
