"""Measure calibration: reliability bins and the expected calibration error.

Guo et al., On Calibration of Modern Neural Networks, ICML 2017, arXiv 1706.04599.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints

BINS = 15
"""Of equal width, as in the paper."""
DRAWS = 200
"""Of outcomes, for the error that chance alone gives."""
AT_ONCE = 4_000_000
"""Outcomes drawn at a time."""


class Bins(NamedTuple):
    """Predictions by confidence, one entry per bin that isn't empty, by rising confidence.

    Attributes:
        confidence: mean confidence `[B]`, in [0, 1].
        accuracy: share of right ones `[B]`, in [0, 1].
        n: number of predictions `[B]`.
    """

    confidence: Floats
    accuracy: Floats
    n: Ints


def bin_of(confidence: Array, bins: int = BINS) -> Ints:
    """Bin of each confidence: bin m of M holds those in (m / M, (m + 1) / M], the first one 0 as well."""
    edges = np.arange(1, bins) / bins
    return np.searchsorted(edges, confidence, side="left").astype(np.int64)


def reliability(confidence: Array, right: Bools, bins: int = BINS) -> Bins:
    """The bins of a reliability diagram.

    Args:
        confidence: probability of the predicted class `[N]`, in [0, 1].
        right: whether the prediction is right `[N]`.
        bins: number of bins of equal width.
    """
    which = bin_of(confidence, bins)
    n = np.bincount(which, minlength=bins)
    sure = np.bincount(which, weights=confidence, minlength=bins)
    hits = np.bincount(which, weights=right, minlength=bins)
    there = n > 0
    return Bins(sure[there] / n[there], hits[there] / n[there], n[there].astype(np.int64))


def expected_calibration_error(found: Bins) -> float:
    """Σ n_b / N · |accuracy_b - confidence_b|, in [0, 1]; NaN without predictions.

    It is biased upwards for few pictures, because chance moves the accuracy of every bin away from its confidence, and
    absolute differences don't cancel; compare it with `error_by_chance`.
    """
    total = found.n.sum()
    return float((found.n * np.abs(found.accuracy - found.confidence)).sum() / total) if total else float("nan")


def error_by_chance(confidence: Array, seed: int, bins: int = BINS, draws: int = DRAWS) -> float:
    """Mean calibration error, in [0, 1], of a perfectly calibrated classifier with the same confidences.

    Its predictions are right with probability `confidence`, independently. NaN without predictions.
    """
    if not len(confidence):
        return float("nan")
    confidence = np.sort(np.asarray(confidence, np.float64))
    which = bin_of(confidence, bins)
    starts = np.flatnonzero(np.diff(which, prepend=-1))
    sure = np.add.reduceat(confidence, starts)
    rng, gaps = np.random.default_rng(seed), []
    step = max(1, AT_ONCE // len(confidence))
    for size in (min(step, draws - done) for done in range(0, draws, step)):
        hits = np.add.reduceat(rng.random((size, len(confidence)), np.float32) < confidence, starts, axis=1)
        gaps.append(np.abs(hits - sure).sum(axis=1))
    return float(np.concatenate(gaps).mean() / len(confidence))
