"""Small statistics that several parts need: Wilson's interval, Holm's correction, means of ratios."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from variorum.arrays import Floats


def mean_ratio(tops: Floats, bottoms: Floats) -> Floats:
    """Mean over the last axis of tops / bottoms, without those whose bottom is 0; NaN without any."""
    filled = bottoms > 0
    ratios = np.divide(tops, bottoms, out=np.zeros_like(tops), where=filled)
    columns = filled.sum(axis=-1)
    return np.where(columns > 0, ratios.sum(axis=-1) / np.maximum(columns, 1), np.nan)


def wilson_interval(successes: ArrayLike, trials: ArrayLike, z: float = 1.959964) -> tuple[Floats, Floats]:
    """Low and high end of Wilson's score interval for shares; [0, 1] without trials (Wilson 1927).

    Suits a rater's accuracy on a few gold cells.
    """
    trials = np.asarray(trials, np.float64)
    share = np.divide(successes, trials, out=np.full_like(trials, 0.5), where=trials > 0)
    spread = z * np.sqrt(share * (1 - share) * trials + z**2 / 4)
    middle = trials * share + z**2 / 2
    low, high = (middle - spread) / (trials + z**2), (middle + spread) / (trials + z**2)
    return np.clip(low, 0, 1), np.clip(high, 0, 1)


def holm(p: Floats) -> Floats:
    """p-values `[N]` corrected by Holm's step-down method (Holm 1979)."""
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = np.maximum.accumulate(np.minimum(p[order] * (len(p) - np.arange(len(p))), 1.0))
    return corrected
