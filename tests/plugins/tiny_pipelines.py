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
<<<<<<< HEAD
=======


def save_owl(folder: Path) -> None:
    """An OWLv2 detector with its tokenizer and image processor."""
    import torch
    from transformers import Owlv2Config, Owlv2ForObjectDetection, Owlv2ImageProcessor

    tokenizer = save_tokenizer(folder)
    tokenizer.model_max_length = 16
    tokenizer.save_pretrained(folder)
    Owlv2ImageProcessor(size={"height": WIDTH, "width": WIDTH}).save_pretrained(folder)
    config = Owlv2Config(
        text_config={**text_config(), "max_position_embeddings": 16},
        vision_config=vision_config(),
        projection_dim=WIDTH,
    )
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = Owlv2ForObjectDetection(config)
        for weights in model.parameters():  # a library's own random numbers change with its releases
            if weights.ndim > 1:
                torch.nn.init.normal_(weights, std=0.2)
        for layer in (model.class_head.logit_scale, model.class_head.logit_shift):  # or scores are all 1 or 0
            torch.nn.init.normal_(layer.weight, std=0.02)
        model.save_pretrained(folder, safe_serialization=True)


def save_grounded(folder: Path) -> None:
    """A Grounding DINO detector with its tokenizer, a token a letter, and image processor."""
    import torch
    from transformers import (
        BertConfig,
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        SwinConfig,
    )

    words = [f"[unused{number}]" for number in range(1100)]
    # BERT's own numbers, which the network tells its texts apart by
    for number, word in ((0, "[PAD]"), (100, "[UNK]"), (101, "[CLS]"), (102, "[SEP]"), (103, "[MASK]")):
        words[number] = word
    words[1012], words[1029] = ".", "?"
    for place, letter in enumerate(string.ascii_lowercase):
        words[200 + place], words[300 + place] = letter, f"##{letter}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    GroundingDinoImageProcessor(size={"shortest_edge": 96, "longest_edge": 128}).save_pretrained(folder)
    sizes = {"hidden_size": WIDTH, "intermediate_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(6)
        GroundingDinoForObjectDetection(
            GroundingDinoConfig(
                backbone_config=SwinConfig(
                    image_size=SIDE,
                    embed_dim=8,
                    depths=[1, 1, 1, 1],
                    num_heads=[1, 1, 2, 2],
                    window_size=2,
                    out_features=["stage2", "stage3", "stage4"],
                ),
                text_config=BertConfig(vocab_size=len(words), **sizes),
                d_model=WIDTH,
                num_queries=20,
                encoder_layers=1,
                decoder_layers=2,
                encoder_ffn_dim=WIDTH,
                decoder_ffn_dim=WIDTH,
                encoder_attention_heads=2,
                decoder_attention_heads=2,
            )
        ).save_pretrained(folder, safe_serialization=True)


def save_vision_language(folder: Path) -> None:
    """A Qwen2-VL model with its tokenizer, a token a byte, its processors and a chat template."""
    import torch
    from transformers import (
        GenerationConfig,
        Qwen2Tokenizer,
        Qwen2VLConfig,
        Qwen2VLForConditionalGeneration,
        Qwen2VLImageProcessor,
        Qwen2VLProcessor,
        Qwen2VLVideoProcessor,
    )
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"]
    marks += ["<|image_pad|>", "<|video_pad|>"]
    numbers = {word: number for number, word in enumerate([*letters, *marks])}
    tokenizer = Qwen2Tokenizer(vocab=numbers, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": marks[1:]})
    template = (
        "{% for message in messages %}<|im_start|>{{ message.role }}\n{% for part in message.content %}"
        "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
        "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=112 * 112),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(),
        chat_template=template,
    ).save_pretrained(folder)
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": len(numbers),
            "hidden_size": WIDTH,
            "intermediate_size": 2 * WIDTH,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
            "bos_token_id": numbers["<|endoftext|>"],
            "eos_token_id": numbers["<|im_end|>"],
        },
        vision_config={"depth": 1, "embed_dim": WIDTH, "hidden_size": WIDTH, "num_heads": 2, "mlp_ratio": 2},
        image_token_id=numbers["<|image_pad|>"],
        video_token_id=numbers["<|video_pad|>"],
        vision_start_token_id=numbers["<|vision_start|>"],
        vision_end_token_id=numbers["<|vision_end|>"],
    )
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = Qwen2VLForConditionalGeneration(config)
        for weights in model.parameters():  # fresh ones are so small that pictures hardly count
            torch.nn.init.normal_(weights, std=0.3)
    # as the published one has it: it would draw its words
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=0.7,
        bos_token_id=numbers["<|endoftext|>"],
        pad_token_id=numbers["<|endoftext|>"],
        eos_token_id=[numbers["<|im_end|>"], numbers["<|endoftext|>"]],
    )
    model.save_pretrained(folder, safe_serialization=True)
>>>>>>> pitfalls
