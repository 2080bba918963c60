"""Pictures per core-second of every style at a short side of 320 pixels, against OpenCV's filters and imagecorruptions.

The limit is decoding and encoding the same picture as PNG, which every edition does anyway. Each style starts from a
new scene, so it pays for the tangent field itself; `shared` are all styles of lines and paint on one scene.
`generator` is the whole technique with its checks. Ratios are medians of ratios of CPU time within a round.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version

import cv2
import imagenet_c_peer
import numpy as np
from timing import Work, median, ratio, rounds

from variorum.arrays import Pixels
from variorum.generators.coco_o.domain_stylization import DomainStylization
from variorum.generators.coco_o.stylization.domains import STYLES, Domain
from variorum.generators.coco_o.stylization.style import Style
from variorum.kit.pictures.scene import Scene
from variorum.models import ModelTable
from variorum.pixels import decode, encode_png
from variorum.schemas.component import Context
from variorum.schemas.sample import Sample

PHOTOGRAPHS = {
    "skimage": ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png"),
    "sklearn": ("china.jpg", "flower.jpg"),
}
FOLDERS = {"skimage": "data", "sklearn": "datasets/images"}
SIDE = 320
GOALS = {"sketch": 20.0, "weather": 20.0, "painting": 5.0}
"""Least pictures per core-second of the domain's styles, without those of networks."""
NETWORK, NETWORK_SIDE, MOST_NETWORK_MS = "style_network", 256, 80.0
"""The style network alone, the side of its pictures, and the most CPU milliseconds of one."""
SHARED: tuple[Domain, ...] = ("sketch", "cartoon", "painting")
PEERS: dict[str, Callable[[Pixels], object]] = {
    "cv2.pencilSketch": cv2.pencilSketch,
    "cv2.stylization": cv2.stylization,
    "cv2.xphoto.oilPainting": lambda image: cv2.xphoto.oilPainting(image, 7, 1),
}
AGAINST = {
    "sketch/pencil": "cv2.pencilSketch",
    "cartoon/cel": "cv2.stylization",
    "painting/oil": "cv2.xphoto.oilPainting",
    "weather/fog": "imagecorruptions.fog",
    "weather/snow": "imagecorruptions.snow",
}
"""A style and the peer that makes the like."""


def photographs() -> list[Pixels]:
    """Packaged photographs, reduced to the side."""
    found = []
    for package, paths in PHOTOGRAPHS.items():
        spec = importlib.util.find_spec(package)
        assert spec
        assert spec.submodule_search_locations
        for path in paths:
            with open(f"{spec.submodule_search_locations[0]}/{FOLDERS[package]}/{path}", "rb") as file:
                image = decode(file.read())
            scale = SIDE / min(image.shape[:2])
            size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
            found.append(np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8))
    return found


def scene(image: Pixels, models: ModelTable, alone: bool = False) -> Scene:
    """A scene whose object is an ellipse in the middle."""
    height, width = image.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, (width // 2, height // 2), (width // 4, height // 3), 0, 0, 360, 255, -1)
    return Scene(image, (mask,), mask if alone else None, models.get)


def paint(style: Style, images: Sequence[Pixels], models: ModelTable) -> None:
    for seed, image in enumerate(images):
        rng = np.random.default_rng(seed)
        style.paint(scene(image, models, style.needs_subject), style.draw(rng), rng)


def paint_shared(images: Sequence[Pixels], models: ModelTable) -> None:
    for seed, image in enumerate(images):
        rng, one = np.random.default_rng(seed), scene(image, models)
        for domain in SHARED:
            for style in STYLES[domain].values():
                if not style.models:
                    style.paint(one, style.draw(rng), rng)


def repaint(images: Sequence[Pixels], models: ModelTable) -> None:
    model = models.get(NETWORK)
    for number, image in enumerate(images):
        model([image], np.eye(model.styles, dtype=np.float32)[[number]])


def whole(images: Sequence[Pixels], models: ModelTable) -> None:
    """The default technique, without a segmenter: an original and five scenes of each photograph."""
    ctx = Context(0, models, lambda key, compute: compute())
    generator = DomainStylization(segmenter=None)
    samples = [Sample(f"{number:032x}", image) for number, image in enumerate(images)]
    for _ in generator.generate(samples, ctx):
        pass


def png(images: Sequence[Pixels]) -> None:
    for image in images:
        decode(encode_png(image))


def apply(peer: Callable[[Pixels], object], images: Sequence[Pixels]) -> None:
    for image in images:
        peer(image)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    images, models = photographs(), ModelTable("embedded")
    peers = dict(PEERS)
    if importlib.util.find_spec("imagecorruptions"):
        for kind in ("fog", "snow"):  # severity 3, cropped to what it takes: its plasma is a square of 256 pixels
            peers[f"imagecorruptions.{kind}"] = partial(_corrupted, kind)
    styles = {f"{domain}/{name}": style for domain in STYLES for name, style in STYLES[domain].items()}
    ready = {name: one for name, one in styles.items() if all(models.status(a).state == "ready" for a in one.models)}
    variants: dict[str, Work] = {name: partial(paint, style, images, models) for name, style in ready.items()}
    variants |= {name: partial(apply, peer, images) for name, peer in peers.items()}
    variants |= {
        "shared": lambda: paint_shared(images, models),
        "generator": lambda: whole(images, models),
        "png": lambda: png(images),
    }
    if models.status(NETWORK).state == "ready":
        small = [cv2.resize(image, (NETWORK_SIDE, NETWORK_SIDE), interpolation=cv2.INTER_AREA) for image in images]
        variants[NETWORK] = lambda: repaint(small, models)
    timed = rounds(variants, options.rounds)
    ms = {name: round(median(timed, name) * 1e3 / len(images), 2) for name in variants}
    plain = {name: ms[name] for name, style in ready.items() if not style.models}
    slowest = {domain: max(ms[name] for name in plain if name.startswith(f"{domain}/")) for domain in GOALS}
    apart = sum(ms[name] for name in plain if name.partition("/")[0] in SHARED)
    report = {
        "what": f"styles on {len(images)} packaged photographs at a short side of {SIDE} pixels",
        "rounds": options.rounds,
        "cpu_ms": ms,
        "pictures_per_core_second": {name: round(1000 / value, 1) for name, value in ms.items()},
        "times_png": {name: ratio(timed, name, "png") for name in variants},
        "times_peer": {
            f"{name} to {peer}": ratio(timed, name, peer)
            for name, peer in AGAINST.items()
            if name in variants and peer in variants
        },
        "shared_to_apart": round(ms["shared"] / apart, 3),
        "not_ready": sorted(set(styles) - set(ready)),
        "goals": {**GOALS, "network_cpu_ms": MOST_NETWORK_MS},
        "met": {
            **{domain: 1000 / slowest[domain] >= goal for domain, goal in GOALS.items()},
            **({"network": ms[NETWORK] <= MOST_NETWORK_MS} if NETWORK in ms else {}),
        },
        "versions": {name: version(name) for name in ("opencv-contrib-python-headless", "numpy", "onnxruntime")},
    }
    print(json.dumps(report, indent=1))


def _corrupted(kind: str, image: Pixels) -> Pixels:
    """The peer takes no picture that is wider than its plasma, so it gets a square of it, as often as there is room."""
    height, width = image.shape[:2]
    square = np.asarray(image[:256, :256])
    share = height * width / square.shape[0] / square.shape[1]
    made = square
    for _ in range(max(1, round(share))):
        made = imagenet_c_peer.corrupt(square, kind, 3)
    return made


if __name__ == "__main__":
    main()
