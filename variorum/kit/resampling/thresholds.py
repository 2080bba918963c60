"""Thresholds above which a picture counts as marked, and how sure a false positive rate is.

An analytic threshold assumes that the bits read in an unmarked picture are fair coins. An empirical one is set by the
scores of unmarked pictures. Shares have exact intervals over photographs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from variorum.schemas.canonical import Json
from variorum.statistics import clustered_interval

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Ints

FEW = 10
"""Photographs below which a share is shown as a count, `9 of 9`: a percentage would say more than so few can."""
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


class Conformal(NamedTuple):
    """A threshold that unmarked pictures set: a score above it is called.

    Attributes:
        score: the `rank`-th largest of theirs.
        rank: how many of the photographs are at the threshold or above.
        n: number of photographs.
    """

    score: float
    rank: int
    n: int

    def likely(self) -> tuple[float, float]:
        """The ends between which the true rate lies for 90 of 100 such sets of pictures, as shares."""
        from scipy.stats import beta

        low, high = beta.ppf([0.05, 0.95], self.rank, self.n + 1 - self.rank)
        return float(low), float(high)


def conformal_threshold(scores: Floats, photographs: Ints, rate: float, sure: float | None = None) -> Conformal | None:
    """The threshold that any picture of a new photograph exceeds with a probability of at most `rate`.

    A quantile of few scores promises too much: the .95 quantile of 20 is exceeded by 9 % of new ones, not by 5 (Vovk et
    al., Algorithmic Learning in a Random World, 2005).

    Args:
        scores: of pictures that shouldn't be called, `[m]`.
        photographs: number of each picture's photograph, `[m]`; the largest score of each counts.
        rate: in (0, 1).
        sure: in (0, 1), how likely these photographs are such that the rate holds; None for a rate that holds on
            average over sets of photographs.

    Returns:
        None with fewer photographs than are `needed`.
    """
    places = np.unique(photographs, return_inverse=True)[1].reshape(-1)
    largest = np.full(places.max(initial=-1) + 1, -np.inf)
    np.maximum.at(largest, places, scores)
    rank = allowed(len(largest), rate) + 1 if sure is None else _sure_rank(len(largest), rate, sure)
    return Conformal(float(np.sort(largest)[::-1][rank - 1]), rank, len(largest)) if rank else None


def allowed(count: int, rate: float) -> int:
    """Return how many of `count` unmarked pictures may lie above a threshold that they set; -1 for no threshold."""
    return math.floor((count + 1) * rate + 1e-9) - 1


def _sure_rank(count: int, rate: float, sure: float) -> int:
    """The largest k whose true rate, Beta(k, n + 1 - k), is above `rate` with at most 1 - `sure`; 0 for none."""
    from scipy.stats import binom

    return int((binom.cdf(np.arange(count), count, rate) <= 1 - sure).sum())


def needed(rate: float, sure: float | None = None) -> int:
    """Fewest pictures that can set a threshold with this rate: 19 for 5 %, 99 for 1 %; to be .9 sure, 45 and 230."""
    least = 1 / rate - 1 if sure is None else math.log(1 - sure) / math.log(1 - rate)
    return math.ceil(least - 1e-9)


def too_few(negatives: int, rate: float, sure: float | None = None) -> str:
    """Why a threshold with this false positive rate can't be set; `""` if it can."""
    least = needed(rate, sure)
    return f"n/a: {negatives} unmarked pictures, and {least:,} are needed" if negatives < least else ""


def unsure(negatives: int, rate: float) -> str:
    """A warning where a rate rests on few unmarked pictures; `""` if it doesn't."""
    enough = math.ceil(SURE / rate - 1e-9)
    if too_few(negatives, rate) or negatives >= enough:
        return ""
    return f"{negatives} unmarked pictures are few for a false positive rate of {100 * rate:g} %; {enough:,} are enough"


def share(values: Floats | Bools, photographs: Ints, confidence: float = 0.95) -> dict[str, Json] | None:
    """The mean of values in percent with its interval: `value`, `low`, `high`; None without values.

    Where yes and no were counted on fewer than 10 photographs it also has `count`, `9 of 9`, which is what cards show.

    Args:
        values: whether a picture was found, or numbers in [0, 1], `[n]`.
        photographs: number of each picture's photograph, `[n]`. Pictures of one photograph are no independent ones.
        confidence: level of the interval, in (0, 1).
    """
    if not len(values):
        return None
    given = np.asarray(values, np.float64)
    sums, counts = (np.bincount(photographs, part).astype(np.float64) for part in (given, np.ones(len(given))))
    low, high = clustered_interval(sums, counts, confidence)
    shares = {"value": float(given.mean()), "low": low, "high": high}
    found: dict[str, Json] = {name: round(100 * one, 4) + 0.0 for name, one in shares.items()}
    if np.count_nonzero(counts) < FEW and np.asarray(values).dtype == bool:
        found["count"] = f"{given.sum():.0f} of {len(given)}"
    return found
