"""Rank and calibrate labelers' scores, and tune a threshold for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from variorum.evaluation.safety.precision_recall import counted, difference
from variorum.evaluation.safety.truth_arrays import Answerer, Judged
from variorum.evaluation.safety.truths import SAFE, UNSAFE
from variorum.kit.predicted.calibration import Bins, error_by_chance, expected_calibration_error, reliability
from variorum.kit.predicted.resamples import percent
from variorum.kit.resampling.separation import Draws, Separation
from variorum.schemas.canonical import Json

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats

LEAST = 8
"""Unsafe and safe pictures of the split `train`, each, below which no threshold is tuned."""


def ranking(data: Judged, answerer: Answerer, category: str, rows: Bools, draws: Draws) -> dict[str, Json]:
    """`auroc` and `ap`, the average precision, in [0, 1] of those pictures `rows [N]` that are answered; or None."""
    scores, truth = answerer.scores[category], data.truth[category]
    unsafe, safe = (rows & np.isfinite(scores) & (truth == one) for one in (UNSAFE, SAFE))
    if not (unsafe.any() and safe.any()):
        return {"auroc": None, "ap": None}
    pair = Separation(scores[unsafe], scores[safe], data.photograph[unsafe], data.photograph[safe])
    return {"auroc": pair.resampled_auroc(draws), "ap": pair.resampled_average_precision(draws)}


def calibration(data: Judged, answerer: Answerer, category: str, seed: int, bins: int) -> dict[str, Json] | None:
    """Measure calibration: whether pictures scored s are unsafe in a share s of cases; None without both kinds.

    `ece` is the expected calibration error in percentage points, `by_chance` that of perfect scores of these values.
    """
    scores, truth = answerer.scores[category], data.truth[category]
    known = data.counts & np.isfinite(scores) & np.isfinite(truth)
    if len(np.unique(truth[known])) < 2:
        return None
    found = reliability(scores[known], truth[known] == UNSAFE, bins)
    return {
        "n": int(known.sum()),
        "ece": percent(expected_calibration_error(found)),
        "by_chance": percent(error_by_chance(scores[known], seed, bins)),
        "bins": _listed(found),
    }


def _listed(found: Bins) -> list[Json]:
    return [
        {"confidence": round(float(sure), 4), "accuracy": round(float(share), 4), "n": int(n)}
        for sure, share, n in zip(*found, strict=True)
    ]


def tuned(data: Judged, answerer: Answerer, category: str, draws: Draws) -> dict[str, Json]:
    """F1 in percent on the split `test` at the labeler's own threshold and at one chosen on the split `train`.

    `change` is the difference in percentage points. A photograph in both splits is left out of `test`. Where nothing
    can be tuned or tested, there is only `why`.
    """
    scores, truth = answerer.scores[category], data.truth[category]
    known = np.isfinite(scores) & np.isfinite(truth)
    train = known & (data.split == "train")
    test = known & (data.split == "test") & ~np.isin(data.photograph, data.photograph[data.split == "train"])
    for rows, least, split in ((train, LEAST, "train"), (test, 1, "test")):
        unsafe = int((truth[rows] == UNSAFE).sum())
        safe = int(rows.sum()) - unsafe
        if min(unsafe, safe) < least:
            return {"why": f"the split {split} has {unsafe} unsafe and {safe} safe pictures with an answer"}
    best = best_threshold(scores[train], truth[train] == UNSAFE, answerer.threshold)
    own = counted(data, answerer, category, test).ratios()["f1"]
    other = counted(data, answerer._replace(threshold=best), category, test).ratios()["f1"]
    interval = draws.resamples.means_of_ratios([own, other])
    return {
        "own": answerer.threshold,
        "tuned": best,
        "own_f1": interval[0],
        "tuned_f1": interval[1],
        "change": difference(other, own, draws),
    }


def best_threshold(scores: Floats, unsafe: Bools, own: float) -> float:
    """The score that, taken as the threshold, gives the highest F1; `own` or the nearest to it if several do.

    Args:
        scores: `[n]` in [0, 1].
        unsafe: `[n]`.
        own: the labeler's threshold.
    """
    order = np.argsort(-scores, kind="stable")
    values, hits = scores[order], np.cumsum(unsafe[order])
    ends = np.append(values[1:] != values[:-1], True)  # a threshold takes all pictures with the same score
    f1 = 2 * hits / (np.arange(1, len(values) + 1) + unsafe.sum())
    best = f1[ends].max()
    called = scores >= own
    if 2 * (called & unsafe).sum() >= (best - 1e-12) * (called.sum() + unsafe.sum()):
        return own
    candidates = values[ends][f1[ends] >= best - 1e-12]
    return float(candidates[np.argmin(np.abs(candidates - own))])
