"""Thresholds above which a picture counts as marked, and how sure a false positive rate is.

An analytic threshold assumes that the bits read in an unmarked picture are fair coins. An empirical one is taken from
unmarked pictures of the edition.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from variorum.schemas.canonical import Json

if TYPE_CHECKING:
    from variorum.arrays import Floats

SURE = 3
"""False positives that negatives must lead one to expect. Where none of n is seen, the rate is below 3/n with 95 %
confidence (the rule of three; Hanley & Lippman-Hand, JAMA 1983)."""


def false_positive_rate(right: int, bits: int) -> float:
    """Compute how often at least `right` of this many random bits are those of a payload."""
    from scipy.stats import binom

    return float(binom.sf(right - 1, bits, 0.5))


def least_bits(bits: int, rate: float) -> int:
    """Fewest right bits whose false positive rate is at most `rate`; more than there are if no number is enough."""
    return next((right for right in range(bits + 1) if false_positive_rate(right, bits) <= rate), bits + 1)


def empirical_threshold(unmarked: Floats, rate: float) -> float | None:
    """The score above which at most a share `rate` of unmarked pictures lies; None below 1 / rate pictures.

    Args:
        unmarked: their scores, `[n]`.
        rate: in (0, 1).
    """
    if too_few(len(unmarked), rate):
        return None
    return float(np.sort(unmarked)[::-1][allowed(len(unmarked), rate)])


def allowed(count: int, rate: float) -> int:
    """Return how many of `count` unmarked pictures may be taken for marked ones."""
    return min(count - 1, math.floor(count * rate + 1e-9))


def too_few(negatives: int, rate: float) -> str:
    """Why a true positive rate at this false positive rate can't be given; `""` if it can."""
    needed = math.ceil(1 / rate - 1e-9)
    return f"n/a: {negatives} unmarked pictures, and {needed:,} are needed" if negatives < needed else ""


def unsure(negatives: int, rate: float) -> str:
    """A warning where a rate rests on few unmarked pictures; `""` if it doesn't."""
    needed = math.ceil(SURE / rate - 1e-9)
    if too_few(negatives, rate) or negatives >= needed:
        return ""
    return f"{negatives} unmarked pictures are few for a false positive rate of {100 * rate:g} %; {needed:,} are enough"


def binomial(hits: int, trials: int, confidence: float = 0.95) -> dict[str, Json]:
    """A share of trials in percent with its exact interval: `value`, `low`, `high`, `hits`, `n`; None without trials.

    After Clopper & Pearson, Biometrika 1934.
    """
    from scipy.stats import beta

    if not trials:
        return {"value": None, "low": None, "high": None, "hits": 0, "n": 0}
    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, hits, trials - hits + 1)) if hits else 0.0
    high = float(beta.isf(tail, hits + 1, trials - hits)) if hits < trials else 1.0
    shares = {"value": hits / trials, "low": low, "high": high}
    return {**{name: round(100 * share, 3) for name, share in shares.items()}, "hits": int(hits), "n": int(trials)}
