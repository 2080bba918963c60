"""Tileable textures: CPU milliseconds of measures and of tiles, and how well the seam ratio tells tiles from crops.

The measures' peer is TexTile's network on the CPU, which answers the same question and more; its weights are random
here, which its time doesn't depend on. Their limit is decoding the same picture from PNG. The peer of the closed cut is
scikit-image's `route_through_array` on the same band, from each row of the first column to the same row of the last.
The limit of six tiles is encoding their members as PNG. With `--photographs FOLDER` the rates are also measured on
windows of these photographs, the even and the odd ones apart.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import torch
from skimage.graph import route_through_array
from sklearn.metrics import roc_auc_score

from variorum.arrays import Floats, Pixels
from variorum.generators.tileable_texture.tileable_texture import made
from variorum.kit.pictures.seams import border_step, evenness, repetition, seam_ratio
from variorum.kit.pictures.tiling import cut_least, ring_cut, tiled
from variorum.models.loaders.textile import Textile, network
from variorum.pixels import decode, encode_png

TILE, FADE = 128, 32
METHODS = ("crossfade", "min_cut", "mirror")
NEGATIVES = ("crop", "shifted_seam", "ramp")
NAMES = {
    "skimage/data": ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "coins.png"),
    "sklearn/datasets/images": ("china.jpg", "flower.jpg"),
}
PER_PACKAGED = 24
"""Windows of each packaged photograph; they overlap."""


def packaged() -> list[Pixels]:
    found = []
    for place, names in NAMES.items():
        package, _, rest = place.partition("/")
        spec = importlib.util.find_spec(package)
        assert spec
        found += [decode((Path(str(spec.origin)).parent / rest / name).read_bytes()) for name in names]
    return found


def windows(pictures: Sequence[Pixels], each: int) -> list[Pixels]:
    """Windows at random places of the pictures that are large enough."""
    side, found = TILE + FADE, []
    for number, picture in enumerate(pictures):
        rng = np.random.default_rng(number)
        for _ in range(each if min(picture.shape[:2]) >= side else 0):
            top, left = (int(rng.integers(length - side + 1)) for length in picture.shape[:2])
            found.append(np.ascontiguousarray(picture[top : top + side, left : left + side]))
    return found


def rates(found: Sequence[Pixels]) -> dict[str, object]:
    """AUROC of the seam ratio, its percentiles, and the share that the detector calls not tileable, by method."""
    ratio: dict[str, Floats] = {}
    flagged: dict[str, float] = {}
    for method in (*METHODS, *NEGATIVES):
        tiles = [made(method, window, TILE, np.random.default_rng(n))[0] for n, window in enumerate(found)]
        ratio[method] = np.array([seam_ratio(tile) for tile in tiles])
        light = np.array([border_step(tile) for tile in tiles])
        flagged[method] = round(float(((ratio[method] > 1.5) | (light > 8)).mean()), 4)
    truth = np.repeat([0, 1], len(found))
    return {
        "windows": len(found),
        "seam_ratio_5_50_95": {
            name: [round(float(one), 2) for one in np.percentile(values, [5, 50, 95])] for name, values in ratio.items()
        },
        "seam_ratio_at_most_1.5": {name: round(float((one <= 1.5).mean()), 4) for name, one in ratio.items()},
        "not_tileable": flagged,
        "auroc": {
            f"{method}_against_{other}": round(float(roc_auc_score(truth, np.r_[ratio[method], ratio[other]])), 4)
            for method in METHODS
            for other in NEGATIVES
        },
    }


def milliseconds(work: Callable[[Pixels], object], pictures: Sequence[Pixels], rounds: int = 3) -> float:
    times = []
    for _ in range(rounds):
        began = time.process_time()
        for picture in pictures:
            work(picture)
        times.append((time.process_time() - began) * 1e3 / len(pictures))
    return statistics.median(times)


def measures(tile: Pixels) -> tuple[float, ...]:
    return seam_ratio(tile), border_step(tile), repetition(tile), evenness(tile).unevenness


def band(window: Pixels) -> Floats:
    values = window.astype(np.float64)
    return ((values[TILE:] - values[:FADE]) ** 2).sum(axis=2)


def routes(window: Pixels) -> float:
    error = band(window)
    last = error.shape[1] - 1
    return min(route_through_array(error, (row, 0), (row, last))[1] for row in range(len(error)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photographs", type=Path, help="a folder of JPEGs for the rates")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    found = windows(packaged(), PER_PACKAGED)
    tiles = [window[:TILE, :TILE].copy() for window in found]
    files = [encode_png(tile) for tile in tiles]
    scorer = Textile(network().eval())
    ours, peer = milliseconds(measures, tiles), milliseconds(lambda tile: scorer([tile]), tiles[:2], 1)
    began = time.process_time()
    for data in files:
        decode(data)
    limit = (time.process_time() - began) * 1e3 / len(files)
    cut = milliseconds(lambda window: ring_cut(band(window).astype(np.float32)), found[:20])
    route = milliseconds(routes, found[:3], 1)

    def edition(window: Pixels) -> None:
        for method in (*METHODS, *NEGATIVES):
            tile = made(method, window, TILE, np.random.default_rng(0))[0]
            measures(tile)
            encode_png(tile)
            encode_png(tiled(tile))

    def written(window: Pixels) -> None:
        for _ in (*METHODS, *NEGATIVES):
            encode_png(window[:TILE, :TILE])
            encode_png(tiled(window[:TILE, :TILE]))

    whole, png = milliseconds(edition, found[:20]), milliseconds(written, found[:20])
    report: dict[str, object] = {
        "what": f"tiles of {TILE} pixels out of windows of packaged photographs, one thread",
        "measures_ms": {
            "ours": round(ours, 2),
            "peer_textile_random_weights": round(peer, 1),
            "times_faster": round(peer / ours, 1),
            "limit_png_decoding": round(limit, 2),
            "of_limit": round(ours / limit, 2),
        },
        "closed_cut_ms": {
            "ours": round(cut, 2),
            "peer_scikit_image": round(route, 1),
            "times_faster": round(route / cut, 1),
            "both_axes_with_pixels": round(milliseconds(lambda window: cut_least(window, TILE), found[:20]), 2),
        },
        "six_tiles_ms": {"ours": round(whole, 1), "limit_png": round(png, 1), "of_limit": round(whole / png, 2)},
        "packaged": rates(found),
        "versions": {
            name: version(name)
            for name in ("scikit-image", "torch", "torchvision", "opencv-contrib-python-headless", "numpy")
        },
    }
    if options.photographs:
        names = sorted(path for path in options.photographs.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
        pictures = [decode(path.read_bytes()) for path in names]
        report["even_photographs"] = rates(windows(pictures[::2], 1))
        report["odd_photographs"] = rates(windows(pictures[1::2], 1))
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
