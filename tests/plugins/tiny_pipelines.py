"""Complete diffusers pipelines of a few hundred thousand random weights, built offline and saved as safetensors.

They go through every call that a checkpoint goes through. What they make is noise: tests on them are API tests.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WIDTH = 32
"""Of embeddings, and side of the pictures that the CLIP encoders see."""
SIDE = 64
"""Side of the pictures that the U-Nets are made for."""


def save_pipelines(folder: Path) -> None:
    """`text_to_image`, `xl`, `inpaint`, `image_variation`, each a folder; the first has a safety checker in it."""
    import diffusers
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokenizer, text_encoder = save_tokenizer(folder / "tokenizer"), text_model()
        shared = {"vae": autoencoder(), "scheduler": scheduler(), "feature_extractor": image_processor()}
        diffusers.StableDiffusionPipeline(
            **shared,
            unet=unet(4),
            tokenizer=tokenizer,
            text_encoder=text_encoder,
            safety_checker=safety_checker(),
        ).save_pretrained(folder / "text_to_image", safe_serialization=True)
        diffusers.StableDiffusionInpaintPipeline(
            **shared,
            unet=unet(9),
            tokenizer=tokenizer,
            text_encoder=text_encoder,
            safety_checker=None,
            requires_safety_checker=False,
        ).save_pretrained(folder / "inpaint", safe_serialization=True)
        diffusers.StableDiffusionImageVariationPipeline(
            **shared, unet=unet(4), image_encoder=image_model(), safety_checker=None, requires_safety_checker=False
        ).save_pretrained(folder / "image_variation", safe_serialization=True)
        diffusers.StableDiffusionXLPipeline(
            vae=autoencoder(),
            scheduler=scheduler(),
            unet=unet(4, addition_embed_type="text_time", addition_time_embed_dim=8, context=2 * WIDTH),
            tokenizer=tokenizer,
            tokenizer_2=tokenizer,
            text_encoder=text_model(),
            text_encoder_2=text_model(projected=True),
            add_watermarker=False,
        ).save_pretrained(folder / "xl", safe_serialization=True)


def save_conditioned(folder: Path) -> None:
    """`instruction_edit`, `layout_to_image`, `control`: pipelines and a control network for conditions beside texts."""
    import diffusers
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(4)
        shared = {
            "vae": autoencoder(),
            "tokenizer": save_tokenizer(folder / "tokenizer"),
            "text_encoder": text_model(),
            "safety_checker": None,
            "feature_extractor": image_processor(),
            "requires_safety_checker": False,
        }
        diffusers.StableDiffusionInstructPix2PixPipeline(
            **shared, unet=unet(8), scheduler=diffusers.EulerAncestralDiscreteScheduler()
        ).save_pretrained(folder / "instruction_edit", safe_serialization=True)
        gated = unet(4, attention_type="gated")
        for name, weights in gated.named_parameters():
            if "fuser.alpha" in name or "position_net.null" in name:  # zero when fresh, and boxes had no effect
                torch.nn.init.constant_(weights, 1.0)
        diffusers.StableDiffusionGLIGENPipeline(**shared, unet=gated, scheduler=scheduler()).save_pretrained(
            folder / "layout_to_image", safe_serialization=True
        )
        control = diffusers.ControlNetModel.from_unet(unet(4), conditioning_embedding_out_channels=(8, 8, 16, 16))
        for name, weights in control.named_parameters():
            if name.startswith(("controlnet_down_blocks", "controlnet_mid_block")) or "conv_out" in name:
                torch.nn.init.normal_(weights, std=0.2)
        control.save_pretrained(folder / "control", safe_serialization=True)


def save_checker(folder: Path, limit: float) -> None:
    """A safety checker whose every concept has this limit, with its image processor; the same network every time."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(2)
        checker = safety_checker()
    checker.concept_embeds_weights.data.fill_(limit)
    checker.save_pretrained(folder / "safety_checker", safe_serialization=True)
    image_processor().save_pretrained(folder / "feature_extractor")


