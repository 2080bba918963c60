"""Attacks that look for the smallest change: Carlini & Wagner's, and DeepFool.

A change that is lost when the picture is stored fools nobody, so an iterate counts only if its rounded picture fools
the network. Pictures are tensors `[N, 3, H, W]` of grey levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from variorum.kit.attacks.ascent import useful
from variorum.kit.attacks.losses import Victim, margin

LARGEST = 1e10
"""Of C&W's constant."""
RATE = 0.01
"""Of Adam, as its authors have it."""
CANDIDATES = 10
"""Classes whose borders DeepFool looks at, as its authors' code does."""
OVERSHOOT = 0.02
GROWTH = 1.25
FARTHEST = 64.0
"""DeepFool goes a little further than to the border, then further by a quarter at a time until the rounded picture is
over it, at most so many times as far."""


class Closest(NamedTuple):
    """The smallest changes found.

    Attributes:
        pictures: in grey levels, rounded unless asked otherwise; where nothing fooled, the last that was tried.
        fooled: whether the change fools all networks, `[N]`.
        gradients: computed of each picture, `[N]`.
        first: steps until the first success, -1 for none, `[N]`.
        flat: pictures for which a network's first gradient is zero or not finite, `[N]`.
    """

    pictures: Any
    fooled: Any
    gradients: Any
    first: Any
    flat: Any


def carlini_wagner(
    pictures: Any,
    victims: Sequence[Victim],
    grey: Any,
    *,
    steps: int,
    searches: int,
    confidence: float,
    rounded: bool = True,
) -> Closest:
    """The smallest change by its L2 norm (Carlini & Wagner, S&P 2017, arXiv 1608.04644).

    It minimises ‖x' - x‖² + c · max(-margin, -confidence) over w with x' = (tanh w + 1) / 2, by Adam, and looks for the
    best c of each picture: ten times as large until it fools, then by halving.

    Args:
        pictures: in grey levels.
        victims: the networks; all must be fooled.
        grey: pictures whose channels must stay equal, `[N]`.
        steps: of Adam for each c.
        searches: how many values of c are tried.
        confidence: κ, the margin that is aimed at.
        rounded: an iterate counts only if its rounded picture fools; otherwise the unrounded one is returned.
    """
    import torch

    number, shape = len(pictures), (-1, 1, 1, 1)
    x = pictures / 255
    begin = torch.atanh((2 * x - 1) * (1 - 1e-6))
    low, high, c = torch.zeros(number), torch.full((number,), LARGEST), torch.ones(number)
    least, best, fooled = torch.full((number,), float("inf")), pictures.clone(), torch.zeros(number, dtype=torch.bool)
    first, flat, gradients = torch.full((number,), -1), torch.zeros(number, dtype=torch.bool), 0
    for _ in range(searches):
        w, mean, square = begin.clone(), torch.zeros_like(x), torch.zeros_like(x)
        reached = torch.zeros(number, dtype=torch.bool)
        for step in range(1, steps + 1):
            w = w.detach().requires_grad_()
            with torch.enable_grad():
                moved = (torch.tanh(w) + 1) / 2
                gaps = torch.stack([margin(one.network(moved).cpu(), one.away, one.towards) for one in victims])
                far = (moved - x).square().flatten(1).sum(1)
                cost = far + c * (confidence - gaps).clamp_min(0).sum(0)
                if not gradients:
                    slopes = [torch.autograd.grad(gap.sum(), w, retain_graph=True)[0] for gap in gaps]
                    flat = ~torch.stack([useful(one) for one in slopes]).all(0)
                (slope,) = torch.autograd.grad(cost.sum(), w)
            gradients += 1
            now = (moved.detach() * 255).round() if rounded else moved.detach() * 255
            near = (now / 255 - x).square().flatten(1).sum(1)
            over = (gaps.detach() > 0).all(0) & ((near < least) | ~reached)
            if rounded and over.any():
                over &= fools(now, victims)
            first[over & (first < 0)] = gradients
            reached |= over
            hit = over & (near < least)
            least, best = torch.where(hit, near, least), torch.where(hit.view(shape), now, best)
            slope = torch.where(grey.view(shape), slope.mean(1, keepdim=True), slope).nan_to_num(0, 0, 0)
            mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope.square()
            w = w.detach() - RATE * (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)).sqrt() + 1e-8)
        fooled |= reached
        best = torch.where(fooled.view(shape), best, now)
        low, high = torch.where(reached, low, c), torch.where(reached, c, high)
        c = torch.where(high < LARGEST, (low + high) / 2, c * 10)
    return Closest(best, fooled, torch.full((number,), gradients * len(victims)), first, flat)


