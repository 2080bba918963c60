"""Options of diffusers pipelines: attention kernels, memory savers, offloading, compilation."""

from __future__ import annotations

from typing import Any, Literal

from variorum.models.device import best_device
from variorum.models.pretrained import dtype_problem, missing_packages
from variorum.models.table_entries import Entry, StrictModel
from variorum.schemas.extras import needs


class PipelineOptions(StrictModel):
    """Options that change a picture by rounding errors only."""

    attention: Literal["fused", "xformers", "sliced", "plain"] = "fused"
    """`fused`: PyTorch's kernels; `xformers`: that package's; `sliced`: one head at a time, least memory; `plain`:
    matrix products, for comparison."""
    vae_slicing: bool = False
    """Decode one picture at a time at any size: less memory, a little slower. From 1024 px on it is always so."""
    vae_tiling: bool = False
    """Decode in tiles: less memory, a little slower."""
    offload: Literal["none", "model", "sequential"] = "none"
    """Keep idle parts on the CPU: less memory, slower. Needs the package accelerate and a GPU."""
    compile: bool = False
    """Compile the denoising network. Takes minutes at first; pays for thousands of pictures of one size. Calls of fewer
    pictures than before are filled up, so that nothing is compiled again for them."""
    channels_last: bool = False
    """Lay out the denoising network and the VAE as NHWC, which convolutions in half precision are faster with."""
    tf32: bool = False
    """Compute float32 with ten bits of mantissa where a GPU can: faster. Without effect in half precision."""

    def problem(self, entry: Entry) -> str:
        """Why this entry can't run here, as a line; `""` if it can."""
        found = dtype_problem(entry)
        if self.offload != "none":
            found = found or _gpu_package(f"offload = {self.offload!r}", "accelerate")
        if self.attention == "xformers":
            found = found or _gpu_package("attention = 'xformers'", "xformers")
        return found

    def apply(self, pipeline: Any) -> Any:
        """The pipeline on its device, with these options."""
        import torch

        pipeline.set_progress_bar_config(disable=True)
        self._set_attention(pipeline)
        if self.channels_last:
            for network in _networks(pipeline, "vae"):
                network.to(memory_format=torch.channels_last)
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

    def _set_attention(self, pipeline: Any) -> None:
        from diffusers.models.attention_processor import Attention, AttnProcessor

        if self.attention == "xformers":
            pipeline.enable_xformers_memory_efficient_attention()
            return
        for module in (part for network in _networks(pipeline) for part in network.modules()):
            if self.attention != "fused" and isinstance(module, Attention):
                if self.attention == "plain":
                    module.set_processor(AttnProcessor())
                else:
                    module.set_attention_slice(1)


def _networks(pipeline: Any, *more: str) -> list[Any]:
    """Those that denoise, and the ones named."""
    found = (getattr(pipeline, name, None) for name in ("unet", "transformer", "controlnet", *more))
    return [network for network in found if network is not None]


def _gpu_package(setting: str, package: str) -> str:
    if missing_packages(package):
        return needs(setting, package)
    return f"{setting} needs a GPU, and this machine has none" if best_device() == "cpu" else ""
