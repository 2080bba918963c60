"""The cosine from which two embeddings count as copies, calibrated on pairs of different pictures.

A picture is compared with all others, so the error rate allowed per picture is divided by the number of its
comparisons. Rates that small can't be counted, and among the nearest pairs are the very copies to be found. So the cut
is extrapolated from where the distribution is still dense.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.embeddings.rows import normalised

if TYPE_CHECKING:
    from variorum.arrays import Array, Floats, Ints

DEEPEST, SHALLOWEST = 0.003, 0.01
"""Least and largest share of the negatives that form the tail from which the cut is extrapolated."""
BEYOND = 10
"""Least number of negatives in the tail."""
LEAST_NEGATIVES = round(BEYOND / SHALLOWEST)
"""With fewer negatives nothing is extrapolated."""
PAIRS = 200_000
"""Pairs drawn of each kind."""
FLOOR, FALLBACK = 0.7, 0.95
"""Least cosine of a calibrated cut, and the cut if there are too few negatives."""
FALSE_PER_PICTURE = 0.01
"""False pairs allowed per picture, on average, among all its comparisons."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The least cosine of a pair of copies.

    Attributes:
        cosine: the cut.
        false_rate: expected share of the pairs of different pictures beyond it; NaN if there are too few to tell.
        recall: of the pairs beyond it, see `Pairs`.
    """

    cosine: float
    false_rate: float
    recall: tuple[int, int] | None = None


def calibrate(
    negatives: Array, comparisons: float, *, per_picture: float = FALSE_PER_PICTURE, floor: float = FLOOR
) -> Cut:
    """The cut at which the false rate of a pair of different pictures is at most `per_picture / comparisons`.

    Let z(p) be the upper p quantile of artanh(cosine) among the negatives, and a = 10/M, clipped to [.003, .01]. Beyond
    z(a) an exponential tail is assumed (peaks over threshold, Pickands 1975, with shape 0):
    P(z > t) = a · exp(−(t − z(a))/σ), σ = (z(a) − z(10a))/ln 10. A lighter tail makes the cut too strict.

    Args:
        negatives: `[M]` cosines of pairs of different pictures. One unknown copy in a thousand does little harm.
        comparisons: number of such pairs per picture.
        per_picture: false pairs allowed per picture.
        floor: least cut, however far apart the negatives are.

    Returns:
        The cut; `FALLBACK` with an unknown rate for fewer than `LEAST_NEGATIVES`.
    """
    if len(negatives) < LEAST_NEGATIVES:
        return Cut(max(FALLBACK, floor), math.nan)
    share, start, scale = _tail(negatives)
    rate = min(per_picture / max(comparisons, 1.0), share)
    cosine = max(math.tanh(start + scale * math.log(share / rate)), floor)
    return Cut(cosine, false_rate(negatives, cosine))


def false_rate(negatives: Array, cosine: float) -> float:
    """Expected share of the pairs of different pictures at `cosine` or above; NaN for too few negatives."""
    if len(negatives) < LEAST_NEGATIVES:
        return math.nan
    share, start, scale = _tail(negatives)
    beyond = math.atanh(min(cosine, 1 - 1e-9)) - start
    return float((negatives >= cosine).mean()) if beyond < 0 else share * math.exp(-beyond / scale)


def negative_pairs(
    y: Ints, apart: Array, rng: np.random.Generator, number: int = PAIRS
) -> tuple[tuple[Ints, Ints], tuple[Ints, Ints]]:
    """Random pairs of different pictures: first those without a common label, then the harder ones of one class.

    Args:
        y: `[N]` class, -1 unlabelled.
        apart: `[N]`; rows with the same value are known copies and form no pair.
        rng: draws the pairs.
        number: draws of each kind. Fewer pairs remain, as repeated ones and copies are removed.

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
    vectors: Array,
    y: Ints,
    apart: Array,
    rng: np.random.Generator,
    cosine: float | None = None,
    others: int = 0,
) -> Cut:
    """The cut for comparing an edition with itself: the stricter one of pairs within classes and pairs between them.

    Half of the false pairs allowed per picture is for its own class, half for all others. A kind with too few pairs
    gives `FALLBACK`, because its pairs may be more alike than those of the other kind.

    Args:
        vectors: `[N, d]` embeddings, all usable.
        y: `[N]` class, -1 unlabelled.
        apart: `[N]`; rows with the same value are known copies.
        rng: draws the pairs.
        cosine: a chosen cut, for which only the rate is estimated; None calibrates the cut.
        others: number of pictures outside the edition that each one is compared with too.

    Returns:
        The cut, with an unknown rate if one kind has too few pairs.
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


def comparisons(y: Ints, apart: Array, others: int = 0) -> tuple[float, float]:
    """The mean number of different pictures that a picture is compared with: without its label, and with it.

    Args:
        y: `[N]` class, -1 unlabelled.
        apart: `[N]`; rows with the same value are known copies and don't count.
        others: number of pictures outside the edition. They count as other classes, or as an edition's only class.
    """
    n = max(len(y), 1)
    copies = np.unique(apart, return_inverse=True)[1].ravel()
    labelled = y >= 0
    copies_of_a_class = np.unique(np.stack([y, copies])[:, labelled], axis=1, return_counts=True)[1]
    within = _squares(np.bincount(y[labelled])) - _squares(copies_of_a_class)
    between = len(y) ** 2 - _squares(np.bincount(copies)) - within
    return (between / n + others, within / n) if between or not within else (0.0, within / n + others)


def cosines(vectors: Array, i: Ints, j: Ints, block: int = 4096) -> Floats:
    """Cosine `[P]` of each pair of rows."""
    found = np.empty(len(i))
    for low in range(0, len(i), block):
        left, right = (normalised(vectors[side[low : low + block]]) for side in (i, j))
        found[low : low + block] = np.einsum("pd,pd->p", left, right)
    return found


def _squares(counts: Ints) -> int:
    return int((counts.astype(np.int64) ** 2).sum())


def _tail(negatives: Array) -> tuple[float, float, float]:
    """The tail's share of the negatives, its start and its scale, both in artanh of the cosine."""
    share = min(max(BEYOND / len(negatives), DEEPEST), SHALLOWEST)
    z = np.arctanh(np.clip(negatives, -1 + 1e-9, 1 - 1e-9))
    body, start = np.quantile(z, [1 - 10 * share, 1 - share])
    return share, float(start), max(float(start - body) / math.log(10), 1e-9)


def _distinct(i: Ints, j: Ints, apart: Array, n: int) -> tuple[Ints, Ints]:
    """Every pair of different pictures once, the lower row first."""
    keys = np.unique((np.minimum(i, j) * n + np.maximum(i, j))[apart[i] != apart[j]])
    return keys // n, keys % n
