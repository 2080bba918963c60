"""CLIP: its tokenizer's files, text encoder, picture encoder and image processor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hub_layouts.saved import CLIP_MEAN, CLIP_STD, TEXT, positions, randomised, seeded, write_json, write_tensors

WIDTH = 32
"""Of embeddings."""
MERGES = (Path(__file__).with_name("clip_merges.txt")).read_text("utf-8").splitlines()[1:]
"""The first of CLIP's own 48894, by falling frequency (OpenAI's CLIP, MIT)."""
START, END = "<|startoftext|>", "<|endoftext|>"


def vocabulary(merges: list[str]) -> dict[str, int]:
    """CLIP's vocabulary: bytes, bytes that end a word, merges, the two marks; the last has the largest number."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair.split()) for pair in merges)]
    return {word: number for number, word in enumerate([*words, START, END])}


SIZE = 2 * 256 + len(MERGES) + 2
"""Of the vocabulary."""


def write_tokenizer(folder: Path, *, pad: str = END, merges: list[str] = MERGES) -> None:
    """The four files of Stable Diffusion's tokenizer."""

    def mark(content: str, **kind: str) -> dict[str, Any]:
        return {**kind, "content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}

    added = {"__type": "AddedToken"}
    write_json(folder / "vocab.json", vocabulary(merges))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", "utf-8")
    write_json(
        folder / "special_tokens_map.json",
        {"bos_token": mark(START), "eos_token": mark(END), "pad_token": pad, "unk_token": mark(END)},
    )
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_prefix_space": False,
            "bos_token": mark(START, **added),
            "do_lower_case": True,
            "eos_token": mark(END, **added),
            "errors": "replace",
            "model_max_length": 77,
            "name_or_path": "openai/clip-vit-large-patch14",
            "pad_token": pad,
            "special_tokens_map_file": "./special_tokens_map.json",
            "tokenizer_class": "CLIPTokenizer",
            "unk_token": mark(END, **added),
        },
    )


def write_processor(folder: Path) -> None:
    """The image processor of 2022: sizes as numbers, a class that is gone."""
    write_json(
        folder / "preprocessor_config.json",
        {
            "crop_size": 224,
            "do_center_crop": True,
            "do_convert_rgb": True,
            "do_normalize": True,
            "do_resize": True,
            "feature_extractor_type": "CLIPFeatureExtractor",
            "image_mean": CLIP_MEAN,
            "image_std": CLIP_STD,
            "resample": 3,
            "size": 224,
        },
    )


def text_config(**others: Any) -> dict[str, Any]:
    """Configuration of a `CLIPTextModel`: its marks' numbers are wrong, which means: pool at the largest number."""
    return {
        "_name_or_path": "openai/clip-vit-large-patch14",
        "architectures": ["CLIPTextModel"],
        "attention_dropout": 0.0,
        "bos_token_id": 0,
        "dropout": 0.0,
        "eos_token_id": 2,
        "hidden_act": "quick_gelu",
        "hidden_size": WIDTH,
        "initializer_factor": 1.0,
        "initializer_range": 0.02,
        "intermediate_size": 2 * WIDTH,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 77,
        "model_type": "clip_text_model",
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "pad_token_id": 1,
        "projection_dim": WIDTH,
        "torch_dtype": "float32",
        "transformers_version": "4.22.0.dev0",
        "vocab_size": SIZE,
        **others,
    }


def write_text_encoder(folder: Path, *, half: bool, numbered: bool = True) -> None:
    """Stable Diffusion 1's text encoder; `numbered`: with the buffer of positions."""
    from transformers import CLIPTextConfig, CLIPTextModel

    config = text_config()
    write_json(folder / "config.json", config)
    write_tensors(
        folder / ("model.fp16.safetensors" if half else "model.safetensors"),
        randomised(CLIPTextModel(CLIPTextConfig(**config))),
        TEXT,
        half=half,
        also=positions("text_model.embeddings", 77) if numbered else None,
    )


def vision_config(**others: Any) -> dict[str, Any]:
    """Configuration of a `CLIPVisionModel` of L/14."""
    return {
        "attention_dropout": 0.0,
        "dropout": 0.0,
        "hidden_act": "quick_gelu",
        "hidden_size": WIDTH,
        "image_size": 224,
        "initializer_factor": 1.0,
        "initializer_range": 0.02,
        "intermediate_size": 2 * WIDTH,
        "layer_norm_eps": 1e-05,
        "model_type": "clip_vision_model",
        "num_attention_heads": 2,
        "num_channels": 3,
        "num_hidden_layers": 2,
        "patch_size": 14,
        "projection_dim": WIDTH,
        **others,
    }


def clip_config(architecture: str) -> dict[str, Any]:
    """Configuration of a whole CLIP: both parts twice, as differences and in full; the full ones count."""
    few = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_attention_heads": 2, "num_hidden_layers": 2}
    return {
        "_name_or_path": "clip-vit-large-patch14/",
        "architectures": [architecture],
        "initializer_factor": 1.0,
        "logit_scale_init_value": 2.6592,
        "model_type": "clip",
        "projection_dim": WIDTH,
        "text_config": {**text_config(architectures=None, _name_or_path=""), "torch_dtype": None},
        # published without the last three: a small vocabulary has marks of other numbers than the class knows
        "text_config_dict": {
            **few,
            "projection_dim": WIDTH,
            "vocab_size": SIZE,
            "bos_token_id": SIZE - 2,
            "eos_token_id": SIZE - 1,
        },
        "torch_dtype": "float32",
        "transformers_version": None,
        "vision_config": vision_config(architectures=None, _name_or_path="", torch_dtype=None),
        "vision_config_dict": {**few, "patch_size": 14, "projection_dim": WIDTH},
    }


def clip_large(folder: Path) -> None:
    """openai/clip-vit-large-patch14."""
    from transformers import CLIPConfig, CLIPModel

    write_tokenizer(folder)
    write_processor(folder)
    config = clip_config("CLIPModel")
    write_json(folder / "config.json", config)
    with seeded(1):
        model = randomised(CLIPModel(CLIPConfig(**config)))
    both = positions("text_model.embeddings", 77) | positions("vision_model.embeddings", (224 // 14) ** 2 + 1)
    write_tensors(folder / "model.safetensors", model, also=both)


BUILDERS: dict[str, Callable[[Path], None]] = dict.fromkeys(("zero_shot", "clip_embedding"), clip_large)
