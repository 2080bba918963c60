"""Measure calibration: reliability bins and the expected calibration error.

Guo et al., On Calibration of Modern Neural Networks, ICML 2017, arXiv 1706.04599.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from variorum.schemas.rows import Answers

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints
    from variorum.kit.predicted.offered import Asked

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


def average_calibration_error(found: Bins) -> float:
    """Mean of |accuracy_b - confidence_b| over the bins that aren't empty, however few they hold; netcal's ACE."""
    return float(np.abs(found.accuracy - found.confidence).mean()) if len(found.n) else float("nan")


def error_by_chance(confidence: Array, seed: int, bins: int = BINS, draws: int = DRAWS) -> float:
    """Mean calibration error, in [0, 1], of a perfectly calibrated classifier with the same confidences.

    Its predictions are right with probability `confidence`, independently. NaN without predictions.
    """
    return errors_by_chance(confidence, seed, bins, draws)[0]


def errors_by_chance(confidence: Array, seed: int, bins: int = BINS, draws: int = DRAWS) -> tuple[float, float]:
    """The same of the expected and of the average calibration error."""
    if not len(confidence):
        return float("nan"), float("nan")
    confidence = np.sort(np.asarray(confidence, np.float64))
    which = bin_of(confidence, bins)
    starts = np.flatnonzero(np.diff(which, prepend=-1))
    sure, sizes = np.add.reduceat(confidence, starts), np.diff(starts, append=len(confidence))
    rng, gaps = np.random.default_rng(seed), []
    step = max(1, AT_ONCE // len(confidence))
    for size in (min(step, draws - done) for done in range(0, draws, step)):
        hits = np.add.reduceat(rng.random((size, len(confidence)), np.float32) < confidence, starts, axis=1)
        gaps.append(np.abs(hits - sure))
    mean = np.concatenate(gaps).mean(axis=0)
    return float(mean.sum() / len(confidence)), float((mean / sizes).mean())


def adaptive_calibration_error(p: Floats, label: Ints, seed: int, ranges: int = BINS) -> tuple[float, float]:
    """Adaptive calibration error, and its mean when labels are drawn from `p` itself, in [0, 1] both.

    The mean over classes and `ranges` with as many predictions each of |share with this label - mean p| (Nixon et al.,
    CVPR Workshops 2019, arXiv 1904.01685). `p [N, K]` has all classes' probabilities, and `label [N]` is not empty.
    """
    number, classes = p.shape
    ranges = min(ranges, number)
    cell = np.empty((number, classes), np.int64)
    place = np.arange(number) * ranges // number
    np.put_along_axis(cell, np.argsort(p, axis=0, kind="stable"), place[:, None] + np.arange(classes) * ranges, axis=0)
    sure = np.bincount(cell.ravel(), p.ravel())
    size = np.tile(np.bincount(place), classes)

    def error(label: Ints) -> float:
        hits = np.bincount(cell[np.arange(number), label], minlength=len(sure))
        return float((np.abs(hits - sure) / size).mean())

    rng, below = np.random.default_rng(seed), np.cumsum(p, axis=1)[:, :-1] / p.sum(axis=1, keepdims=True)
    chance = [error((rng.random((number, 1)) >= below).sum(axis=1)) for _ in range(DRAWS // 4)]
    return error(label), float(np.mean(chance))


def whole_error(figure: str, asked: Asked, rows: Ints, confidence: Floats, seed: int, more: str = "") -> Answers:
    """A report's row: the expected error of the answers in these rows of the table, with its floor; both are `[m]`."""
    found = asked.sums(rows, asked.right[rows] - confidence, bin_of(confidence), BINS)

    def error(counts: Floats) -> float:
        number = counts @ found.bottom
        return float(np.abs(counts @ found.top).sum() / number.sum()) if number.any() else float("nan")

    floor = error_by_chance(confidence, seed)
    note = f"{BINS} bins of confidence{more}"
    return Answers(figure, asked.model, found.photographs, whole=error, floor=floor, note=note)
