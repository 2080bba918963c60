"""Measure the learned watermark on pictures outside its training data: share of right bits after real distortions.

Pictures are the central square at one side. Each has a payload of its own, drawn with `--seed`. JPEG is libjpeg's, with
halved colour planes. A crop keeps the middle and enlarges it to the picture's size again; a turn reflects at the
borders. `unmarked` reads pictures without a mark, so half of the bits are right by chance. With `--sheet` it writes a
PNG to look at: each picture, the same marked, and of both the darkest part, enlarged and brightened.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from training.photographs import held_out, resized
from variorum.models.loaders.learned_watermark import LEARNED_WATERMARK, LearnedWatermark
from variorum.models.table_entries import Entry
from variorum.pixels import decode

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Pixels

BITS = 32
ENOUGH = 24
"""Right bits at which a payload counts as found; 0.35 % of random payloads have as many."""
DARK = 96
"""Side in pixels of the dark part, of 256."""


# ── distortions ──────────────────────────────────────────────────────────────────────────────────────────────────────


def jpeg(picture: Pixels, quality: int) -> Pixels:
    """After JPEG."""
    written, data = cv2.imencode(".jpg", picture[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, quality))
    assert written
    return decode(data.tobytes())


def noisy(picture: Pixels, deviation: float) -> Pixels:
    """With white noise, the same for each picture of a size."""
    noise = np.random.default_rng(0).standard_normal(picture.shape, np.float32)
    return _levels(picture + 255 * deviation * noise)


def cropped(picture: Pixels, share: float) -> Pixels:
    """The middle, enlarged."""
    side = len(picture)
    cut = round(side * (1 - share) / 2)
    return resized(picture[cut : side - cut, cut : side - cut], side)


def turned(picture: Pixels, degrees: float) -> Pixels:
    """Turned about its centre."""
    side = len(picture)
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), degrees, 1)
    return np.asarray(cv2.warpAffine(picture, matrix, (side, side), borderMode=cv2.BORDER_REFLECT), np.uint8)


def _levels(values: Array) -> Pixels:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


DISTORTIONS: dict[str, Callable[[Pixels], Pixels]] = {
    "clean": lambda picture: picture,
    "jpeg 90": lambda picture: jpeg(picture, 90),
    "jpeg 50": lambda picture: jpeg(picture, 50),
    "jpeg 30": lambda picture: jpeg(picture, 30),
    "blur 1": lambda picture: np.asarray(cv2.GaussianBlur(picture, (0, 0), 1), np.uint8),
    "noise 0.05": lambda picture: noisy(picture, 0.05),
    "resize 0.5": lambda picture: resized(resized(picture, len(picture) // 2), len(picture)),
    "brightness 1.3": lambda picture: _levels(picture * 1.3),
    "brightness 0.6": lambda picture: _levels(picture * 0.6),
    "crop 0.95": lambda picture: cropped(picture, 0.95),
    "crop 0.9": lambda picture: cropped(picture, 0.9),
    "crop 0.8": lambda picture: cropped(picture, 0.8),
    "turn 1": lambda picture: turned(picture, 1),
    "turn 3": lambda picture: turned(picture, 3),
    "mirrored": lambda picture: np.ascontiguousarray(picture[:, ::-1]),
    "grey": lambda picture: np.asarray(cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)),
}


# ── measuring ────────────────────────────────────────────────────────────────────────────────────────────────────────


def loaded(folder: Path) -> LearnedWatermark:
    """The watermark whose weights are in a folder."""
    entry = Entry(
        name="x",
        loader="learned_watermark",
        local={"path": str(folder)},  # type: ignore[arg-type]
        licence="CC-BY-4.0",
        source="x",
    )
    model = LEARNED_WATERMARK.load(entry, folder, {})
    assert isinstance(model, LearnedWatermark)
    return model


def psnr(found: Pixels, clean: Pixels) -> float:
    """PSNR in dB, 99 at most."""
    error = float(np.mean((found.astype(np.float64) - clean) ** 2))
    return min(99.0, 10 * math.log10(255**2 / max(error, 1e-9)))


def right(model: LearnedWatermark, pictures: list[Pixels], payloads: Bools) -> dict[str, float]:
    """Share of right bits, the least of a picture, and the share of pictures with ENOUGH."""
    share = ((model.read(pictures) > 0) == payloads).mean(1)
    found = {"bits": share.mean(), "worst": share.min(), "found": (share >= ENOUGH / BITS).mean()}
    return {name: round(float(value), 4) for name, value in found.items()}


def measured(model: LearnedWatermark, pictures: list[Pixels], decibels: float, seed: int) -> dict[str, object]:
    """PSNR and milliseconds of CPU time a picture, and the bits by distortion."""
    payloads = np.random.default_rng(seed).integers(2, size=(len(pictures), BITS)).astype(bool)
    began = time.process_time()
    marked = model.embed(pictures, payloads, decibels)
    embedded = time.process_time()
    model.read(marked)
    read = time.process_time()
    loss = [psnr(after, before) for after, before in zip(marked, pictures, strict=True)]
    rows = {name: right(model, [change(item) for item in marked], payloads) for name, change in DISTORTIONS.items()}
    rows["unmarked"] = right(model, pictures, payloads)
    return {
        "psnr": {"mean": round(float(np.mean(loss)), 2), "least": round(min(loss), 2), "most": round(max(loss), 2)},
        "ms": {
            "embed": round((embedded - began) / len(pictures) * 1000, 1),
            "read": round((read - embedded) / len(pictures) * 1000, 1),
        },
        "distortions": rows,
    }


# ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def sheet(model: LearnedWatermark, pictures: list[Pixels], decibels: float, seed: int) -> Pixels:
    """A row for each picture: it, the same marked, and the darkest part of both, brightened."""
    payloads = np.random.default_rng(seed).integers(2, size=(len(pictures), BITS)).astype(bool)
    rows = []
    for before, after in zip(pictures, model.embed(pictures, payloads, decibels), strict=True):
        side = len(before)
        size = side * DARK // 256
        means = cv2.boxFilter(cv2.cvtColor(before, cv2.COLOR_RGB2GRAY).astype(np.float32), -1, (size, size))
        half = size // 2
        inside = means[half : side - half, half : side - half]
        top, left = (int(place) for place in np.unravel_index(int(inside.argmin()), inside.shape))
        bright = 110 / max(20.0, float(inside.min()))
        dark = [
            _levels(resized(item[top : top + size, left : left + size], 2 * side) * bright) for item in (before, after)
        ]
        rows.append(np.hstack([resized(before, 2 * side), resized(after, 2 * side), *dark]))
    return np.vstack(rows)


def main() -> None:
    """Print the figures as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, default=Path("checkpoints/watermark/model"))
    parser.add_argument("--pictures", type=Path, help="folder of pictures to use in place of the packaged ones")
    parser.add_argument("--every", type=int, default=1, help="use every n-th picture of the folder")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--decibels", type=float, nargs="+", default=[38.0])
    parser.add_argument("--seed", type=int, default=0, help="of the payloads")
    parser.add_argument("--sheet", type=Path, help="PNG to write in place of measuring")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = loaded(arguments.model)
    pictures = held_out(arguments.pictures, arguments.side, arguments.every)
    if arguments.sheet:
        drawn = sheet(model, pictures, arguments.decibels[0], arguments.seed)
        cv2.imwrite(str(arguments.sheet), drawn[..., ::-1])
        return
    figures = {f"{level:g} dB": measured(model, pictures, level, arguments.seed) for level in arguments.decibels}
    print(json.dumps({"pictures": len(pictures), "side": arguments.side, **figures}))


if __name__ == "__main__":
    main()
