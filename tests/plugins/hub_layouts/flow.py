"""FLUX.1, Stable Diffusion 3.5, Qwen-Image and Z-Image as they were published in 2024 and 2025, with random weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hub_layouts import chat
from hub_layouts.clip import WIDTH, text_config, write_tokenizer
from hub_layouts.saved import NONE, TEXT, Names, published, randomised, seeded, write_json, write_safetensors
from hub_layouts.stable_diffusion import AUTOENCODER, write_index

T5_WIDTH = 2 * WIDTH
"""Of T5's embeddings: as wide as those of two CLIP encoders."""
FLOW_MATCH = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000}
SHIFTS = {"base_image_seq_len": 256, "base_shift": 0.5, "max_image_seq_len": 4096, "max_shift": 1.15}
FLUX = {
    "_class_name": "FluxTransformer2DModel",
    "_diffusers_version": "0.30.0.dev0",
    "attention_head_dim": 128,
    "in_channels": 64,
    "joint_attention_dim": T5_WIDTH,
    "num_attention_heads": 1,
    "num_layers": 1,
    "num_single_layers": 1,
    "patch_size": 1,
    "pooled_projection_dim": WIDTH,
}
SD3 = {
    "_class_name": "SD3Transformer2DModel",
    "_diffusers_version": "0.31.0.dev0",
    "attention_head_dim": 64,
    "caption_projection_dim": 64,
    "in_channels": 16,
    "joint_attention_dim": T5_WIDTH,
    "num_attention_heads": 1,
    "num_layers": 2,
    "out_channels": 16,
    "patch_size": 2,
    "pooled_projection_dim": 2 * WIDTH,
    "pos_embed_max_size": 64,
    "qk_norm": "rms_norm",
    "sample_size": 128,
}
QWEN = {
    "_class_name": "QwenImageTransformer2DModel",
    "_diffusers_version": "0.34.0.dev0",
    "attention_head_dim": 128,
    "axes_dims_rope": [16, 56, 56],
    "guidance_embeds": False,
    "in_channels": 64,
    "joint_attention_dim": WIDTH,
    "num_attention_heads": 1,
    "num_layers": 2,
    "out_channels": 16,
    "patch_size": 2,
}
Z_IMAGE = {
    "_class_name": "ZImageTransformer2DModel",
    "_diffusers_version": "0.36.0.dev0",
    "all_f_patch_size": [1],
    "all_patch_size": [2],
    "axes_dims": [32, 48, 48],
    "axes_lens": [1536, 512, 512],
    "cap_feat_dim": WIDTH,
    "dim": 128,
    "in_channels": 16,
    "n_heads": 1,
    "n_kv_heads": 1,
    "n_layers": 1,
    "n_refiner_layers": 1,
    "norm_eps": 1e-05,
    "qk_norm": True,
    "rope_theta": 256.0,
    "t_scale": 1000.0,
}
CHANNELS = {"latent_channels": 16, "use_post_quant_conv": False, "use_quant_conv": False, "force_upcast": True}
FLUX_VAE = {**CHANNELS, "scaling_factor": 0.3611, "shift_factor": 0.1159, "latents_mean": None, "latents_std": None}
SD3_VAE = {**CHANNELS, "scaling_factor": 1.5305, "shift_factor": 0.0609, "latents_mean": None, "latents_std": None}
QWEN_VAE = {
    "_class_name": "AutoencoderKLQwenImage",
    "_diffusers_version": "0.34.0.dev0",
    "attn_scales": [],
    "base_dim": 8,
    "dim_mult": [1, 2, 4, 4],
    "dropout": 0.0,
    "latents_mean": [
        *(-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508),
        *(0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921),
    ],
    "latents_std": [
        *(2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743),
        *(3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.916),
    ],
    "num_res_blocks": 1,
    "temperal_downsample": [False, True, True],
    "z_dim": 16,
}
MODEL: Names = (("^", "model."),)
"""Of a language model without its head."""


def write_shards(
    folder: Path,
    module: Any,
    parts: int = 1,
    *,
    stem: str = "diffusion_pytorch_model",
    names: Names = NONE,
    drop: str = "",
) -> None:
    """Write a network in bfloat16, as so many files with an index; without the tensor that is tied to another."""
    tensors = {name: one for name, one in published(module.state_dict(), names).items() if name != drop}
    if parts == 1:
        write_safetensors(folder / f"{stem}.safetensors", tensors, "bfloat16")
        return
    places = {}
    for part in range(parts):
        file = f"{stem}-{part + 1:05}-of-{parts:05}.safetensors"
        held = dict(list(tensors.items())[part::parts])
        write_safetensors(folder / file, held, "bfloat16")
        places |= dict.fromkeys(held, file)
    size = 2 * sum(one.numel() for one in tensors.values())
    write_json(folder / f"{stem}.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": places})


