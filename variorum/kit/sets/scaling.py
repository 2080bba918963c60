"""How the error falls with the number of training pictures: power laws, with or without a floor.

Fan et al., Scaling Laws of Synthetic Images for Model Training ... for Now, CVPR 2024, arXiv 2312.04567: the loss of a
classifier is about `a · n^-k` while the line through it is straight on logarithmic axes, and k says how much is gained
by more pictures. A law with a floor often fits as well, with another k, so both are given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Array, Floats

FEWEST = 4
"""Minimum number of sizes for a power law."""
FEWEST_WITH_FLOOR = 5
BETTER = 2.0
"""By how much the corrected information criterion must fall before a floor is believed."""
LEAST = 1e-12
"""Squared residuals below this are rounding."""
STEPS = 101
"""Floors that are tried, twice: over the whole range, then around the best."""


class Law(NamedTuple):
    """`loss = a · n^-k + floor`.

    Attributes:
        k: exponent `[R]`.
        a: factor `[R]`.
        floor: what no number of pictures falls below, `[R]`.
        misfit: sum of the squared residuals of log loss, `[R]`.
    """

    k: Floats
    a: Floats
    floor: Floats
    misfit: Floats


def power_law(n: Array, loss: Array) -> Law:
    """Least squares on logarithms, without a floor.

    Args:
        n: numbers of training pictures `[S]`, different ones.
        loss: above 0, `[R, S]` for R resamples.
    """
    return _fitted(np.log(np.asarray(n, float)), np.asarray(loss, float), np.zeros(len(loss)))


def with_floor(n: Array, loss: Array) -> Law:
    """The law whose floor, between 0 and the least loss, fits best; arguments as of `power_law`."""
    x, losses = np.log(np.asarray(n, float)), np.asarray(loss, float)
    least = losses.min(axis=1) * 0.999
    below, above = np.zeros(len(losses)), least
    for _ in range(2):
        floors = np.linspace(below, above, STEPS)
        misfits = np.stack([_fitted(x, losses, floor).misfit for floor in floors])
        best, rows, step = misfits.argmin(axis=0), np.arange(len(losses)), (above - below) / (STEPS - 1)
        floor = floors[best, rows]
        below, above = np.maximum(floor - step, 0), np.minimum(floor + step, least)
    return _fitted(x, losses, floor)


def has_floor(plain: Law, floored: Law, sizes: int) -> bool:
    """Whether a floor is worth its parameter, by Akaike's criterion for few points (after Hurvich & Tsai 1989).

    Unlike theirs it doesn't count the variance of the residuals, with which five sizes could never show a floor.
    """
    if sizes < FEWEST_WITH_FLOOR:
        return False
    one, other = (
        sizes * np.log(max(float(law.misfit[0]), LEAST) / sizes) + 2 * p + 2 * p * (p + 1) / (sizes - p - 1)
        for law, p in ((plain, 2), (floored, 3))
    )
    return bool(one - other >= BETTER)


def straightness(law: Law, loss: Array) -> float:
    """R² of the first resample's law: the share of the variance of log loss that it explains."""
    y = np.log(loss[0])
    return 1 - float(law.misfit[0]) / max(float(((y - y.mean()) ** 2).sum()), LEAST)


def pictures_for(law: Law, loss: Array) -> Floats:
    """How many pictures give a loss `[R]`; infinitely many where the law doesn't fall to it."""
    left = np.asarray(loss, float) - law.floor
    falls = (law.k > 0) & (left > 0)
    steps = np.log(law.a / np.where(falls, left, 1)) / np.where(falls, law.k, 1)
    return np.where(falls, np.exp(np.minimum(steps, 700)), np.inf)


def _fitted(x: Floats, losses: Floats, floor: Floats) -> Law:
    """Fit a line to the logarithms of what lies above the floor, each point weighted as its logarithm counts."""
    above = losses - floor[:, None]
    y, weight = np.log(above), (above / losses) ** 2
    weight = weight / weight.sum(axis=1, keepdims=True)
    x_mean, y_mean = (weight * x).sum(axis=1, keepdims=True), (weight * y).sum(axis=1, keepdims=True)
    k = -(weight * (x - x_mean) * (y - y_mean)).sum(axis=1) / (weight * (x - x_mean) ** 2).sum(axis=1)
    a = np.exp(y_mean[:, 0] + k * x_mean[:, 0])
    told = a[:, None] * np.exp(-k[:, None] * x) + floor[:, None]
    return Law(k, a, floor, ((np.log(losses) - np.log(told)) ** 2).sum(axis=1))