def fools(pictures: Any, victims: Sequence[Victim]) -> Any:
    """Whether pictures in grey levels fool all networks, `[N]`."""
    import torch

    with torch.no_grad():
        gaps = [margin(one.network(pictures / 255).cpu(), one.away, one.towards) for one in victims]
    return (torch.stack(gaps) > 0).all(0)


def deepfool(pictures: Any, victim: Victim, grey: Any, *, steps: int) -> Closest:
    """The change to the nearest border by its L2 norm (Moosavi-Dezfooli et al., CVPR 2016, arXiv 1511.04599).

    In each step the network is taken for linear, and the nearest border to one of the likeliest wrong classes, or to
    the one that is aimed at, is gone to. The change is then enlarged until its rounded picture fools.

    Args:
        pictures: in grey levels.
        victim: the network.
        grey: pictures whose channels must stay equal, `[N]`.
        steps: at most.
    """
    import torch

    number, shape = len(pictures), (-1, 1, 1, 1)
    with torch.no_grad():
        said = victim.network(pictures / 255).cpu()
    wrong = said.masked_fill(victim.away, -float("inf")) if victim.towards is None else said.masked_fill(
        ~victim.towards, -float("inf")
    )  # fmt: skip
    likely, others = wrong.topk(min(CANDIDATES, int(wrong.isfinite().sum(1).max())), dim=1)
    none = ~likely.isfinite()  # a picture may have fewer wrong classes than its neighbours
    total, gradients = torch.zeros_like(pictures), torch.zeros(number, dtype=torch.long)
    first, flat = torch.full((number,), -1), torch.zeros(number, dtype=torch.bool)
    for step in range(steps):
        x = ((pictures + (1 + OVERSHOOT) * total).clamp(0, 255) / 255).requires_grad_()
        with torch.enable_grad():
            said = victim.network(x).cpu()
            right = said.masked_fill(~victim.away, -float("inf")).amax(1)
            gaps = said.gather(1, others) - right[:, None]
            over = margin(said, victim.away, victim.towards) > 0
            first[over & (first < 0)] = step
            if over.all():
                break
            slopes = [torch.autograd.grad(gaps[:, n].sum(), x, retain_graph=True)[0] for n in range(gaps.shape[1])]
        gradients += torch.where(over, 0, (~none).sum(1))
        slope = torch.stack(slopes, 1)
        slope = torch.where(grey.view(-1, 1, 1, 1, 1), slope.mean(2, keepdim=True).expand_as(slope), slope)
        size = slope.flatten(2).square().sum(2).sqrt()
        if not step:
            flat = ~(size.isfinite() & (size > 0)).any(1)
        away = ((gaps.detach().abs() + 1e-4) / size).masked_fill(none, float("inf"))
        chosen = away.nan_to_num(float("inf"), float("inf")).argmin(1)
        every = torch.arange(number)
        move = (away / size)[every, chosen].view(shape) * slope[every, chosen]
        total = total + torch.where(over.view(shape), 0, move.nan_to_num(0, 0, 0)) * 255
    best, fooled, scale = pictures.clone(), torch.zeros(number, dtype=torch.bool), 1 + OVERSHOOT
    while not fooled.all() and scale < FARTHEST:
        now = (pictures + scale * total).clamp(0, 255).round()
        best = torch.where(fooled.view(shape), best, now)
        fooled |= fools(now, [victim])
        scale *= GROWTH
    return Closest(best, fooled, gradients, torch.where(fooled & (first < 0), steps, first), flat)
