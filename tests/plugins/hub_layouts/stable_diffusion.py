"""Stable Diffusion and what belongs to it, as it was published in 2022 and 2023."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hub_layouts.clip import (
    WIDTH,
    clip_config,
    text_config,
    vision_config,
    write_processor,
    write_text_encoder,
    write_tokenizer,
)
from hub_layouts.saved import (
    CHECKER,
    NONE,
    VAE,
    Names,
    labels,
    positions,
    randomised,
    seeded,
    write_json,
    write_tensors,
)

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
    processor: str = "CLIPImageProcessor",
    version: str = "0.6.0",
    recent: bool = False,
) -> None:
    """The files of a pipeline of Stable Diffusion 1, without its safety checker's weights.

    Args:
        folder: to write to.
        seed: of the weights.
        half: whether they are in half precision, as the variant `fp16`.
        pipeline: class in the index.
        channels: that the U-Net takes.
        scheduler: its configuration.
        unet: further keys of the U-Net's configuration.
        processor: class of the image processor in the index.
        version: of diffusers in the index.
        recent: whether the tensors have the names of 2023: no positions, and attention in the autoencoder as today.
    """
    scheduler = scheduler or PNDM
    write_index(
        folder,
        pipeline,
        version,
        {
            "feature_extractor": ["transformers", processor],
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
        write_text_encoder(folder / "text_encoder", half=half, numbered=not recent)
        write_unet(folder / "unet", {**UNET, "in_channels": channels, **(unet or {})}, half=half)
        write_vae(folder / "vae", half=half, names=NONE if recent else VAE)


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
DDIM = {**{key: value for key, value in PNDM.items() if key != "skip_prk_steps"}, "_class_name": "DDIMScheduler"}
EULER_ANCESTRAL = {
    "_class_name": "EulerAncestralDiscreteScheduler",
    "_diffusers_version": "0.12.0.dev0",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
}
EULER = {
    **EULER_ANCESTRAL,
    "_class_name": "EulerDiscreteScheduler",
    "_diffusers_version": "0.19.0.dev0",
    "interpolation_type": "linear",
    "sample_max_value": 1.0,
    "timestep_spacing": "leading",
    "use_karras_sigmas": False,
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
UNET_XL = {
    "_class_name": "UNet2DConditionModel",
    "_diffusers_version": "0.19.0.dev0",
    "act_fn": "silu",
    "addition_embed_type": "text_time",
    "addition_embed_type_num_heads": 64,
    "addition_time_embed_dim": 8,
    "attention_head_dim": [2, 4, 4],
    "block_out_channels": [16, 16, 32],
    "center_input_sample": False,
    "class_embed_type": None,
    "class_embeddings_concat": False,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "cross_attention_dim": 2 * WIDTH,
    "cross_attention_norm": None,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "downsample_padding": 1,
    "dual_cross_attention": False,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 4,
    "layers_per_block": 2,
    "mid_block_only_cross_attention": None,
    "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "norm_eps": 1e-05,
    "norm_num_groups": 16,
    "num_attention_heads": None,
    "num_class_embeds": None,
    "only_cross_attention": False,
    "out_channels": 4,
    "projection_class_embeddings_input_dim": 6 * 8 + WIDTH,
    "resnet_out_scale_factor": 1.0,
    "resnet_skip_time_act": False,
    "resnet_time_scale_shift": "default",
    "sample_size": SIDE,
    "time_cond_proj_dim": None,
    "time_embedding_act_fn": None,
    "time_embedding_dim": None,
    "time_embedding_type": "positional",
    "timestep_post_act": None,
    "transformer_layers_per_block": [1, 2, 10],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "upcast_attention": None,
    "use_linear_projection": True,
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


def stable_diffusion_15(folder: Path) -> None:
    """stable-diffusion-v1-5/stable-diffusion-v1-5, with its safety checker."""
    stable_diffusion(folder, seed=0)
    write_checker(folder / "safety_checker")


def inpainting(folder: Path) -> None:
    """stable-diffusion-v1-5/stable-diffusion-inpainting: only the half precision is free of pickles."""
    stable_diffusion(
        folder, seed=2, pipeline="StableDiffusionInpaintPipeline", channels=9, scheduler=DDIM, version="0.6.0.dev0"
    )


def instruct_pix2pix(folder: Path) -> None:
    """timbrooks/instruct-pix2pix."""
    stable_diffusion(
        folder,
        seed=3,
        half=False,
        pipeline="StableDiffusionInstructPix2PixPipeline",
        channels=8,
        scheduler=EULER_ANCESTRAL,
        processor="CLIPFeatureExtractor",
        version="0.12.0.dev0",
    )


def gligen(folder: Path) -> None:
    """masterful/gligen-1-4-generation-text-box as its proposed conversion has it: names of 2023."""
    stable_diffusion(
        folder,
        seed=4,
        pipeline="StableDiffusionGLIGENPipeline",
        unet={"attention_type": "gated"},
        version="0.21.0.dev0",
        recent=True,
    )


def image_variations(folder: Path) -> None:
    """lambdalabs/sd-image-variations-diffusers, version 2 as converted: the index names a class that is gone."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    write_index(
        folder,
        "StableDiffusionImageVariationPipeline",
        "0.8.0.dev0",
        {
            "feature_extractor": ["transformers", "CLIPFeatureExtractor"],
            "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
            "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
            "scheduler": ["diffusers", "PNDMScheduler"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        },
    )
    write_json(folder / "scheduler" / "scheduler_config.json", PNDM)
    write_processor(folder / "feature_extractor")
    config = vision_config(
        architectures=["CLIPVisionModelWithProjection"], torch_dtype="float32", transformers_version="4.25.1"
    )
    write_json(folder / "image_encoder" / "config.json", config)
    with seeded(5):
        write_tensors(
            folder / "image_encoder" / "model.safetensors",
            randomised(CLIPVisionModelWithProjection(CLIPVisionConfig(**config))),
            also=positions("vision_model.embeddings", 257),
        )
        write_unet(folder / "unet", UNET, half=False)
        write_vae(folder / "vae", half=False)


