"""Lossless PNG encoding of photographs: ours against Pillow and OpenCV, in CPU milliseconds per picture.

The limit is deflate alone: zlib at level 1 on filtered bytes. The output of every encoder is decoded and compared with
the pixels before timing. Rounds are interleaved, and ratios are medians of ratios within a round.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import statistics
import time
import zlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from variorum.arrays import Pixels
from variorum.pixels import decode, encode_png

SIDE = 512
PHOTOGRAPHS = {
    "skimage": ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png"),
    "sklearn": ("china.jpg", "flower.jpg"),
}


def photographs() -> list[Pixels]:
    """Two crops `[512, 512, 3]` of each photograph, with the short side resized to 512."""
    crops = []
    for package, paths in PHOTOGRAPHS.items():
        spec = importlib.util.find_spec(package)
        assert spec
        folder = Path(str(spec.origin)).parent / {"skimage": "data", "sklearn": "datasets/images"}[package]
        for path in paths:
            pixels = decode((folder / path).read_bytes())
            scale = SIDE / min(pixels.shape[:2])
            height, width = (round(side * scale) for side in pixels.shape[:2])
            how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
            resized = cv2.resize(pixels, (width, height), interpolation=how)
            crops += [np.ascontiguousarray(resized[:SIDE, :SIDE]), np.ascontiguousarray(resized[-SIDE:, -SIDE:])]
    return crops


def pillow(pixels: Pixels, **options: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", **options)
    return stream.getvalue()


def opencv(pixels: Pixels) -> bytes:
    return cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes()


def filtered(pixels: Pixels) -> bytes:
    """The bytes that PNG compresses, with the filter Up."""
    rows = pixels.reshape(len(pixels), -1)
    above = np.vstack([np.zeros_like(rows[:1]), rows[:-1]])
    return np.hstack([np.full((len(rows), 1), 2, np.uint8), rows - above]).tobytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    pictures = photographs()
    encoders: dict[str, Callable[[Pixels], bytes]] = {
        "variorum": encode_png,
        "pillow_default": pillow,
        "pillow_level_1": lambda pixels: pillow(pixels, compress_level=1),
        "opencv_default": opencv,
    }
    for encode in encoders.values():
        assert all((decode(encode(pixels)) == pixels).all() for pixels in pictures)
    limit = "limit_zlib_level_1_alone"
    work = {name: (encode, pictures) for name, encode in encoders.items()}
    work[limit] = (lambda data: zlib.compress(data, 1), [filtered(pixels) for pixels in pictures])
    names, times = list(work), {name: list[float]() for name in work}
    sizes = {name: sum(len(encode(item)) for item in items) / len(items) for name, (encode, items) in work.items()}
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            encode, items = work[name]
            began = time.process_time()
            for item in items:
                encode(item)
            times[name].append((time.process_time() - began) * 1e3 / len(items))
    ours = times["variorum"]
    report = {
        "what": f"lossless PNG of {len(pictures)} RGB photographs, {SIDE} x {SIDE}",
        "rounds": rounds,
        "cpu_ms": {name: round(statistics.median(values), 3) for name, values in times.items()},
        "bytes": {name: round(size) for name, size in sizes.items()},
        "times_ours": {
            name: round(statistics.median(b / a for a, b in zip(ours, values, strict=True)), 2)
            for name, values in times.items()
        },
        "bytes_to_ours": {name: round(size / sizes["variorum"], 3) for name, size in sizes.items()},
        "versions": {name: version(name) for name in ("pillow", "opencv-contrib-python-headless", "numpy")},
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
