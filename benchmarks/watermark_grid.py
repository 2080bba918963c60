"""Attacks on watermarks: CPU milliseconds per picture beside Pillow and torchvision, and a whole grid with detection.

WAVES runs its eight distortions through Pillow and torchvision and its metrics through scikit-image; both are timed
here on the same pictures in rounds that take turns, at relative strengths 0.2, 0.6 and 1. The peer gets and gives
Pillow's pictures. A picture's memory copied and its PNG written are timed in the same rounds, as limits that no grid
can be faster than. The last part builds an edition of 3 marks x 10 attacks x 5 strengths through the real pipeline,
detects every mark in it, and projects both to 100 photographs.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torchvision.transforms.functional as tf
from imagenet_c import photographs
from PIL import Image, ImageEnhance, ImageFilter
from skimage import metrics
from timing import median, ratio, rounds

from variorum.arrays import Pixels
from variorum.generators.watermark.watermarking.distortions import KINDS
from variorum.generators.watermark.watermarking.keys import new_keys
from variorum.generators.watermark.watermarking.quality import Reference
from variorum.pipeline import Job, Threads, build, evaluate
from variorum.pixels import encode_png
from variorum.schemas.recipe import Recipe

SIDE = 256
STRENGTHS = (0.2, 0.6, 1.0)
WAVES = tuple(KINDS)[:8]
MARKS = ("stdm", "dwt_dct_svd", "spread_spectrum")
ATTACKS = (
    *({"name": "distortion", "kind": kind} for kind in WAVES),
    {"name": "denoising", "kind": "median"},
    {"name": "combined_distortion", "group": "all"},
)
GOAL = {"minutes": 15, "cores": 2, "photographs": 100}


def squares() -> list[Pixels]:
    out = []
    for picture in photographs():
        short = min(picture.shape[:2])
        out.append(cv2.resize(picture[:short, :short], (SIDE, SIDE), interpolation=cv2.INTER_AREA))
    return out


def peer(kind: str, image: Image.Image, amount: float) -> Image.Image:
    """The distortion as torchvision and Pillow have it."""
    side = image.width
    if kind == "rotation":
        return tf.rotate(image, amount)
    if kind == "resized_crop":
        part = round(side * math.sqrt(amount))
        return tf.resized_crop(image, (side - part) // 2, (side - part) // 2, part, part, [side, side])
    if kind == "erasing":
        part = round(side * math.sqrt(amount))
        values = tf.to_tensor(image)
        return tf.to_pil_image(tf.erase(values, 10, 10, part, part, torch.zeros(1)))
    if kind == "brightness":
        return ImageEnhance.Brightness(image).enhance(amount)
    if kind == "contrast":
        return ImageEnhance.Contrast(image).enhance(amount)
    if kind == "blur":
        return image.filter(ImageFilter.GaussianBlur(int(amount)))
    if kind == "noise":
        values = tf.to_tensor(image)
        return tf.to_pil_image((values + torch.randn(values.size()) * amount).clamp(0, 1))
    stored = io.BytesIO()
    image.save(stored, format="JPEG", quality=int(amount))
    return Image.open(stored).convert("RGB")


def distortions(pictures: list[Pixels], number: int) -> dict[str, Any]:
    """Each kind here and in the peer, and the limits, in one run."""
    framed = [Image.fromarray(picture) for picture in pictures]

    def ours(kind: str) -> Callable[[], None]:
        amounts = [KINDS[kind].at(strength) for strength in STRENGTHS]

        def work() -> None:
            for place, picture in enumerate(pictures):
                for amount in amounts:
                    KINDS[kind].apply(picture, amount, np.random.default_rng(place))

        return work

    def theirs(kind: str) -> Callable[[], None]:
        amounts = [KINDS[kind].at(strength) for strength in STRENGTHS]
        return lambda: [peer(kind, one, amount) for one in framed for amount in amounts] and None

    blurred = [cv2.GaussianBlur(picture, (0, 0), 2) for picture in pictures]
    references = [Reference(picture) for picture in pictures]

    def measured() -> None:
        for reference, other in zip(references, blurred, strict=True):
            reference.quality(other)

    def measured_by_peer() -> None:
        for one, other in zip(pictures, blurred, strict=True):
            metrics.peak_signal_noise_ratio(one, other)
            metrics.structural_similarity(one, other, channel_axis=2)
            metrics.normalized_mutual_information(one, other)

    variants: dict[str, Callable[[], object]] = {
        **{f"ours {kind}": ours(kind) for kind in WAVES},
        **{f"peer {kind}": theirs(kind) for kind in WAVES},
        "ours quality": measured,
        "peer quality": measured_by_peer,
        "png": lambda: [encode_png(picture) for picture in pictures],
        "copy": lambda: [picture.copy() for picture in pictures for _ in range(100)],
    }
    timed = rounds(variants, number)
    each = {"quality": len(pictures), "png": len(pictures), "copy": 100 * len(pictures)}

    def milliseconds(name: str) -> float:
        pieces = each.get(name.rpartition(" ")[2], len(pictures) * len(STRENGTHS))
        return round(median(timed, name) * 1e3 / pieces, 3)

    ratios = {kind: ratio(timed, f"peer {kind}", f"ours {kind}") for kind in (*WAVES, "quality")}
    return {
        "kinds": {
            kind: {"ours_ms": milliseconds(f"ours {kind}"), "peer_ms": milliseconds(f"peer {kind}"), "ratio": times}
            for kind, times in ratios.items()
        },
        "geometric_mean_of_8": round(math.exp(statistics.mean(math.log(ratios[kind]) for kind in WAVES)), 2),
        "limits_ms": {"png": milliseconds("png"), "copy": milliseconds("copy")},
    }


def grid(sources: int) -> dict[str, Any]:
    """CPU seconds of building and of detecting, and what they are for 100 photographs."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        os.environ["VARIORUM_KEYS"] = str(root / "watermark.keys")
        new_keys(root / "watermark.keys")
        pictures, rng = photographs(), np.random.default_rng(0)
        (root / "photos").mkdir()
        for number in range(sources):
            picture = pictures[number % len(pictures)]
            side = min(picture.shape[:2]) * 3 // 4
            top, left = (int(rng.integers(length - side + 1)) for length in picture.shape[:2])
            crop = Image.fromarray(picture[top : top + side, left : left + side])
            crop.resize((375, 375), Image.Resampling.LANCZOS).save(root / "photos" / f"{number}.jpg", quality=92)
        recipe = Recipe.parse(
            {
                "dataset": "watermark_grid",
                "version": "1.0.0",
                "samples_per_shard": 4,
                "source": {"name": "image_folder", "path": str(root / "photos")},
                "generate": [
                    {"name": "watermark", "frame": SIDE, "marks": [{"name": name} for name in MARKS]},
                    {"name": "watermark_attack", "attacks": list(ATTACKS)},
                ],
                "evaluate": [{"name": "watermark_detection"}],
            }
        )
        job = Job(recipe, str(root / "store"))
        wall, cpu = time.perf_counter(), time.process_time()
        manifest = build(job, Threads(1))
        built = time.process_time() - cpu
        evaluate(job, manifest, Threads(1))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        made = sum(found.get("accepted", 0) for found in manifest.counts.values())
        store = sum(path.stat().st_size for path in (root / "store").rglob("*") if path.is_file())
    return {
        "photographs": sources,
        "pictures": made,
        "build_ms_per_picture": round(built * 1e3 / made, 2),
        "detection_ms_per_picture": round((cpu - built) * 1e3 / made, 2),
        "cpu_seconds": round(cpu, 1),
        "wall_seconds": round(wall, 1),
        "seconds_per_unit": round(built / math.ceil(sources / 4), 1),
        "store_mb": round(store / 1e6),
        "minutes_for_100_on_2_cores": round(cpu / sources * 100 / 2 / 60, 1),
        "goal": GOAL,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sources", type=int, default=12)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    pictures = squares()
    report = {
        "what": f"{len(pictures)} photographs, {SIDE} x {SIDE}, relative strengths {', '.join(map(str, STRENGTHS))}",
        **distortions(pictures, options.rounds),
        "grid": grid(options.sources) if options.sources else None,
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
