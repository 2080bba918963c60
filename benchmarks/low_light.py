"""Darkened and enhanced pictures: CPU milliseconds a variant, and CPU seconds of training the learned enhancer.

Ours is what the generator `low_light` does for one variant, with all that is measured on the result. The peers make the
same pictures: the darkened one by the formula in NumPy, with NumPy's normal numbers, and the learned enhancer's by the
same network in PyTorch. They measure nothing, so they are compared with the change alone. The limit is PNG encoding of
the result, which every picture of an edition needs. Times are medians over rounds that take turns, on one thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from imagenet_c import milliseconds, squares

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for the folder `training`

from training.evaluate_noiser import enhancer
from training.noiser import HIDDEN, train
from variorum.arrays import Pixels
from variorum.kit.corrupt import low_light
from variorum.kit.corrupt.change import Before
from variorum.kit.corrupt.linear_light import encoded, to_linear
from variorum.models import ModelTable
from variorum.models.weights import PACKAGED
from variorum.pixels import encode_png

SIDE = 256
STOPS = 4.0
NOISE = (1e-3, 1e-5)
BITS = 12
GOAL, TRAINING_GOAL = 12.0, 60.0
"""CPU milliseconds a variant, and CPU seconds."""


def noisy(picture: Pixels) -> Pixels:
    """The sensor is drawn for each picture, though all exposures of a photograph share one."""
    by = low_light.sensor(picture, NOISE, np.random.default_rng(0))
    return low_light.darkened(picture, STOPS, bits=BITS, by=by).image


def in_numpy(picture: Pixels) -> Pixels:
    """The same by the formula."""
    light = to_linear(picture) * 2.0**-STOPS
    light = np.random.default_rng(0).normal(light, np.sqrt(NOISE[0] * light + NOISE[1])).clip(0, 1)
    steps = 2**BITS - 1
    return np.rint(255 * encoded(np.rint(light * steps) / steps)).astype(np.uint8)


def variants() -> dict[str, Callable[[Pixels], Pixels]]:
    model = ModelTable("embedded").get("low_light_enhancer")
    return {
        "low_light": noisy,
        "noiseless": lambda picture: low_light.darkened(picture, STOPS, bits=BITS).image,
        "linear_gain": lambda picture: low_light.linear_gain(picture, STOPS),
        "gamma": lambda picture: low_light.gamma(picture)[0],
        "low_light_enhancer": lambda picture: model([picture])[0],
    }


def compared(change: Callable[[Pixels], Pixels], peer: Callable[[Pixels], Any] | None, rounds: int) -> dict[str, float]:
    pictures = squares(SIDE)
    dark = pictures if change is noisy else [noisy(picture) for picture in pictures]
    before = Before(pictures[0])
    works: dict[str, Callable[[Pixels], Any]] = {
        "ours": lambda picture: before.change(change(picture)),
        "change": change,
        "png": lambda picture: encode_png(change(picture)),
        **({"peer": peer} if peer else {}),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            taken = milliseconds(work, dark)
            if number:  # the first fills tables
                times[name].append(taken)
    found = {name: statistics.median(values) for name, values in times.items()}
    found["png"] -= found["change"]
    return {
        "ours_ms": round(found["ours"], 2),
        "of_png": round(found["ours"] / found["png"], 2),
        **(
            {"peer_ms": round(found["peer"], 2), "peer_to_change": round(found["peer"] / found["change"], 2)}
            if peer
            else {}
        ),
    }


def training() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        fields = {"seed": 0, "steps": 2000, "hidden": HIDDEN, "padding": "replicate", "out": Path(folder)}
        report = train(argparse.Namespace(**fields))
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
    return {**{name: round(value, 3) for name, value in report.items()}, "bytes": size, "goal_seconds": TRAINING_GOAL}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    peers = {"low_light": in_numpy, "low_light_enhancer": enhancer(PACKAGED / "low_light_enhancer", "replicate")}
    found = {name: compared(change, peers.get(name), options.rounds) for name, change in variants().items()}
    report = {
        "what": f"variants of low_light of {len(squares(SIDE))} photographs, {SIDE} x {SIDE}",
        "variants": found,
        "slowest_ms": max(one["ours_ms"] for one in found.values()),
        "goal_ms": GOAL,
        "training": training(),
        "versions": {name: version(name) for name in ("numpy", "opencv-contrib-python-headless", "torch")},
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
