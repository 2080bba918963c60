"""What a unit costs beside its model: decoding, PNG, shard, table and receipt, against the bare model loop."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import skimage.data
from PIL import Image
from timing import median, ratio, rounds

from schemas.component import Context, Generator
from schemas.recipe import Recipe
from schemas.sample import Failure, Sample
from variorum.context import models
from variorum.engine import plan, run_unit
from variorum.images import decode
from variorum.memo import DiskMemo
from variorum.store import Store

PICTURES = 12
ROUNDS = 3
QUIET = 0.15
"""Cores that others may use at most in a round that counts for wall time."""


class Segmented(Generator):
    """Adds each picture's object mask, the cheapest generator that runs a real model on every picture."""

    def aliases(self) -> tuple[str, ...]:
        """The segmenter."""
        return ("segmenter",)

    def generate(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Sample | Failure]:
        """Every picture with its mask as `mask.png`."""
        model = ctx.models.get("segmenter")
        for sample in samples:
            mask = (model([sample.image])[0].mask * 255).astype("uint8")
            yield sample.child(
                sample.image,
                {
                    "name": "segmented",
                    "revision": 1,
                    "requested": {},
                    "achieved": {},
                    "gates": {},
                    "models": {},
                    "seed": 0,
                },
                variant="segmented",
                fingerprint=self.fingerprint(),
                extras={"mask.png": mask},
            )


def main() -> None:
    cv2.setNumThreads(1)
    place = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    try:
        print(json.dumps(compare(place), indent=1))
    finally:
        shutil.rmtree(place)


def compare(place: Path) -> dict[str, object]:
    (place / "photos").mkdir()
    picture = Image.fromarray(skimage.data.astronaut())
    for number in range(PICTURES):
        picture.crop((2 * number, 0, 2 * number + 448, 420)).save(place / "photos" / f"{number:02d}.jpg", quality=92)
    source = {"name": "image_folder", "path": str(place / "photos")}
    recipe = Recipe.parse({"dataset": "d", "version": "1.0.0", "source": source, "samples_per_shard": PICTURES})
    recipe = recipe.model_copy(update={"generate": (Segmented(),)})
    ctx = Context(0, models("embedded"), DiskMemo(place / "memo"), recipe.source)
    model = ctx.models.get("segmenter")
    arrays = [decode(path.read_bytes()) for path in sorted((place / "photos").iterdir())]
    (unit,) = plan(recipe, ctx).units

    def bare() -> None:
        for array in arrays:
            model([array])

    def whole() -> None:
        shutil.rmtree(place / "store", ignore_errors=True)
        run_unit(recipe, unit, ctx, Store(str(place / "store")))

    timed = rounds({"bare": bare, "unit": whole}, ROUNDS)
    quiet = [turn for turn in timed if max(t.others for t in turn.values()) < QUIET and (os.cpu_count() or 1) > 1]
    return {
        "pictures": PICTURES,
        "limit": "the bare model loop on decoded arrays (u2netp, onnxruntime)",
        "cpu_ratio": ratio(timed, "unit", "bare"),
        "goal_cpu": "<= 1.20",
        "wall_ratio": ratio(quiet, "unit", "bare", "wall") if quiet else "no second core free",
        "goal_wall": "<= 1.10, judged only in rounds in which others left a core free",
        "quiet_rounds": f"{len(quiet)} of {ROUNDS}",
        "model_ms": round(1e3 * median(timed, "bare") / PICTURES, 2),
        "cores_used_by_model": round(median(timed, "bare") / median(timed, "bare", "wall"), 2),
    }


if __name__ == "__main__":
    main()
