"""Train the packaged class-conditional diffusion model of Fashion-MNIST, on one CPU thread.

A diffusers `UNet2DModel` predicts v (Salimans & Ho, arXiv 2202.00512) on a cosine schedule (Nichol & Dhariwal, arXiv
2102.09672). Pictures are folded by pixel-unshuffle from 28×28×1 to 14×14×4, which makes a step several times cheaper
than at full resolution. One label in ten is replaced by the null class, for classifier-free guidance in sampling (Ho &
Salimans, arXiv 2207.12598). The result is the exponential moving average of the weights, as half-precision safetensors.

A step depends only on the seed and its number, so a stopped run continues from its checkpoint without a difference. On
machines with the same floating-point kernels, the result is the same.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch.nn import functional

from training.fashion_mnist import DEBIAN, SIDE, read
from training.loop import parsed, run, save_network

CLASSES = 10
NULL = CLASSES
"""Label of the null class."""
BATCH = 32
RATE = 1.5e-3
WARM_UP = 50
"""Steps over which the learning rate rises; then it falls linearly to zero."""
DROPPED = 0.1
"""Share of the labels that the null class replaces."""
DECAY = 0.997
"""Of the moving average of the weights; lower in the first steps."""


def network() -> UNet2DModel:
    """1.6 M parameters at two resolutions: 14×14, and 7×7 with attention."""
    return UNet2DModel(
        sample_size=SIDE // 2,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(48, 96),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=16,
        norm_num_groups=16,
        num_class_embeds=CLASSES + 1,
    )


def noise_schedule() -> DDPMScheduler:
    """A thousand steps of the cosine schedule; samplers start from the noisiest one."""
    return DDPMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=True,
    )


def folded(images: Any) -> torch.Tensor:
    """The network's input `[N, 4, 14, 14]` in [-1, 1] from uint8 pictures `[N, 28, 28]`."""
    pixels = torch.from_numpy(images)[:, None].float() / 127.5 - 1
    return functional.pixel_unshuffle(pixels, 2)


def learning_rate(step: int, steps: int) -> float:
    """Linear warm-up, then linear decay to zero at the last step."""
    return RATE * min((step + 1) / WARM_UP, (steps - step) / max(1, steps - WARM_UP))


def loss_of(model: UNet2DModel, schedule: DDPMScheduler, images: Any, labels: torch.Tensor, seed: int) -> torch.Tensor:
    """Mean squared error in v of one batch, drawn with `seed`."""
    rng = torch.Generator().manual_seed(seed)
    picked = torch.randint(len(labels), (BATCH,), generator=rng)
    clean = folded(images[picked.numpy()])
    noise = torch.randn(clean.shape, generator=rng)
    moments = torch.randint(schedule.config.num_train_timesteps, (BATCH,), generator=rng)
    dropped = torch.rand(BATCH, generator=rng) < DROPPED
    classes = torch.where(dropped, NULL, labels[picked])
    predicted = model(schedule.add_noise(clean, noise, moments), moments, class_labels=classes).sample
    return functional.mse_loss(predicted, schedule.get_velocity(clean, noise, moments))


def train(arguments: argparse.Namespace) -> None:
    """Start or continue training, until the steps are done or the minutes are spent."""
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    images, indices = read("train", arguments.data)
    labels = torch.from_numpy(indices)
    model, schedule = network(), noise_schedule()
    run(
        arguments,
        model,
        rate=lambda step: learning_rate(step, arguments.steps),
        weight_decay=0.01,
        decay=DECAY,
        loss_of=lambda step: loss_of(model, schedule, images, labels, arguments.seed * 1_000_003 + step),
        save=lambda folder, mean: save_network(network(), schedule, folder, mean),
    )


def main() -> None:
    """Parse and train."""
    of_steps = "number of steps of 32 pictures; the learning rate falls to zero at the last"
    train(parsed(__doc__, steps=2400, steps_help=of_steps, data=DEBIAN, data_help="folder of the four IDX files"))


if __name__ == "__main__":
    main()
