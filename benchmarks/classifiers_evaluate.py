"""`variorum.evaluate` of a function, compared with a bare loop: the same decoding, batches of 32, the same function.

The real function is EfficientNet-Lite0 on ONNX Runtime; the trivial one shows what a picture costs without a model.
Ratios are medians within a round; the limit is for the real function. `--store` and `--edition` measure on an edition
of your own; by default one of 1024 crops of scikit-image's photographs is made.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image
from timing import median, ratio, rounds

import variorum as va
from variorum.edition.samples import picture_ending, picture_pixels
from variorum.edition.shards import read_shard
from variorum.machine.prefetch import batched
from variorum.stages.job import models

LIMIT = 1.05
BATCH = 32
FOLDERS = {"chelsea": "n02124075", "coffee": "n07920052", "rocket": "n04008634", "astronaut": "n03594945"}
"""Photographs with a wnid for each."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--store")
    parser.add_argument("--edition")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        if options.edition:
            edition = va.open(options.edition, options.store or "store")
        else:
            edition = crops(Path(place), options.pictures)
        print(json.dumps(compare(edition, options.rounds), indent=1))


def crops(place: Path, number: int) -> va.Edition:
    """An edition of squares of 320 pixels, like those of imagenet_e."""
    for name, wnid in FOLDERS.items():
        folder = place / "photos" / wnid
        folder.mkdir(parents=True)
        image = Image.fromarray(getattr(skimage.data, name)()).convert("RGB").resize((720, 540))
        for one in range(number // len(FOLDERS)):
            left, top = 25 * (one % 17), 14 * (one // 17)
            image.crop((left, top, left + 320, top + 320)).save(folder / f"{one}.png")
    recipe = {
        "dataset": "crops",
        "version": "1.0.0",
        "samples_per_shard": 256,
        "source": {"name": "image_folder", "path": str(place / "photos")},
    }
    return va.run(recipe, store=str(place / "store"), progress=False)


def pictures(edition: va.Edition) -> Iterator[np.ndarray]:
    """Read an edition as a user's own script does: a picture after the other."""
    for _, shard in edition.manifest.accepted():
        for key, members in read_shard(edition.store.path(shard)):
            yield picture_pixels(key, members[picture_ending(members)])


def compare(edition: va.Edition, number: int) -> dict[str, object]:
    network = models("embedded").get("classifier_gate")
    network([np.zeros((64, 64, 3), np.uint8)])

    def trivial(images: list[np.ndarray]) -> np.ndarray:
        found = np.zeros((len(images), 1000), np.float32)
        found[np.arange(len(images)), [int(image[0, 0, 0]) for image in images]] = 1
        return found

    found: dict[str, object] = {"edition": edition.name, "pictures": len(edition), "batch": BATCH}
    for name, function in (("EfficientNet-Lite0", network), ("trivial", trivial)):

        def bare(function=function) -> None:
            right = [function(batch).argmax(axis=1) for batch in batched(pictures(edition), BATCH)]
            assert sum(map(len, right)) == len(edition)

        def ours(function=function) -> None:
            results = va.evaluate(edition, function, name="function", progress=False, save=False)
            assert len(results.answers()) == len(edition)

        timed = rounds({"bare": bare, "ours": ours}, number)
        found[name] = {
            "bare_ms_per_picture": round(1000 * median(timed, "bare", "wall") / len(edition), 3),
            "ours_ms_per_picture": round(1000 * median(timed, "ours", "wall") / len(edition), 3),
            "wall_ratio": ratio(timed, "ours", "bare", "wall"),
            "cpu_ratio": ratio(timed, "ours", "bare"),
            "limit": LIMIT if name != "trivial" else None,
        }
    return found


if __name__ == "__main__":
    main()
