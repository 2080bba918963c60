"""An edition of the shared photographs with negatives, and functions that answer what its pictures show."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from variorum.edition.store import Store
from variorum.pipeline import Job, build
from variorum.reports.results import answers
from variorum.schemas.canonical import digest
from variorum.schemas.manifest import Manifest
from variorum.schemas.recipe import Recipe

CLASSES = ("astronaut", "chelsea", "coffee")


def edition(photos: Path, store: str, **probe) -> Manifest:
    """Twelve originals in three classes with two negatives each, in units of four."""
    recipe = {
        "dataset": "shots",
        "version": "1.0.0",
        "seed": 7,
        "samples_per_shard": 4,
        "source": {"name": "image_folder", "path": str(photos)},
        "generate": [{"name": "probe", "copies": 2, **probe}],
    }
    return build(Job(Recipe.parse(recipe), store))


def by_warmth(images):
    """Scores of the three classes by how much redder than blue a picture is: right for most, wrong for negatives."""
    warmth = [float(image[..., 0].mean() - image[..., 2].mean()) for image in images]
    return np.array([[-abs(value - centre) for centre in (10, 40, 90)] for value in warmth])


by_warmth.classes = CLASSES


def constant(number: int):
    """A function that always answers with the same class."""

    def always(images):
        return np.tile(np.eye(len(CLASSES))[number] * 9, (len(images), 1))

    always.classes = CLASSES
    return always


def forged(data: bytes, **changes) -> bytes:
    """A result with other values at dotted paths and a digest that fits."""
    content = json.loads(data)
    content.pop("digest")
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = content
        for parent in parents:
            place = place[parent]
        place[last] = value
    return json.dumps({"digest": digest(content), **content}).encode()


def other_answers(ids, scored, correct) -> dict[str, object]:
    """`answers` of a result, as JSON."""
    return answers(ids, np.asarray(scored, bool), np.asarray(correct, bool)).model_dump(mode="json")


def read_only(store: Store, monkeypatch) -> Store:
    """The store as it is on a disk that can't be written."""
    monkeypatch.setattr(Store, "can_write", lambda self: self.url != store.url)
    return Store(store.url, writable=False)
