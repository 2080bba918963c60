"""A release of many small photographs, shared by the benchmarks of its page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

from variorum.edition.store import Store
from variorum.pipeline import Job, build, curate, release
from variorum.schemas.manifest import Manifest
from variorum.schemas.recipe import Recipe

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field", "immunohistochemistry", "retina")
CLASSES = 100
REVIEW = {"when": [{"column": "quality.flag", "equals": True}], "action": "review", "reason": "poor_quality"}
DROP = {"when": [{"column": "quality.entropy", "below": 0.7}], "action": "drop", "reason": "flat", "guarded": False}


def crops(folder: Path, number: int, side: int) -> None:
    """Write JPEGs into class folders: crops of scikit-image's photographs, sides up to half longer than `side`."""
    rng = np.random.default_rng(0)
    images = [Image.fromarray(getattr(skimage.data, name)()).convert("RGB") for name in PHOTOGRAPHS]
    for place in range(number):
        image = images[place % len(images)]
        width, height = (int(side * share) for share in rng.uniform(1, 1.5, 2))
        left, top = rng.integers(0, image.width - width), rng.integers(0, image.height - height)
        path = folder / f"class {place % CLASSES}" / f"{place:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.crop((left, top, left + width, top + height)).save(path, quality=90)


def many_pictures(folder: Path, number: int, side: int = 192) -> tuple[Manifest, Store]:
    """A curated release of crops of real photographs that keep their own bytes, in a store in this folder."""
    crops(folder / "photographs", number, side)
    recipe = Recipe.parse(
        {
            "dataset": "crops",
            "version": "1.0.0",
            "samples_per_shard": 500,
            "masters": "original",
            "source": {"name": "image_folder", "path": str(folder / "photographs")},
            "curate": [{"name": "quality"}, {"name": "policy", "rules": [REVIEW, DROP]}],
        }
    )
    job = Job(recipe, str(folder / "store"))
    manifest = build(job)
    return release(job, manifest, *curate(job, manifest)), job.store
