"""Photographs moved by a pixel: CPU seconds of 1,000 photographs x 9 pictures, beside Pillow and beside PNG alone.

An edition of the generator `translation` is built through the real pipeline from crops of packaged photographs, and
projected to 1,000. The peer is Pillow: resize, nine crops, PNG files as it writes them by default. The limit is what no
edition can do without: decoding the photographs, and encoding and hashing the same nine pictures with the project's own
PNG encoder. With `--photographs FOLDER` it also says how often the chosen crop moves along with the photograph.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from variorum.arrays import Pixels
from variorum.evaluation.translation.crop_selection import select
from variorum.generators.translation.windows import shifts, window
from variorum.kit.corrupt.frames import framed
from variorum.pipeline import Job, Threads, build
from variorum.pixels import decode, encode_png
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import Sample, source_id

FRAME = 256
MOVES = ((0, 0), *shifts(1, "square"))
GOAL = 60
"""CPU seconds for 1,000 photographs x 9 pictures."""
NAMES = {
    "skimage/data": ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png"),
    "sklearn/datasets/images": ("china.jpg", "flower.jpg"),
}


def photographs(root: Path, number: int) -> list[Path]:
    """JPEGs of 500 x 375 pixels in a folder by class: crops of packaged photographs, as large as ImageNet's."""
    whole = []
    for place, names in NAMES.items():
        package, _, rest = place.partition("/")
        spec = importlib.util.find_spec(package)
        assert spec
        whole += [decode((Path(str(spec.origin)).parent / rest / name).read_bytes()) for name in names]
    rng, found = np.random.default_rng(0), []
    for index in range(number):
        picture = whole[index % len(whole)]
        high = min(picture.shape[0], picture.shape[1] * 3 // 4) * 3 // 4
        wide = high * 4 // 3
        left, top = int(rng.integers(picture.shape[1] - wide + 1)), int(rng.integers(picture.shape[0] - high + 1))
        file = root / str(index % len(whole)) / f"{index}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        crop = Image.fromarray(picture[top : top + high, left : left + wide])
        crop.resize((500, 375), Image.Resampling.LANCZOS).save(file, quality=92)
        found.append(file)
    return found


def seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def ours(root: Path, store: Path) -> None:
    recipe = Recipe.parse(
        {
            "dataset": "translation",
            "version": "1.0.0",
            "source": {"name": "image_folder", "path": str(root)},
            "generate": [{"name": "translation", "frame": FRAME}],
        }
    )
    build(Job(recipe, str(store)), Threads(1))


def pillow(files: list[Path]) -> None:
    """The peer."""
    for file in files:
        picture = Image.open(file).convert("RGB")
        scale = (FRAME + 2) / min(picture.size)
        wide, high = (round(side * scale) for side in picture.size)
        small = picture.resize((wide, high), Image.Resampling.BILINEAR)
        left, top = (wide - FRAME) // 2, (high - FRAME) // 2
        for x, y in MOVES:
            small.crop((left + x, top + y, left + x + FRAME, top + y + FRAME)).save(io.BytesIO(), "PNG")


def limit(files: list[Path], pictures: list[list[Pixels]]) -> None:
    """Decoding, encoding and hashing alone."""
    for file, views in zip(files, pictures, strict=True):
        decode(file.read_bytes())
        for view in views:
            hashlib.sha256(encode_png(view)).hexdigest()


def views_of(file: Path) -> list[Pixels]:
    field = framed(Sample(source_id("bench", file.name), decode(file.read_bytes())), FRAME + 2, larger=1).image
    return [np.ascontiguousarray(window(field, FRAME, move)) for move in MOVES]


def agreement(folder: Path, n: int) -> dict[str, float]:
    """Measure how often the chosen content stays the same after a shift by one pixel."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in {".jpg", ".jpeg", ".png"})
    same: dict[str, list[bool]] = {"straight": [], "diagonal": []}
    for file in files:
        (x, y), *others = (select(view, n) for view in views_of(file))
        for (right, down), (left, top) in zip(MOVES[1:], others, strict=True):
            same["diagonal" if right and down else "straight"].append((left + right, top + down) == (x, y))
    return {"n": n, "photographs": len(files), **{kind: round(float(np.mean(one)), 3) for kind, one in same.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=int, default=70)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--photographs", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        files = photographs(root / "photos", options.sources)
        pictures = [views_of(file) for file in files]
        ours(root / "photos", root / "warm")
        times: dict[str, list[float]] = {"ours": [], "pillow": [], "limit": []}
        for turn in range(options.rounds):
            store = root / f"store_{turn}"
            times["ours"].append(seconds(lambda store=store: ours(root / "photos", store)))  # type: ignore[misc]
            times["pillow"].append(seconds(lambda: pillow(files)))
            times["limit"].append(seconds(lambda: limit(files, pictures)))
        crop_ms = seconds(lambda: [select(views[0], 32) for views in pictures]) * 1e3 / len(pictures)
    median = {name: statistics.median(found) for name, found in times.items()}
    report = {
        "what": f"{options.sources} photographs, 500 x 375, {len(MOVES)} pictures of {FRAME} x {FRAME} each",
        "cpu_seconds_for_1000": {name: round(one / options.sources * 1000, 1) for name, one in median.items()},
        "goal": GOAL,
        "pillow_to_ours": round(median["pillow"] / median["ours"], 2),
        "ours_to_limit": round(median["ours"] / median["limit"], 2),
        "chosen_crop_ms": round(crop_ms, 2),
        "agreement": agreement(options.photographs, 32) if options.photographs else None,
        "versions": {name: version(name) for name in ("pillow", "numpy", "opencv-contrib-python-headless", "deflate")},
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
