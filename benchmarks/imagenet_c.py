"""ImageNet-C's corruptions: CPU milliseconds per picture beside imagecorruptions, and how far the results are apart.

Both get RGB pixels and give RGB pixels. Times are medians over rounds that take turns, at severities 1, 3 and 5; a
kind's ratio is the geometric mean of its three. The two packages agree on 18 kinds: the peer's `elastic_transform` has
other strengths and no affine part, so it is timed and left out of the mean. The last part builds an edition of all 19
kinds at 5 severities through the real pipeline and projects it to 1,000 photographs.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import cv2
import imagenet_c_peer as peer
import numpy as np
from PIL import Image

from variorum.arrays import Pixels
from variorum.kit.corrupt.kinds import COMMON, EXTRA, corrupt
from variorum.pipeline import Job, Threads, build
from variorum.pixels import decode
from variorum.schemas.recipe import Recipe

SIDE = 224
SEVERITIES = (1, 3, 5)
OTHER = "elastic_transform"
"""The kind that is another operation in the peer."""
DETERMINISTIC = (
    "defocus_blur",
    "zoom_blur",
    "brightness",
    "contrast",
    "pixelate",
    "jpeg_compression",
    "gaussian_blur",
    "saturate",
)
NOISE = ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise")
SLOW = "glass_blur"
"""Seconds per picture in the peer: measured on one picture."""
PHOTOGRAPHS = {
    "skimage": ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png"),
    "sklearn": ("china.jpg", "flower.jpg"),
}
FOLDERS = {"skimage": "data", "sklearn": "datasets/images"}


def photographs() -> list[Pixels]:
    """Whole photographs of packages."""
    found = []
    for package, names in PHOTOGRAPHS.items():
        spec = importlib.util.find_spec(package)
        assert spec
        folder = Path(str(spec.origin)).parent / FOLDERS[package]
        found += [decode((folder / name).read_bytes()) for name in names]
    return found


def squares(side: int) -> list[Pixels]:
    out = []
    for picture in photographs():
        short = min(picture.shape[:2])
        out.append(cv2.resize(picture[:short, :short], (side, side), interpolation=cv2.INTER_AREA))
    return out


def milliseconds(work: Callable[[Pixels], object], pictures: list[Pixels]) -> float:
    began = time.process_time()
    for picture in pictures:
        work(picture)
    return (time.process_time() - began) * 1e3 / len(pictures)


def compared(kind: str, severity: int, pictures: list[Pixels], rounds: int) -> tuple[float, float]:
    """Median milliseconds of ours and of the peer."""
    rng = np.random.default_rng(0)
    shown = pictures[:1] if kind == SLOW else pictures
    times: tuple[list[float], list[float]] = [], []
    for picture in pictures * 4:  # tables and windows of ice are made once per process
        corrupt(picture, kind, severity, rng)
    for _ in range(1 if kind == SLOW else rounds):
        times[0].append(milliseconds(lambda picture: corrupt(picture, kind, severity, rng), pictures))
        times[1].append(milliseconds(lambda picture: peer.corrupt(picture, kind, severity), shown))
    return statistics.median(times[0]), statistics.median(times[1])


def apart(kind: str, pictures: list[Pixels]) -> dict[str, float]:
    """Mean difference in levels from the peer's rounded result; for noise the change's deviation over the peer's."""
    differences, ours, theirs = [], [], []
    for severity in SEVERITIES:
        for number, picture in enumerate(pictures):
            found = corrupt(picture, kind, severity, np.random.default_rng(number)).image.astype(float)
            other = np.clip(np.rint(np.asarray(peer.exact(picture, kind, severity), float)), 0, 255)
            differences.append(np.abs(found - other).mean())
            ours.append((found - picture).std())
            theirs.append((other - picture).std())
    if kind in NOISE:
        return {"deviation_to_peer": round(sum(ours) / sum(theirs), 4)}
    return {"levels": round(float(np.mean(differences)), 3)}


def crops(folder: Path, number: int, side: int) -> None:
    """Write square crops of the photographs as JPEGs of this side, in a folder for each photograph."""
    pictures, rng = photographs(), np.random.default_rng(0)
    for index in range(number):
        picture = pictures[index % len(pictures)]
        length = min(picture.shape[:2]) * 3 // 4
        top, left = (int(rng.integers(whole - length + 1)) for whole in picture.shape[:2])
        place = folder / str(index % len(pictures))
        place.mkdir(parents=True, exist_ok=True)
        crop = Image.fromarray(picture[top : top + length, left : left + length])
        crop.resize((side, side), Image.Resampling.LANCZOS).save(place / f"{index}.jpg", quality=92)


def edition(sources: int) -> dict[str, float]:
    """CPU seconds of building all 19 kinds at 5 severities from crops of the photographs, PNGs and hashes included."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        crops(root / "photos", sources, 375)
        recipe = Recipe.parse(
            {
                "dataset": "corruptions",
                "version": "1.0.0",
                "source": {"name": "image_folder", "path": str(root / "photos")},
                "generate": [{"name": "corruption", "kinds": [*COMMON, *EXTRA], "frame": SIDE}],
            }
        )
        began = time.process_time()
        manifest = build(Job(recipe, str(root / "store")), Threads(1))
        seconds = time.process_time() - began
        made = sum(found.get("accepted", 0) for found in manifest.counts.values())
    return {
        "photographs": sources,
        "pictures": made,
        "cpu_seconds": round(seconds, 1),
        "ms_per_picture": round(seconds * 1e3 / made, 2),
        "cpu_minutes_for_1000": round(seconds / sources * 1000 / 60, 1),
        "goal_minutes": 15,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sources", type=int, default=50)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    try:
        peer.load()
    except ModuleNotFoundError as error:
        raise SystemExit(str(error)) from None
    pictures = squares(options.side)
    kinds, ratios = {}, {}
    for kind in (*COMMON, *EXTRA):
        times = [compared(kind, severity, pictures, options.rounds) for severity in SEVERITIES]
        ratios[kind] = math.exp(statistics.mean(math.log(theirs / ours) for ours, theirs in times))
        kinds[kind] = {
            "ours_ms": [round(ours, 2) for ours, _ in times],
            "peer_ms": [round(theirs, 2) for _, theirs in times],
            "ratio": round(ratios[kind], 2),
            **(apart(kind, pictures) if kind in (*DETERMINISTIC, *NOISE) else {}),
        }
    shared = {kind: ratio for kind, ratio in ratios.items() if kind != OTHER}
    report = {
        "what": f"19 corruptions of {len(pictures)} photographs, {options.side} x {options.side}, severities 1, 3, 5",
        "kinds": kinds,
        "geometric_mean_of_18": round(math.exp(statistics.mean(map(math.log, shared.values()))), 2),
        "without_glass_blur": round(
            math.exp(statistics.mean(math.log(ratio) for kind, ratio in shared.items() if kind != SLOW)), 2
        ),
        "slowest": min(shared, key=shared.__getitem__),
        "goals": {"geometric_mean": 5, "slowest": 0.9, "levels": 0.6},
        "edition": edition(options.sources) if options.sources else None,
        "versions": {
            name: version(name)
            for name in ("imagecorruptions", "opencv-contrib-python-headless", "numpy", "scikit-image", "scipy")
        },
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
