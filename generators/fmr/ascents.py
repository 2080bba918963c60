"""Steps along the gradient of one network that others must allow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from variorum.generators.fmr.spaces import Space
from variorum.kit.attacks.ascent import Slope, climb

if TYPE_CHECKING:
    from variorum.arrays import Pixels

Accepts = Callable[[int, "Pixels"], bool]
"""Whether the oracles accept a stored picture, given the number of the picture that it is made of."""
SHARES = (1.0, 0.5, 0.25, 0.125)
"""Of the norm, tried for a control until the oracles accept."""


class Pushed(NamedTuple):
    """A picture as it is stored, the numbers of the space that changed it, and the steps that the oracles accepted."""

    image: Pixels
    numbers: Any
    steps: int


def pushed(
    within: Space, slope: Slope, accepts: Accepts, budgets: Sequence[int], *, step: float, sparsity: float
) -> dict[int, list[Pushed]]:
    """The pictures after each number of steps, or after the last step that the oracles accepted, if that comes before.

    All come from one ascent. What the oracles are asked about is the picture as it would be stored; it is never
    differentiated. The numbers whose gradient at the picture is largest stay at 0: what the network sees the label by.

    Args:
        within: the pictures and their space.
        slope: the gradient of what is to grow.
        accepts: asks the oracles.
        budgets: numbers of steps.
        step: length of one.
        sparsity: share of the numbers that stay, in [0, 1); a picture of equal channels moves them together.
    """
    import torch

    state, images, free = within.start, within.stored(within.start), None
    alive, steps = [True] * len(images), [0] * len(images)
    found: dict[int, list[Pushed]] = {}

    def way(here: Any) -> Any:
        nonlocal free
        gradient = slope(here)
        if free is None:
            free = movable(gradient, sparsity)
        return gradient * free

    for number in range(max(budgets) + 1):
        if number and any(alive):
            moved = climb(state, -float("inf"), float("inf"), way, steps=1, step=step)
            for place, image in enumerate(within.stored(moved)):
                alive[place] = alive[place] and accepts(place, image)
                if alive[place]:
                    images[place], steps[place] = image, number
            kept = torch.tensor(alive).view(-1, *[1] * (state.ndim - 1))
            state = torch.where(kept, moved, state)
        if number in budgets:
            found[number] = [Pushed(*one) for one in zip(images, state, steps, strict=True)]
    return found


def movable(gradient: Any, sparsity: float) -> Any:
    """Which numbers may move, `[N, 1, ...]`: all but this share, those with the largest gradients.

    Numbers that differ only in their channel stay together, so that grey pictures can stay grey.

    Args:
        gradient: at the picture, `[N, C, ...]`.
        sparsity: share of the numbers that stay.
    """
    import torch

    size = gradient.abs().sum(1).flatten(1)
    most = int(size.shape[1] * (1 - sparsity) + 1e-9)
    chosen = torch.zeros_like(size, dtype=torch.bool)
    chosen.scatter_(1, size.argsort(dim=1, stable=True)[:, :most], True)
    return chosen.view(gradient[:, :1].shape)


def at_random(
    within: Space, numbers: Sequence[Any], accepts: Accepts, draws: Sequence[np.random.Generator]
) -> list[tuple[Pixels, float]]:
    """Pictures changed by numbers of the same L2 norm and random signs, or by the part that the oracles accept.

    Args:
        within: the N pictures and their space.
        numbers: of each, whose norm is taken; those at 0 stay.
        accepts: asks the oracles.
        draws: of the signs of each.

    Returns:
        Each picture, and which share of the norm it has.
    """
    import torch

    signs = [
        rng.integers(0, 2, (1, *one.shape[1:]) if grey else one.shape) * 2 - 1
        for rng, one, grey in zip(draws, numbers, within.grey, strict=True)
    ]
    moves = [one != 0 for one in numbers]
    whole = torch.stack([
        torch.from_numpy(sign) * move * (one.norm() / move.sum().clamp_min(1).sqrt())
        for sign, move, one in zip(signs, moves, numbers, strict=True)
    ])  # fmt: skip
    found = [(image, 0.0) for image in within.stored(within.start)]
    for share in SHARES:
        for place, image in enumerate(within.stored(share * whole)):
            if not found[place][1] and accepts(place, image):
                found[place] = image, share
    return found
