"""A small autoencoder of a large one's latents (TAESD), from a folder with safetensors: it decodes them fast."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from variorum.models.device import best_device
from variorum.models.entries import Entry
from variorum.models.pretrained import half_without_gpu, lacking, loaded

REVISION = 1


def problem(entry: Entry) -> str:
    """What keeps it from running here."""
    return lacking("diffusers", "torch") or half_without_gpu(entry)


def load(entry: Entry, weights: Path | None, used: Mapping[str, Any]) -> Any:
    """A diffusers `AutoencoderTiny`, its weights frozen; it decodes scaled latents to [-1, 1].

    Raises:
        ModelUnavailable: when the folder has none as safetensors.
    """
    from diffusers import AutoencoderTiny

    assert weights is not None
    return loaded(AutoencoderTiny, weights, entry).to(best_device()).eval().requires_grad_(False)
