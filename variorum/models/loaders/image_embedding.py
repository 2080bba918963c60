"""Vision transformers of the transformers library as encoders, from a folder with safetensors weights."""

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


class Options(BaseModel):
    """Settings of a table's entry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: int = 8


def problem(entry: Entry) -> str:
    """What keeps it from running here."""
    return lacking("transformers", "torch") or half_without_gpu(entry)


def load(entry: Entry, weights: Path | None, used: Mapping[str, Any]) -> ImageEmbedding:
    """The encoder of a folder that `save_pretrained` wrote.

    Raises:
        ModelUnavailable: when the folder has no model as safetensors, or the network no class token.
    """
    from transformers import AutoImageProcessor, AutoModel

    assert weights is not None
    with reading(weights, "an image processor"):
        processor = AutoImageProcessor.from_pretrained(weights, local_files_only=True)
    model = loaded(AutoModel, weights, entry)
    if not any(name.endswith("cls_token") for name, _ in model.named_parameters()):
        raise ModelUnavailable(f"{entry.name} has no class token; an encoder here is a vision transformer with one")
    return ImageEmbedding(processor, model.to(best_device()).eval(), Options.model_validate(entry.options).batch)


class ImageEmbedding:
    """An `Encoder`: the last layer's class token, with the preprocessing that the checkpoint's own processor asks for.

    The token itself is taken rather than `pooler_output`, which for some architectures passes through a further
    layer that only the original training task gave a meaning.
    """

    def __init__(self, processor: Any, model: Any, batch: int) -> None:
        self._processor = processor
        self._model = model
        self._batch = batch

    def __call__(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """Embeddings `[N, d]`, d the network's hidden size."""
        parts = [self._tokens(images[i : i + self._batch]) for i in range(0, len(images), self._batch)]
        return np.concatenate(parts) if parts else np.zeros((0, self._model.config.hidden_size), np.float32)

    def _tokens(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        import torch

        inputs = self._processor(images=list(images), return_tensors="pt", input_data_format="channels_last")
        with torch.inference_mode():
            pixels = inputs["pixel_values"].to(self._model.device, self._model.dtype)
            tokens: NDArray[np.float32] = self._model(pixel_values=pixels).last_hidden_state[:, 0].float().cpu().numpy()
        return tokens
