"""Edited 256 x 256 pictures per second on one core, with geometry, checks and PNG; masks and plates are given.

The peer is a simple script with Pillow: resize or rotate, paste, save as PNG. The limit is writing the pictures alone,
as if edits cost nothing.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import skimage.data
from PIL import Image

from variorum.generators.imagenet_e.attribute_edit import AttributeEdit
from variorum.pixels import encode_png
from variorum.schemas.component import Context
from variorum.schemas.sample import Sample

SIDE = 256
PICTURES = 16
ROUNDS = 3


def pictures() -> list[Sample]:
    """Cut-outs of photographs pasted on other photographs."""
    photos = [getattr(skimage.data, name)()[:300, 60:360] for name in ("coffee", "chelsea", "astronaut", "rocket")]
    photos = [cv2.resize(photo, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for photo in photos]
    rng = np.random.default_rng(0)
    out = []
    for number in range(PICTURES):
        mask = np.zeros((SIDE, SIDE), np.uint8)
        centre = (int(rng.integers(100, 156)), int(rng.integers(100, 156)))
        axes = (int(rng.integers(30, 70)), int(rng.integers(30, 70)))
        cv2.ellipse(mask, centre, axes, int(rng.integers(180)), 0, 360, 255, -1, cv2.LINE_AA)
        front, plate = photos[number % 4], np.roll(photos[(number + 1) % 4], number, axis=1)
        cover = mask[..., None] / 255
        picture = np.rint(cover * front + (1 - cover) * plate).astype(np.uint8)
        out.append(Sample(f"{number:032x}", picture, extras={"mask.png": mask, "plate.png": plate}))
    return out


def ours(samples: list[Sample]) -> int:
    """Make and encode size, position and direction edits of each sample; returns their number."""
    edit = AttributeEdit(attributes=("size", "position", "direction"), classifier=None, batch=1)
    made = 0
    for item in edit.generate(samples, Context(0, NoModels(), lambda key, compute: compute())):
        if isinstance(item, Sample) and item.variant not in ("original", "control", "plate"):
            for pixels in (item.image, item.extras["mask.png"]):
                assert not isinstance(pixels, bytes)
                encode_png(pixels)
            made += 1
    return made


class NoModels:
    """A table without models: masks and plates are given."""

    def get(self, alias: str) -> Any:
        """Never called."""
        raise LookupError(alias)

    def pin(self, alias: str) -> str:
        """Never called."""
        raise LookupError(alias)


def pillow(samples: list[Sample]) -> int:
    """The same six edits with Pillow, without checks."""
    made = 0
    for sample in samples:
        picture, mask, plate = (
            Image.fromarray(np.asarray(pixels))
            for pixels in (sample.image, sample.extras["mask.png"], sample.extras["plate.png"])
        )
        box = mask.getbbox()
        share = np.asarray(mask).mean() / 255
        for edit in ("full", 0.1, 0.08, 0.05, "position", "direction"):
            scale = 1.2 if edit == "full" else ((edit if isinstance(edit, float) else 0.05) / share) ** 0.5
            cut, hard = picture.crop(box), mask.crop(box)
            size = max(1, round(cut.width * scale)), max(1, round(cut.height * scale))
            cut, hard = cut.resize(size, Image.Resampling.LANCZOS), hard.resize(size, Image.Resampling.LANCZOS)
            if edit == "direction":
                cut, hard = (item.rotate(45, Image.Resampling.BICUBIC, expand=True) for item in (cut, hard))
            laid, where = plate.copy(), Image.new("L", plate.size)
            laid.paste(cut, (20, 20), hard)
            where.paste(hard, (20, 20))
            for item in (laid, where):
                item.save(io.BytesIO(), "PNG")
            made += 1
    return made


def encoding(samples: list[Sample]) -> int:
    """Encode the same number of pictures and masks, nothing else."""
    for sample in samples * 6:
        for pixels in (sample.image, sample.extras["mask.png"]):
            assert not isinstance(pixels, bytes)
            encode_png(pixels)
    return len(samples) * 6


def rate(work: Callable[[list[Sample]], int], samples: list[Sample]) -> float:
    """Pictures per second of CPU time, the best of some rounds."""

    def rounds() -> Iterator[float]:
        for _ in range(ROUNDS):
            start = time.process_time()
            made = work(samples)
            yield made / (time.process_time() - start)

    return max(rounds())


def main() -> None:
    cv2.setNumThreads(1)
    samples = pictures()
    found = {name.__name__: rate(name, samples) for name in (ours, pillow, encoding)}
    print(
        json.dumps(
            {
                "benchmark": "edits",
                "edited_per_second": round(found["ours"], 1),
                "pillow_per_second": round(found["pillow"], 1),
                "encoding_alone_per_second": round(found["encoding"], 1),
                "ratio_to_pillow": round(found["ours"] / found["pillow"], 2),
                "ratio_to_encoding_alone": round(found["ours"] / found["encoding"], 3),
                "target_per_second": 40,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
