"""A small segmentation network that is trained on given masks and gives its predictions after every epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from variorum.models.device import best_device, one_thread

if TYPE_CHECKING:
    import torch

    from variorum.arrays import Pixels, Singles

WIDTH = 12
RATE = 8e-3
BATCHES = 8
"""Approximate steps per epoch, whatever the number of pictures, so that curves rise over several epochs."""
BATCH = (8, 64)
"""Least and most pictures per step."""


def watch(images: Pixels, masks: NDArray[np.integer[Any]], k: int, *, seed: int, epochs: int) -> Iterator[Singles]:
    """Train on masks and yield the network's probabilities `[N, H, W, k]` for the same pictures after every epoch.

    `masks` is read again each epoch, so the caller can change it between two epochs.

    Args:
        images: `[N, H, W, 3]`; H and W are multiples of 4.
        masks: `[N, H, W]`, values 0 to k - 1.
        k: number of classes, including the background.
        seed: of the initial weights and the order of the pictures.
        epochs: most epochs; the caller may stop earlier.
    """
    import torch
    from torch.nn.functional import cross_entropy

    device = best_device()
    draw = torch.Generator().manual_seed(seed)
    network = unet(k, draw).to(device)
    inputs = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    batch = int(np.clip(len(images) // BATCHES, *BATCH))
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE)

    def pixels(chosen: Any) -> torch.Tensor:
        return inputs[chosen].to(device).float() / 127.5 - 1

    for _ in range(epochs):
        targets = torch.from_numpy(masks.astype(np.int64))
        with one_thread():
            for chosen in torch.randperm(len(inputs), generator=draw).split(batch):
                loss = cross_entropy(network(pixels(chosen)), targets[chosen].to(device))
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            with torch.no_grad():
                parts = [network(pixels(slice(i, i + 64))).softmax(1).cpu() for i in range(0, len(inputs), 64)]
        yield torch.cat(parts).permute(0, 2, 3, 1).numpy()


def unet(k: int, draw: torch.Generator) -> torch.nn.Module:
    """A U-Net with three levels and 48 thousand weights (Ronneberger et al. 2015), initialised from `draw`.

    It uses group normalisation, so a prediction depends neither on other pictures nor on running averages.
    """
    import torch
    from torch import nn
    from torch.nn.functional import interpolate, max_pool2d

    def block(inward: int, between: int, outward: int) -> nn.Module:
        layers: list[nn.Module] = []
        for a, b in ((inward, between), (between, outward)):
            # skip_init, because a layer's own initialisation draws from the global random state
            convolution = nn.utils.skip_init(nn.Conv2d, a, b, 3, padding=1)
            nn.init.kaiming_normal_(convolution.weight, generator=draw)
            nn.init.zeros_(convolution.bias)
            layers += [convolution, nn.GroupNorm(4, b), nn.ReLU()]
        return nn.Sequential(*layers)

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            w = WIDTH
            self.down = nn.ModuleList([block(3, w, w), block(w, 2 * w, 2 * w), block(2 * w, 4 * w, 2 * w)])
            self.up = nn.ModuleList([block(4 * w, 2 * w, w), block(2 * w, w, w)])
            self.out = nn.utils.skip_init(nn.Conv2d, w, k, 1)
            nn.init.kaiming_normal_(self.out.weight, generator=draw)
            nn.init.zeros_(self.out.bias)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            fine = self.down[0](x)
            middle = self.down[1](max_pool2d(fine, 2))
            coarse = self.down[2](max_pool2d(middle, 2))
            middle = self.up[0](torch.cat([interpolate(coarse, scale_factor=2), middle], dim=1))
            fine = self.up[1](torch.cat([interpolate(middle, scale_factor=2), fine], dim=1))
            logits: torch.Tensor = self.out(fine)
            return logits

    return UNet()
