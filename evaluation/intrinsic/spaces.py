"""All figures of one set of pictures in one space: their pixels, or the embeddings of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from variorum.evaluation.intrinsic.dimension import distinct, maximum_likelihood, neighbours, two_nearest
from variorum.evaluation.intrinsic.sharpness import label_sharpness
from variorum.schemas.canonical import Json, derive_seed

if TYPE_CHECKING:
    from variorum.arrays import Array, Floats, Ints, Singles

SUBSAMPLES = 20
"""Subsamples whose estimates show the spread."""
FEWEST = 20
"""Labelled photographs that the label sharpness takes."""
SAME = 1e-4
"""Points that are closer than this share of the median distance to the k-th neighbour are copies."""


def dimensions(points: Singles, k: int, subsample: int, seed: int) -> tuple[dict[str, Json], Ints]:
    """Intrinsic dimension of points, and the rows that count: without copies, which have no distance to compare.

    Args:
        points: `[N, d]` float32.
        k: neighbours of the estimate.
        subsample: points of a subsample, at most half of the points that count.
        seed: of the subsamples and of the Gaussian.

    Returns:
        `n`, `copies`, and the `dimension` of n points, or why it is withheld.
    """
    kept, distances = np.arange(len(points), dtype=np.int64), np.zeros((len(points), 0))
    if len(points) > 1:
        found, distances = neighbours(points, min(k, len(points) - 1))
        kept = distinct(found, distances, SAME * float(np.median(distances[:, -1])))
    if why := too_few(len(kept), k):
        dimension: dict[str, Json] = {"why_not": why}
    elif len(kept) == len(points):
        dimension = _dimension(points, distances, subsample, seed)
    else:
        dimension = _dimension(points[kept], neighbours(points[kept], k)[1], subsample, seed)
    return {"n": len(kept), "copies": len(points) - len(kept), "dimension": dimension}, kept


def _dimension(points: Singles, distances: Floats, subsample: int, seed: int) -> dict[str, Json]:
    """Dimension of points from the distances `[N, k]` to their neighbours, or `why_not`.

    Subsamples are drawn without replacement, because a point that is drawn twice has a neighbour at distance 0.

    Returns:
        The `value` of all, that by `two_nearest` (null where it is infinite), the `gaussian` that the first estimate
        gives for as many Gaussian points of as many dimensions, and of the `subsamples` their `size`, the `median`,
        `low` and `high` of their estimates.
    """
    k, whole = distances.shape[1], maximum_likelihood(distances)
    rng = np.random.default_rng(derive_seed(seed, "intrinsic_properties"))
    size = max(k + 1, min(subsample, len(points) // 2))
    drawn = (rng.choice(len(points), size, replace=False) for _ in range(SUBSAMPLES))
    spread = [maximum_likelihood(neighbours(points[rows], k)[1]) for rows in drawn]
    if not np.isfinite([whole, *spread]).all():
        return {"why_not": "all pictures are equally far apart"}
    gaussian = rng.standard_normal((len(points), max(1, round(whole))), np.float32)
    nearest = two_nearest(distances)
    return {
        "value": _rounded(whole),
        "two_nearest": _rounded(nearest) if np.isfinite(nearest) else None,
        "gaussian": _rounded(maximum_likelihood(neighbours(gaussian, k)[1])),
        "subsamples": {
            "size": size,
            "median": _rounded(float(np.median(spread))),
            "low": _rounded(min(spread)),
            "high": _rounded(max(spread)),
        },
    }


def sharpness(points: Array, labels: Sequence[tuple[str, ...]], scale: float = 1.0) -> dict[str, Json]:
    """`label_sharpness` as figures: `value`, `high`, `pairs` and the number `n` of labelled points, or `why_not`."""
    labelled = sum(map(bool, labels))
    found = label_sharpness(points, labels, scale)
    if found is None:
        return {"why_not": "there are no two pictures with different labels"}
    if labelled < FEWEST:
        return {"why_not": f"{labelled} labelled photographs are too few; it takes {FEWEST}"}
    return {
        "value": _significant(found.value),
        "high": _significant(found.high),
        "pairs": found.pairs,
        "n": found.points,
    }


def too_few(n: int, k: int) -> str:
    """Why so many photographs are too few for an estimate with k neighbours; `""` if they aren't."""
    least = max(100, 2 * k + 1)
    return "" if n >= least else f"{n} photographs are too few; it takes {least}"


def _rounded(value: float) -> float:
    return round(value, 2)


def _significant(value: float) -> float:
    return float(f"{value:.4g}")
