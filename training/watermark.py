"""Train the encoder and the decoder of the learned watermark, on one CPU thread.

`variorum.models.watermark_network` describes the networks. A mark has a given PSNR, so invisibility isn't a
loss. The loss is the binary cross-entropy of the bits after one of four distortions that are drawn for a batch: JPEG,
blur, noise, crop, turn, brightness, resize. A servo makes distortions stronger, then marks weaker, as long as the bits
are read. The patterns start as blurred noise, so that learning starts from spread spectrum (Cox et al., IEEE TIP 1997)
in place of chance; the rest follows HiDDeN (Zhu et al., arXiv 1807.09937).

The photographs are from Debian's `budgie-backgrounds` and `lomiri-wallpapers-16.04` and from scikit-image. All are CC0,
in the public domain or CC-BY-4.0; `PHOTOGRAPHS` and `SCIKIT_IMAGE` name their authors. They are few, so crops are taken
at several scales, mirrored, with other colours and contrast. A step depends only on the seed and its number, so a
stopped run continues from its checkpoint without a difference.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional

from training.loop import parsed, run
from training.photographs import pyramids
from variorum.models.loaders.learned_watermark import WEIGHTS
from variorum.models.watermark_network import BITS, LUMINANCE, SIDE, Watermark, box

if TYPE_CHECKING:
    from variorum.arrays import Pixels

DEBIAN = Path("/usr/share/backgrounds")
PHOTOGRAPHS = {
    "budgie/abstract-spiral.jpg": "Budgie Desktop Developers, CC0-1.0",
    "budgie/beacon-street-sunset.jpg": "Budgie Desktop Developers, CC0-1.0",
    "budgie/blue-periwinkle.jpg": "Budgie Desktop Developers, CC0-1.0",
    "budgie/canyon-wren.jpg": "Budgie Desktop Developers, CC0-1.0",
    "budgie/casa-mila.jpg": "Budgie Desktop Developers, CC0-1.0",
    "budgie/extreme-desert-hike.jpg": "Budgie Desktop Developers, CC0-1.0",
    "budgie/high-trestle-trail.jpg": "Budgie Desktop Developers, CC0-1.0",
    "budgie/lake-sherburne.jpg": "Budgie Desktop Developers, CC0-1.0",
    "budgie/oakland-zoo-otters.jpg": "Budgie Desktop Developers, CC0-1.0",
    "budgie/perched-osprey.jpg": "Budgie Desktop Developers, CC0-1.0",
    "budgie/piazza-gae-aulenti.jpg": "Budgie Desktop Developers, CC0-1.0",
    "budgie/roman-colosseum.jpg": "Budgie Desktop Developers, CC0-1.0",
    "budgie/singaporean-cityscape.jpg": "Budgie Desktop Developers, CC0-1.0",
    "budgie/tea-gardens.jpg": "Budgie Desktop Developers, CC0-1.0",
    "seeding_by_Clements_Engelhardt.jpg": "Clemens Engelhardt, CC0-1.0",
    "aitzgorri_by_Aitzol_Berasategi.jpg": "Aitzol Berasategi, CC-BY-4.0",
    "friends_by_Aitzol_Berasategi.jpg": "Aitzol Berasategi, CC-BY-4.0",
    "life_by_Aitzol_Berasategi.jpg": "Aitzol Berasategi, CC-BY-4.0",
    "picosdeeuropa_by_Aitzol_Berasategi.jpg": "Aitzol Berasategi, CC-BY-4.0",
    "sunset_by_Aitzol_Berasategi.jpg": "Aitzol Berasategi, CC-BY-4.0",
    "Picture_0B_by_freespace.jpg": 'Trevor "Freespace", CC-BY-4.0',
    "Picture_1A_by_freespace.jpg": 'Trevor "Freespace", CC-BY-4.0',
    "Wine_by_Jakkub_Mede.jpg": "Jakub Mede, CC-BY-4.0",
}
"""Author and licence by file, as Debian's copyright files state them; paintings, drawings and CC-BY-SA are left out."""
SCIKIT_IMAGE = {
    "astronaut.png": "NASA, public domain",
    "brick.png": "CC0Textures, CC0-1.0",
    "coffee.png": "Rachel Michetti, CC0-1.0",
    "grass.png": "Linolafett, CC0-1.0",
    "gravel.png": "CC0Textures, CC0-1.0",
    "rocket.jpg": "SpaceX, public domain",
}
"""Without chelsea.png, which is held out for evaluation."""

