"""Cost of a unit beyond its model: decoding, PNG, shard, table and receipt, compared with the bare model loop."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import skimage.data
from PIL import Image
from timing import median, ratio, rounds

from variorum.machine.memo import DiskMemo
from variorum.pixels import decode
from variorum.schemas.component import Context, Generator, Use
from variorum.schemas.edit import Edit
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import Failure, Sample
from variorum.stages.build import Build
from variorum.stages.job import Job, models

PICTURES = 12
ROUNDS = 3
QUIET = 0.15
"""Maximum number of cores used by other processes in a round that counts for wall time."""


class Segmented(Generator):
    """Adds the object mask to each picture. It is the cheapest generator that runs a real model on every picture."""

    def uses(self) -> list[Use]:
        """Return the segmenter."""
        return [Use("segmenter")]

    def edit(self, sample: Sample, of: Edit) -> Iterator[Sample | Failure]:
        """The picture with its mask as `mask.png`."""
        mask = (of.model("segmenter")([sample.image])[0].mask * 255).astype("uint8")
        yield of.made(sample.image, variant="segmented", requested={}, extras={"mask.png": mask})


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
    (unit,) = Job(recipe, str(place / "store"), ctx=ctx).plan.units

    def bare() -> None:
        for array in arrays:
            model([array])

    def whole() -> None:
        shutil.rmtree(place / "store", ignore_errors=True)
        Build(Job(recipe, str(place / "store"), ctx=ctx)).make(unit, lambda _: None)

    timed = rounds({"bare": bare, "unit": whole}, ROUNDS)
    quiet = [turn for turn in timed if max(t.others for t in turn.values()) < QUIET and (os.cpu_count() or 1) > 1]
    return {
        "pictures": PICTURES,
        "limit": "the bare model loop on decoded arrays (u2netp, onnxruntime)",
        "cpu_ratio": ratio(timed, "unit", "bare"),
        "goal_cpu": "<= 1.20",
        "wall_ratio": ratio(quiet, "unit", "bare", "wall") if quiet else "no round with a free second core",
        "goal_wall": "<= 1.10, in rounds in which other processes left a core free",
        "quiet_rounds": f"{len(quiet)} of {ROUNDS}",
        "model_ms": round(1e3 * median(timed, "bare") / PICTURES, 2),
        "cores_used_by_model": round(median(timed, "bare") / median(timed, "bare", "wall"), 2),
    }


if __name__ == "__main__":
    main()
