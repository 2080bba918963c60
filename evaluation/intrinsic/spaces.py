"""All figures of one set of pictures in one space: their pixels, or the embeddings of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from variorum.evaluation.intrinsic.dimension import distinct, maximum_likelihood, neighbours, two_nearest
from variorum.evaluation.intrinsic.sharpness import label_sharpness
from variorum.schemas.canonical import Json, derive_seed

if TYPE_CHECKING:
    from variorum.arrays import Array, Ints, Singles

SUBSAMPLES = 20
"""Subsamples whose estimates show the spread."""
SAME = 1e-4
"""Points that are closer than this share of the median distance to the k-th neighbour are copies."""


def dimensions(points: Singles, k: int, subsample: int, seed: int) -> tuple[dict[str, Json], Ints]:
    """Intrinsic dimension of points, and the rows that count: without copies, which have no distance to compare.

    Subsamples are drawn without replacement, because a point that is drawn twice has a neighbour at distance 0.

    Args:
        points: `[N, d]` float32.
        k: neighbours of the estimate.
        subsample: points of a subsample, at most half of the points that count.
        seed: of the subsamples and of the Gaussian.

    Returns:
        `n` and `copies`; then either `why_not`, or the `dimension` of all n, that by `two_nearest`, the `gaussian`
        that the first estimate gives for n Gaussian points of as many dimensions, and of the subsamples their `size`,
        the `median`, `low` and `high` of their estimates.
    """
    kept = np.arange(len(points), dtype=np.int64)
    if len(points) > k:
        found, distances = neighbours(points, k)
        kept = distinct(found, distances, SAME * float(np.median(distances[:, -1])))
    figures: dict[str, Json] = {"n": len(kept), "copies": len(points) - len(kept)}
    if why := too_few(len(kept), k):
        return {**figures, "why_not": why}, kept
    if len(kept) < len(points):
        points = points[kept]
        _, distances = neighbours(points, k)
    whole = maximum_likelihood(distances)
    rng = np.random.default_rng(derive_seed(seed, "intrinsic_properties"))
    size = max(k + 1, min(subsample, len(points) // 2))
    drawn = (rng.choice(len(points), size, replace=False) for _ in range(SUBSAMPLES))
    spread = [maximum_likelihood(neighbours(points[rows], k)[1]) for rows in drawn]
    if not np.isfinite([whole, *spread]).all():
        return {**figures, "why_not": "all pictures are equally far apart"}, kept
    gaussian = rng.standard_normal((len(points), max(1, round(whole))), np.float32)
    return {
        **figures,
        "dimension": _rounded(whole),
        "two_nearest": _rounded(two_nearest(distances)),
        "gaussian": _rounded(maximum_likelihood(neighbours(gaussian, k)[1])),
        "subsamples": {
            "size": size,
            "median": _rounded(float(np.median(spread))),
            "low": _rounded(min(spread)),
            "high": _rounded(max(spread)),
        },
    }, kept


def sharpness(points: Array, labels: Sequence[tuple[str, ...]], scale: float = 1.0) -> dict[str, Json]:
    """`label_sharpness` as figures: `value`, `high`, `pairs` and `n`, or `why_not`."""
    found = label_sharpness(points, labels, scale)
    if found is None:
        return {"why_not": "there are no two pictures with different labels"}
    return {
        "value": _significant(found.value),
        "high": _significant(found.high),
        "pairs": found.pairs,
        "n": found.points,
    }


def too_few(n: int, k: int) -> str:
    """Why so many photographs are too few for an estimate with k neighbours; `""` if they aren't."""
    least = least_number(k)
    return "" if n >= least else f"{n} photographs are too few; it takes {least}"


def least_number(k: int) -> int:
    """The number of photographs that an estimate with k neighbours takes."""
    return max(100, 2 * k + 1)


def _rounded(value: float) -> float:
    return round(value, 2)


def _significant(value: float) -> float:
    return float(f"{value:.4g}")