def write_network(folder: Path, config: Mapping[str, Any], parts: int = 1) -> None:
    """A network of diffusers."""
    import diffusers

    write_json(folder / "config.json", config)
    network = getattr(diffusers, config["_class_name"]).from_config(dict(config))
    write_shards(folder, randomised(network), parts)


def write_clip(folder: Path, *, projected: bool = False) -> None:
    """CLIP's text encoder."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    kind = CLIPTextModelWithProjection if projected else CLIPTextModel
    config = text_config(architectures=[kind.__name__], torch_dtype="bfloat16", transformers_version="4.43.3")
    write_json(folder / "config.json", config)
    network = randomised(kind(CLIPTextConfig(**config)))
    write_shards(folder, network, stem="model", names=NONE if projected else TEXT)


def write_t5(folder: Path) -> None:
    """T5's encoder in two files; its embedding is stored once."""
    from transformers import T5Config, T5EncoderModel

    config = {
        "architectures": ["T5EncoderModel"],
        "classifier_dropout": 0.0,
        "d_ff": T5_WIDTH,
        "d_kv": 16,
        "d_model": T5_WIDTH,
        "decoder_start_token_id": 0,
        "dense_act_fn": "gelu_new",
        "dropout_rate": 0.1,
        "eos_token_id": 1,
        "feed_forward_proj": "gated-gelu",
        "initializer_factor": 1.0,
        "is_encoder_decoder": True,
        "is_gated_act": True,
        "layer_norm_epsilon": 1e-06,
        "model_type": "t5",
        "num_decoder_layers": 2,
        "num_heads": 4,
        "num_layers": 2,
        "output_past": True,
        "pad_token_id": 0,
        "relative_attention_max_distance": 128,
        "relative_attention_num_buckets": 32,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.43.3",
        "use_cache": True,
        "vocab_size": 128,
    }
    write_json(folder / "config.json", config)
    network = randomised(T5EncoderModel(T5Config(**config)))
    write_shards(folder, network, 2, stem="model", drop="encoder.embed_tokens.weight")


