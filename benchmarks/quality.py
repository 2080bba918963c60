"""Measuring JPEG photographs in one pass with `quality` and `duplicates`, against cleanvision and decoding alone.

Peer: cleanvision with all checks in one process, exact and near duplicates included. Limit: decoding the same files.
Ratios are medians of ratios of CPU time within a round.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import tempfile
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
from cleanvision import Imagelab
from PIL import Image
from timing import Work, median, ratio, rounds

from variorum.curation.copies.duplicates import Duplicates
from variorum.curation.quality.quality import Quality
from variorum.models import ModelTable
from variorum.pixels import decode
from variorum.schemas.component import Context
from variorum.schemas.sample import Sample

PHOTOGRAPHS = {
    "skimage": (
        *("data/astronaut.png", "data/chelsea.png", "data/coffee.png", "data/rocket.jpg", "data/retina.jpg"),
        *("data/motorcycle_left.png", "data/motorcycle_right.png", "data/hubble_deep_field.jpg", "data/ihc.png"),
    ),
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
}


SIDE = 500
CONTEXT = Context(0, ModelTable("embedded"), lambda key, compute: compute())
STEPS = (Quality(), Duplicates())
LEAST_TIMES_PEER, MOST_TIMES_DECODE = 4.0, 2.2


def crops(folder: Path, number: int) -> list[Path]:
    """JPEG crops of packaged photographs, equally many of each, at most 500 pixels on the long side, never enlarged.

    Enlarged pictures are smoother than photographs and would be cheaper to decode.
    """
    photos = []
    for package, paths in PHOTOGRAPHS.items():
        spec = importlib.util.find_spec(package)
        assert spec
        photos += [decode((Path(str(spec.origin)).parent / path).read_bytes()) for path in paths]
    rng = np.random.default_rng(0)
    files = []
    for turn in range(number):
        photo = photos[turn % len(photos)]
        height, width = (int(side * rng.uniform(0.6, 1)) for side in photo.shape[:2])
        top, left = (
            int(rng.integers(whole - part + 1)) for whole, part in zip(photo.shape, (height, width), strict=False)
        )
        scale = min(1.0, SIDE / max(height, width))
        crop = photo[top : top + height, left : left + width]
        size = (round(width * scale), round(height * scale))
        resized = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
        files.append(folder / f"{turn:03d}.jpg")
        Image.fromarray(resized).save(files[-1], quality=92)
    return files


def ours(files: list[Path]) -> None:
    for file in files:
        sample = Sample(file.stem, decode(file.read_bytes()))
        for step in STEPS:
            list(step.measure([sample], CONTEXT))


def cleanvision(files: list[Path]) -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        Imagelab(filepaths=[str(file) for file in files]).find_issues(n_jobs=1, verbose=False)


def bare_decode(files: list[Path]) -> None:
    for file in files:
        decode(file.read_bytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--folder", type=Path, help="use the JPEG files in this folder instead")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary:
        if options.folder:
            found = (path for path in options.folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
            files = sorted(found)[: options.pictures]
        else:
            files = crops(Path(temporary), options.pictures)
        variants: dict[str, Work] = {
            "variorum": lambda: ours(files),
            "cleanvision": lambda: cleanvision(files),
            "bare_decode": lambda: bare_decode(files),
        }
        timed = rounds(variants, options.rounds)
    faster = ratio(timed, "cleanvision", "variorum")
    slower = ratio(timed, "variorum", "bare_decode")
    report = {
        "what": f"measures of quality and duplicates on {len(files)} JPEG photographs, decoding included",
        "pictures": str(options.folder) if options.folder else "crops of scikit-image's and scikit-learn's photographs",
        "rounds": options.rounds,
        "cpu_ms": {name: round(median(timed, name) * 1e3 / len(files), 3) for name in variants},
        "times_faster_than_cleanvision": faster,
        "times_bare_decode": slower,
        "limits": {"times_faster_than_cleanvision": LEAST_TIMES_PEER, "times_bare_decode": MOST_TIMES_DECODE},
        "met": faster >= LEAST_TIMES_PEER and slower <= MOST_TIMES_DECODE,
        "versions": {
            name: version(name) for name in ("cleanvision", "opencv-contrib-python-headless", "numpy", "pillow")
        },
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
