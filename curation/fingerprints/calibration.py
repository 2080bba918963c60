"""How alike two embeddings must be to be one picture, from how alike those of different pictures are.

A cut that is safe for a pair isn't safe for an edition: a picture is compared with all others, so a rate of errors a
picture is divided by the number of its comparisons. Rates that small can't be counted, and counting would find the
very duplicates that are looked for; the cut is extrapolated from where the distribution still is dense.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.features import normalised
from curation.fingerprints.join import Ints

DEEPEST, SHALLOWEST = 0.003, 0.01
"""Least and largest upper-tail share of the negatives that the tail is extrapolated from."""
BEYOND = 10
"""Negatives that must lie beyond that share."""
LEAST_NEGATIVES = round(BEYOND / SHALLOWEST)
"""Negatives below which nothing is extrapolated."""
PAIRS = 200_000
"""Pairs that are drawn of a kind."""
FLOOR, FALLBACK = 0.7, 0.95
"""Least cosine that a cut may have, and the cut where there are too few negatives to say."""
FALSE_PER_PICTURE = 0.01
"""Wrong pairs that a picture may be in, on average, among all its comparisons."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A least cosine for a pair.

    Attributes:
        cosine: the cut.
        false_rate: share of the pairs of different pictures expected beyond it; NaN where there were too few.
    """

    cosine: float
    false_rate: float


def calibrate(
    negatives: NDArray[Any], comparisons: float, *, per_picture: float = FALSE_PER_PICTURE, floor: float = FLOOR
) -> Cut:
    """The cosine beyond which a pair of different pictures is found at a rate of at most `per_picture / comparisons`.

    Let z(p) be the upper p point of artanh(cosine) among the negatives, and a = 10/M, held within [.003, .01]. Beyond
    z(a) the tail is taken as exponential (peaks over threshold, Pickands 1975, with shape 0):
    P(z > t) = a · exp(−(t − z(a))/σ), σ = (z(a) − z(10a))/ln 10. A lighter tail makes the cut too strict.

    Args:
        negatives: cosines `[M]` of pairs of different pictures; up to a thousandth of unknown copies does little harm.
        comparisons: how many such pairs a picture is in.
        per_picture: wrong pairs allowed a picture.
        floor: the cut isn't lower, however far apart the negatives are.

    Returns:
        `FALLBACK`, with an unknown rate, for fewer than `LEAST_NEGATIVES`.
    """
    if len(negatives) < LEAST_NEGATIVES:
        return Cut(max(FALLBACK, floor), math.nan)
    share, start, scale = _tail(negatives)
    rate = min(per_picture / max(comparisons, 1.0), share)
    cosine = max(math.tanh(start + scale * math.log(share / rate)), floor)
    return Cut(cosine, false_rate(negatives, cosine))


def false_rate(negatives: NDArray[Any], cosine: float) -> float:
    """Share of pairs of different pictures expected at `cosine` or beyond; NaN for too few negatives."""
    if len(negatives) < LEAST_NEGATIVES:
        return math.nan
    share, start, scale = _tail(negatives)
    beyond = math.atanh(min(cosine, 1 - 1e-9)) - start
    return float((negatives >= cosine).mean()) if beyond < 0 else share * math.exp(-beyond / scale)


def recall(positives: NDArray[Any], cut: float) -> float:
    """Share of the cosines `[M]` of known copies (crops, re-encodings of one's own pictures) that a cut finds."""
    return float((positives >= cut).mean()) if len(positives) else math.nan


def negative_pairs(
    y: Ints, apart: NDArray[Any], rng: np.random.Generator, number: int = PAIRS
) -> tuple[tuple[Ints, Ints], tuple[Ints, Ints]]:
    """Random pairs of different pictures that have not one label, and harder ones: of those that have.

    Args:
        y: class `[N]`, -1 unlabelled.
        apart: `[N]`; rows with the same value are known copies of one another and make no pair.
        rng: draws them.
        number: of draws of each kind; fewer pairs are left.

    Returns:
        Rows `(i, j)` of each kind, every pair once.
    """
    n = len(y)
    if n < 2:
        nothing = np.empty(0, np.int64)
        return (nothing, nothing), (nothing, nothing)
    anyone = rng.integers(0, n, (2, number))
    by_class = np.flatnonzero(y >= 0)[np.argsort(y[y >= 0], kind="stable")]
    sizes = np.bincount(y[by_class]) if len(by_class) else np.zeros(1, np.int64)
    starts = np.cumsum(sizes) - sizes
    first = by_class[rng.integers(0, len(by_class), number)] if len(by_class) else np.empty(0, np.int64)
    within = (rng.random(len(first)) * sizes[y[first]]).astype(np.int64)
    second = by_class[starts[y[first]] + within] if len(by_class) else first
    unlike = anyone[:, (y[anyone[0]] != y[anyone[1]]) | (y[anyone[0]] < 0)]
    return _distinct(unlike[0], unlike[1], apart, n), _distinct(first, second, apart, n)


def edition_cut(
    vectors: NDArray[Any],
    y: Ints,
    apart: NDArray[Any],
    rng: np.random.Generator,
    cosine: float | None = None,
    others: int = 0,
) -> Cut:
    """The cut for comparing an edition with itself: the stricter of what pairs within and between classes ask for.

    The wrong pairs that a picture may be in are shared out: half for its own class, half for all others. Pairs of a
    kind that there are too few of ask for `FALLBACK`, as they may well be more alike than the kind that is known.

    Args:
        vectors: `[N, d]` embeddings, all usable.
        y: class `[N]`, -1 unlabelled.
        apart: `[N]`; rows with the same value are known copies.
        rng: draws the pairs.
        cosine: a cut that somebody chose; only its rate is estimated then.
        others: pictures outside the edition that each is compared with too.

    Returns:
        The cut, with an unknown rate where there are too few pairs of a kind.
    """
    drawn = (cosines(vectors, *pairs) for pairs in negative_pairs(y, apart, rng))
    kinds = [(found, n) for found, n in zip(drawn, comparisons(y, apart, others), strict=True) if n]
    if not kinds:
        return Cut(cosine or max(FALLBACK, FLOOR), math.nan)
    if cosine is None:
        share = FALSE_PER_PICTURE / len(kinds)
        cosine = max(calibrate(found, n, per_picture=share).cosine for found, n in kinds)
    wrong = sum(false_rate(found, cosine) * n for found, n in kinds)
    return Cut(cosine, wrong / sum(n for _, n in kinds))


def comparisons(y: Ints, apart: NDArray[Any], others: int = 0) -> tuple[float, float]:
    """With how many different pictures an average one is compared: those that have not its label, those that have.

    Args:
        y: class `[N]`, -1 unlabelled.
        apart: `[N]`; rows with the same value are known copies and aren't counted.
        others: pictures outside the edition. They count as of other classes, or as of the only class there is.
    """
    n = max(len(y), 1)
    copies = np.unique(apart, return_inverse=True)[1].ravel()
    labelled = y >= 0
    copies_of_a_class = np.unique(np.stack([y, copies])[:, labelled], axis=1, return_counts=True)[1]
    within = _squares(np.bincount(y[labelled])) - _squares(copies_of_a_class)
    between = len(y) ** 2 - _squares(np.bincount(copies)) - within
    return (between / n + others, within / n) if between or not within else (0.0, within / n + others)


def cosines(vectors: NDArray[Any], i: Ints, j: Ints, block: int = 4096) -> NDArray[np.float64]:
    """Cosine `[P]` of each pair of rows."""
    found = np.empty(len(i))
    for low in range(0, len(i), block):
        left, right = (normalised(vectors[side[low : low + block]]) for side in (i, j))
        found[low : low + block] = np.einsum("pd,pd->p", left, right)
    return found


def _squares(counts: Ints) -> int:
    return int((counts.astype(np.int64) ** 2).sum())


def _tail(negatives: NDArray[Any]) -> tuple[float, float, float]:
    """The share of the negatives that the tail has, where it starts, and its scale, in artanh of the cosine."""
    share = min(max(BEYOND / len(negatives), DEEPEST), SHALLOWEST)
    z = np.arctanh(np.clip(negatives, -1 + 1e-9, 1 - 1e-9))
    body, start = np.quantile(z, [1 - 10 * share, 1 - share])
    return share, float(start), max(float(start - body) / math.log(10), 1e-9)


def _distinct(i: Ints, j: Ints, apart: NDArray[Any], n: int) -> tuple[Ints, Ints]:
    keys = np.unique((np.minimum(i, j) * n + np.maximum(i, j))[apart[i] != apart[j]])
    return keys // n, keys % n
