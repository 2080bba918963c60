"""Random detections and objects, pycocotools run by hand on them, and a detector of the shapes of `annotated_set`."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from annotated_set import ANNOTATED
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from variorum.kit.detection.records import FOUND, THERE, Picture
from variorum.models.roles import Detected
from variorum.pipeline import Job, run
from variorum.schemas.component import Context
from variorum.schemas.recipe import Recipe

SIDE = 200.0
FILLS = {"a circle | <b>": 0.0, "square": 0.9}
"""How much of its box a shape fills at least."""


@st.composite
def scenes(draw, most: int = 5, classes: int = 4, *, ties: bool = True) -> list[Picture]:
    """Some pictures: objects of all sizes, crowds, missing ones; detections near them and elsewhere, or none."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    pictures = []
    for _ in range(draw(st.integers(0, most))):
        there = np.zeros(draw(st.integers(0, 6)), THERE)
        there["box"] = random_boxes(rng, len(there))
        there["area"] = there["box"][:, 2] * there["box"][:, 3] * rng.uniform(0.3, 1, len(there))
        there["category"] = rng.integers(0, classes, len(there))
        there["crowd"], there["check"] = rng.random(len(there)) < 0.2, rng.integers(0, 4, len(there))
        near = rng.permutation(np.repeat(np.arange(len(there)), 2))[: draw(st.integers(0, 8))]
        stray = draw(st.integers(0, 4))
        boxes = np.concatenate([there["box"][near] * rng.uniform(0.85, 1.15, (len(near), 4)), random_boxes(rng, stray)])
        found = np.zeros(len(boxes), FOUND)
        found["box"] = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        found["category"] = np.concatenate([there["category"][near], rng.integers(0, classes, stray)])
        scores = rng.random(len(boxes))
        found["score"] = np.round(scores, 1) if ties else scores  # many are the same
        pictures.append(Picture(found, there))
    return pictures


def random_boxes(rng: np.random.Generator, number: int) -> np.ndarray:
    """Left, top, width, height; small, medium and large."""
    sides = np.exp(rng.uniform(0, np.log(SIDE), (number, 2)))
    return np.concatenate([rng.uniform(0, SIDE, (number, 2)), sides], axis=1)


def coco_files(pictures: Sequence[Picture], ids: Sequence[int], ignored: Sequence[int] = ()) -> tuple[dict, list[dict]]:
    """An annotation file and a file of results, as other tools read them."""
    annotations, results = [], []
    for number, (found, there) in enumerate(pictures, 1):
        for one in there:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": ids[one["category"]],
                    "bbox": one["box"].tolist(),
                    "area": float(one["area"]),
                    "iscrowd": int(one["crowd"] or one["check"] in ignored),
                }
            )
        for one in found:
            left, top, right, bottom = one["box"].astype(float).tolist()
            results.append(
                {
                    "image_id": number,
                    "category_id": ids[one["category"]],
                    "bbox": [left, top, right - left, bottom - top],
                    "score": float(one["score"]),
                }
            )
    images = [{"id": number} for number in range(1, len(pictures) + 1)]
    categories = [{"id": one, "name": str(one)} for one in ids]
    return {"images": images, "annotations": annotations, "categories": categories}, results


def by_pycocotools(data: dict, results: list[dict]) -> COCOeval:
    """pycocotools' own evaluation."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = data
        truth.createIndex()
        found = truth.loadRes(results) if results else COCO()
        found.dataset.setdefault("annotations", [])
        judge = COCOeval(truth, found, "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge


class ShapeDetector:
    """Finds the yellow circles and squares of `annotated_set` by their colour; a square fills its box."""

    def __init__(self, names: Sequence[str] = tuple(FILLS), least: int = 130) -> None:
        """`names` are those that it knows, `least` the least red; 0 for what stands out in the picture."""
        self._names, self._least = names, least

    def knows(self, texts: Sequence[str]) -> list[bool]:
        return [text in self._names for text in texts]

    def __call__(self, images: Sequence[np.ndarray], texts: Sequence[str]) -> list[Detected]:
        return [self._found(image, texts) for image in images]

    def _found(self, image: np.ndarray, texts: Sequence[str]) -> Detected:
        yellow = (image[..., 0] > (self._least or 1.25 * np.median(image[..., 0]))).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(yellow, connectivity=4)
        boxes, scores, kinds = [], [], []
        for left, top, wide, high, area in stats[1:]:
            share = area / (wide * high)
            name = next(name for name, least in reversed(FILLS.items()) if share >= least)
            if min(wide, high) > 4 and name in texts:
                boxes.append((left, top, left + wide, top + high))
                scores.append(area / image[..., 0].size)
                kinds.append(list(texts).index(name))
        order = np.argsort(-np.array(scores), kind="stable")
        return Detected(
            np.array(boxes, np.float32).reshape(-1, 4)[order],
            np.array(scores, np.float32)[order],
            np.array(kinds, np.int64)[order],
        )


class OwnModels:
    """Detectors of a test by alias, each with a pin."""

    def __init__(self, **detectors: object) -> None:
        self._detectors = detectors

    def names(self) -> tuple[str, ...]:
        return tuple(self._detectors)

    def get(self, alias: str) -> object:
        return self._detectors[alias]

    def pin(self, alias: str) -> str:
        return f"{alias}@sha256:{hashlib.sha256(alias.encode()).hexdigest()}+test.1"

    def check(self, aliases: Iterable[str]) -> None:
        assert set(aliases) <= set(self._detectors)


SHIFT = '''
"""Two shifted versions of each picture: one is darker, the other loses an object. `bare` loses all of them."""

from dataclasses import replace
from typing import ClassVar

import numpy as np

from variorum.schemas.component import Generator
from variorum.schemas.sample import ENHANCED


class Shift(Generator):
    keeps_objects: ClassVar[bool] = True
    digital_source_type: ClassVar[str] = ENHANCED
    skip: int = 0

    def edit(self, sample, of):
        yield sample
        if self.skip and int(sample.origin.split(".")[0]) % self.skip == 0:
            yield of.skipped("hidden", variant="dark", requested={"view": "scene"})
        else:
            dark = (sample.image * 0.55).astype(np.uint8)
            yield of.made(dark, variant="dark", requested={"view": "scene"})
        pixels = sample.image.copy()
        objects = list(sample.annotations.objects)
        if objects:
            left, top, wide, high = map(int, objects[0].box)
            pixels[top : top + high, left : left + wide] = 100
            objects[0] = replace(objects[0], check="missing")
        notes = replace(sample.annotations, objects=tuple(objects))
        yield of.made(pixels, variant="lost one/half", requested={"view": "scene"}, annotations=notes)
'''


def edition(
    folder: Path,
    models: OwnModels | None = None,
    shift: Mapping[str, object] | None = None,
    *,
    masters: str = "png",
    **fields: object,
):
    """An edition of `annotated_set` with its shifted versions, evaluated by the models: its job and its manifest."""
    file = folder / "shift.py"
    file.write_text(SHIFT)
    steps = [{"name": "detection_ap", "detectors": list(models.names()), "bootstrap": 50}] if models else []
    recipe = Recipe.parse(
        {
            "dataset": "shapes",
            "version": "1.0.0",
            "masters": masters,
            "source": {**ANNOTATED, **fields},
            "generate": [{"name": str(file), **(shift or {})}],
            "evaluate": steps,
        }
    )
    ctx = Context(recipe.seed, models or OwnModels(), None, recipe.source, splits=recipe.splits)
    job = Job(recipe, str(folder / "store"), ctx=ctx)
    return job, run(job)
