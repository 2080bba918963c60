"""Effective robustness: how much better a model does on shifted data than its accuracy on unshifted data explains.

Taori et al., NeurIPS 2020, arXiv 2007.00644: the logits of the baseline models' two accuracies lie on a line. The
distance of a model above that line is its effective robustness.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Array, Floats

FEWEST = 3
"""Minimum number of baselines of different accuracy for a line."""


def effective_robustness(
    baseline: tuple[Array, Array],
    model: tuple[Array, Array],
    *,
    confidence: float,
    draws: int,
    rng: np.random.Generator,
) -> dict[str, float]:
    """`value`, `low`, `high` of a model, as shares, with a bootstrap interval over the pictures of both test sets.

    Args:
        baseline: whether each baseline model is right, `[B, n]` on the unshifted and `[B, m]` on the shifted set.
        model: the same for the model, `[n]` and `[m]`.
        confidence: level of the percentile interval.
        draws: number of resamples.
        rng: draws the resamples.
    """
    every = [np.vstack([one, other]).astype(float) for one, other in zip(baseline, model, strict=True)]
    plain, shifted = (right.mean(axis=1, keepdims=True) for right in every)
    value = above_line(plain, shifted, every[0].shape[1], every[1].shape[1])[0]
    resampled = []
    for right in every:
        n = right.shape[1]
        step = max(1, 4_000_000 // n)
        sizes = [min(step, draws - done) for done in range(0, draws, step)]
        weights = (rng.multinomial(n, np.full(n, 1 / n), size) for size in sizes)
        resampled.append(np.concatenate([right @ weight.T / n for weight in weights], axis=1))
    spread = above_line(resampled[0], resampled[1], every[0].shape[1], every[1].shape[1])
    low, high = np.quantile(spread, [(1 - confidence) / 2, (1 + confidence) / 2])
    return {"value": float(value), "low": float(low), "high": float(high)}


def above_line(plain: Floats, shifted: Floats, n: int, m: int) -> Floats:
    """Shifted accuracy of the last row minus the value `[R]` on the line through the other rows.

    Args:
        plain: accuracies `[B + 1, R]` on n unshifted pictures; those of the baselines must differ.
        shifted: accuracies `[B + 1, R]` on m shifted pictures.
        n: number of unshifted pictures; accuracies are clipped to half a picture from 0 and 1, so logits are finite.
        m: number of shifted pictures, used likewise.
    """
    x, y = logit(plain, n), logit(shifted, m)
    x_mean, y_mean = x[:-1].mean(axis=0), y[:-1].mean(axis=0)
    centred = x[:-1] - x_mean
    spread = (centred**2).sum(axis=0)
    slope = (centred * (y[:-1] - y_mean)).sum(axis=0) / np.where(spread > 0, spread, np.inf)
    expected = 1 / (1 + np.exp(-(y_mean + slope * (x[-1] - x_mean))))
    return np.asarray(shifted[-1] - expected)


def logit(accuracy: Floats, n: int) -> Floats:
    """Log odds of accuracies measured on n pictures; 0 and 1 count as half a picture away."""
    kept = np.clip(accuracy, 0.5 / n, 1 - 0.5 / n)
    return np.asarray(np.log(kept / (1 - kept)))
