"""From scores to p-values and a rate of false discoveries, without a distribution assumed for the scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def conformal_p_values(
    scores: NDArray[np.float64],
    calibration: NDArray[np.bool_],
    strays: NDArray[np.bool_] | None = None,
    chance: float = 0.0,
) -> NDArray[np.float64]:
    """Share of the calibration's other samples that score as high: `p_i = (1 + A_i) / (1 + A)` (Vovk et al., 2005).

    What is foreign and happens to bear the nearest class's label is in the calibration too, and hides its like. Where
    labels of foreign pictures are independent of their looks, `chance / (1 - chance)` of them are in it for each one
    among the `strays`, at any score; so that share of the strays that score as high is taken off `A_i`, and of all
    strays off `A`. Wrong labels of what isn't foreign are strays as well, but take off the same share of both.

    Args:
        scores: `[N]`, higher is more foreign, each by a model that hasn't seen the sample; NaN is not judged.
        calibration: `[N]` the samples that stand for what is in distribution.
        strays: `[N]` labelled samples outside it.
        chance: of a foreign sample to be in the calibration.

    Returns:
        `[N]` in (0, 1], never falling as the score falls; NaN where there is none.
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


def _as_high(scores: NDArray[np.float64], among: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any]]:
    """By sample, how many others of a group score at least as high, and how many others there are."""
    ordered = np.sort(scores[among])
    return len(ordered) - np.searchsorted(ordered, scores, side="left") - among, len(ordered) - among


def chance_agreement(y: NDArray[np.int64], nearest: NDArray[np.int64], strays: NDArray[np.bool_]) -> float:
    """Chance that a stray's nearest class would be its label if labels were dealt anew.

    Args:
        y: `[N]` given labels in 0..K-1, -1 unlabelled.
        nearest: `[N]` nearest classes, -1 for none.
        strays: `[N]` whose nearest classes count.
    """
    labelled = y >= 0
    among = strays & (nearest >= 0)
    if not labelled.any() or not among.any():
        return 0.0
    k = int(max(y.max(), nearest.max())) + 1
    dealt = np.bincount(y[labelled], minlength=k) / labelled.sum()
    return float(dealt @ np.bincount(nearest[among], minlength=k) / among.sum())


def benjamini_hochberg(p: NDArray[np.float64], tested: NDArray[np.bool_], fdr: float) -> NDArray[np.bool_]:
    """`[N]`: which of the tested hypotheses fall at this false discovery rate (Benjamini and Hochberg, 1995)."""
    from scipy.stats import false_discovery_control

    flag = np.zeros(len(p), dtype=bool)
    if tested.any():
        flag[tested] = false_discovery_control(p[tested]) <= fdr
    return flag


def least_discoveries(tested: int, calibration: int, fdr: float) -> int:
    """How many must at least stand out together before any can be flagged: no p-value is below `1 / (1 + n)`."""
    return int(np.ceil(tested / (fdr * (1 + calibration)))) if tested else 0