def write_t5_tokenizer(folder: Path) -> None:
    """SentencePiece's unigrams, a token a letter, in the form of the library tokenizers."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    marks = ["<pad>", "</s>", "<unk>"]
    letters = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:!?'\"()-"
    tokenizer = Tokenizer(models.Unigram([(mark, 0.0) for mark in marks] + [(one, -4.0) for one in letters], 2, False))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", "$A </s> $B </s>", [("</s>", 1)])
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(marks)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))

    def mark(content: str) -> dict[str, Any]:
        return {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}

    named = dict(zip(("pad_token", "eos_token", "unk_token"), marks, strict=True))
    write_json(folder / "special_tokens_map.json", {kind: mark(text) for kind, text in named.items()})
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_prefix_space": True,
            "added_tokens_decoder": {str(n): {**mark(text), "special": True} for n, text in enumerate(marks)},
            "clean_up_tokenization_spaces": True,
            "extra_ids": 0,
            "legacy": True,
            "model_max_length": 512,
            "sp_model_kwargs": {},
            "tokenizer_class": "T5Tokenizer",
            **named,
        },
    )


def write_flux(
    folder: Path, pipeline: str = "FluxPipeline", *, moving: bool = False, seed: int = 0, **network: Any
) -> None:
    """FLUX.1; `moving`: the schedule depends on the picture's size."""
    write_index(
        folder,
        pipeline,
        "0.30.0.dev0",
        {
            "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "text_encoder_2": ["transformers", "T5EncoderModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "tokenizer_2": ["transformers", "T5TokenizerFast"],
            "transformer": ["diffusers", "FluxTransformer2DModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        },
    )
    shift = {"shift": 3.0 if moving else 1.0, "use_dynamic_shifting": moving}
    write_json(folder / "scheduler" / "scheduler_config.json", {**FLOW_MATCH, **SHIFTS, **shift})
    write_tokenizer(folder / "tokenizer")
    write_t5_tokenizer(folder / "tokenizer_2")
    with seeded(seed):
        write_clip(folder / "text_encoder")
        write_t5(folder / "text_encoder_2")
        write_network(folder / "transformer", {**FLUX, "guidance_embeds": moving, **network}, 3)
        write_network(folder / "vae", {**AUTOENCODER, **FLUX_VAE})


def write_sd3(folder: Path, parts: int, **network: Any) -> None:
    """Stable Diffusion 3.5, its transformer in so many files."""
    encoders = {f"text_encoder{n}": ["transformers", "CLIPTextModelWithProjection"] for n in ("", "_2")}
    tokenizers = {f"tokenizer{n}": ["transformers", "CLIPTokenizer"] for n in ("", "_2")}
    write_index(
        folder,
        "StableDiffusion3Pipeline",
        "0.29.0.dev0",
        {
            "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
            **encoders,
            "text_encoder_3": ["transformers", "T5EncoderModel"],
            **tokenizers,
            "tokenizer_3": ["transformers", "T5TokenizerFast"],
            "transformer": ["diffusers", "SD3Transformer2DModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        },
    )
    write_json(folder / "scheduler" / "scheduler_config.json", {**FLOW_MATCH, "shift": 3.0})
    write_tokenizer(folder / "tokenizer")
    write_tokenizer(folder / "tokenizer_2", pad="!")
    write_t5_tokenizer(folder / "tokenizer_3")
    with seeded(1):
        write_clip(folder / "text_encoder", projected=True)
        write_clip(folder / "text_encoder_2", projected=True)
        write_t5(folder / "text_encoder_3")
        write_network(folder / "transformer", {**SD3, **network}, parts)
        write_network(folder / "vae", {**AUTOENCODER, **SD3_VAE})


def write_qwen_tokenizer(folder: Path) -> dict[str, int]:
    """Qwen's tokenizer with the two files that newer ones don't have; returns all numbers."""
    numbers = chat.write_qwen_tokenizer(folder)
    write_json(folder / "added_tokens.json", {one: numbers[one] for one in chat.MARKS})
    marks = {"additional_special_tokens": list(chat.MARKS[1:]), "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    write_json(folder / "special_tokens_map.json", marks)
    return numbers


def write_qwen_vl(folder: Path, numbers: dict[str, int]) -> None:
    """Qwen2.5-VL with its head, in four files."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    words = {
        "attention_dropout": 0.0,
        "bos_token_id": numbers["<|endoftext|>"],
        "eos_token_id": numbers["<|im_end|>"],
        "hidden_act": "silu",
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "max_position_embeddings": 128000,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "num_key_value_heads": 1,
        "rms_norm_eps": 1e-06,
        "rope_scaling": {"mrope_section": [2, 3, 3], "rope_type": "default", "type": "default"},
        "rope_theta": 1000000.0,
        "use_cache": True,
        "vocab_size": len(numbers),
    }
    config = {
        **words,
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "image_token_id": numbers["<|image_pad|>"],
        "model_type": "qwen2_5_vl",
        "text_config": {**words, "model_type": "qwen2_5_vl_text"},
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.53.1",
        "video_token_id": numbers["<|video_pad|>"],
        "vision_config": {
            "depth": 2,
            "fullatt_block_indexes": [1],
            "hidden_act": "silu",
            "hidden_size": WIDTH,
            "in_channels": 3,
            "intermediate_size": 2 * WIDTH,
            "model_type": "qwen2_5_vl",
            "num_heads": 2,
            "out_hidden_size": WIDTH,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "spatial_patch_size": 14,
            "temporal_patch_size": 2,
            "tokens_per_second": 2,
            "window_size": 112,
        },
        "vision_end_token_id": numbers["<|vision_end|>"],
        "vision_start_token_id": numbers["<|vision_start|>"],
    }
    write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json", {"do_sample": True, "temperature": 1e-06, "top_k": 1})
    network = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(**config))
    write_shards(folder, randomised(network), 4, stem="model", names=chat.FLAT)


def write_qwen_processor(folder: Path) -> None:
    """The processor of pictures and texts, which sees fewer pixels than the published one, for speed."""
    write_qwen_tokenizer(folder)
    sizes = {
        "max_pixels": 112 * 112,
        "min_pixels": 56 * 56,
        "merge_size": 2,
        "patch_size": 14,
        "temporal_patch_size": 2,
    }
    how = {"do_convert_rgb": True, "do_normalize": True, "do_rescale": True, "do_resize": True, "resample": 3}
    look = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
    size = {"size": {"longest_edge": 112 * 112, "shortest_edge": 56 * 56}, "rescale_factor": 1 / 255}
    kinds = (("preprocessor_config.json", "Image"), ("video_preprocessor_config.json", "Video"))
    for file, kind in kinds:
        named = {"processor_class": "Qwen2_5_VLProcessor", f"{kind.lower()}_processor_type": f"Qwen2VL{kind}Processor"}
        write_json(folder / file, {**sizes, **how, **look, **size, **named})


def write_qwen(folder: Path, pipeline: str = "QwenImagePipeline", *, edits: bool = False) -> None:
    """Qwen-Image, or its version that edits."""
    write_index(
        folder,
        pipeline,
        "0.34.0.dev0",
        {
            **({"processor": ["transformers", "Qwen2VLProcessor"]} if edits else {}),
            "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
            "text_encoder": ["transformers", "Qwen2_5_VLForConditionalGeneration"],
            "tokenizer": ["transformers", "Qwen2Tokenizer"],
            "transformer": ["diffusers", "QwenImageTransformer2DModel"],
            "vae": ["diffusers", "AutoencoderKLQwenImage"],
        },
    )
    moving = {"shift": 1.0, "shift_terminal": 0.02, "time_shift_type": "exponential", "use_dynamic_shifting": True}
    shifts = {"base_image_seq_len": 256, "base_shift": 0.5, "max_image_seq_len": 8192, "max_shift": 0.9}
    write_json(folder / "scheduler" / "scheduler_config.json", {**FLOW_MATCH, **shifts, **moving})
    numbers = write_qwen_tokenizer(folder / "tokenizer")
    if edits:
        write_qwen_processor(folder / "processor")
    with seeded(2):
        write_qwen_vl(folder / "text_encoder", numbers)
        write_network(folder / "transformer", QWEN, 9)
        write_network(folder / "vae", QWEN_VAE)


def write_z_image(folder: Path) -> None:
    """Z-Image-Turbo."""
    from transformers import Qwen3Config, Qwen3Model

    write_index(
        folder,
        "ZImagePipeline",
        "0.36.0.dev0",
        {
            "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
            "text_encoder": ["transformers", "Qwen3Model"],
            "tokenizer": ["transformers", "Qwen2Tokenizer"],
            "transformer": ["diffusers", "ZImageTransformer2DModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        },
    )
    write_json(
        folder / "scheduler" / "scheduler_config.json", {**FLOW_MATCH, "shift": 3.0, "use_dynamic_shifting": False}
    )
    numbers = write_qwen_tokenizer(folder / "tokenizer")
    config = {
        "architectures": ["Qwen3ForCausalLM"],
        "attention_bias": False,
        "bos_token_id": numbers["<|endoftext|>"],
        "eos_token_id": numbers["<|im_end|>"],
        "head_dim": 16,
        "hidden_act": "silu",
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "max_position_embeddings": 40960,
        "model_type": "qwen3",
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "num_key_value_heads": 1,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 1000000,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.51.0",
        "vocab_size": len(numbers),
    }
    with seeded(3):
        write_json(folder / "text_encoder" / "config.json", config)
        network = randomised(Qwen3Model(Qwen3Config(**config)))
        write_shards(folder / "text_encoder", network, 3, stem="model", names=MODEL)
        write_network(folder / "transformer", Z_IMAGE, 3)
        write_network(folder / "vae", {**AUTOENCODER, **FLUX_VAE})


def schnell(folder: Path) -> None:
    write_flux(folder)


def dev(folder: Path) -> None:
    write_flux(folder, moving=True)


def fill(folder: Path) -> None:
    write_flux(folder, "FluxFillPipeline", moving=True, in_channels=384, out_channels=64)


def sd3_large(folder: Path) -> None:
    write_sd3(folder, 2)


def sd3_medium(folder: Path) -> None:
    write_sd3(folder, 1, dual_attention_layers=[0])


def qwen(folder: Path) -> None:
    write_qwen(folder)


def qwen_edit(folder: Path) -> None:
    write_qwen(folder, "QwenImageEditPipeline", edits=True)


BUILDERS: dict[str, Callable[[Path], None]] = {
    "text_to_image_fast": schnell,
    "text_to_image_flux": dev,
    "inpainter_large": fill,
    "text_to_image_sd3": sd3_large,
    "text_to_image_sd3_medium": sd3_medium,
    "text_to_image_qwen": qwen,
    "instruction_edit_qwen": qwen_edit,
    "text_to_image_z": write_z_image,
}
