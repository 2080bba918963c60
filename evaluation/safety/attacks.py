"""Attacks that move a picture by at most ε grey levels a channel, to bring a score to the wrong side of a threshold.

ε is in grey levels of the picture itself, before any resizing or normalisation, and the result is what 8 bits hold.
Noise by random signs; FGSM (Goodfellow et al., ICLR 2015, arXiv 1412.6572); PGD (Madry et al., ICLR 2018, arXiv
1706.06083); DeepFool (Moosavi-Dezfooli et al., CVPR 2016, arXiv 1511.04599) for the largest change of a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Floats, Pixels

Slope: TypeAlias = "Callable[[Floats], tuple[float, Floats]]"
"""How far a picture `[H, W, 3]` in [0, 1] is on the right side of the border, negative on the wrong one, and the
gradient of that, `[H, W, 3]`."""
Kind = Literal["noise", "fgsm", "pgd", "deepfool"]
KINDS: tuple[Kind, ...] = get_args(Kind)
LEVELS = 255
REACH = 2.5
"""The steps of PGD come to this many times ε."""
SURE = 1.0
"""PGD ends when the log odds are this far on the wrong side, as another step changes no decision."""
OVERSHOOT = 0.02
"""DeepFool goes this share further than to the border, as its authors' own code does."""


class Attempt(NamedTuple):
    """An attacked picture.

    Attributes:
        kind: of the attack.
        epsilon: the most that a channel may change, in grey levels.
        picture: `[H, W, 3]` uint8.
        gradients: how many were computed.
        needed: of DeepFool, the change that brings the score to the border, in grey levels, whatever ε is; NaN if it
            isn't reached, and for the other attacks.
    """

    kind: Kind
    epsilon: int
    picture: Pixels
    gradients: int
    needed: float = math.nan


def slope_of(model: Callable[[Any], Any], threshold: float, *, unsafe: bool) -> Slope:
    """The slope of a model's log odds, less those of a threshold.

    Log odds don't level off where a probability comes close to 0 or 1, so their gradient doesn't vanish there as that
    of a probability or a cross-entropy does.

    Args:
        model: log probabilities `[N, 2]`, safe and unsafe, of an RGB tensor `[N, 3, H, W]` in [0, 1].
        threshold: the picture counts as unsafe from this probability on, in (0, 1).
        unsafe: whether the picture is unsafe, which makes that side of the border the right one.
    """
    import torch

    border, sign = math.log(threshold / (1 - threshold)), 1 if unsafe else -1

    def slope(values: Floats) -> tuple[float, Floats]:
        pictures = torch.tensor(values.transpose(2, 0, 1)[None], dtype=torch.float32, requires_grad=True)
        with torch.enable_grad():
            said = model(pictures)
            gap = sign * (said[0, 1] - said[0, 0] - border)
            (gradient,) = torch.autograd.grad(gap, pictures)
        return float(gap.detach()), np.asarray(gradient[0].permute(1, 2, 0).double().cpu().numpy())

    return slope


def attempts(
    kind: Kind,
    slope: Slope,
    picture: Pixels,
    epsilons: Iterable[int],
    steps: int,
    rng: Callable[[int], np.random.Generator],
) -> Iterator[Attempt]:
    """One attack at each ε.

    Args:
        kind: of the attack.
        slope: of the score at the picture.
        picture: `[H, W, 3]` uint8, on the right side.
        epsilons: in grey levels, at least 1.
        steps: of PGD and DeepFool, at most.
        rng: a generator of random numbers for each ε.
    """
    start = picture / LEVELS
    if kind == "noise":
        for epsilon in epsilons:
            signs = rng(epsilon).choice([-1.0, 1.0], picture.shape)
            yield Attempt(kind, epsilon, quantised(picture, signs * epsilon, epsilon), 0)
    elif kind == "fgsm":
        _, gradient = slope(start)
        for epsilon in epsilons:
            yield Attempt(kind, epsilon, quantised(picture, -np.sign(gradient) * epsilon, epsilon), 1)
    elif kind == "pgd":
        for epsilon in epsilons:
            change, gradients = pgd(slope, start, epsilon / LEVELS, steps, rng(epsilon))
            yield Attempt(kind, epsilon, quantised(picture, change * LEVELS, epsilon), gradients)
    else:
        change, gradients, reached = deepfool(slope, start, steps)
        needed = float(np.abs(change).max()) * LEVELS if reached else math.nan
        for epsilon in epsilons:
            yield Attempt(kind, epsilon, quantised(picture, outward(start, change), epsilon), gradients, needed)


def quantised(picture: Pixels, change: Floats, epsilon: int) -> Pixels:
    """The changed picture in 8 bits: rounded, then cut off at ε, so that no channel changes by more.

    Args:
        picture: `[H, W, 3]` uint8.
        change: in grey levels, `[H, W, 3]`.
        epsilon: in grey levels.
    """
    levels = np.clip(np.rint(change), -epsilon, epsilon).astype(np.int16)
    return np.asarray(np.clip(picture.astype(np.int16) + levels, 0, LEVELS), np.uint8)


def pgd(slope: Slope, start: Floats, epsilon: float, steps: int, rng: np.random.Generator) -> tuple[Floats, int]:
    """Projected gradient descent from a random start; the change of the best iterate, and the number of gradients.

    Args:
        slope: of the score.
        start: the picture in [0, 1].
        epsilon: as a share of the range of values.
        steps: at most; each goes 2.5 ε / steps.
        rng: draws the start.
    """
    low, high = np.maximum(start - epsilon, 0), np.minimum(start + epsilon, 1)
    _, first = slope(start)
    seen = np.abs(first).max(axis=2, keepdims=True) > 0  # a border that the model cuts off is left alone
    now = np.clip(start + seen * rng.uniform(-epsilon, epsilon, start.shape), low, high)
    best, least, done = now, math.inf, 1
    for _ in range(steps):
        gap, gradient = slope(now)
        done += 1
        if gap < least:
            best, least = now, gap
        if least < -SURE:
            return best - start, done
        now = np.clip(now - REACH * epsilon / steps * np.sign(gradient), low, high)
    gap, _ = slope(now)
    return (now if gap < least else best) - start, done + 1


def deepfool(slope: Slope, start: Floats, steps: int) -> tuple[Floats, int, bool]:
    """The smallest change, by its largest channel, to the border of a score that is taken for linear at each step.

    Each iterate is looked at as `outward` rounds it, because a change that 8 bits lose fools nobody.

    Returns:
        The change `[H, W, 3]` before rounding, the number of gradients, and whether it reaches the wrong side.
    """
    now, total = start, np.zeros_like(start)
    for done in range(steps):
        gap, gradient = slope(start + outward(start, now - start) / LEVELS)
        if gap < 0:
            return now - start, done + 1, True
        size = float(np.abs(gradient).sum())
        if not size:
            return now - start, done + 1, False
        total = total - (gap + 1e-4) / size * np.sign(gradient)
        now = np.clip(start + (1 + OVERSHOOT) * total, 0, 1)
    return now - start, steps + 1, slope(start + outward(start, now - start) / LEVELS)[0] < 0


def outward(start: Floats, change: Floats) -> Floats:
    """A change in [-1, 1] in whole grey levels, rounded away from 0: one of under half a level would be lost."""
    levels = np.sign(change) * np.ceil(np.abs(change) * LEVELS - 1e-6)
    return np.asarray(np.clip(levels, -start * LEVELS, (1 - start) * LEVELS), np.float64)
