"""CLIP: how well texts fit pictures (Radford et al., ICML 2021, arXiv 2103.00020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
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


class Options(BaseModel):
    """Settings of a table's entry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: int = 8


def problem(entry: Entry) -> str:
    """What keeps it from running here."""
    return lacking("diffusers", "transformers", "torch") or half_without_gpu(entry)


def load(entry: Entry, weights: Path | None, used: Mapping[str, Any]) -> ZeroShot:
    """The model of a folder that `save_pretrained` wrote, tokenizer and image processor with it.

    Raises:
        ModelUnavailable: when the folder has no CLIP model as safetensors.
    """
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

    assert weights is not None
    model = loaded(CLIPModel, weights, entry)
    with reading(weights, "CLIP's tokenizer and image processor"):
        tokenizer = CLIPTokenizer.from_pretrained(weights, local_files_only=True)
        processor = CLIPImageProcessor.from_pretrained(weights, local_files_only=True)
    batch = Options.model_validate(entry.options).batch
    return ZeroShot(tokenizer, processor, model.to(best_device()).eval(), batch)


class ZeroShot:
    """A `roles.ZeroShot`. The last few sets of texts are kept as embeddings, as a dataset's classes come again."""

    def __init__(self, tokenizer: Any, processor: Any, model: Any, batch: int) -> None:
        self._tokenizer, self._processor, self._model, self._batch = tokenizer, processor, model, batch
        self.temperature = float(model.logit_scale.exp().item())
        self._texts = lru_cache(maxsize=8)(self._embedded_texts)

    def __call__(self, images: Sequence[Pixels], texts: Sequence[str]) -> NDArray[np.float32]:
        """Cosine of every picture with every text, `[N, M]`; what a text has beyond the model's context is cut."""
        found = [self._embedded_images(images[i : i + self._batch]) for i in range(0, len(images), self._batch)]
        if not found or not texts:
            return np.zeros((len(images), len(texts)), np.float32)
        return np.concatenate(found) @ self._texts(tuple(texts)).T

    def _embedded_images(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        import torch

        inputs = self._processor(images=list(images), return_tensors="pt", input_data_format="channels_last")
        with torch.inference_mode():
            pixels = inputs["pixel_values"].to(self._model.device, self._model.dtype)
            return _unit(self._model.visual_projection(self._model.vision_model(pixel_values=pixels).pooler_output))

    def _embedded_texts(self, texts: tuple[str, ...]) -> NDArray[np.float32]:
        import torch

        parts = []
        with torch.inference_mode():
            for i in range(0, len(texts), 64):
                # a fixed length, so that a text's embedding doesn't depend on its neighbours
                inputs = self._tokenizer(
                    list(texts[i : i + 64]),
                    padding="max_length",
                    max_length=self._model.config.text_config.max_position_embeddings,
                    truncation=True,
                    return_tensors="pt",
                ).to(self._model.device)
                parts.append(_unit(self._model.text_projection(self._model.text_model(**inputs).pooler_output)))
        return np.concatenate(parts)


def _unit(vectors: Any) -> NDArray[np.float32]:
    from torch.nn.functional import normalize

    found: NDArray[np.float32] = normalize(vectors.float(), dim=-1).cpu().numpy()
    return found
