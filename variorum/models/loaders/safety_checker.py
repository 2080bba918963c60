"""Stable Diffusion's safety checker as a judge that gives a number and touches no picture.

diffusers' own class paints what it flags black. The decision here is the same (Rando et al., arXiv 2210.04610,
describe it): a picture's CLIP embedding is compared with 17 concepts, each with a limit of its own, and the limits
are a hundredth lower where one of three further concepts is near.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from variorum.models.device import best_device
from variorum.models.entries import Entry
from variorum.models.pretrained import half_without_gpu, lacking, loaded, reading
from variorum.models.roles import Pixels

REVISION = 1
NEAR_SPECIAL = 0.01
"""By how much a concept of special care lowers the limits."""


class Options(BaseModel):
    """Settings of a table's entry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: int = 8


def problem(entry: Entry) -> str:
    """What keeps it from running here."""
    return lacking("diffusers", "transformers", "torch") or half_without_gpu(entry)


def load(entry: Entry, weights: Path | None, used: Mapping[str, Any]) -> SafetyChecker:
    """The checker of a pipeline's folder, which has `safety_checker` and `feature_extractor` in it.

    Raises:
        ModelUnavailable: when the folder has no checker as safetensors.
    """
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPImageProcessor

    assert weights is not None
    model = loaded(StableDiffusionSafetyChecker, weights / "safety_checker", entry)
    with reading(weights / "feature_extractor", "an image processor"):
        processor = CLIPImageProcessor.from_pretrained(weights / "feature_extractor", local_files_only=True)
    return SafetyChecker(processor, model.to(best_device()).eval(), Options.model_validate(entry.options).batch)


class SafetyChecker:
    """A `roles.SafetyChecker`."""

    def __init__(self, processor: Any, model: Any, batch: int) -> None:
        self._processor = processor
        self._model = model
        self._batch = batch

    def __call__(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """How far each picture is over the nearest limit `[N]`, cosine rounded to thousandths as upstream does."""
        parts = [self._margins(images[i : i + self._batch]) for i in range(0, len(images), self._batch)]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def _margins(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        import torch
        from torch.nn.functional import normalize

        model = self._model
        inputs = self._processor(images=list(images), return_tensors="pt", input_data_format="channels_last")
        with torch.inference_mode():
            pixels = inputs["pixel_values"].to(model.device, model.dtype)
            embedded = normalize(model.visual_projection(model.vision_model(pixels)[1]))

            def over(concepts: Any, limits: Any) -> NDArray[np.float64]:
                cosines = (embedded @ normalize(concepts).T).float().cpu().numpy()
                return np.asarray(cosines - limits.float().cpu().numpy(), np.float64)

            special = over(model.special_care_embeds, model.special_care_embeds_weights).round(3).max(axis=1)
            concepts = over(model.concept_embeds, model.concept_embeds_weights).max(axis=1)
        margins = concepts + np.where(special > 0, NEAR_SPECIAL, 0)
        return np.asarray(margins.round(3), np.float32)
