"""Mixtures of Gaussians over viewpoints, and natural evolution strategies that move them to where a loss is high.

After ViewFool (Dong et al., NeurIPS 2022) and GMVFool (Ruan et al., ICCV 2023, arXiv 2307.10235). A component is drawn
for a whole viewpoint, so the yaw of one never meets the pitch of another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from variorum.kit.surfels import View

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Ints

RARELY = 0.5
"""Least weight of a component, as a share of an equal one."""
SIGMA, LEAST = 0.3, 0.05
"""Width that components start with, and that they keep at least, where a side of the box is about 2."""
EDGE = 0.98
"""Means start within this share of the box."""


class Box(NamedTuple):
    """The viewpoints that are looked at: middle and half width of each coordinate of `View`, `[6]` both."""

    middle: Floats
    half: Floats

    def view(self, inner: Floats) -> View:
        """The viewpoint at inner coordinates `[6]` in [-1, 1], to four decimals, so that records give it in full."""
        return View(*np.round(self.middle + self.half * inner, 4).tolist())


class Mixture(NamedTuple):
    """A mixture in coordinates u, where tanh u are coordinates of the box, with independent coordinates.

    Attributes:
        weights: `[K]`, their sum is 1.
        means: `[K, 6]`.
        sigmas: `[K, 6]`.
    """

    weights: Floats
    means: Floats
    sigmas: Floats

    def density(self, u: Floats) -> Floats:
        """Log densities `[N]` of points u `[N, 6]`, by the volume of the box in which each side is 2."""
        away = (u[:, None] - self.means) / self.sigmas
        each = -0.5 * (away**2 + np.log(2 * np.pi)).sum(axis=2) - np.log(self.sigmas).sum(axis=1) + np.log(self.weights)
        top = each.max(axis=1)
        inside = top + np.log(np.exp(each - top[:, None]).sum(axis=1))
        slope = 2 * (np.log(2) - np.logaddexp(u, -u))  # log of 1 / cosh² u
        return np.asarray(inside - slope.sum(axis=1))


def begun(components: int, rng: np.random.Generator) -> Mixture:
    """Equal components that start in equal sectors of the yaw, and anywhere in the other coordinates."""
    inner = rng.uniform(-1, 1, (components, 6))
    inner[:, 0] = (2 * np.arange(components) + 1 + inner[:, 0]) / components - 1
    return Mixture(np.full(components, 1 / components), np.arctanh(EDGE * inner), np.full((components, 6), SIGMA))


def drawn(mixture: Mixture, number: int, rng: np.random.Generator, *, pairs: bool = False) -> tuple[Floats, Ints]:
    """Points `[number, 6]` and their components `[number]`, as even in number as the weights allow.

    With `pairs` each point of the first half has one in the second, on the other side of its component's mean.
    """
    half = number // 2 if pairs else number
    places = (rng.permutation(half) + rng.random()) / half
    component = np.minimum(np.searchsorted(np.cumsum(mixture.weights), places, side="right"), len(mixture.weights) - 1)
    away = rng.standard_normal((half, 6))
    if pairs:
        away, component = np.concatenate([away, -away]), np.concatenate([component, component])
    return mixture.means[component] + mixture.sigmas[component] * away, component


def moved(mixture: Mixture, u: Floats, component: Ints, reward: Floats, allowed: Bools) -> Mixture:
    """A mixture after a step towards what was rewarded: means and sigmas by each component's own points, and weights.

    Rewards count by their ranks, so one large loss doesn't lead alone. Points that aren't allowed rank last.

    Args:
        mixture: what the points were drawn from.
        u: the points, `[N, 6]`.
        component: of each, `[N]`.
        reward: of each, `[N]`.
        allowed: whether each is a viewpoint that counts, `[N]`.
    """
    order = np.lexsort((reward, allowed))
    rank = np.empty(len(reward))
    rank[order] = np.arange(len(reward)) / (len(reward) - 1) - 0.5
    rank[~allowed] = rank[~allowed].mean() if (~allowed).any() else 0.0
    weights, means, sigmas = (one.copy() for one in mixture)
    for number in np.unique(component):
        mine = component == number
        away = (u[mine] - mixture.means[number]) / mixture.sigmas[number]
        pull = rank[mine] - rank[mine].mean()  # or a component that is worse than others would widen for it
        size = np.abs(pull).sum()
        if size > 0:
            means[number] += mixture.sigmas[number] * (pull[:, None] * away).sum(axis=0) / size
            change = (pull[:, None] * (away**2 - 1)).sum(axis=0) / size / 4
            sigmas[number] = np.clip(mixture.sigmas[number] * np.exp(np.clip(change, -0.5, 0.5)), LEAST, 1.0)
        weights[number] *= np.exp(rank[mine].mean())
    means = np.clip(means, -np.arctanh(EDGE), np.arctanh(EDGE))
    weights = np.maximum(weights / weights.sum(), RARELY / len(weights))
    return Mixture(weights / weights.sum(), means, sigmas)
