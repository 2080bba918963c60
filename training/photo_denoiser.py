"""Train the packaged denoiser of colour photographs, on one CPU thread.

A diffusers `UNet2DModel` without attention, so it takes pictures of any size. It predicts v (Salimans & Ho, arXiv
2202.00512) on the linear schedule of a thousand steps (Ho et al., arXiv 2006.11239), on pictures folded by
pixel-unshuffle from H×W×3 to H/2×W/2×12. Editing by guided diffusion starts from partly noised pictures, so it learns
only the first KNOWN steps: it can remove noise from a picture, but can't make one from pure noise. The result is the
exponential moving average of the weights, as half-precision safetensors.

The photographs are from Debian's `budgie-backgrounds` and scikit-image, all CC0 or in the public domain. They are few,
so crops are taken at several scales, with colour channels permuted and scaled. A step depends only on the seed and its
number, so a stopped run continues from its checkpoint without a difference.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch.nn import functional

from training.loop import parsed, run, save_network
from training.photographs import pyramids

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

DEBIAN = Path("/usr/share/backgrounds/budgie")
WALLPAPERS = (
    "abstract-spiral",
    "beacon-street-sunset",
    "blue-periwinkle",
    "canyon-wren",
    "casa-mila",
    "extreme-desert-hike",
    "high-trestle-trail",
    "lake-sherburne",
    "oakland-zoo-otters",
    "perched-osprey",
    "piazza-gae-aulenti",
    "roman-colosseum",
    "singaporean-cityscape",
    "tea-gardens",
)
"""From `budgie-backgrounds`, without paintings and drawings."""
SCIKIT_IMAGE = ("astronaut.png", "brick.png", "coffee.png", "grass.png", "gravel.png", "rocket.jpg")
"""Without chelsea.png, which is held out for evaluation."""
SHORT_SIDES = (256, 384, 576, 864)
"""Photographs are shrunk to these sides in pixels before they are cropped; none is enlarged."""
FOLD = 2
CROP = 48
BATCH = 12
KNOWN = 320
"""Number of steps that it is trained for, of the thousand; at the last, a third of the power is signal."""
RATE = 2e-3
WARM_UP, HORIZON, COOL_DOWN = 100, 4000, 400
"""Steps of the linear warm-up, of the linear decay to zero in a full run, and of the final decay in any run."""
DECAY = 0.995
"""Of the moving average of the weights; lower in the first steps."""


def network() -> UNet2DModel:
    """1.9 M parameters at three resolutions: a half, a quarter and an eighth of the picture's."""
    return UNet2DModel(
        sample_size=CROP // FOLD,
        in_channels=3 * FOLD**2,
        out_channels=3 * FOLD**2,
        layers_per_block=1,
        block_out_channels=(48, 64, 96),
        down_block_types=("DownBlock2D",) * 3,
        up_block_types=("UpBlock2D",) * 3,
        norm_num_groups=16,
        add_attention=False,
    )


def noise_schedule() -> DDPMScheduler:
    """A thousand steps of the linear schedule; samplers with fewer spread them evenly."""
    return DDPMScheduler(
        num_train_timesteps=1000,
        beta_schedule="linear",
        prediction_type="v_prediction",
        timestep_spacing="linspace",
        clip_sample=False,
    )


def photographs(folder: Path) -> list[list[Pixels]]:
    """Each photograph as RGB, at each of SHORT_SIDES that it is large enough for."""
    names = [f"{name}.jpg" for name in WALLPAPERS]
    return pyramids(folder, names, SCIKIT_IMAGE, SHORT_SIDES, "budgie-backgrounds")


def crops(pictures: list[list[Pixels]], count: int, rng: np.random.Generator) -> Singles:
    """Random crops `[count, 3, CROP, CROP]` in [-1, 1], of any photograph and scale; half mirrored, half recoloured."""
    out = np.empty((count, 3, CROP, CROP), np.float32)
    for row in out:
        levels = pictures[int(rng.integers(len(pictures)))]
        picture = levels[int(rng.integers(len(levels)))]
        top, left = (int(rng.integers(side - CROP + 1)) for side in picture.shape[:2])
        cut = picture[top : top + CROP, left : left + CROP].astype(np.float32) / 255
        if rng.integers(2):
            cut = cut[:, ::-1]
        if rng.integers(2):
            cut = cut[..., rng.permutation(3)] * rng.uniform(0.6, 1.2, 3).astype(np.float32)
        row[...] = cut.clip(0, 1).transpose(2, 0, 1) * 2 - 1
    return out


def learning_rate(step: int, steps: int) -> float:
    """Linear warm-up and decay, and a last decay to zero at the last step, so that a shorter run ends at zero too."""
    falling = (HORIZON - step) / (HORIZON - WARM_UP)
    return RATE * max(0.0, min((step + 1) / WARM_UP, falling, falling * (steps - step) / COOL_DOWN))


def loss_of(model: UNet2DModel, schedule: DDPMScheduler, pictures: list[list[Pixels]], seed: int) -> torch.Tensor:
    """Mean squared error in v of one batch, drawn with `seed`."""
    rng = np.random.default_rng(seed)
    clean = functional.pixel_unshuffle(torch.from_numpy(crops(pictures, BATCH, rng)), FOLD)
    moments = torch.from_numpy(rng.integers(KNOWN, size=BATCH))
    noise = torch.from_numpy(rng.standard_normal(clean.shape, np.float32))
    predicted = model(schedule.add_noise(clean, noise, moments), moments).sample
    return functional.mse_loss(predicted, schedule.get_velocity(clean, noise, moments))


def train(arguments: argparse.Namespace) -> None:
    """Start or continue training, until the steps are done or the minutes are spent."""
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    pictures = photographs(arguments.data)
    model, schedule = network(), noise_schedule()
    run(
        arguments,
        model,
        rate=lambda step: learning_rate(step, arguments.steps),
        weight_decay=0.0,
        decay=DECAY,
        loss_of=lambda step: loss_of(model, schedule, pictures, arguments.seed * 1_000_003 + step),
        save=lambda folder, mean: save_network(network(), schedule, folder, mean),
    )


def main() -> None:
    """Parse and train."""
    of_steps, of_data = "number of steps of 12 crops, at most 4000", "folder of budgie-backgrounds' photographs"
    train(parsed(__doc__, steps=HORIZON, steps_help=of_steps, data=DEBIAN, data_help=of_data))


if __name__ == "__main__":
    main()
