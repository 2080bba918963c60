"""Loader `clip_embedding`: CLIP's picture encoder, with the projection into the space that pictures and texts share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from variorum.models.device import best_device, inference
from variorum.models.loaders.loader import Loader
from variorum.models.penultimate import once
from variorum.models.pretrained import load_pretrained, one_error, side_of, std_of
from variorum.models.roles import Encoder, Prepares
from variorum.models.table_entries import Entry, StrictModel

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles


class ClipEmbeddingOptions(StrictModel):
    """Options of `clip_embedding`."""

    batch: int = Field(default=8, ge=1)
    """Pictures that are encoded together."""


def load_clip_embedding(
    entry: Entry, folder: Path, options: ClipEmbeddingOptions, _used: Mapping[str, Any]
) -> ClipEmbedding:
    """The picture encoder of a folder with a CLIP model and its image processor; texts' weights aren't read.

    Raises:
        ModelUnavailable: the folder has no CLIP model as safetensors.
    """
    from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

    model = load_pretrained(CLIPVisionModelWithProjection, folder, entry)
    with one_error(folder, "CLIP's image processor"):
        processor = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
    return ClipEmbedding(processor, model.to(best_device()).eval(), options.batch)


class ClipEmbedding(Encoder, Prepares):
    """A `roles.Encoder`: projected embeddings as CLIP makes them (Radford et al., ICML 2021, arXiv 2103.00020)."""

    def __init__(self, processor: Any, model: Any, batch: int) -> None:
        self._processor, self._model, self._batch = processor, model, batch
        self.side, self.std = side_of(processor), std_of(processor)

    @once
    def __call__(self, images: Sequence[Pixels]) -> Singles:
        """Embeddings `[N, d]`, not normalised."""
        parts = []
        for start in range(0, len(images), self._batch):
            part = list(images[start : start + self._batch])
            inputs = self._processor(images=part, return_tensors="pt", input_data_format="channels_last")
            with inference():
                pixels = inputs["pixel_values"].to(self._model.device, self._model.dtype)
                parts.append(self._model(pixel_values=pixels).image_embeds.float().cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros((0, self._model.config.projection_dim), np.float32)


CLIP_EMBEDDING = Loader(
    revision=1,
    make=load_clip_embedding,
    options=ClipEmbeddingOptions,
    packages=("transformers", "diffusers", "torch"),
    role=lambda _: "encoder",
)
