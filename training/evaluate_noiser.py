"""Measure the enhancer of dark pictures beside what it is to make better: PSNR, a classifier, colour, and the border.

Photographs are cut to frames of 224 pixels and darkened by stops of light, with sampled noise of a sensor.
`linear_gain` is told the number of stops; `gamma` and the enhancer aren't.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import load_file

from training.noiser import network
from variorum.kit.corrupt import low_light
from variorum.kit.corrupt.frames import framed
from variorum.models import ModelTable
from variorum.models.imagenet_classes import index_of
from variorum.models.loaders.noise_regression import FIRST, WEIGHTS
from variorum.pixels import decode
from variorum.schemas.component import Context
from variorum.schemas.sample import Sample, source_id
from variorum.sources.samples import Samples

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels

SIDE = 224
JUDGE = "classifier_gate"
CALL = 32
"""Pictures that the classifier sees at once."""


def photographs(folder: Path | None) -> Iterator[tuple[Pixels, int]]:
    """Frames with the index of their ImageNet class: of files whose name begins with a wnid, or of packages.

    Pictures of other classes are left out, as the classifier doesn't know them.
    """
    if folder is None:
        source, ctx = Samples(masks=False), Context(0, None, None)  # type: ignore[arg-type]
        found = [item for item in source.read(0, source.size(ctx), ctx) if isinstance(item, Sample)]
    else:
        files = sorted(item for item in folder.iterdir() if re.match(r"n\d{8}", item.name))
        found = [Sample(source_id("x", one.name), decode(one.read_bytes()), (one.name[:9],)) for one in files]
    for sample in found:
        if (index := index_of(sample.labels[0])) is None:
            continue
        image = decode(sample.image) if isinstance(sample.image, bytes) else sample.image
        yield framed(replace(sample, image=image), SIDE).image, index


def enhancer(folder: Path, padding: str) -> Callable[[Pixels], Pixels]:
    """The network of a folder in PyTorch, which knows other paddings too."""
    state = load_file(folder / WEIGHTS)
    model = network(state[FIRST].shape[0], padding)
    model.load_state_dict(state)

    def run(image: Pixels) -> Pixels:
        values = torch.from_numpy(image.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
        with torch.inference_mode():
            found = model(values)[0].permute(1, 2, 0).numpy()
        return np.asarray(np.rint(127.5 * (found + 1)), np.uint8)

    return run


def right(pictures: Sequence[Pixels], labels: Sequence[int]) -> Bools:
    """Return which pictures the classifier gets right."""
    judge = ModelTable("embedded").get(JUDGE)
    parts = [judge(pictures[start : start + CALL]).argmax(axis=1) for start in range(0, len(pictures), CALL)]
    return np.asarray(np.concatenate(parts) == np.asarray(labels))


def edge(image: Pixels) -> float:
    """By how many levels the outer pixels differ from those next to them, on average along the border."""
    grey = image.mean(axis=2)
    inner = np.pad(grey[1:-1, 1:-1], 1, mode="edge")
    ring = np.ones(grey.shape, bool)
    ring[1:-1, 1:-1] = False
    return abs(float((grey - inner)[ring].mean()))


def measured(found: Sequence[Pixels], clean: Sequence[Pixels], labels: Sequence[int]) -> dict[str, float]:
    """Means over the pictures; `spread` is the brightest channel's mean level less the darkest's."""
    errors = [np.mean((one.astype(float) - other) ** 2) for one, other in zip(found, clean, strict=True)]
    means = np.array([one.mean(axis=(0, 1)) for one in found])
    return {
        "psnr": round(float(np.mean(10 * np.log10(255**2 / np.maximum(errors, 1e-3)))), 2),
        "top1": round(float(right(found, labels).mean()), 3),
        "level": round(float(means.mean()), 1),
        "spread": round(float(np.ptp(means, axis=1).mean()), 1),
        "edge": round(float(np.mean([edge(one) for one in found])), 2),
    }


def main() -> None:
    """Print the figures by picture and method as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, default=Path("variorum/models/packaged/low_light_enhancer"))
    parser.add_argument("--padding", choices=("replicate", "zeros"), default="replicate")
    parser.add_argument("--stops", type=float, default=4)
    parser.add_argument("--pictures", type=Path, help="folder of photographs by wnid to use in place of the packaged")
    parser.add_argument("--half", type=int, choices=(0, 1), help="use only every other photograph, from this one")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = list(photographs(arguments.pictures))[arguments.half or 0 :: 1 if arguments.half is None else 2]
    clean, labels = [image for image, _ in found], [label for _, label in found]
    dark = []
    for number, image in enumerate(clean):
        by = low_light.sensor(image, None, np.random.default_rng(number))
        dark.append(low_light.darkened(image, arguments.stops, bits=12, by=by).image)
    enhance = enhancer(arguments.model, arguments.padding)
    report = partial(measured, clean=clean, labels=labels)
    figures = {
        "photographs": report(clean),
        "dark": report(dark),
        "linear_gain": report([low_light.linear_gain(image, arguments.stops) for image in dark]),
        "gamma": report([low_light.gamma(image)[0] for image in dark]),
        "enhancer": report([enhance(image) for image in dark]),
        "enhancer_in_normal_light": report([enhance(image) for image in clean]),
    }
    print(json.dumps({"pictures": len(clean), "stops": arguments.stops, **figures}, indent=1))


if __name__ == "__main__":
    main()
