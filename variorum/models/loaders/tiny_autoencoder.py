"""A small autoencoder of a large one's latents (TAESD), from a folder with safetensors: it decodes them fast."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from variorum.models.device import best_device
from variorum.models.entries import Entry

REVISION = 1


def problem() -> str:
    """What keeps it from running here."""
    return "" if find_spec("diffusers") and find_spec("torch") else "needs the packages diffusers, torch"


def load(entry: Entry, weights: Path | None, used: Mapping[str, Any]) -> Any:
    """A diffusers `AutoencoderTiny`, its weights frozen; it decodes scaled latents to [-1, 1]."""
    import torch
    from diffusers import AutoencoderTiny

    assert weights is not None
    network = AutoencoderTiny.from_pretrained(
        weights,
        torch_dtype=getattr(torch, entry.dtype),
        use_safetensors=True,
        local_files_only=True,
        low_cpu_mem_usage=False,
    )
    return network.to(best_device()).eval().requires_grad_(False)
