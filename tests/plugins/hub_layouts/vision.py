"""Tiny checkpoints of the judges and cutters, with random weights, laid out as the published repositories are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hub_layouts.saved import (
    CLIP_MEAN,
    CLIP_STD,
    HALF,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Names,
    published,
    randomised,
    seeded,
    write_json,
    write_tensors,
)

# ── SAM 2.1 ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def sam2(folder: Path) -> None:
    """A SAM 2.1 for videos, 64 pixels; the parts of the published configuration have no type."""
    from transformers import Sam2VideoConfig, Sam2VideoModel
    from transformers.models.sam2_video.configuration_sam2_video import (
        Sam2VideoMaskDecoderConfig,
        Sam2VideoPromptEncoderConfig,
    )

    config = Sam2VideoConfig(
        image_size=64,
        vision_config={
            "model_type": "sam2_vision_model",
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": 16,
                "image_size": [64, 64],
                "embed_dim_per_stage": [16, 32, 64, 128],
                "blocks_per_stage": [1, 1, 2, 1],
                "global_attention_blocks": [3],
            },
            "backbone_channel_list": [128, 64, 32, 16],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 32,
        },
        prompt_encoder_config=Sam2VideoPromptEncoderConfig(hidden_size=32, image_size=64, mask_input_channels=4),
        mask_decoder_config=Sam2VideoMaskDecoderConfig(
            hidden_size=32, mlp_dim=32, num_attention_heads=2, iou_head_hidden_dim=32
        ),
        memory_attention_hidden_size=32,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=32,
        memory_attention_rope_feat_sizes=[4, 4],
        memory_encoder_hidden_size=32,
        memory_encoder_output_channels=16,
        mask_downsampler_embed_dim=32,
        memory_fuser_embed_dim=32,
        memory_fuser_intermediate_dim=32,
    )
    with seeded(0):
        model = randomised(Sam2VideoModel(config))
    write_tensors(folder / "model.safetensors", model)
    facts = json.loads(config.to_json_string()) | {"architectures": ["Sam2VideoModel"], "torch_dtype": "float32"}
    for part in ("mask_decoder_config", "prompt_encoder_config"):
        facts[part]["model_type"] = ""
    write_json(folder / "config.json", facts | {"transformers_version": "4.56.0.dev0"})
    processor = {
        "crop_size": None,
        "data_format": "channels_first",
        "default_to_square": True,
        "device": None,
        "disable_grouping": None,
        "do_center_crop": None,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": IMAGENET_MEAN,
        "image_processor_type": "Sam2ImageProcessorFast",
        "image_std": IMAGENET_STD,
        "input_data_format": None,
        "mask_size": {"height": 16, "width": 16},
        "processor_class": "Sam2VideoProcessor",
        "resample": 2,
        "rescale_factor": 0.00392156862745098,
        "return_tensors": None,
        "size": {"height": 64, "width": 64},
    }
    write_json(folder / "preprocessor_config.json", processor)


# ── LaMa ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def lama(folder: Path, side: int | None = 512, white: float = 255.0, name: str = "lama_fp32.onnx") -> None:
    """A network with big-LaMa's inputs and output that fills the hole with the highest known level of each channel."""
    from onnx import TensorProto, helper, numpy_helper, save

    folder.mkdir(parents=True, exist_ok=True)
    shape = ["batch", 3, side or "height", side or "width"]
    inputs = [
        helper.make_tensor_value_info("image", TensorProto.FLOAT, shape),
        helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["batch", 1, *shape[2:]]),
    ]
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)
    constants = {"one": np.float32(1), "white": np.float32(white), "across": np.array([2, 3], np.int64)}
    nodes = [
        helper.make_node("Sub", ["one", "mask"], ["outside"]),
        helper.make_node("Mul", ["image", "outside"], ["known"]),
        helper.make_node("ReduceMax", ["known", "across"], ["highest"]),
        helper.make_node("Mul", ["highest", "mask"], ["inside"]),
        helper.make_node("Add", ["known", "inside"], ["inpainted"]),
        helper.make_node("Mul", ["inpainted", "white"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "lama",
        inputs,
        [output],
        initializer=[numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 8
    save(model, folder / name)


# ── SigLIP 2 ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def save_gemma_tokenizer(folder: Path) -> int:
    """Gemma's tokenizer with a token a letter or byte, as SigLIP 2 has it; returns the number of tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors
    from tokenizers.models import BPE

    folder.mkdir(parents=True, exist_ok=True)
    marks = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    words = [*marks, *(f"<0x{byte:02X}>" for byte in range(256)), *(chr(code) for code in range(33, 127)), "▁"]
    numbers = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(BPE(vocab=numbers, merges=[], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")  # the published one doesn't make letters small
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A:0 <eos>:0", pair="$A:0 <eos>:0 $B:1 <eos>:1", special_tokens=[("<eos>", 1)]
    )
    tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in marks[:4]])
    tokenizer.save(str(folder / "tokenizer.json"))
    facts = {
        "add_bos_token": False,
        "add_eos_token": True,
        "bos_token": "<bos>",
        "clean_up_tokenization_spaces": False,
        "do_lower_case": True,
        "eos_token": "<eos>",
        "model_input_names": ["input_ids"],
        "model_max_length": 1000000000000000019884624838656,
        "pad_token": "<pad>",
        "padding_side": "right",
        "processor_class": "SiglipProcessor",
        "tokenizer_class": "GemmaTokenizer",
        "unk_token": "<unk>",
    }
    write_json(folder / "tokenizer_config.json", facts)
    return len(words)


def siglip2(folder: Path) -> None:
    """A SigLIP 2 for pictures of 32 pixels; its configuration has SigLIP 1's type, and so few keys as the published."""
    import torch
    from transformers import SiglipConfig, SiglipModel

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2}
    facts = {
        "architectures": ["SiglipModel"],
        "initializer_factor": 1.0,
        "model_type": "siglip",
        "text_config": {
            **sizes,
            "model_type": "siglip_text_model",
            "projection_size": 32,
            "vocab_size": save_gemma_tokenizer(folder),
        },
        "torch_dtype": "float32",
        "transformers_version": "4.49.0.dev0",
        "vision_config": {**sizes, "image_size": 32, "model_type": "siglip_vision_model", "patch_size": 16},
    }
    with seeded(0):
        model = randomised(SiglipModel(SiglipConfig(**facts)))
    with torch.no_grad():  # the published ones, rounded
        model.logit_scale.fill_(4.7)
        model.logit_bias.fill_(-16.7)
    write_tensors(folder / "model.safetensors", model)
    write_json(folder / "config.json", facts)
    processor = {
        "do_convert_rgb": None,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": HALF,
        "image_processor_type": "SiglipImageProcessor",
        "image_std": HALF,
        "processor_class": "SiglipProcessor",
        "resample": 2,
        "rescale_factor": 0.00392156862745098,
        "size": {"height": 32, "width": 32},
    }
    write_json(folder / "preprocessor_config.json", processor)


# ── DINOv2 with registers, DINOv3 ────────────────────────────────────────────────────────────────────────────────────

REGISTERS: Names = (
    (r"attention\.q_proj", "attention.attention.query"),
    (r"attention\.k_proj", "attention.attention.key"),
    (r"attention\.v_proj", "attention.attention.value"),
    (r"attention\.o_proj", "attention.output.dense"),
)
DINOV3: Names = ((r"^model\.layer", "layer"),)


def dinov2_with_registers(folder: Path) -> None:
    """A DINOv2 with four registers; positions of 518 pixels, as published, are for pictures of 70 here."""
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    facts = {
        "apply_layernorm": True,
        "architectures": ["Dinov2WithRegistersModel"],
        "attention_probs_dropout_prob": 0.0,
        "drop_path_rate": 0.0,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": 32,
        "image_size": 70,
        "initializer_range": 0.02,
        "interpolate_antialias": True,
        "interpolate_offset": 0.0,
        "layer_norm_eps": 1e-06,
        "layerscale_value": 1.0,
        "mlp_ratio": 4,
        "model_type": "dinov2_with_registers",
        "num_attention_heads": 2,
        "num_channels": 3,
        "num_hidden_layers": 2,
        "num_register_tokens": 4,
        "patch_size": 14,
        "qkv_bias": True,
        "reshape_hidden_states": True,
        "torch_dtype": "float32",
        "transformers_version": "4.48.0.dev0",
        "use_swiglu_ffn": False,
    }
    with seeded(0):
        model = randomised(Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**facts)))
    write_tensors(folder / "model.safetensors", model, REGISTERS)
    write_json(folder / "config.json", facts)
    processor = {
        "crop_size": {"height": 56, "width": 56},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": IMAGENET_MEAN,
        "image_processor_type": "BitImageProcessor",
        "image_std": IMAGENET_STD,
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": 64},
    }
    write_json(folder / "preprocessor_config.json", processor)


def dinov3(folder: Path) -> None:
    """A DINOv3 with four registers and rotary positions."""
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    facts = {
        "architectures": ["DINOv3ViTModel"],
        "attention_dropout": 0.0,
        "drop_path_rate": 0.0,
        "hidden_act": "gelu",
        "hidden_size": 32,
        "image_size": 224,
        "initializer_range": 0.02,
        "intermediate_size": 64,
        "key_bias": False,
        "layer_norm_eps": 1e-05,
        "layerscale_value": 1.0,
        "mlp_bias": True,
        "model_type": "dinov3_vit",
        "num_attention_heads": 2,
        "num_channels": 3,
        "num_hidden_layers": 2,
        "num_register_tokens": 4,
        "patch_size": 16,
        "pos_embed_jitter": None,
        "pos_embed_rescale": 2.0,
        "pos_embed_shift": None,
        "proj_bias": True,
        "query_bias": True,
        "rope_theta": 100.0,
        "torch_dtype": "float32",
        "transformers_version": "4.56.0.dev0",
        "use_gated_mlp": False,
        "value_bias": True,
    }
    with seeded(0):
        model = randomised(DINOv3ViTModel(DINOv3ViTConfig(**facts)))
    write_tensors(folder / "model.safetensors", model, DINOV3)
    write_json(folder / "config.json", facts)
    processor = {
        "crop_size": None,
        "data_format": "channels_first",
        "default_to_square": True,
        "device": None,
        "disable_grouping": None,
        "do_center_crop": None,
        "do_convert_rgb": None,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": IMAGENET_MEAN,
        "image_processor_type": "DINOv3ViTImageProcessorFast",
        "image_std": IMAGENET_STD,
        "input_data_format": None,
        "resample": 2,
        "rescale_factor": 0.00392156862745098,
        "return_tensors": None,
        "size": {"height": 64, "width": 64},
    }
    write_json(folder / "preprocessor_config.json", processor)


# ── Qwen2.5-VL, Qwen3-VL ─────────────────────────────────────────────────────────────────────────────────────────────

QWEN_MARKS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>")
QWEN_MARKS += ("<|image_pad|>", "<|video_pad|>")
QWEN25: Names = (("^model.visual", "visual"), ("^model.language_model", "model"))
"""Names of tensors before transformers 4.52."""
QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def save_qwen_tokenizer(folder: Path) -> dict[str, int]:
    """Qwen's tokenizer with a token a byte, its chat template and generation settings; returns the marks' numbers."""
    from transformers import Qwen2Tokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    numbers = {word: number for number, word in enumerate([*letters, *QWEN_MARKS])}
    tokenizer = Qwen2Tokenizer(vocab=numbers, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": list(QWEN_MARKS[1:])})
    tokenizer.save_pretrained(folder)
    write_json(folder / "vocab.json", {letter: numbers[letter] for letter in letters})
    (folder / "merges.txt").write_text("", "utf-8")
    write_json(folder / "chat_template.json", {"chat_template": QWEN_TEMPLATE})
    marks = {mark: numbers[mark] for mark in QWEN_MARKS}
    settings = {
        "bos_token_id": marks["<|endoftext|>"],
        "do_sample": True,
        "eos_token_id": [marks["<|im_end|>"], marks["<|endoftext|>"]],
        "pad_token_id": marks["<|endoftext|>"],
        "repetition_penalty": 1.05,
        "temperature": 0.7,
        "transformers_version": "4.49.0",
    }
    write_json(folder / "generation_config.json", settings)
    return marks


def save_shards(folder: Path, tensors: dict[str, Any], shards: int) -> None:
    """Tensors in so many numbered files, with their index."""
    from safetensors.torch import save_file

    names, places = sorted(tensors), {}
    for number in range(shards):
        file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = names[number * len(names) // shards : (number + 1) * len(names) // shards]
        places |= dict.fromkeys(part, file)
        save_file({name: tensors[name].contiguous() for name in part}, folder / file, metadata={"format": "pt"})
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": places})


def spread(make: Callable[[], Any]) -> Any:
    """A model with large weights: with fresh ones pictures hardly count."""
    import torch

    with seeded(7):
        model = make().eval()
        for weights in model.parameters():
            torch.nn.init.normal_(weights, std=0.3)
    return model


def qwen25_vl(folder: Path) -> None:
    """A Qwen2.5-VL of 7B's form: a flat configuration, the old names of tensors, a head of its own, five files."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    marks = save_qwen_tokenizer(folder)
    facts = {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "attention_dropout": 0.0,
        "bos_token_id": marks["<|endoftext|>"],
        "eos_token_id": marks["<|im_end|>"],
        "hidden_act": "silu",
        "hidden_size": 32,
        "image_token_id": marks["<|image_pad|>"],
        "initializer_range": 0.02,
        "intermediate_size": 64,
        "max_position_embeddings": 128000,
        "max_window_layers": 2,
        "model_type": "qwen2_5_vl",
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "num_key_value_heads": 1,
        "rms_norm_eps": 1e-06,
        "rope_scaling": {"mrope_section": [2, 3, 3], "type": "mrope"},
        "rope_theta": 1000000.0,
        "sliding_window": 32768,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.41.2",
        "use_cache": True,
        "use_sliding_window": False,
        "video_token_id": marks["<|video_pad|>"],
        "vision_config": {
            "depth": 2,
            "fullatt_block_indexes": [1],
            "hidden_act": "silu",
            "hidden_size": 32,
            "in_chans": 3,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": 32,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "spatial_patch_size": 14,
            "temporal_patch_size": 2,
            "tokens_per_second": 2,
            "window_size": 112,
        },
        "vision_end_token_id": marks["<|vision_end|>"],
        "vision_start_token_id": marks["<|vision_start|>"],
        "vision_token_id": marks["<|vision_end|>"],
        "vocab_size": 256 + len(marks),
    }
    model = spread(lambda: Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(**facts)))
    save_shards(folder, published(model.state_dict(), QWEN25), 5)
    write_json(folder / "config.json", facts)
    processor = {
        "image_mean": CLIP_MEAN,
        "image_processor_type": "Qwen2VLImageProcessor",
        "image_std": CLIP_STD,
        "max_pixels": 12845056,
        "merge_size": 2,
        "min_pixels": 3136,
        "patch_size": 14,
        "processor_class": "Qwen2_5_VLProcessor",
        "temporal_patch_size": 2,
    }
    write_json(folder / "preprocessor_config.json", processor)


def qwen3_vl(folder: Path) -> None:
    """A Qwen3-VL of 4B's form: nested configurations, the new names of tensors, a tied head, two files."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    marks = save_qwen_tokenizer(folder)
    facts = {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "image_token_id": marks["<|image_pad|>"],
        "model_type": "qwen3_vl",
        "text_config": {
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": marks["<|endoftext|>"],
            "dtype": "bfloat16",
            "eos_token_id": marks["<|im_end|>"],
            "head_dim": 16,
            "hidden_act": "silu",
            "hidden_size": 32,
            "initializer_range": 0.02,
            "intermediate_size": 64,
            "max_position_embeddings": 262144,
            "model_type": "qwen3_vl_text",
            "num_attention_heads": 2,
            "num_hidden_layers": 3,
            "num_key_value_heads": 1,
            "rms_norm_eps": 1e-06,
            "rope_scaling": {"mrope_interleaved": True, "mrope_section": [4, 2, 2], "rope_type": "default"},
            "rope_theta": 5000000,
            "tie_word_embeddings": True,
            "use_cache": True,
            "vocab_size": 256 + len(marks),
        },
        "tie_word_embeddings": True,
        "transformers_version": "4.57.0.dev0",
        "video_token_id": marks["<|video_pad|>"],
        "vision_config": {
            "deepstack_visual_indexes": [0, 1],
            "depth": 3,
            "hidden_act": "gelu_pytorch_tanh",
            "hidden_size": 32,
            "in_channels": 3,
            "initializer_range": 0.02,
            "intermediate_size": 64,
            "model_type": "qwen3_vl",
            "num_heads": 2,
            "num_position_embeddings": 16,
            "out_hidden_size": 32,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
        "vision_end_token_id": marks["<|vision_end|>"],
        "vision_start_token_id": marks["<|vision_start|>"],
    }
    model = spread(lambda: Qwen3VLForConditionalGeneration(Qwen3VLConfig(**facts)))
    save_shards(folder, {name: tensor for name, tensor in model.state_dict().items() if name != "lm_head.weight"}, 2)
    write_json(folder / "config.json", facts)
    pictures = {
        "image_mean": HALF,
        "image_std": HALF,
        "merge_size": 2,
        "patch_size": 16,
        "processor_class": "Qwen3VLProcessor",
        "temporal_patch_size": 2,
    }
    still = {
        "image_processor_type": "Qwen2VLImageProcessorFast",
        "size": {"longest_edge": 16777216, "shortest_edge": 65536},
    }
    film = {"size": {"longest_edge": 25165824, "shortest_edge": 4096}, "video_processor_type": "Qwen3VLVideoProcessor"}
    write_json(folder / "preprocessor_config.json", pictures | still)
    write_json(folder / "video_preprocessor_config.json", pictures | film)


# ── Florence-2 ───────────────────────────────────────────────────────────────────────────────────────────────────────


def florence2(folder: Path) -> None:
    """A Florence-2 in transformers' own layout, for pictures of 64 pixels: four places and their mean."""
    import torch
    from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
    from tokenizers.models import BPE
    from transformers import Florence2Config, Florence2ForConditionalGeneration
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    folder.mkdir(parents=True, exist_ok=True)
    letters = list(bytes_to_unicode().values())
    base = ["<s>", "<pad>", "</s>", "<unk>", *letters, "<mask>"]
    added = ["<od>", "</od>", "<ocr>", "</ocr>", *(f"<loc_{place}>" for place in range(1000)), "<image>"]
    numbers = {word: number for number, word in enumerate(base)}
    tokenizer = Tokenizer(BPE(vocab=numbers, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    tokenizer.add_special_tokens([*base[:4], "<mask>", *added])
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "vocab.json", numbers)
    (folder / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    marks = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    facts = {
        **marks,
        "additional_special_tokens": added,
        "extra_special_tokens": {"image_token": "<image>"},
        "image_token": "<image>",
        "mask_token": "<mask>",
        "model_max_length": 1024,
        "processor_class": "Florence2Processor",
        "tokenizer_class": "BartTokenizer",
    }
    write_json(folder / "tokenizer_config.json", facts)
    write_json(folder / "processor_config.json", {"processor_class": "Florence2Processor"})
    processor = {
        "do_center_crop": False,
        "do_convert_rgb": None,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": IMAGENET_MEAN,
        "image_processor_type": "CLIPImageProcessor",
        "image_seq_length": 5,
        "image_std": IMAGENET_STD,
        "processor_class": "Florence2Processor",
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"height": 64, "width": 64},
    }
    write_json(folder / "preprocessor_config.json", processor)
    vocabulary = len(base) + len(added)
    config = {
        "architectures": ["Florence2ForConditionalGeneration"],
        "bos_token_id": 0,
        "dtype": "float32",
        "eos_token_id": 2,
        "image_token_id": vocabulary - 1,
        "is_encoder_decoder": True,
        "model_type": "florence2",
        "pad_token_id": 1,
        "text_config": {
            "bos_token_id": 0,
            "d_model": 32,
            "decoder_attention_heads": 2,
            "decoder_ffn_dim": 32,
            "decoder_layers": 1,
            "decoder_start_token_id": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "encoder_layers": 1,
            "eos_token_id": 2,
            "forced_bos_token_id": 0,
            "forced_eos_token_id": 2,
            "max_position_embeddings": 1024,
            "model_type": "bart",
            "pad_token_id": 1,
            "vocab_size": vocabulary,
        },
        "tie_word_embeddings": True,
        "transformers_version": "4.56.0.dev0",
        "vision_config": {
            "depths": [1, 1, 1, 1],
            "embed_dim": [8, 16, 32, 32],
            "max_position_embeddings": 50,
            "max_temporal_embeddings": 100,
            "model_type": "florence_vision",
            "num_groups": [1, 1, 2, 2],
            "num_heads": [1, 1, 2, 2],
            "projection_dim": 32,
            "window_size": 2,
        },
    }
    model = spread(lambda: Florence2ForConditionalGeneration(Florence2Config(**config)))
    with torch.no_grad():
        model.get_input_embeddings().weight[len(base) :] *= 0.01  # or it would say nothing but places
        model.get_input_embeddings().weight[:4] *= 0.01
    write_tensors(folder / "model.safetensors", _Untied(model))
    write_json(folder / "config.json", config)
    settings = {
        "bos_token_id": 0,
        "decoder_start_token_id": 2,
        "early_stopping": True,
        "eos_token_id": 2,
        "forced_bos_token_id": 0,
        "forced_eos_token_id": 2,
        "no_repeat_ngram_size": 3,
        "num_beams": 3,
        "pad_token_id": 1,
        "transformers_version": "4.56.0.dev0",
    }
    write_json(folder / "generation_config.json", settings)


class _Untied:
    """A network without those of its tensors that are others under a second name."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def state_dict(self) -> dict[str, Any]:
        found: dict[int, tuple[str, Any]] = {}
        for name, tensor in self._model.state_dict().items():
            found.setdefault(tensor.data_ptr(), (name, tensor))
        return dict(found.values())


BUILDERS: dict[str, Callable[[Path], None]] = {
    "segmenter_sam2": sam2,
    "segmenter_sam2_tiny": sam2,
    "segmenter_sam2_large": sam2,
    "inpainter_lama": lama,
    "zero_shot_siglip2": siglip2,
    "encoder_siglip2": siglip2,
    "encoder_registers": dinov2_with_registers,
    "encoder_dinov3": dinov3,
    "vlm_qwen25": qwen25_vl,
    "vlm_qwen3": qwen3_vl,
    "vlm_florence": florence2,
}
