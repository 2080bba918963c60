"""ImageNet-1k classifiers of the transformers library, from a folder with safetensors weights; or adversaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from schemas.errors import ModelUnavailable
from variorum.models.device import best_device
from variorum.models.entries import Entry
from variorum.models.pretrained import half_without_gpu, lacking, loaded, reading
from variorum.models.roles import Pixels

REVISION = 1
CLASSES = 1000


class Options(BaseModel):
    """Settings of a table's entry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: int = 8
    gradients: bool = False
    """Whether it is an adversary, to be asked for gradients, in place of a classifier."""


def problem(entry: Entry) -> str:
    """What keeps it from running here."""
    return lacking("transformers", "torch") or half_without_gpu(entry)


def load(entry: Entry, weights: Path | None, used: Mapping[str, Any]) -> ImageClassification | Adversary:
    """The classifier or adversary of a folder that `save_pretrained` wrote.

    Raises:
        ModelUnavailable: when it is none with safetensors, or doesn't tell ImageNet's thousand classes apart.
    """
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    assert weights is not None
    with reading(weights, "an image processor"):
        processor = AutoImageProcessor.from_pretrained(weights, local_files_only=True)
    model = loaded(AutoModelForImageClassification, weights, entry)
    if model.config.num_labels != CLASSES:
        raise ModelUnavailable(
            f"{entry.name} tells {model.config.num_labels} classes apart; a classifier here needs ImageNet's {CLASSES}"
        )
    options, model = Options.model_validate(entry.options), model.to(best_device()).eval()
    if options.gradients:
        return Adversary(processor, model.requires_grad_(False))
    return ImageClassification(processor, model, options.batch)


class ImageClassification:
    """A `Classifier`, with the resizing and normalisation that the checkpoint's own processor asks for."""

    def __init__(self, processor: Any, model: Any, batch: int) -> None:
        self._processor = processor
        self._model = model
        self._batch = batch

    def __call__(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """Probabilities `[N, 1000]` in ImageNet index order, which is the order of these checkpoints' labels."""
        parts = [self._probabilities(images[i : i + self._batch]) for i in range(0, len(images), self._batch)]
        return np.concatenate(parts) if parts else np.zeros((0, CLASSES), np.float32)

    def _probabilities(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        import torch

        inputs = self._processor(images=list(images), return_tensors="pt", input_data_format="channels_last")
        with torch.inference_mode():
            pixels = inputs["pixel_values"].to(self._model.device, self._model.dtype)
            logits = self._model(pixel_values=pixels).logits.float()
            probabilities: NDArray[np.float32] = logits.softmax(-1).cpu().numpy()
        return probabilities


class Adversary:
    """An `Adversary`: the same network on the central square of the picture, at the processor's size and colours."""

    def __init__(self, processor: Any, model: Any) -> None:
        import torch

        size = processor.crop_size if getattr(processor, "crop_size", None) else processor.size
        self._side = int(size.get("height") or size["shortest_edge"])
        self._mean, self._std = (
            torch.tensor(values, device=model.device).view(1, 3, 1, 1)
            for values in (processor.image_mean, processor.image_std)
        )
        self._model = model

    def __call__(self, pictures: Any) -> Any:
        """Log probabilities `[N, 1000]` of `[N, 3, H, W]` in [0, 1]."""
        from torch.nn import functional

        height, width = pictures.shape[2:]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        crop = pictures[..., top : top + side, left : left + side]
        shape = (self._side, self._side)
        seen = functional.interpolate(crop, shape, mode="bicubic", antialias=side > self._side)
        inputs = ((seen - self._mean) / self._std).to(self._model.dtype)
        return self._model(pixel_values=inputs).logits.float().log_softmax(-1)
