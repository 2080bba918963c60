"""A ControlNet, which adds a condition to a Stable Diffusion U-Net, from a folder with safetensors.

Used by entries of the loader `diffusion` with the task `edge_to_image`, and of no use by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from schemas.errors import ModelUnavailable
from variorum.models.device import best_device
from variorum.models.entries import Entry
from variorum.models.quiet import no_bars

REVISION = 1


class Options(BaseModel):
    """Settings of a table's entry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    variant: str | None = None
    """Of the weights' file names: `fp16` for `diffusion_pytorch_model.fp16.safetensors`."""


def problem() -> str:
    """What keeps it from running here."""
    return "" if find_spec("diffusers") and find_spec("torch") else "needs the packages diffusers, torch"


def load(entry: Entry, weights: Path | None, used: Mapping[str, Any]) -> Any:
    """A diffusers `ControlNetModel`, its weights frozen.

    Raises:
        ModelUnavailable: when the folder has none as safetensors.
    """
    import torch
    from diffusers import ControlNetModel

    assert weights is not None
    options = Options.model_validate(entry.options)
    try:
        with no_bars():
            network = ControlNetModel.from_pretrained(
                weights,
                dtype=getattr(torch, entry.dtype),
                variant=options.variant,
                use_safetensors=True,
                local_files_only=True,
                low_cpu_mem_usage=find_spec("accelerate") is not None,
            )
    except (OSError, ValueError, AttributeError) as error:
        raise ModelUnavailable(f"{weights} has no ControlNet with safetensors weights: {error}") from error
    return network.to(best_device()).eval().requires_grad_(False)
