"""Small statistics that several parts need: intervals of shares and differences, Holm's correction, temperatures."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from variorum.arrays import Floats, Ints

FEW = 10
"""With fewer photographs that tell, such as pairs that differ, intervals are exact."""
TINY = 1e-9
TEMPERATURES = 0.05, 50.0  # between which the best one is looked for


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


def share_interval(hits: float, trials: float, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of a share (Clopper & Pearson 1934); [0, 1] without trials. Numbers needn't be whole."""
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = betaincinv(hits, trials - hits + 1, tail) if hits else 0.0
    high = betaincinv(hits + 1, trials - hits, 1 - tail) if hits < trials else 1.0
    return float(low), float(high)


def clustered_interval(sums: Floats, counts: Floats, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a share of pictures that come in clusters, such as all those of one photograph.

    It is the exact one of as many independent pictures as the share would vary as much with: at least one a cluster, at
    most all pictures. A share of 0 or 1 counts clusters.

    Args:
        sums: of each cluster's values, each in [0, 1], `[N]`.
        counts: of each cluster's pictures, `[N]`.
        confidence: level, in (0, 1).
    """
    sums, counts = sums[counts > 0], counts[counts > 0]
    clusters, total = len(counts), float(counts.sum())
    if not clusters:
        return 0.0, 1.0
    share = float(sums.sum()) / total
    spread = float(((sums - share * counts) ** 2).sum()) / total**2 * clusters / max(clusters - 1, 1)
    inside = TINY < share < 1 - TINY and spread > 0
    alone = min(max(share * (1 - share) / spread, clusters), total) if inside else clusters
    hits = share * alone if inside else round(share) * alone
    return share_interval(hits, alone, confidence)


@lru_cache(maxsize=4096)
def paired_interval(lost: int, gained: int, pairs: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of a paired difference, the share lost minus the share gained.

    Each end is the most extreme difference under which a result as extreme still has half of what `confidence` leaves,
    whatever the share of pairs that differ (Buehler 1957). Results are ordered by the end that Bonett and Price's
    interval (2012) gives them. Meant for a few pairs that differ: what is looked at grows with their square.

    Args:
        lost: pairs that were right before and are wrong now.
        gained: pairs that were wrong before and are right now.
        pairs: all pairs.
        confidence: level, in (0, 1).
    """
    if not pairs:
        return -1.0, 1.0
    return -_most(gained, lost, pairs, confidence), _most(lost, gained, pairs, confidence)


def _most(lost: int, gained: int, pairs: int, confidence: float) -> float:
    """The upper end of `paired_interval`."""
    from scipy.optimize import brentq
    from scipy.special import betaincinv, gammaln
    from scipy.stats import norm

    tail, z = (1 - confidence) / 2, float(norm.ppf((1 + confidence) / 2))
    if lost == pairs:
        return 1.0
    unlikely = tail / 1e4  # the part of the tail that is spent on shares of differing pairs that aren't looked at
    differing = lost + gained
    share = float(betaincinv(differing + 1, pairs - differing, 1 - unlikely)) if differing < pairs else 1.0
    expected = pairs * share
    most = min(pairs, int(expected + 8 * np.sqrt(expected) + 8))
    b, c = (part.ravel() for part in np.indices((most + 1, most + 1)))
    known = b + c <= most
    b, c = b[known], c[known]
    change, width = (b - c) / (pairs + 2), (b + c + 2) / (pairs + 2)
    ends = change + z * np.sqrt((width - change**2) / (pairs + 2))
    kept = ends <= ends[(b == lost) & (c == gained)] + 1e-12
    b, c = b[kept], c[kept]
    ways = gammaln(pairs + 1) - gammaln(b + 1) - gammaln(c + 1) - gammaln(pairs - b - c + 1)

    def left(difference: float) -> float:
        """The largest probability of such a result under this difference, less the tail."""
        if difference >= 1:
            return -tail
        fewest, largest = max(0.0, -difference), max(share - difference, 0.0) / 2
        gain = np.linspace(fewest, max(largest, fewest), 60)[:, None]
        loss, same = gain + difference, 1 - 2 * gain - difference
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = ways + _times(b, loss) + _times(c, gain) + _times(pairs - b - c, same)
        return float(np.exp(logs).sum(axis=1).max()) - (tail - unlikely)

    start = (lost - gained) / pairs
    return float(brentq(left, start, 1.0, xtol=1e-6)) if left(start) > 0 else start


def _times(number: Ints, share: Floats) -> Floats:
    """`number · log(share)`, 0 for no number."""
    return np.where(number > 0, number * np.log(np.maximum(share, 0)), 0.0)


def few_interval(
    top: Floats, bottom: Floats, signed: bool, drawn: tuple[float, float], confidence: float = 0.95
) -> tuple[float, float]:
    """The interval of a mean of ratios of which few photographs tell anything; the drawn one of any other.

    Fewer than `FEW` photographs tell if all others are right, or wrong, or, of a difference, alike. Then the interval
    is exact. Where a photograph counts for more or less than one pair or one picture, it is that of the number of
    photographs, times what the strongest of them adds, and the drawn one lies inside.

    Args:
        top: by photograph and variant, `[n, V]`, such as right answers, or right before less right now.
        bottom: the same, the number of pictures.
        signed: whether top is a difference.
        drawn: the ends of the bootstrap interval, as shares.
        confidence: level, in (0, 1).
    """
    there, columns = (bottom > 0).any(axis=1), bottom.sum(axis=0) > 0
    n = int(there.sum())
    whole = bottom[:, columns].sum(axis=0) * columns.sum() / max(n, 1)
    told, most = ((part[there][:, columns] / whole).sum(axis=1) for part in (top, bottom))
    plain = bool(np.isin(np.round(np.abs(told), 9), (0, 1)).all()) and float(np.ptp(most)) < TINY
    ends: list[tuple[float, float]] = []
    if signed:
        lost, gained = (int((sign * told > TINY).sum()) for sign in (1, -1))
        if lost + gained < FEW:
            strongest = float(np.abs(told).max()) if lost + gained else 1.0
            low, high = paired_interval(lost, gained, n, confidence)
            ends.append((strongest * low, strongest * high))
        elif plain and n - max(lost, gained) < FEW:  # nearly all of one kind: the ends of two shares
            (low, high), (least, most_of) = (share_interval(one, n, (1 + confidence) / 2) for one in (lost, gained))
            ends.append((low - most_of, high - least))
    elif (told >= -TINY).all() and (told <= most + TINY).all():
        for part, turned in ((told, False), (most - told, True)):
            if (hits := int((part > TINY).sum())) < FEW:
                strongest = float(part.max()) if hits else 1.0
                low, high = (strongest * end for end in share_interval(hits, n, confidence))
                ends.append((1 - high, 1 - low) if turned else (low, high))
    if not ends:
        return drawn
    if not plain:
        ends.append(drawn)
    least, largest = scale_of(top, bottom, signed)
    return max(min(low for low, _ in ends), least), min(max(high for _, high in ends), largest)


def scale_of(top: Floats, bottom: Floats, signed: bool | None) -> tuple[float, float]:
    """The least and the largest value that a mean of ratios can have; arguments as of `few_interval`."""
    if signed:
        return -1.0, 1.0
    return (0.0, 1.0) if (top >= 0).all() and (top <= bottom + TINY).all() else (-np.inf, np.inf)


def pulls(top: Floats, bottom: Floats) -> tuple[Floats, Floats]:
    """What each part adds to a mean of ratios less its share of it, and its weight; all are `[U, V]`."""
    whole = bottom.sum(axis=0)
    columns = max(np.count_nonzero(whole), 1)
    total = np.where(whole > 0, whole, 1.0) * columns
    return (top - bottom * (columns * top.sum(axis=0) / total)) / total, bottom / total


def widened(pull: Floats, weight: Floats, source: Ints, lender: Ints, confidence: float = 0.95) -> float:
    """How many times wider an interval over sources is because they share lenders; 1 where none do.

    It compares the two-way variance (Cameron, Gelbach & Miller 2011), that over sources plus that over lenders, less
    that over their pairs, with the one over sources. Resampling both, with the product of the two weights, would be 1.7
    times too wide where lenders matter little.

    Args:
        pull: of each part, `[U]`, what it adds to the figure less its share of the figure.
        weight: of each part in the figure, `[U]`.
        source: of each part, `[U]`.
        lender: of each part, -1 for none, `[U]`.
        confidence: level, in (0, 1).
    """
    from scipy.special import ndtri, stdtrit

    there = weight > 0
    pull, weight, source, lender = pull[there], weight[there], source[there], lender[there]
    pairs, pair = np.unique(np.stack([source, lender]), axis=1, return_inverse=True)
    borrowed = pairs[1, pairs[1] >= 0]
    if not (np.bincount(borrowed, minlength=1) > 1).any():
        return 1.0
    cluster = np.where(lender >= 0, lender, borrowed.max() + 1 + source)
    sources, clusters, both = (float((np.bincount(by, pull) ** 2).sum()) for by in (source, cluster, pair.reshape(-1)))
    if not sources:
        return 1.0
    equal = max(1 / float((np.bincount(cluster, weight) ** 2).sum()), 2.0)  # as many clusters of one size
    level = (1 + confidence) / 2
    student = float(stdtrit(equal - 1, level) / ndtri(level))
    return max(1.0, float(np.sqrt(equal / (equal - 1) * (sources + clusters - both) / sources)) * student)


def best_temperature(logp: Floats, label: Floats, more: ArrayLike = 0.0) -> float:
    """The temperature t with the least negative log-likelihood of softmax(log p / t), by Brent's method on log t.

    Guo et al., arXiv 1706.04599. `logp [N, m]` and `label [N]` are log probabilities of outputs and of labels,
    and `more [m]` the log of how many outputs a column stands for.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    def loss(power: float) -> float:
        return float((logsumexp(logp / np.exp(power) + more, axis=1) - label / np.exp(power)).mean())

    found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def at_edge(t: float) -> bool:
    """Return whether a temperature is an end of `TEMPERATURES`, so that a better one may lie beyond."""
    return not TEMPERATURES[0] * 1.001 < t < TEMPERATURES[1] / 1.001
