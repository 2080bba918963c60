"""Detectors that a user brings: a detection network of torchvision, or whatever says which labels it finds.

Its attribute `finds` lists the name of each label, from label 0 on. It gives a list with a mapping for each picture, as
torchvision's networks do: `boxes` `[n, 4]` (left, top, right, bottom in pixels), `scores` `[n]` and `labels` `[n]`. A
function gets RGB uint8 pictures `[H, W, 3]`; a network gets a list of tensors `[3, H, W]` in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.models.brought.answers import as_array, described
from variorum.models.brought.model import BroughtModel
from variorum.models.brought.networks import is_network, settled
from variorum.models.device import inference
from variorum.models.roles import Detected
from variorum.schemas.errors import ModelFailed, RecipeError

if TYPE_CHECKING:
    from variorum.arrays import Array, Pixels, Singles

PARTS = ("boxes", "scores", "labels")


@dataclass(frozen=True, slots=True)
class BroughtDetector(BroughtModel):
    """A `roles.Detector` under test. `classes` are the names of its labels, `scores` gives a mapping per picture."""

    def knows(self, texts: Sequence[str]) -> list[bool]:
        """Return whether the model has a label with each name, in any case."""
        known = {name.casefold() for name in self.classes}
        return [text.casefold() in known for text in texts]

    def ask(self, image: Any) -> None:
        """Look at one picture. Raises what a call raises."""
        self([image], self.classes[:1])

    def __call__(self, images: Sequence[Pixels], texts: Sequence[str] = ()) -> list[Detected]:  # type: ignore[override]
        """Find the labels with these names in each picture, in order; boxes are cut to the picture.

        Raises:
            ModelFailed: the model raised, or gave anything but boxes, scores and labels for each picture.
            ModelUnavailable: memory doesn't suffice for one picture.
        """
        place = {text.casefold(): number for number, text in enumerate(texts)}
        of_label = np.array([place.get(name.casefold(), -1) for name in self.classes], np.int64)
        found: list[Detected] = []

        def look(part: Sequence[Pixels]) -> Singles | None:
            def checked(answer: Any) -> Singles:
                found.extend(self._found(answer, part, of_label))
                return np.zeros((len(part), 0), np.float32)

            return self._asked(self.scores, part, checked)

        self._in_parts(images, look)
        return found

    def _hint(self, error: BaseException) -> str:
        return ""

    def _found(self, answer: Any, images: Sequence[Pixels], of_label: Array) -> list[Detected]:
        if not isinstance(answer, Sequence) or len(answer) != len(images):
            raise ModelFailed(
                f"detector {self.name!r} gave {described(answer)} for {len(images)} pictures; it must give a list with "
                f"a mapping of {', '.join(PARTS)} for each"
            )
        return [self._one(one, image, of_label) for one, image in zip(answer, images, strict=True)]

    def _one(self, answer: Any, image: Pixels, of_label: Array) -> Detected:
        there = isinstance(answer, Mapping) and all(part in answer for part in PARTS)
        parts = [as_array(answer[part]) for part in PARTS] if there else [None]
        if any(part is None for part in parts):
            raise ModelFailed(f"detector {self.name!r} gave {described(answer)} for a picture, not {', '.join(PARTS)}")
        boxes, scores, labels = (np.asarray(part) for part in parts)
        boxes = boxes.reshape(-1, 4) if not boxes.size else boxes
        if boxes.shape != (len(scores), 4) or scores.ndim != 1 or labels.shape != scores.shape:
            shapes = ", ".join(str(list(part.shape)) for part in (boxes, scores, labels))
            raise ModelFailed(f"detector {self.name!r} gave boxes, scores and labels of shapes {shapes}")
        labels = labels.astype(np.int64)
        if len(labels) and not (labels.min() >= 0 and labels.max() < len(self.classes)):
            raise ModelFailed(
                f"detector {self.name!r} gave label {labels.max()}, but it names {len(self.classes)}; list the name of "
                "each label, from label 0 on"
            )
        texts = of_label[labels]
        order = np.argsort(-scores, kind="stable")
        order = order[texts[order] >= 0]
        height, width = image.shape[:2]
        inside = boxes[order].clip(0, [width, height, width, height])
        return Detected(inside.astype(np.float32), scores[order].astype(np.float32), texts[order])


def label_names(model: Any, name: str) -> tuple[str, ...]:
    """Names of a detector's labels, from label 0 on; empty for what is no detector.

    Raises:
        RecipeError: a detection network of torchvision with labels of one's own doesn't name them.
    """
    finds = getattr(model, "finds", None)
    if isinstance(finds, list | tuple):
        return tuple(map(str, finds))
    if not is_network(model) or not type(model).__module__.startswith("torchvision.models.detection"):
        return ()
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

    names = tuple(FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"])
    if (labels := _labels(model)) != len(names):
        raise RecipeError(
            f"model {name!r} is a detection network with {labels or 'unknown'} labels; name them, from label 0, the "
            'background, on: network.finds = ["background", "cat", "dog"]'
        )
    return names


def _labels(network: Any) -> int:
    """Number of labels of a detection network of torchvision; 0 if it isn't known."""
    head = getattr(getattr(network, "head", None), "classification_head", None)
    box = getattr(getattr(network, "roi_heads", None), "box_predictor", None)
    found = (
        getattr(head, "num_classes", None),
        getattr(head, "num_columns", None),
        getattr(getattr(box, "cls_score", None), "out_features", None),
    )
    return next((one for one in found if isinstance(one, int)), 0)


def looks_of(network: Any, name: str) -> Callable[[Sequence[Pixels]], Any]:
    """From pictures to what a detection network gives for them: it gets a list of tensors `[3, H, W]` in [0, 1].

    Raises:
        ModelUnavailable: it can't be copied, or doesn't fit into the GPU's memory.
    """
    import torch

    network, device, dtype = settled(network, name)

    def look(images: Sequence[Pixels]) -> Any:
        with inference():
            return network([torch.tensor(image, device=device).permute(2, 0, 1).to(dtype) / 255 for image in images])

    return look