def write_checker(folder: Path) -> None:
    """A safety checker whose limits no picture comes near."""
    import torch
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig

    config = clip_config("StableDiffusionSafetyChecker")
    write_json(folder / "config.json", config)
    with seeded(6):
        checker = randomised(StableDiffusionSafetyChecker(CLIPConfig(**config)))
        for name, number in (("concept_embeds", 17), ("special_care_embeds", 3)):
            getattr(checker, name).data = torch.randn(number, WIDTH)
            getattr(checker, f"{name}_weights").data = 0.95 + 0.05 * torch.rand(number)
    also = positions("vision_model.vision_model.embeddings", 257)
    write_tensors(folder / "model.safetensors", checker, CHECKER, also=also)


def canny_control(folder: Path) -> None:
    """lllyasviel/control_v11p_sd15_canny."""
    from diffusers import ControlNetModel

    config = {
        **{key: value for key, value in UNET.items() if key in CONTROL_SHARES},
        "_class_name": "ControlNetModel",
        "_diffusers_version": "0.16.0.dev0",
        "class_embed_type": None,
        "conditioning_embedding_out_channels": [8, 8, 16, 16],
        "controlnet_conditioning_channel_order": "rgb",
        "num_class_embeds": None,
        "only_cross_attention": False,
        "projection_class_embeddings_input_dim": None,
        "resnet_time_scale_shift": "default",
        "upcast_attention": False,
        "use_linear_projection": False,
    }
    write_json(folder / "config.json", config)
    with seeded(7):
        write_tensors(folder / weights(half=True), randomised(ControlNetModel.from_config(config)), half=True)


CONTROL_SHARES = (
    *("act_fn", "attention_head_dim", "block_out_channels", "cross_attention_dim", "down_block_types"),
    *("downsample_padding", "flip_sin_to_cos", "freq_shift", "in_channels", "layers_per_block"),
    *("mid_block_scale_factor", "norm_eps", "norm_num_groups"),
)


