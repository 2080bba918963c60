"""Conformal p-values and false discovery rates: no distribution is assumed for the scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats


def conformal_p_values(scores: Floats, calibration: Bools) -> Floats:
    """Share of the other calibration samples that score as high: `p_i = (1 + A_i) / (1 + A)` (Vovk et al., 2005).

    Args:
        scores: `[N]`, higher is more foreign, each from a model fitted without the sample; NaN is not judged.
        calibration: `[N]` samples that represent the distribution.

    Returns:
        `[N]` in (0, 1], non-increasing in the score, equal for equal scores; NaN where not judged.
    """
    judged = np.isfinite(scores)
    among = calibration & judged
    ordered = np.sort(scores[among])
    as_high = len(ordered) - np.searchsorted(ordered, scores, side="left") - among
    p = (1 + as_high) / (1 + len(ordered) - among)
    values, place = np.unique(-scores[judged], return_inverse=True)
    most = np.zeros(len(values))
    np.maximum.at(most, place, p[judged])
    p[judged] = np.maximum.accumulate(most)[place]
    return np.where(judged, p, np.nan)


def benjamini_hochberg(p: Floats, tested: Bools, fdr: float) -> Bools:
    """Return which hypotheses `[N]` are rejected at this false discovery rate (Benjamini and Hochberg, 1995)."""
    from scipy.stats import false_discovery_control

    flag = np.zeros(len(p), dtype=bool)
    if tested.any():
        flag[tested] = false_discovery_control(p[tested]) <= fdr
    return flag


def least_discoveries(tested: int, calibration: int, fdr: float) -> int:
    """Return how many pictures must stand out together before any is flagged: no p-value is below `1 / (1 + n)`."""
    return int(np.ceil(tested / (fdr * (1 + calibration)))) if tested else 0
