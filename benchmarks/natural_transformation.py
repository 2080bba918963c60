"""Changes of light: CPU milliseconds a variant, beside albumentations, and beside writing the result as PNG.

Ours is what the generators do for one variant: the change in linear light, what is measured on the result, and the
change between both pictures. The peer makes the change that it calls by a similar name, on encoded levels instead of
linear light, and measures nothing, so it is compared with the change alone. The limit is PNG encoding of ours, which
every picture of an edition needs. Times are medians over rounds that take turns, on one thread. The last part builds an
edition of all variants.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from imagenet_c import crops, milliseconds, squares

from variorum.arrays import Pixels
from variorum.generators.natural_transformation.natural import KINDS
from variorum.kit.corrupt.change import Before
from variorum.kit.corrupt.linear_light import to_linear, to_srgb
from variorum.pipeline import Job, Threads, build
from variorum.pixels import encode_png
from variorum.schemas.recipe import Recipe

SIDE = 256
GOAL = 12.0
"""CPU milliseconds a variant."""


def relit(name: str) -> Callable[[Pixels], Pixels]:
    """One variant of `natural_transformation` at strength 1, with all its measures. Each picture's own are kept."""
    kind, rng = KINDS[name], np.random.default_rng(0)
    known: dict[int, tuple[Any, Before]] = {}

    def made(picture: Pixels) -> Pixels:
        light, before = known.setdefault(id(picture), (to_linear(picture), Before(picture)))
        changed = kind.apply(light, kind.asks(1), rng, False)
        image = to_srgb(changed.light)
        changed.achieved(picture, image)
        before.change(image)
        before.structure(image)
        return image

    return made


def changed_only(name: str) -> Callable[[Pixels], Pixels]:
    """The change alone, from pixels to pixels: what the peer does."""
    kind, rng = KINDS[name], np.random.default_rng(0)
    return lambda picture: to_srgb(kind.apply(to_linear(picture), kind.asks(1), rng, False).light)


def prepared(picture: Pixels) -> None:
    """Prepare what all variants of one picture share."""
    to_linear(picture)
    Before(picture)


VARIANTS: dict[str, Callable[[Pixels], Pixels]] = {name: relit(name) for name in KINDS}
"""By name, with all measures."""
ALONE: dict[str, Callable[[Pixels], Pixels]] = {name: changed_only(name) for name in KINDS}
"""By name, those that a peer has."""


def peers() -> dict[str, Callable[[Pixels], Any]]:
    """Albumentations' operations by our names. Raises ModuleNotFoundError if it isn't installed."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it would ask its server for a newer version
    try:
        import albumentations as peer
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "no albumentations: pip install --no-deps albumentations==2.0.8 albucore==0.0.24 simsimd stringzilla"
        ) from None
    exposure = peer.RandomBrightnessContrast(brightness_limit=(0.3, 0.3), contrast_limit=(0, 0), p=1)
    white = peer.PlanckianJitter(mode="blackbody", temperature_limit=(3000, 9000), p=1)
    found = {
        "brighter": exposure,
        "darker": exposure,
        "warmer": white,
        "cooler": white,
        "light_direction": peer.Illumination(mode="linear", p=1),
        "shadow": peer.RandomShadow(p=1),
        "haze": peer.RandomFog(p=1),
    }
    return {name: partial(_applied, one) for name, one in found.items()}


def _applied(operation: Any, picture: Pixels) -> Any:
    return operation(image=picture)["image"]


def edition(sources: int) -> dict[str, float]:
    """CPU seconds of building all variants of crops of photographs, PNGs and hashes included, without a classifier."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        crops(root / "photos", sources, SIDE)
        recipe = Recipe.parse(
            {
                "dataset": "relit",
                "version": "1.0.0",
                "source": {"name": "image_folder", "path": str(root / "photos")},
                "generate": [{"name": "natural_transformation", "classifier": None}],
            }
        )
        began = time.process_time()
        manifest = build(Job(recipe, str(root / "store")), Threads(1))
        seconds = time.process_time() - began
        made = sum(sum(found.values()) for found in manifest.counts.values())
    return {
        "photographs": sources,
        "pictures": made,
        "cpu_seconds": round(seconds, 1),
        "ms_per_picture": round(seconds * 1e3 / made, 2),
    }


def against(ours: float, theirs: float) -> dict[str, float]:
    """The change alone beside the peer's."""
    return {"change_ms": round(ours, 2), "peer_ms": round(theirs, 2), "peer_to_change": round(theirs / ours, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sources", type=int, default=20)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    pictures = squares(options.side)
    try:
        others = peers()
    except ModuleNotFoundError as error:
        raise SystemExit(str(error)) from None
    variants, slowest = {}, 0.0
    for name, work in VARIANTS.items():
        results = [work(picture) for picture in pictures]
        alone, other = ALONE.get(name), others.get(name)
        times: dict[str, list[float]] = {"ours": [], "png": [], "alone": [], "peer": []}
        for number in range(options.rounds + 1):
            round_of = {
                "ours": milliseconds(work, pictures),
                "png": milliseconds(encode_png, results),
                "alone": milliseconds(alone, pictures) if alone else float("nan"),
                "peer": milliseconds(other, pictures) if other else float("nan"),
            }
            if number:  # the first fills tables
                for what, value in round_of.items():
                    times[what].append(value)
        found = {what: statistics.median(values) for what, values in times.items()}
        slowest = max(slowest, found["ours"])
        variants[name] = {
            "ours_ms": round(found["ours"], 2),
            "png_ms": round(found["png"], 2),
            "of_png": round(found["ours"] / found["png"], 2),
            **(against(found["alone"], found["peer"]) if alone and other else {}),
        }
    report = {
        "what": f"changes of light of {len(pictures)} photographs, {options.side} x {options.side}, strength 1",
        "shared_ms_a_photograph": round(statistics.median(milliseconds(prepared, pictures) for _ in range(5)), 2),
        "variants": variants,
        "slowest_ms": round(slowest, 2),
        "goal_ms": GOAL,
        "edition": edition(options.sources) if options.sources else None,
        "versions": {name: _version(name) for name in ("albumentations", "opencv-contrib-python-headless", "numpy")},
    }
    print(json.dumps(report, indent=1))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    main()