def stable_diffusion_xl(folder: Path) -> None:
    """stabilityai/stable-diffusion-xl-base-1.0, in half precision."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    write_index(
        folder,
        "StableDiffusionXLPipeline",
        "0.19.0.dev0",
        {
            "scheduler": ["diffusers", "EulerDiscreteScheduler"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "tokenizer_2": ["transformers", "CLIPTokenizer"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        },
        force_zeros_for_empty_prompt=True,
        add_watermarker=None,
    )
    write_json(folder / "scheduler" / "scheduler_config.json", EULER)
    write_tokenizer(folder / "tokenizer")
    write_tokenizer(folder / "tokenizer_2", pad="!")
    second = text_config(
        architectures=["CLIPTextModelWithProjection"],
        hidden_act="gelu",
        torch_dtype="float16",
        transformers_version="4.32.0.dev0",
    )
    write_json(folder / "text_encoder_2" / "config.json", second)
    with seeded(8):
        write_text_encoder(folder / "text_encoder", half=True, numbered=False)
        write_tensors(
            folder / "text_encoder_2" / "model.fp16.safetensors",
            randomised(CLIPTextModelWithProjection(CLIPTextConfig(**second))),
            half=True,
        )
        write_unet(folder / "unet", UNET_XL, half=True)
        write_vae(
            folder / "vae",
            half=True,
            names=NONE,
            _diffusers_version="0.20.0.dev0",
            _name_or_path="../sdxl-vae/",
            force_upcast=True,
            scaling_factor=0.13025,
        )


def dit(folder: Path, classes: int = 1000) -> None:
    """facebook/DiT-XL-2-256: a network of a class whose name has changed, and labels as text."""
    from diffusers import DiTTransformer2DModel

    write_index(
        folder,
        "DiTPipeline",
        "0.12.0.dev0",
        {
            "scheduler": ["diffusers", "DDIMScheduler"],
            "transformer": ["diffusers", "Transformer2DModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        },
        id2label=labels()["id2label"],
    )
    scheduler = {
        "_class_name": "DDIMScheduler",
        "_diffusers_version": "0.12.0.dev0",
        "beta_end": 0.02,
        "beta_schedule": "linear",
        "beta_start": 0.0001,
        "clip_sample": False,
        "num_train_timesteps": 1000,
        "prediction_type": "epsilon",
        "set_alpha_to_one": True,
        "steps_offset": 0,
        "trained_betas": None,
    }
    transformer = {
        "_class_name": "Transformer2DModel",
        "_diffusers_version": "0.12.0.dev0",
        "activation_fn": "gelu-approximate",
        "attention_bias": True,
        "attention_head_dim": 8,
        "cross_attention_dim": None,
        "dropout": 0.0,
        "in_channels": 4,
        "norm_elementwise_affine": False,
        "norm_num_groups": 32,
        "norm_type": "ada_norm_zero",
        "num_attention_heads": 2,
        "num_embeds_ada_norm": classes,
        "num_layers": 2,
        "num_vector_embeds": None,
        "only_cross_attention": False,
        "out_channels": 8,
        "patch_size": 2,
        "sample_size": SIDE,
        "upcast_attention": False,
        "use_linear_projection": False,
    }
    write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    write_json(folder / "transformer" / "config.json", transformer)
    known = {key: value for key, value in transformer.items() if key not in NOT_OF_DIT}
    with seeded(9):
        write_tensors(folder / "transformer" / weights(half=False), randomised(DiTTransformer2DModel(**known)))
        write_vae(
            folder / "vae", half=False, _diffusers_version="0.12.0.dev0", _name_or_path="stabilityai/sd-vae-ft-ema"
        )


NOT_OF_DIT = (
    *("_class_name", "_diffusers_version", "cross_attention_dim", "num_vector_embeds"),
    *("only_cross_attention", "use_linear_projection"),
)


def ft_mse(folder: Path) -> None:
    """stabilityai/sd-vae-ft-mse."""
    with seeded(10):
        write_vae(folder, half=False, _diffusers_version="0.4.2")


def taesd(folder: Path) -> None:
    """madebyollin/taesd."""
    from diffusers import AutoencoderTiny

    config = {
        "_class_name": "AutoencoderTiny",
        "_diffusers_version": "0.20.0.dev0",
        "act_fn": "relu",
        "decoder_block_out_channels": [8, 8, 8, 8],
        "encoder_block_out_channels": [8, 8, 8, 8],
        "force_upcast": False,
        "in_channels": 3,
        "latent_channels": 4,
        "latent_magnitude": 3,
        "latent_shift": 0.5,
        "num_decoder_blocks": [3, 3, 3, 1],
        "num_encoder_blocks": [1, 3, 3, 3],
        "out_channels": 3,
        "scaling_factor": 1.0,
        "upsampling_scaling_factor": 2,
    }
    write_json(folder / "config.json", config)
    with seeded(11):
        write_tensors(folder / weights(half=False), randomised(AutoencoderTiny.from_config(config)))


BUILDERS: dict[str, Callable[[Path], None]] = {
    "text_to_image": stable_diffusion_xl,
    "text_to_image_small": stable_diffusion_15,
    "image_to_image": stable_diffusion_15,
    "denoiser": stable_diffusion_15,
    "edge_to_image": stable_diffusion_15,
    "safety_checker": stable_diffusion_15,
    "edge_network": canny_control,
    "image_variation": image_variations,
    "inpainter": inpainting,
    "instruction_edit": instruct_pix2pix,
    "layout_to_image": gligen,
    "class_conditional_imagenet": dit,
    "latent_preview": taesd,
    "autoencoder": ft_mse,
}
