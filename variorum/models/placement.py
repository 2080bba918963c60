"""Where a diffusers pipeline runs and what it trades for memory: settings that its loaders share."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from variorum.models.device import best_device
from variorum.models.entries import Entry
from variorum.models.pretrained import half_without_gpu, lacking


class Placement(BaseModel):
    """The part of a loader's options that moves a picture's last bits and no more."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attention: Literal["fused", "xformers", "sliced", "plain"] = "fused"
    """`fused`: PyTorch's own kernels; `xformers`: that package's; `sliced`: head by head, for the least memory;
    `plain`: matrix products without a kernel, for comparison."""
    vae_slicing: bool = False
    """Less memory, a little slower. So are the next two."""
    vae_tiling: bool = False
    offload: Literal["none", "model", "sequential"] = "none"
    """Keep parts on the CPU while they aren't at work; needs the package accelerate and a GPU."""
    compile: bool = False
    """Compile the network that denoises: minutes at first, worth it for thousands of pictures of one size."""

    def problem(self, entry: Entry) -> str:
        """What of an entry's settings can't be had on this machine, as a line; `""` for nothing."""
        found = half_without_gpu(entry)
        if self.offload != "none":
            found = found or _gpu_package(f"offload = {self.offload!r}", "accelerate", "'variorum[gpu]'")
        if self.attention == "xformers":
            found = found or _gpu_package("attention = 'xformers'", "xformers", "xformers")
        return found

    def place(self, pipeline: Any) -> Any:
        """The pipeline on its device, with the memory savers that are asked for."""
        import torch

        pipeline.set_progress_bar_config(disable=True)
        self._attend(pipeline)
        if self.vae_slicing:
            pipeline.vae.enable_slicing()
        if self.vae_tiling:
            pipeline.vae.enable_tiling()
        if self.compile:
            name = "unet" if hasattr(pipeline, "unet") else "transformer"
            setattr(pipeline, name, torch.compile(getattr(pipeline, name)))
        if self.offload == "model":
            pipeline.enable_model_cpu_offload(device=best_device())
        elif self.offload == "sequential":
            pipeline.enable_sequential_cpu_offload(device=best_device())
        else:
            pipeline.to(best_device())
        return pipeline

    def _attend(self, pipeline: Any) -> None:
        """Have the networks that denoise attend by another backend than PyTorch's own."""
        from diffusers.models.attention_processor import Attention, AttnProcessor

        if self.attention == "xformers":
            pipeline.enable_xformers_memory_efficient_attention()
            return
        networks = [getattr(pipeline, name, None) for name in ("unet", "transformer", "controlnet")]
        for module in (part for network in networks if network is not None for part in network.modules()):
            if self.attention != "fused" and isinstance(module, Attention):
                if self.attention == "plain":
                    module.set_processor(AttnProcessor())
                else:
                    module.set_attention_slice(1)


def _gpu_package(setting: str, package: str, install: str) -> str:
    if lacking(package):
        return f"{setting} needs the package {package}: pip install {install}"
    return f"{setting} needs a GPU, and there is none here" if best_device() == "cpu" else ""