CROP = 256
BATCH, GROUPS = 8, 4
"""Crops in a batch, and distortions drawn for it, each for a share of the crops."""
SHORT_SIDES = (256, 320, 448, 640)
RATE = 1e-3
WARM_UP, COOL_DOWN = 100, 400
DECAY = 0.99
"""Of the moving average of the weights; lower in the first steps."""
LEAST, MOST = 34.0, 40.0
"""PSNR in dB: marks are drawn between the servo's, which starts at LEAST, and MOST."""
KINDS = ("none", *("jpeg",) * 4, "blur", "noise", "crop", "turn", "brightness", "resize")
LUMINANCE_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
COLOUR_TABLE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
"""Quantisation steps at quality 50 (ITU-T T.81, tables K.1 and K.2)."""


# ── network ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def patterns() -> torch.Tensor:
    """Slightly blurred noise without local mean, `[BITS, 2, SIDE, SIDE]`, of mean square 1."""
    noise = torch.randn(BITS, 2, SIDE, SIDE)
    smooth = noise / 3 + box(noise, 3)
    flat = smooth - box(smooth, 5)
    return flat / flat.square().mean((2, 3), keepdim=True).sqrt()


class Trained(Watermark):
    """The networks with the servo: the mark's PSNR in dB, the distortions' strength in [0, 1], smoothed accuracy."""

    servo: torch.Tensor

    def __init__(self) -> None:
        super().__init__(patterns())
        self.register_buffer("servo", torch.tensor([LEAST, 0.0, 0.92], dtype=torch.float64))


def marked(model: Watermark, pictures: torch.Tensor, bits: torch.Tensor, decibels: torch.Tensor) -> torch.Tensor:
    """Pictures with a mark at a PSNR, clipped and rounded; `bits` is ±1, `decibels` `[N]`."""
    return rounded(pictures + model.residual(pictures, bits, training=True) * 10 ** (-decibels.view(-1, 1, 1, 1) / 20))


# ── photographs ──────────────────────────────────────────────────────────────────────────────────────────────────────


def photographs(folder: Path) -> list[list[Pixels]]:
    """Each photograph as RGB, at each of SHORT_SIDES that it is large enough for."""
    packages = "budgie-backgrounds and lomiri-wallpapers-16.04"
    return pyramids(folder, PHOTOGRAPHS, SCIKIT_IMAGE, SHORT_SIDES, packages)


def crops(pictures: list[list[Pixels]], count: int, rng: np.random.Generator) -> torch.Tensor:
    """Random crops `[count, 3, CROP, CROP]` in [0, 1], of any photograph and scale.

    Half are mirrored; half have colour channels permuted and another contrast.
    """
    out = np.empty((count, 3, CROP, CROP), np.float32)
    for row in out:
        levels = pictures[int(rng.integers(len(pictures)))]
        picture = levels[int(rng.integers(len(levels)))]
        top, left = (int(rng.integers(side - CROP + 1)) for side in picture.shape[:2])
        cut = picture[top : top + CROP, left : left + CROP]
        if rng.integers(2):
            cut = cut[:, ::-1]
        if rng.integers(2):
            curve = (np.arange(256) / 255) ** rng.uniform(0.7, 1.4) * rng.uniform(0.5, 1.1)
            cut = np.rint(curve * 255).clip(0, 255).astype(np.uint8)[cut[..., rng.permutation(3)]]
        row[...] = cut.transpose(2, 0, 1)
    return torch.from_numpy(out) / 255


# ── distortions ──────────────────────────────────────────────────────────────────────────────────────────────────────


