"""Chat models that see pictures: Qwen2-VL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hub_layouts.saved import (
    CLIP_MEAN,
    CLIP_STD,
    Names,
    published,
    seeded,
    write_json,
    write_safetensors,
)

WIDTH = 32
MARKS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>"),
    *("<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"),
    *("<|image_pad|>", "<|video_pad|>"),
)
TEMPLATE = (
    "{% set image_count = namespace(value=0) %}{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n"
    "{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}"
    "{% set image_count.value = image_count.value + 1 %}"
    "{% if add_vision_id %}Picture {{ image_count.value }}: {% endif %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
FLAT: Names = ((r"^model\.language_model\.", "model."), (r"^model\.visual\.", "visual."))


def write_qwen_tokenizer(folder: Path) -> dict[str, int]:
    """Qwen's marks after a token a byte, as `vocab.json` and as `tokenizer.json`; returns all numbers."""
    from transformers import Qwen2Tokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = {letter: number for number, letter in enumerate(bytes_to_unicode().values())}
    numbers = letters | {mark: len(letters) + number for number, mark in enumerate(MARKS)}
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Qwen2Tokenizer(vocab=letters, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": list(MARKS)})
    tokenizer.save_pretrained(folder)  # for tokenizer.json
    for file in folder.iterdir():
        if file.name != "tokenizer.json":
            file.unlink()
    write_json(folder / "vocab.json", letters)
    (folder / "merges.txt").write_text("#version: 0.2\n")
    kind = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_prefix_space": False,
            "added_tokens_decoder": {str(numbers[mark]): {"content": mark, **kind} for mark in MARKS},
            "additional_special_tokens": list(MARKS[1:]),
            "bos_token": None,
            "chat_template": TEMPLATE,
            "clean_up_tokenization_spaces": False,
            "eos_token": "<|im_end|>",
            "errors": "replace",
            "model_max_length": 32768,
            "pad_token": "<|endoftext|>",
            "padding_side": "left",
            "split_special_tokens": False,
            "tokenizer_class": "Qwen2Tokenizer",
            "unk_token": None,
        },
    )
    return numbers


def write_shards(folder: Path, tensors: dict[str, Any], dtype: str) -> None:
    """Two files, and the index that says which tensor is where."""
    names = sorted(tensors)
    parts = names[: len(names) // 2], names[len(names) // 2 :]
    files = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for file, part in zip(files, parts, strict=True):
        write_safetensors(folder / file, {name: tensors[name] for name in part}, dtype)
    size = 2 * sum(tensor.numel() for tensor in tensors.values())
    where = {name: file for file, part in zip(files, parts, strict=True) for name in part}
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": where})


def qwen2_vl(folder: Path, most_pixels: int = 12845056, *, shards: bool = True) -> None:
    """Qwen/Qwen2-VL-2B-Instruct: a flat configuration, a head that is tied and in no file; or `shards` in one file."""
    import torch
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    numbers = write_qwen_tokenizer(folder)
    end, stop = numbers["<|endoftext|>"], numbers["<|im_end|>"]
    config: dict[str, Any] = {
        "architectures": ["Qwen2VLForConditionalGeneration"],
        "attention_dropout": 0.0,
        "bos_token_id": end,
        "eos_token_id": stop,
        "hidden_act": "silu",
        "hidden_size": WIDTH,
        "image_token_id": numbers["<|image_pad|>"],
        "initializer_range": 0.02,
        "intermediate_size": 2 * WIDTH,
        "max_position_embeddings": 32768,
        "max_window_layers": 2,
        "model_type": "qwen2_vl",
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "num_key_value_heads": 1,
        "rms_norm_eps": 1e-06,
        "rope_scaling": {"mrope_section": [2, 3, 3], "type": "mrope"},
        "rope_theta": 1000000.0,
        "sliding_window": 32768,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.41.2",
        "use_cache": True,
        "use_sliding_window": False,
        "video_token_id": numbers["<|video_pad|>"],
        "vision_config": {
            "depth": 2,
            "embed_dim": WIDTH,
            "hidden_size": WIDTH,
            "in_chans": 3,
            "mlp_ratio": 4,
            "num_heads": 2,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "spatial_patch_size": 14,
            "temporal_patch_size": 2,
        },
        "vision_end_token_id": numbers["<|vision_end|>"],
        "vision_start_token_id": numbers["<|vision_start|>"],
        "vision_token_id": numbers["<|vision_pad|>"],
        "vocab_size": len(numbers) + 2,
    }
    write_json(folder / "config.json", config)
    write_json(folder / "chat_template.json", {"chat_template": TEMPLATE})
    write_json(
        folder / "generation_config.json",
        {
            "bos_token_id": end,
            "do_sample": True,
            "eos_token_id": [stop, end],
            "pad_token_id": end,
            "temperature": 0.01,
            "top_k": 1,
            "top_p": 0.001,
            "transformers_version": "4.37.0",
        },
    )
    write_json(
        folder / "preprocessor_config.json",
        {
            "image_mean": CLIP_MEAN,
            "image_processor_type": "Qwen2VLImageProcessor",
            "image_std": CLIP_STD,
            "max_pixels": most_pixels,
            "merge_size": 2,
            "min_pixels": 3136,
            "patch_size": 14,
            "processor_class": "Qwen2VLProcessor",
            "temporal_patch_size": 2,
        },
    )
    with seeded(40):
        model = Qwen2VLForConditionalGeneration(Qwen2VLConfig(**config))
        for weights in model.parameters():  # fresh ones are so small that pictures hardly count
            torch.nn.init.normal_(weights, std=0.3)
    tensors = published(model.state_dict(), FLAT)
    tensors.pop("lm_head.weight")
    if shards:
        write_shards(folder, tensors, "bfloat16")
    else:
        write_safetensors(folder / "model.safetensors", tensors)


BUILDERS: dict[str, Callable[[Path], None]] = {"vlm": qwen2_vl}
