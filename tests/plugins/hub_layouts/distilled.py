"""SDXL's distilled versions: a whole pipeline, and a U-Net alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hub_layouts.saved import randomised, seeded, write_json, write_tensors
from hub_layouts.stable_diffusion import UNET_XL, stable_diffusion_xl


def sdxl_turbo(folder: Path) -> None:
    """stabilityai/sdxl-turbo, in half precision: its sampler begins with pure noise."""
    stable_diffusion_xl(folder)
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler"))
    write_json(
        folder / "scheduler" / "scheduler_config.json",
        {
            "_class_name": "EulerAncestralDiscreteScheduler",
            "_diffusers_version": "0.24.0.dev0",
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "beta_start": 0.00085,
            "clip_sample": False,
            "interpolation_type": "linear",
            "num_train_timesteps": 1000,
            "prediction_type": "epsilon",
            "sample_max_value": 1.0,
            "set_alpha_to_one": False,
            "skip_prk_steps": True,
            "steps_offset": 1,
            "timestep_spacing": "trailing",
            "trained_betas": None,
        },
    )


def sdxl_lightning(folder: Path) -> None:
    """ByteDance/SDXL-Lightning: the tensors of a U-Net in half precision, without a configuration."""
    from diffusers import UNet2DConditionModel

    with seeded(12):
        network = randomised(UNet2DConditionModel.from_config(UNET_XL))
        write_tensors(folder / "sdxl_lightning_4step_unet.safetensors", network, half=True)


BUILDERS: dict[str, Callable[[Path], None]] = {
    "text_to_image_turbo": sdxl_turbo,
    "text_to_image_lightning": sdxl_lightning,
}