def rounded(values: torch.Tensor) -> torch.Tensor:
    """Clipped and rounded to 8 bits; the gradient of clipping, and none of rounding."""
    clipped = values.clamp(0, 1)
    return clipped + ((clipped * 255).round() / 255 - clipped).detach()


def cosines() -> torch.Tensor:
    """The matrix of the discrete cosine transform of 8 values."""
    grid = torch.arange(8, dtype=torch.float64)
    matrix = torch.cos((2 * grid[None] + 1) * grid[:, None] * math.pi / 16) / 2
    matrix[0] /= math.sqrt(2)
    return matrix.float()


def jpeg(pictures: torch.Tensor, quality: int) -> torch.Tensor:
    """RGB after JPEG with halved colour planes (4:2:0), with a gradient; sides are multiples of 16.

    A coefficient u in quantisation steps becomes round(u) + (u - round(u))³ (Shin & Song, NIPS 2017 workshop).
    """
    red, green, blue = (pictures * 255).split(1, 1)
    luminance = LUMINANCE[0] * red + LUMINANCE[1] * green + LUMINANCE[2] * blue
    halves = functional.avg_pool2d(torch.cat([(blue - luminance) / 1.772, (red - luminance) / 1.402], 1), 2)
    luminance = _quantised(luminance - 128, LUMINANCE_TABLE, quality) + 128
    colours = functional.interpolate(
        _quantised(halves, COLOUR_TABLE, quality), pictures.shape[2:], mode="bilinear", align_corners=False
    )
    blue, red = luminance + 1.772 * colours[:, :1], luminance + 1.402 * colours[:, 1:]
    green = (luminance - LUMINANCE[0] * red - LUMINANCE[2] * blue) / LUMINANCE[1]
    return torch.cat([red, green, blue], 1) / 255


