"""A ControlNet, which adds a condition to a Stable Diffusion U-Net, from a folder with safetensors.

Used by entries of the loader `diffusion` with the task `edge_to_image`, and of no use by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from variorum.models.device import best_device
from variorum.models.entries import Entry
from variorum.models.pretrained import half_without_gpu, lacking, loaded

REVISION = 1


class Options(BaseModel):
    """Settings of a table's entry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    variant: str | None = None
    """Of the weights' file names: `fp16` for `diffusion_pytorch_model.fp16.safetensors`."""


def problem(entry: Entry) -> str:
    """What keeps it from running here."""
    return lacking("diffusers", "torch") or half_without_gpu(entry)


def load(entry: Entry, weights: Path | None, used: Mapping[str, Any]) -> Any:
    """A diffusers `ControlNetModel`, its weights frozen.

    Raises:
        ModelUnavailable: when the folder has none as safetensors.
    """
    from diffusers import ControlNetModel

    assert weights is not None
    network = loaded(ControlNetModel, weights, entry, variant=Options.model_validate(entry.options).variant)
    return network.to(best_device()).eval().requires_grad_(False)
