"""Loader `object_detection`: detectors of fixed categories, by transformers: DETR and its kin, RT-DETR, D-FINE, YOLOS.

Carion et al., ECCV 2020, arXiv 2005.12872; Lv et al., arXiv 2407.17140; Peng et al., arXiv 2410.13842; Fang et al.,
NeurIPS 2021, arXiv 2106.00666.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from variorum.models.device import best_device, inference
from variorum.models.loaders.coco_detectors import SYNONYMS, plain
from variorum.models.loaders.detection import nothing, of_one_size
from variorum.models.loaders.loader import Loader
from variorum.models.pretrained import load_pretrained, one_error
from variorum.models.roles import Detected
from variorum.models.table_entries import Entry, StrictModel
from variorum.schemas.errors import ModelUnavailable

if TYPE_CHECKING:
    from variorum.arrays import Pixels

NO_NAME = re.compile(r"N/A|LABEL_\d+", re.I)
"""Labels of outputs that mean nothing: COCO's ids have gaps."""
CLOSED_UP = {name.replace(" ", ""): other.replace(" ", "") for name, other in SYNONYMS.items()}


class ObjectDetectionOptions(StrictModel):
    """Options of `object_detection`."""

    threshold: float = Field(default=0.05, ge=0, lt=1)
    """Boxes with a higher score are kept. It is low because an average precision needs the unsure boxes too."""
    batch: int = Field(default=4, ge=1)


def load_object_detection(
    entry: Entry, folder: Path, options: ObjectDetectionOptions, _used: Mapping[str, Any]
) -> ObjectDetection:
    """The detector of a folder with a network that transformers has for object detection, and its image processor.

    Raises:
        ModelUnavailable: the folder has no such detector as safetensors, or doesn't name its categories.
    """
    from transformers import AutoImageProcessor, AutoModelForObjectDetection

    with one_error(folder, "an image processor"):
        processor: Any = AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if not hasattr(processor, "post_process_object_detection"):
        raise ModelUnavailable(f"{entry.name}: its {type(processor).__name__} makes no boxes; it is for another task")
    model = load_pretrained(AutoModelForObjectDetection, folder, entry, trust_remote_code=False)
    labels = {number: name for number, name in model.config.id2label.items() if not NO_NAME.fullmatch(name)}
    if not labels:
        raise ModelUnavailable(f"{folder}/config.json names no categories in id2label")
    return ObjectDetection(processor, model.to(best_device()).eval(), labels, options)


def category(name: str) -> str:
    """A category's name without differences that don't matter: capitals, articles, spaces, COCO's other names."""
    closed = plain(name).replace(" ", "")
    return CLOSED_UP.get(closed, closed)


class ObjectDetection:
    """A `roles.Detector` that knows the categories of its checkpoint, often COCO's.

    Only pictures of one size share a batch, so none is padded because of another. What is found of a text doesn't
    depend on the other texts.
    """

    def __init__(self, processor: Any, model: Any, labels: Mapping[int, str], options: ObjectDetectionOptions) -> None:
        self._processor, self._model, self._options = processor, model, options
        self._categories = {number: category(name) for number, name in labels.items()}

    def knows(self, texts: Sequence[str]) -> list[bool]:
        """Return whether each text names one of the categories."""
        known = {*self._categories.values()}
        return [category(text) in known for text in texts]

    def __call__(self, images: Sequence[Pixels], texts: Sequence[str]) -> list[Detected]:
        """Find the texts in each picture; nothing of texts that aren't known."""
        if blank := [number for number, text in enumerate(texts) if not text.strip()]:
            raise ValueError(f"text {blank[0]} of {len(texts)} is empty; a detector looks for what a text names")
        wanted: dict[str, int] = {}
        for number, text in enumerate(texts):
            wanted.setdefault(category(text), number)  # the first of several names of a category
        asked = np.full(max(self._categories) + 1, -1, np.int64)
        for label, name in self._categories.items():
            asked[label] = wanted.get(name, -1)
        found = [nothing()] * len(images)
        for numbers in of_one_size(images, self._options.batch) if (asked >= 0).any() else ():
            for number, one in zip(numbers, self._detect([images[number] for number in numbers], asked), strict=True):
                found[number] = one
        return found

    def _detect(self, images: Sequence[Pixels], asked: Any) -> list[Detected]:
        height, width = images[0].shape[:2]
        inputs = self._processor(images=list(images), return_tensors="pt", input_data_format="channels_last")
        with inference():
            output = self._model(pixel_values=inputs["pixel_values"].to(self._model.device, self._model.dtype))
        output.logits, output.pred_boxes = output.logits.float(), output.pred_boxes.float()
        results = self._processor.post_process_object_detection(
            output, threshold=self._options.threshold, target_sizes=[(height, width)] * len(images)
        )
        return [self._kept(one, asked, (height, width)) for one in results]

    def _kept(self, result: Mapping[str, Any], asked: Any, shape: tuple[int, int]) -> Detected:
        boxes, scores, labels = (result[part].cpu().numpy() for part in ("boxes", "scores", "labels"))
        inside = boxes.clip(0, np.asarray([shape[1], shape[0]] * 2)).astype(np.float32)
        texts = np.where(labels < len(asked), asked[np.minimum(labels, len(asked) - 1)], -1)
        kept = np.flatnonzero((texts >= 0) & (inside[:, :2] < inside[:, 2:]).all(axis=1))
        order = kept[np.argsort(-scores[kept], kind="stable")]
        return Detected(inside[order], scores[order].astype(np.float32), texts[order])


OBJECT_DETECTION = Loader(
    revision=1,
    make=load_object_detection,
    options=ObjectDetectionOptions,
    packages=("diffusers", "transformers", "torch", "torchvision"),
)
