"""Measure the packaged photo denoiser: PSNR on pictures outside its training data, beside two classical filters.

White noise of known standard deviation σ is added to crops, without clipping. The denoiser runs at the step with that
much noise. The filters are given σ: bilateral, and non-local means by scikit-image's rule (h = 0.6 σ, patches of 5
pixels, search window of 13 pixels; Buades et al., CVPR 2005).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch

from training.photographs import held_out
from variorum.models.loaders.denoisers import PIXEL_DENOISER, PixelDenoiser
from variorum.models.table_entries import Entry

if TYPE_CHECKING:
    from variorum.arrays import Singles

SIGMAS = (10, 25, 50, 100)
"""Standard deviations of the noise, in levels of 255."""
SIDE = 256


def denoised(model: PixelDenoiser, noisy: Singles, sigma: float) -> Singles:
    """Denoise by the network, at the step whose noise-to-signal ratio is that of the picture in [-1, 1]."""
    ratio = np.sqrt((1 - model.signal) / model.signal)
    step = int(np.abs(ratio - 2 * sigma).argmin())
    state = torch.from_numpy((noisy * 2 - 1).transpose(2, 0, 1)[None]) * float(model.signal[step]) ** 0.5
    with torch.inference_mode():
        clean = model.predict(state, step).clean[0]
    return np.asarray(((clean + 1) / 2).clamp(0, 1).numpy().transpose(1, 2, 0), np.float32)


def bilateral(noisy: Singles, sigma: float) -> Singles:
    """OpenCV's bilateral filter: window of 9 pixels, colour width of three times the noise."""
    return np.asarray(cv2.bilateralFilter(noisy, 9, 3 * sigma, 3).clip(0, 1))


def non_local_means(noisy: Singles, sigma: float) -> Singles:
    """scikit-image's non-local means in fast mode."""
    from skimage.restoration import denoise_nl_means

    options: dict[str, Any] = {"patch_size": 5, "patch_distance": 6, "h": 0.6 * sigma, "sigma": sigma}
    return np.asarray(denoise_nl_means(noisy, fast_mode=True, channel_axis=-1, **options), np.float32).clip(0, 1)


def psnr(found: Singles, clean: Singles) -> float:
    """PSNR in dB of values in [0, 1]."""
    return float(-10 * np.log10(np.mean((found.clip(0, 1) - clean) ** 2)))


def main() -> None:
    """Print the mean PSNR by noise and method as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, default=Path("variorum/models/packaged/photo_denoiser"))
    parser.add_argument("--pictures", type=Path, help="folder of pictures to use in place of the packaged ones")
    parser.add_argument("--limit", type=int, help="use only the first pictures, this many")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    place = {"path": str(arguments.model)}
    entry = Entry(
        name="x", loader="pixel_denoiser", local=place, options={"variant": "fp16"}, licence="CC0-1.0", source="x"
    )
    model = PIXEL_DENOISER.load(entry, arguments.model, {})
    pictures = [np.float32(one / 255) for one in held_out(arguments.pictures, SIDE)[: arguments.limit]]
    figures: dict[str, dict[str, float]] = {}
    for level in SIGMAS:
        sigma, rows = level / 255, []
        for number, clean in enumerate(pictures):
            rng = np.random.default_rng([level, number])
            noisy = clean + sigma * rng.standard_normal(clean.shape, np.float32)
            found = {
                "noisy": noisy,
                "bilateral": bilateral(noisy, sigma),
                "non_local_means": non_local_means(noisy, sigma),
                "denoiser": denoised(model, noisy, sigma),
            }
            rows.append({name: psnr(values, clean) for name, values in found.items()})
        figures[str(level)] = {name: round(float(np.mean([row[name] for row in rows])), 2) for name in rows[0]}
    print(json.dumps({"pictures": len(pictures), "psnr": figures}))


if __name__ == "__main__":
    main()
