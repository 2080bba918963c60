"""A denoiser that works on pixels: an unconditional diffusers `UNet2DModel`, perhaps on folded pictures.

A folder with `config.json`, safetensors and `scheduler_config.json`. A network of 3 channels sees pixels as they are,
as ADM does (Dhariwal & Nichol, arXiv 2105.05233); one of 12 sees 2×2 pixels as a cell. Pickles aren't loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isqrt
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from schemas.errors import ModelUnavailable
from variorum.models.device import best_device
from variorum.models.entries import Entry
from variorum.models.noise import Schedule, pixels, tensor
from variorum.models.pretrained import half_without_gpu, lacking, loaded, reading
from variorum.models.roles import Denoised, Pixels

REVISION = 1


class Options(BaseModel):
    """Settings of a table's entry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    variant: str | None = None
    """Of the weights' file name: `fp16` for `diffusion_pytorch_model.fp16.safetensors`."""
    known: int | None = None
    """How many of the schedule's steps it was trained for, the least noisy ones; None for all."""
    checkpointing: bool = False
    """Compute what gradients need twice rather than keep it: less memory, a third slower, the same pictures."""


def problem(entry: Entry) -> str:
    """What keeps it from running here."""
    return lacking("diffusers", "torch") or half_without_gpu(entry)


def load(entry: Entry, weights: Path | None, used: Mapping[str, Any]) -> PixelDenoiser:
    """The denoiser of a folder that `save_pretrained` wrote.

    Raises:
        ModelUnavailable: when there are no safetensors, or the network isn't an unconditional one of RGB pictures.
    """
    from diffusers import DDPMScheduler, UNet2DModel

    assert weights is not None
    if not list(weights.glob("*.safetensors")):
        raise ModelUnavailable(
            f"{weights} has no safetensors; pickles are never loaded, docs/guided_backgrounds.md says how to convert"
        )
    options = Options.model_validate(entry.options)
    network = loaded(UNet2DModel, weights, entry, variant=options.variant)
    if options.checkpointing:
        network.enable_gradient_checkpointing()
    with reading(weights, "a scheduler"):
        config = DDPMScheduler.load_config(weights, local_files_only=True)
    return PixelDenoiser(network.to(best_device()).eval().requires_grad_(False), config, options.known)


class PixelDenoiser:
    """A `Denoiser` whose states are pictures in [-1, 1].

    Args:
        network: a `UNet2DModel`, on its device, its weights frozen.
        config: of its scheduler.
        known: how many steps it was trained for, None for all.

    Raises:
        ModelUnavailable: when the network wants classes, or other channels than folded RGB has.
    """

    def __init__(self, network: Any, config: Any, known: int | None = None) -> None:
        channels = network.config.in_channels
        self._fold = isqrt(channels // 3)
        if channels != 3 * self._fold**2 or network.config.out_channels not in (channels, 2 * channels):
            raise ModelUnavailable(
                f"a denoiser of {channels} channels to {network.config.out_channels}; RGB pictures have 3, or 12 folded"
            )
        if network.config.num_class_embeds or network.config.class_embed_type:
            raise ModelUnavailable("a denoiser that wants to be told a class; backgrounds have none")
        self._network = network
        self._schedule = Schedule(config, channels)
        self.signal = self._schedule.signal
        self.known = known or len(self.signal)
        self.shrink = 1
        self.multiple: int = self._fold * 2 ** (len(network.config.block_out_channels) - 1)
        self.device = network.device

    def encode(self, images: Sequence[Pixels]) -> Any:
        """`[N, 3, H, W]` in [-1, 1]."""
        return tensor(list(images), self.device)

    def predict(self, state: Any, step: int) -> Denoised:
        """The picture that the network sees in a noisy one."""
        from torch.nn import functional

        folded = functional.pixel_unshuffle(state, self._fold)
        output = self._network(folded.to(self._network.dtype), step).sample.to(state.dtype)
        clean, spread = self._schedule.denoised(output, folded, step)
        unfolded = None if spread is None else functional.pixel_shuffle(spread, self._fold)
        return Denoised(functional.pixel_shuffle(clean, self._fold), unfolded)

    def preview(self, state: Any) -> Any:
        """`[N, 3, H, W]` about [0, 1]."""
        return (state + 1) / 2

    def decode(self, state: Any) -> list[Pixels]:
        """The pictures."""
        return pixels(state)
