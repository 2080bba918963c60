"""Accuracy on real pictures of a small network that is trained from scratch, where heads have frozen features.

A head's features come from other pictures, so it says little of what a network would learn from a set. Every network
here takes the same number of steps, so that a larger set gives it more pictures and no more training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from variorum.models.device import one_thread

if TYPE_CHECKING:
    import torch

    from variorum.arrays import Array, Bools
    from variorum.kit.sets.pictures import Pictures

SIDE = 28
"""Pixels to which pictures are reduced, in grey."""
WIDTH = 16
"""Channels of the first layer."""
BATCH = 32
RATE = 3e-3
AT_ONCE = 1000
"""Pictures asked about at a time."""


def network_rights(
    train: Sequence[Pictures], tests: Sequence[Pictures], classes: int, steps: int, seed: int
) -> list[Bools]:
    """For each test set, whether a network trained on all of `train` is right `[n]`.

    Args:
        train: sets with `grey` pictures; each step takes `BATCH` of them.
        tests: sets with `grey` pictures.
        classes: number of classes.
        steps: of Adam; the rate falls to 0.
        seed: of the weights and of the order of the pictures.
    """
    import torch
    from torch.nn.functional import cross_entropy

    draw = torch.Generator().manual_seed(seed % 2**63)
    with one_thread():
        x = torch.cat([_tensor(part.grey) for part in train])
        y = torch.from_numpy(np.concatenate([part.y for part in train]))
        network = _network(classes, draw)
        optimiser = torch.optim.Adam(network.parameters(), lr=RATE)
        for step in range(steps):
            for group in optimiser.param_groups:
                group["lr"] = RATE * (1 - step / steps)
            chosen = torch.randint(len(y), (BATCH,), generator=draw)
            optimiser.zero_grad()
            cross_entropy(network(x[chosen]), y[chosen]).backward()
            optimiser.step()
        network.eval()
        with torch.inference_mode():
            return [_answers(network, test.grey) == test.y for test in tests]


def _answers(network: torch.nn.Module, grey: Array | None) -> Array:
    """The likeliest classes `[n]`."""
    parts = [network(part).argmax(1).numpy() for part in _tensor(grey).split(AT_ONCE) if len(part)]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _network(classes: int, draw: torch.Generator) -> torch.nn.Module:
    """Two convolutions that halve the picture, and a linear layer."""
    from torch import nn

    def convolution(inward: int, outward: int, size: int) -> list[nn.Module]:
        # skip_init, because a layer's own initialisation draws from the global random state
        layer: nn.Conv2d = nn.utils.skip_init(nn.Conv2d, inward, outward, size, stride=2, padding=size // 2, bias=False)
        nn.init.kaiming_normal_(layer.weight, generator=draw)
        return [layer, nn.BatchNorm2d(outward), nn.ReLU()]

    last = nn.utils.skip_init(nn.Linear, 2 * WIDTH * (SIDE // 4) ** 2, classes)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    layers = [*convolution(1, WIDTH, 5), *convolution(WIDTH, 2 * WIDTH, 3), nn.Flatten(), last]
    return nn.Sequential(*layers)


def _tensor(grey: Array | None) -> torch.Tensor:
    """Grey levels `[n, SIDE²]` as `[n, 1, SIDE, SIDE]` in [-1, 1]."""
    import torch

    if grey is None:
        raise ValueError("the pictures have no grey levels")
    levels = np.ascontiguousarray(grey, np.float32).reshape(-1, 1, SIDE, SIDE)
    return torch.from_numpy(levels / np.float32(127.5) - 1)
