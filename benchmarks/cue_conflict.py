"""Stimuli for shape and texture: CPU milliseconds per picture beside common libraries, and beside writing the picture.

A peer is what one would take otherwise: torchvision's grey and Gaussian blur on uint8 tensors, scikit-image's Canny,
and tiles copied in a loop. Times are medians over rounds that take turns, in one thread. The limit is the PNG of the
result: a stimulus that costs less than it doesn't decide how long an edition takes. The last part builds the packaged
edition through the real pipeline, with masks given, and projects it to 1,000 photographs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import cv2
import numpy as np
import skimage.data
import skimage.feature

from variorum.generators.cue_conflict import bands, outlines, textures
from variorum.generators.cue_conflict.framed import Ready
from variorum.generators.cue_conflict.gates import Limits, contour_kept, mask_gates
from variorum.generators.cue_conflict.partners import patch_of
from variorum.kit.corrupt.change import Before
from variorum.kit.pictures.seams import evenness
from variorum.pipeline import Job, Threads, build
from variorum.pixels import encode_png
from variorum.schemas.annotations import Annotations
from variorum.stages.recipe_files import load_recipe

SIDE = 224
GRID = 7
NAMES = ("astronaut", "chelsea", "coffee", "rocket")


def photographs() -> list[np.ndarray]:
    """Squares of photographs of scikit-image."""
    found = []
    for name in NAMES:
        picture = getattr(skimage.data, name)()
        short = min(picture.shape[:2])
        found.append(cv2.resize(picture[:short, :short], (SIDE, SIDE), interpolation=cv2.INTER_AREA))
    return found


def object_mask() -> np.ndarray:
    """The opacity of a thing in the middle."""
    return cv2.ellipse(np.zeros((SIDE, SIDE), np.uint8), (112, 112), (80, 50), 30, 0, 360, 255, -1)


def loop_of_tiles(image: np.ndarray, order: list[int]) -> np.ndarray:
    """The tiles copied one by one."""
    side, out = SIDE // GRID, np.empty_like(image)
    for place, tile in enumerate(order):
        (row, column), (top, left) = divmod(place, GRID), divmod(tile, GRID)
        out[row * side : (row + 1) * side, column * side : (column + 1) * side] = image[
            top * side : (top + 1) * side, left * side : (left + 1) * side
        ]
    return out


def peers(order: list[int]) -> dict[str, Callable[[np.ndarray], Any]]:
    """By stimulus, what another library does."""
    import torch
    from torchvision.transforms import functional

    torch.set_num_threads(1)

    def tensor(image: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(image).permute(2, 0, 1)

    def blurred(image: np.ndarray) -> torch.Tensor:
        return functional.gaussian_blur(tensor(image), 19, 3.0)  # 19 taps are those of OpenCV for a sigma of 3

    return {
        "grey": lambda image: functional.rgb_to_grayscale(tensor(image), 3).permute(1, 2, 0).numpy(),
        "low_pass_3": lambda image: blurred(image).permute(1, 2, 0).contiguous().numpy(),
        "edges": lambda image: skimage.feature.canny(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 1.4),
        "scrambled_7": lambda image: loop_of_tiles(image, order),
    }


def ours(order: list[int]) -> dict[str, Callable[[np.ndarray], Any]]:
    """By stimulus, what the generator does."""
    alpha, white = object_mask(), np.full((SIDE, SIDE, 3), 255, np.uint8)
    patch = textures.evened(np.repeat(skimage.data.gravel()[:65, :65, None], 3, axis=2))

    def filled(image: np.ndarray) -> np.ndarray:
        return outlines.laid(textures.covered(patch, SIDE, SIDE, (7, 30)), alpha, white)

    return {
        "grey": bands.grey,
        "low_pass_3": lambda image: bands.low_pass(image, 3),
        "high_pass_3": lambda image: bands.high_pass(image, 3),
        "scrambled_7": lambda image: bands.scrambled(image, order),
        "edges": lambda image: outlines.edges(image, 1.4, 50, 120),
        "silhouette": lambda image: outlines.silhouette(alpha, white),
        "object": lambda image: outlines.laid(image, alpha, white),
        "texture_fill": filled,
        "its gates": lambda image: (mask_gates(alpha, Limits()), contour_kept(filled(image), alpha, Limits())),
        "a partner's texture": lambda image: evenness(
            patch_of(Ready(image, alpha, "member", {}, True, Annotations()), 0.5, Limits())
        ),
        "what changed": lambda image: Before(image).change(white),
    }


def milliseconds(work: Callable[[np.ndarray], Any], pictures: list[np.ndarray], times: int) -> float:
    began = time.process_time()
    for _ in range(times):
        for picture in pictures:
            work(picture)
    return (time.process_time() - began) * 1e3 / len(pictures) / times


def edition(limit: int) -> dict[str, float]:
    """CPU seconds of the packaged edition, PNGs and hashes included, without judging it."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = load_recipe("cue_conflict", ["evaluate=[]"], limit)
        began = time.process_time()
        manifest = build(Job(recipe, folder), Threads(1))
        seconds = time.process_time() - began
        made = sum(found.get("accepted", 0) for found in manifest.counts.values())
    return {
        "photographs": limit,
        "pictures": made,
        "cpu_seconds": round(seconds, 2),
        "ms_per_picture": round(1e3 * seconds / made, 2),
        "cpu_seconds_for_1000": round(1e3 * seconds / limit, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--times", type=int, default=20, help="passes over the pictures in a round")
    parser.add_argument("--photographs", type=int, default=87, help="of the edition; 0 for none")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    pictures = photographs()
    order = np.random.default_rng(0).permutation(GRID**2).tolist()
    work, other = ours(order), peers(order)
    made = {name: [make(picture) for picture in pictures] for name, make in work.items()}
    times: dict[str, list[float]] = {}
    for name, make in [*work.items(), *((f"peer {name}", make) for name, make in other.items())]:
        make(pictures[0])
        times[name] = []
    for _ in range(options.rounds):
        for name, make in work.items():
            times[name].append(milliseconds(make, pictures, options.times))
        for name, make in other.items():
            times[f"peer {name}"].append(milliseconds(make, pictures, options.times))
    found = {}
    for name in work:
        mine = statistics.median(times[name])
        row = {"ms": round(mine, 3)}
        if f"peer {name}" in times:
            row["peer_ms"] = round(statistics.median(times[f"peer {name}"]), 3)
            row["ratio"] = round(statistics.median(times[f"peer {name}"]) / mine, 1)
        if isinstance(made[name][0], np.ndarray):
            png = statistics.median(milliseconds(encode_png, made[name], 3) for _ in range(3))
            row |= {"png_ms": round(png, 2), "share_of_png": round(mine / png, 3)}
        found[name] = row
    report = {
        "what": f"stimuli of {len(pictures)} photographs, {SIDE} x {SIDE}, one thread",
        "stimuli": found,
        "edition": edition(options.photographs) if options.photographs else None,
        "versions": {
            name: version(name) for name in ("opencv-contrib-python-headless", "torchvision", "scikit-image", "numpy")
        },
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
