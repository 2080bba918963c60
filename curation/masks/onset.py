"""The epoch at which a network starts to memorise the errors of its training masks, by class, from its training curve.

Early predictions are right where masks are wrong; later the network memorises the errors too, at a different time for
each class (Liu et al., "Adaptive Early-Learning Correction for Segmentation from Noisy Annotations" (ADELE), CVPR
2022). The IoU with the *given* masks rises fast while it learns what they have in common, and slowly afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Array, Floats, Reals

LEAST_POINTS = 8
MOST_RMSE = 0.05
LEAST_PIXELS = 0.001
"""Least share of all pixels that a class needs for a meaningful curve."""
LEAST_IMAGES = 10
LEAST_IOU = 0.1
"""A history starts at the first epoch with this IoU; before, the network predicts the class almost nowhere."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The fit f(t) = a (1 - exp(-t^b / c)) of a class's IoU history, t = 1, 2, ... epochs.

    Attributes:
        a: limit in [0, 1].
        b: exponent in [0, 1].
        c: scale, above 0.
        rmse: root mean square of the unweighted residuals.
    """

    a: float
    b: float
    c: float
    rmse: float

    def value(self, t: Array) -> Floats:
        """f(t)."""
        return rise(np.asarray(t, dtype=np.float64), self.a, self.b, self.c)

    def slope(self, t: Array) -> Floats:
        """f'(t)."""
        t = np.asarray(t, dtype=np.float64)
        return np.asarray(self.a * self.b / self.c * t ** (self.b - 1) * np.exp(-(t**self.b) / self.c))


@dataclass(frozen=True, slots=True)
class Onset:
    """The onset of memorisation of a class.

    Attributes:
        epoch: at which memorisation starts; 0 if it hasn't started or is unknown.
        curve: the fit, if there is one.
        refusal: why the epoch is 0; empty otherwise.
    """

    epoch: int
    curve: Curve | None
    refusal: str


def rise(t: Floats, a: float, b: float, c: float) -> Floats:
    """The curve a (1 - exp(-t^b / c))."""
    return np.asarray(a * (1 - np.exp(-(t**b) / c)))


def fit_curve(iou: Reals) -> Curve:
    """Fit the curve to a class's IoU `[T]` after epochs 1 to T. Late points weigh up to ten times as much.

    Bounded least squares (trust region) from a = b = c = 1 with a and b in [0, 1] and c > 0. Residuals are divided by 1
    for the first point down to 0.1 for the last, as in ADELE's code.

    Raises:
        ValueError: fewer points than parameters.
    """
    from scipy.optimize import least_squares

    iou = np.asarray(iou, dtype=np.float64)
    if len(iou) < 3:
        raise ValueError(f"a curve with three parameters needs at least three points, got {len(iou)}")
    t = np.arange(1, len(iou) + 1, dtype=np.float64)
    sigma = np.geomspace(1, 0.1, len(iou))
    found = least_squares(
        lambda x: (rise(t, *x) - iou) / sigma, (1.0, 1.0, 1.0), bounds=([0, 0, 1e-6], [1, 1, np.inf]), method="trf"
    )
    a, b, c = (float(one) for one in found.x)
    return Curve(a, b, c, float(np.sqrt(np.mean((rise(t, a, b, c) - iou) ** 2))))


def onset_epoch(curve: Curve, ratio: float, horizon: int) -> int:
    """The epoch at which the curve has flattened: 1 + the number of epochs t <= horizon with R(t) <= ratio.

    R(t) = |f'(t) - f'(1)| / |f'(1)| is the share of the initial slope that is gone; above 1 it counts as 0, as in
    ADELE's code. A result above the horizon means that the curve hasn't flattened yet.
    """
    t = np.arange(1, horizon + 1)
    first = abs(float(curve.slope(np.array([1.0]))[0]))
    if first == 0:
        return horizon + 1
    gone = np.abs(curve.slope(t) - curve.slope(np.array([1.0]))) / first
    gone[gone > 1] = 0
    return 1 + int((gone <= ratio).sum())


def first_rise(iou: Reals) -> int:
    """The number of points of a history `[T]` before the first one that reaches `LEAST_IOU`; T if none does."""
    reached = np.asarray(iou) >= LEAST_IOU
    return int(np.argmax(reached)) if reached.any() else len(reached)


def find_onset(iou: Reals, ratio: float) -> Onset:
    """Return whether a class is past its onset, from its history so far.

    Args:
        iou: `[T]` with the given masks after epochs 1 to T.
        ratio: share of the initial slope that is gone at the onset; 0.9 in the paper.
    """
    start = first_rise(iou)
    points = len(iou) - start
    if points < LEAST_POINTS:
        return Onset(0, None, f"{points} epochs since its IoU rose, under {LEAST_POINTS}")
    curve = fit_curve(iou[start:])
    if curve.rmse > MOST_RMSE:
        return Onset(0, curve, f"its curve misses its history by {curve.rmse:.3f}, over {MOST_RMSE}")
    epoch = onset_epoch(curve, ratio, points)
    if epoch > points:
        return Onset(0, curve, "its IoU is still rising")
    return Onset(start + epoch, curve, "")


def rarity(pixel_share: float, images: int) -> str:
    """Why a class is too rare for a meaningful history; empty if it isn't.

    Args:
        pixel_share: share of all pixels with this class.
        images: number of pictures with this class.
    """
    if images < LEAST_IMAGES:
        return f"in {images} masks, under {LEAST_IMAGES}"
    if pixel_share < LEAST_PIXELS:
        return f"covers {pixel_share:.3%} of the pixels, under {LEAST_PIXELS:.1%}"
    return ""
