"""Conformal p-values and false discovery rates: no distribution is assumed for the scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints


def conformal_p_values(scores: Floats, calibration: Bools, strays: Bools | None = None, chance: float = 0.0) -> Floats:
    """Share of the other calibration samples that score as high: `p_i = (1 + A_i) / (1 + A)` (Vovk et al., 2005).

    A foreign sample whose label happens to be the nearest class's is in the calibration set too, and hides others like
    it. If labels of foreign pictures are independent of their looks, the set has `chance / (1 - chance)` of them for
    each foreign stray, at any score. That share of the strays is therefore subtracted: of those that score as high
    from `A_i`, of all from `A`. Strays that are merely mislabelled take the same share off both.

    Args:
        scores: `[N]`, higher is more foreign, each from a model fitted without the sample; NaN is not judged.
        calibration: `[N]` samples that represent the distribution.
        strays: `[N]` labelled samples outside the calibration set.
        chance: probability that a foreign sample is in the calibration set.

    Returns:
        `[N]` in (0, 1], non-increasing in the score; NaN where not judged.
    """
    judged = np.isfinite(scores)
    others, total = _as_high(scores, calibration & judged)
    if strays is not None and 0 < chance < 1:
        odds = chance / (1 - chance)
        astray, all_astray = _as_high(scores, strays & judged)
        others, total = np.maximum(others - odds * astray, 0), np.maximum(total - odds * all_astray, 0)
    p = np.minimum((1 + others) / (1 + total), 1)
    order = np.argsort(-scores, kind="stable")
    p[order] = np.maximum.accumulate(p[order])
    return np.where(judged, p, np.nan)


def _as_high(scores: Floats, among: Bools) -> tuple[Array, Array]:
    """For each sample, how many others of a group score at least as high, and how many others there are."""
    ordered = np.sort(scores[among])
    return len(ordered) - np.searchsorted(ordered, scores, side="left") - among, len(ordered) - among


def chance_agreement(y: Ints, nearest: Ints, strays: Bools) -> float:
    """Probability that a stray's nearest class matches a label drawn at random from the given labels.

    Args:
        y: `[N]` given labels in 0..K-1, -1 unlabelled.
        nearest: `[N]` nearest classes, -1 for none.
        strays: `[N]` samples whose nearest classes count.
    """
    labelled = y >= 0
    among = strays & (nearest >= 0)
    if not labelled.any() or not among.any():
        return 0.0
    k = int(max(y.max(), nearest.max())) + 1
    drawn = np.bincount(y[labelled], minlength=k) / labelled.sum()
    return float(drawn @ np.bincount(nearest[among], minlength=k) / among.sum())


def benjamini_hochberg(p: Floats, tested: Bools, fdr: float) -> Bools:
    """Which of the tested hypotheses `[N]` are rejected at this false discovery rate (Benjamini and Hochberg, 1995)."""
    from scipy.stats import false_discovery_control

    flag = np.zeros(len(p), dtype=bool)
    if tested.any():
        flag[tested] = false_discovery_control(p[tested]) <= fdr
    return flag


def least_discoveries(tested: int, calibration: int, fdr: float) -> int:
    """How many pictures must stand out together before any can be flagged: no p-value is below `1 / (1 + n)`."""
    return int(np.ceil(tested / (fdr * (1 + calibration)))) if tested else 0