def models_table(tiny: Path, **checkers: Path) -> str:
    """A table of one's own with the tiny pipelines under the hub's aliases, and safety checkers under any."""
    entries = [
        ("text_to_image", "diffusion", tiny / "text_to_image", '{ task = "text_to_image" }'),
        ("image_to_image", "diffusion", tiny / "text_to_image", '{ task = "image_to_image" }'),
        ("image_variation", "diffusion", tiny / "image_variation", '{ task = "image_variation" }'),
        ("inpainter", "diffusion", tiny / "inpaint", '{ task = "inpaint", steps = 3 }'),
        ("safety_checker", "safety_checker", tiny / "text_to_image", "{}"),
        ("zero_shot", "zero_shot", tiny / "clip", "{}"),
        *((alias, "safety_checker", folder, "{}") for alias, folder in checkers.items()),
    ]
    return "".join(
        f'[{alias}]\nname = "tiny/{alias}"\nloader = "{loader}"\nlocal = {{ path = "{folder}" }}\n'
        f'options = {options}\nlicence = "none"\nsource = "random weights"\n\n'
        for alias, loader, folder, options in entries
    )


def offload_by_module(pipeline: Any, device: str) -> None:
    """diffusers' `enable_sequential_cpu_offload` for a CPU, which its own calls `cpu:0`, and accelerate stumbles."""
    from accelerate import cpu_offload
    from torch.nn import Module

    for part in pipeline.components.values():
        if isinstance(part, Module):
            cpu_offload(part, device, offload_buffers=len(part._parameters) > 0)


def save_tokenizer(folder: Path) -> Any:
    """CLIP's tokenizer over single bytes: a token a letter."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {word: number for number, word in enumerate(words)}
    (folder / "vocab.json").write_text(json.dumps(numbers))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(numbers, [], model_max_length=77)


def text_config() -> dict[str, Any]:
    return {
        "vocab_size": 514,
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "projection_dim": WIDTH,
        "bos_token_id": 512,
        "eos_token_id": 513,
        "pad_token_id": 513,
    }


def vision_config() -> dict[str, Any]:
    return {
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": WIDTH,
        "patch_size": 8,
        "projection_dim": WIDTH,
    }


def text_model(projected: bool = False) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(**text_config())
    return (CLIPTextModelWithProjection(config) if projected else CLIPTextModel(config)).eval()


def image_model() -> Any:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    return CLIPVisionModelWithProjection(CLIPVisionConfig(**vision_config())).eval()


def image_processor() -> Any:
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(size={"shortest_edge": WIDTH}, crop_size={"height": WIDTH, "width": WIDTH})


def safety_checker() -> Any:
    """Random concepts and limits that no picture comes near."""
    import torch
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig

    config = CLIPConfig(text_config=text_config(), vision_config=vision_config(), projection_dim=WIDTH)
    checker = StableDiffusionSafetyChecker(config).eval()
    checker.concept_embeds.data = torch.randn(17, WIDTH)
    checker.special_care_embeds.data = torch.randn(3, WIDTH)
    checker.concept_embeds_weights.data = torch.ones(17)
    checker.special_care_embeds_weights.data = torch.ones(3)
    return checker


def autoencoder() -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        sample_size=SIDE,
    ).eval()


def unet(channels: int, context: int = WIDTH, **extra: Any) -> Any:
    from diffusers import UNet2DConditionModel

    if "addition_time_embed_dim" in extra:
        extra["projection_class_embeddings_input_dim"] = 6 * extra["addition_time_embed_dim"] + WIDTH
    return UNet2DConditionModel(
        sample_size=SIDE // 8,
        in_channels=channels,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=4,
        cross_attention_dim=context,
        **extra,
    ).eval()


def scheduler() -> Any:
    """As Stable Diffusion 1.5 has it."""
    from diffusers import PNDMScheduler

    return PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    )
