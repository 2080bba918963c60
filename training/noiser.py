"""Train the packaged enhancer of dark pictures on nothing but noise, on one CPU thread in under a minute.

NoiSER (Zhang et al., Noise Self-Regression, arXiv 2211.04700): two convolutions with an instance norm between them
learn to give noise back as it is, under a penalty on differences between neighbours. The norm takes out the level of a
picture, so what comes out of a dark one is about as bright as noise is: middle grey in every channel.

Two things differ from the program that is public. Borders repeat the outer pixels, since zeros are a brightness of
their own and leave a frame in the result. With that the first convolution's bias has no effect, so there is none.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from variorum.models.device import one_thread
from variorum.models.loaders.noise_regression import EPSILON, WEIGHTS

HIDDEN = 18
SIDE = 104
"""Of the squares of noise in pixels; a step sees one."""
DEVIATION = 3.0
"""Of the noise before it is cut at -1 and 1, where nearly three quarters of its values then lie."""
RATE = 2e-4
BETAS = (0.5, 0.999)


def network(hidden: int, padding: str = "replicate") -> nn.Sequential:
    """RGB `[N, 3, H, W]` of any range to [-1, 1]; 975 parameters with 18 hidden channels.

    Args:
        hidden: number of channels between the two convolutions.
        padding: as PyTorch's convolutions take it.
    """
    return nn.Sequential(
        nn.Conv2d(3, hidden, 3, padding=1, padding_mode=padding, bias=False),
        nn.InstanceNorm2d(hidden, eps=EPSILON),
        nn.GELU(approximate="tanh"),
        nn.Conv2d(hidden, 3, 3, padding=1, padding_mode=padding),
        nn.Tanh(),
    )


def loss_of(model: Any, noise: torch.Tensor) -> torch.Tensor:
    """Mean absolute error, and squared differences of vertical and of horizontal neighbours."""
    found = model(noise)
    down, across = found.diff(dim=2).square(), found.diff(dim=3).square()
    return (found - noise).abs().mean() + (down.sum() + across.sum()) / found.numel()


def train(arguments: argparse.Namespace) -> dict[str, float]:
    """Train, write the weights, and say how it went."""
    rng = torch.Generator().manual_seed(arguments.seed)
    with one_thread(), torch.random.fork_rng():
        torch.manual_seed(arguments.seed)
        model = network(arguments.hidden, arguments.padding)
        optimiser = torch.optim.Adam(model.parameters(), lr=RATE, betas=BETAS)
        began, smooth = time.process_time(), 1.0
        for _ in range(arguments.steps):
            noise = (DEVIATION * torch.randn((1, 3, SIDE, SIDE), generator=rng)).clamp(-1, 1)
            loss = loss_of(model, noise)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            smooth = 0.98 * smooth + 0.02 * loss.item()
        seconds = time.process_time() - began
    arguments.out.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, arguments.out / WEIGHTS)
    parameters = sum(value.numel() for value in model.parameters())
    return {"parameters": parameters, "steps": arguments.steps, "loss": smooth, "cpu_seconds": seconds}


def main() -> None:
    """Parse and train."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--hidden", type=int, default=HIDDEN, help="channels between the two convolutions")
    parser.add_argument("--padding", choices=("replicate", "zeros"), default="replicate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights")
    print(json.dumps(train(parser.parse_args())))


if __name__ == "__main__":
    main()
