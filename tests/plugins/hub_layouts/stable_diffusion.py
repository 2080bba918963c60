"""Stable Diffusion 1.5 as it was published in 2022."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hub_layouts.clip import WIDTH, write_processor, write_text_encoder, write_tokenizer
from hub_layouts.saved import VAE, Names, randomised, seeded, write_json, write_tensors

SIDE = 16
"""Of latents: pictures of 128 pixels."""
OLD = "0.9.0"
"""The oldest version of diffusers whose U-Nets of fewer than 64 latents are believed; the published ones say 0.6.0."""


def write_index(folder: Path, pipeline: str, version: str, parts: dict[str, list[str | None]], **others: Any) -> None:
    write_json(folder / "model_index.json", {"_class_name": pipeline, "_diffusers_version": version, **others, **parts})


def stable_diffusion(
    folder: Path,
    *,
    seed: int = 0,
    half: bool = True,
    pipeline: str = "StableDiffusionPipeline",
    channels: int = 4,
    scheduler: dict[str, Any] | None = None,
    unet: dict[str, Any] | None = None,
) -> None:
    """The files of a pipeline of Stable Diffusion 1, without its safety checker's weights."""
    scheduler = scheduler or PNDM
    write_index(
        folder,
        pipeline,
        "0.6.0",
        {
            "feature_extractor": ["transformers", "CLIPImageProcessor"],
            "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
            "scheduler": ["diffusers", scheduler["_class_name"]],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        },
    )
    write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    write_processor(folder / "feature_extractor")
    write_tokenizer(folder / "tokenizer")
    with seeded(seed):
        write_text_encoder(folder / "text_encoder", half=half)
        write_unet(folder / "unet", {**UNET, "in_channels": channels, **(unet or {})}, half=half)
        write_vae(folder / "vae", half=half)


PNDM = {
    "_class_name": "PNDMScheduler",
    "_diffusers_version": "0.6.0",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
    "clip_sample": False,
}
UNET = {
    "_class_name": "UNet2DConditionModel",
    "_diffusers_version": OLD,
    "act_fn": "silu",
    "attention_head_dim": 8,
    "block_out_channels": [16, 16, 32, 32],
    "center_input_sample": False,
    "cross_attention_dim": WIDTH,
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 4,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-05,
    "norm_num_groups": 16,
    "out_channels": 4,
    "sample_size": SIDE,
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
}
AUTOENCODER = {
    "_class_name": "AutoencoderKL",
    "_diffusers_version": "0.6.0",
    "act_fn": "silu",
    "block_out_channels": [8, 8, 8, 8],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "in_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 2,
    "norm_num_groups": 8,
    "out_channels": 3,
    "sample_size": 8 * SIDE,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}


def weights(half: bool) -> str:
    return "diffusion_pytorch_model.fp16.safetensors" if half else "diffusion_pytorch_model.safetensors"


def write_unet(folder: Path, config: dict[str, Any], *, half: bool) -> None:
    from diffusers import UNet2DConditionModel

    write_json(folder / "config.json", config)
    write_tensors(folder / weights(half), randomised(UNet2DConditionModel.from_config(config)), half=half)


def write_vae(folder: Path, *, half: bool, names: Names = VAE, **others: Any) -> None:
    """An autoencoder; before diffusers 0.17 its attention had other names."""
    from diffusers import AutoencoderKL

    config = AUTOENCODER | others
    write_json(folder / "config.json", config)
    write_tensors(folder / weights(half), randomised(AutoencoderKL.from_config(config)), names, half=half)


BUILDERS: dict[str, Callable[[Path], None]] = dict.fromkeys(
    ("text_to_image_small", "image_to_image", "denoiser", "edge_to_image"), stable_diffusion
)