def _quantised(values: torch.Tensor, table: tuple[tuple[int, ...], ...], quality: int) -> torch.Tensor:
    percent = 5000 / quality if quality < 50 else 200 - 2 * quality
    steps = torch.tensor(table, dtype=torch.float32).mul(percent).add(50).div(100).floor().clamp(1, 255)
    count, channels, height, width = values.shape
    blocks = values.reshape(count * channels, height // 8, 8, width // 8, 8).transpose(2, 3)
    matrix = cosines()
    scaled = matrix @ blocks @ matrix.T / steps
    whole = scaled.detach().round()
    blocks = matrix.T @ ((whole + (scaled - whole) ** 3) * steps) @ matrix
    return blocks.transpose(2, 3).reshape(values.shape)


def blurred(pictures: torch.Tensor, sigma: float) -> torch.Tensor:
    """After a Gaussian blur."""
    grid = torch.arange(-4, 5, dtype=torch.float32)
    kernel = torch.exp(-(grid**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(3, 1, 9)
    padded = functional.pad(pictures, (4, 4, 4, 4), mode="reflect")
    return functional.conv2d(functional.conv2d(padded, kernel[..., None], groups=3), kernel[:, :, None], groups=3)


def warped(pictures: torch.Tensor, rng: np.random.Generator, smallest: float, degrees: float) -> torch.Tensor:
    """Each picture cropped to a random share of its sides, turned, and brought back to its size."""
    count = len(pictures)
    share = rng.uniform(smallest, 1, count)
    angle = np.radians(rng.uniform(-degrees, degrees, count))
    shift = rng.uniform(-1, 1, (count, 2)) * (1 - share[:, None])
    cosine, sine = share * np.cos(angle), share * np.sin(angle)
    rows = [[cosine, -sine, shift[:, 0]], [sine, cosine, shift[:, 1]]]
    matrices = torch.from_numpy(np.asarray(rows, np.float32).transpose(2, 0, 1))
    grid = functional.affine_grid(matrices, list(pictures.shape), align_corners=False)
    return functional.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)


def distorted(pictures: torch.Tensor, kind: str, strength: float, rng: np.random.Generator) -> torch.Tensor:
    """After one distortion of a kind, drawn up to a strength in [0, 1]."""
    amount = float(rng.uniform(0, strength))
    if kind == "jpeg":
        return jpeg(pictures, round(95 - 60 * amount))
    if kind == "blur":
        return blurred(pictures, 0.1 + 1.4 * amount)
    if kind == "noise":
        return pictures + 0.07 * amount * torch.from_numpy(rng.standard_normal(pictures.shape, np.float32))
    if kind == "crop":
        return warped(pictures, rng, 1 - 0.06 * strength, 0)
    if kind == "turn":
        return warped(pictures, rng, 1, 3 * strength)
    if kind == "brightness":
        return pictures * (1 + 0.5 * amount if rng.integers(2) else 1 - 0.4 * amount)
    if kind == "resize":
        side = round(CROP * (1 - 0.5 * amount))
        small = functional.interpolate(pictures, (side, side), mode="bilinear", antialias=True)
        return functional.interpolate(small, pictures.shape[2:], mode="bilinear")
    return pictures


# ── training ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def learning_rate(step: int, steps: int) -> float:
    """Linear warm-up, then constant, and a last decay to zero at the last step."""
    return RATE * max(0.0, min((step + 1) / WARM_UP, 1.0, (steps - step) / COOL_DOWN))


def loss_of(model: Trained, pictures: list[list[Pixels]], seed: int) -> torch.Tensor:
    """Cross-entropy of the bits of one batch, drawn with `seed`; moves the servo."""
    rng = np.random.default_rng(seed)
    decibels, strength, accuracy = model.servo.tolist()
    clean = crops(pictures, BATCH, rng)
    bits = torch.from_numpy(rng.integers(2, size=(BATCH, BITS)).astype(np.float32))
    levels = torch.from_numpy(rng.uniform(decibels, MOST, BATCH).astype(np.float32))
    shown = marked(model, clean, bits * 2 - 1, levels)
    groups = [distorted(group, str(rng.choice(KINDS)), strength, rng) for group in shown.chunk(GROUPS)]
    logits = model.read(rounded(torch.cat(groups)))
    share = float(((logits > 0) == (bits > 0.5)).double().mean())
    model.servo.copy_(torch.tensor(moved(decibels, strength, 0.95 * accuracy + 0.05 * share)))
    return functional.binary_cross_entropy_with_logits(logits, bits)


def moved(decibels: float, strength: float, accuracy: float) -> tuple[float, float, float]:
    """The servo's next state: stronger distortions first, then weaker marks; stronger ones again if bits get lost."""
    if accuracy > 0.92:
        if strength < 1:
            return decibels, min(1.0, strength + 0.005), accuracy
        return min(MOST, decibels + 0.02), strength, accuracy
    if accuracy < 0.86:
        return max(LEAST, decibels - 0.02), strength, accuracy
    return decibels, strength, accuracy


def save(folder: Path, mean: dict[str, torch.Tensor]) -> None:
    """Write the weights as fp16 safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.half().contiguous() for name, value in mean.items() if name != "servo"}
    save_file(weights, folder / WEIGHTS)


def train(arguments: argparse.Namespace) -> None:
    """Start or continue training, until the steps are done or the minutes are spent."""
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    pictures = photographs(arguments.data)
    model = Trained()
    run(
        arguments,
        model,
        rate=lambda step: learning_rate(step, arguments.steps),
        weight_decay=0.0,
        decay=DECAY,
        loss_of=lambda step: loss_of(model, pictures, arguments.seed * 1_000_003 + step),
        save=save_to,
    )


def save_to(folder: Path, mean: dict[str, torch.Tensor]) -> None:
    """Write the weights, and say where the servo is."""
    decibels, strength, accuracy = mean["servo"].tolist()
    print(f"mark at {decibels:.1f} dB, distortions {strength:.2f}, accuracy {accuracy:.3f}", flush=True)
    save(folder, mean)


def main() -> None:
    """Parse and train."""
    of_steps, of_data = "number of steps of 16 crops", "folder of the packages' photographs"
    train(parsed(__doc__, steps=9000, steps_help=of_steps, data=DEBIAN, data_help=of_data))


if __name__ == "__main__":
    main()
