"""Tiny checkpoints of the judges and cutters, with random weights, laid out as the published repositories are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def write_json(path: Path, facts: dict[str, Any]) -> None:
    path.write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", "utf-8")


def seeded(make: Callable[[], Any]) -> Any:
    """A module whose random weights are the same each time; PyTorch's own generator isn't touched."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make().eval()


# ── SAM 2.1 ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def sam2(folder: Path) -> None:
    """A SAM 2.1 for videos, 64 pixels; the parts of the published configuration have no type."""
    from transformers import Sam2VideoConfig, Sam2VideoModel

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
        prompt_encoder_config={"hidden_size": 32, "image_size": 64, "mask_input_channels": 4},
        mask_decoder_config={"hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 32},
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
    seeded(lambda: Sam2VideoModel(config)).save_pretrained(folder)
    facts = json.loads((folder / "config.json").read_text("utf-8"))
    for part in ("mask_decoder_config", "prompt_encoder_config"):
        facts[part]["model_type"] = ""
    write_json(folder / "config.json", facts | {"torch_dtype": "float32", "transformers_version": "4.56.0.dev0"})
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
        "image_mean": [0.485, 0.456, 0.406],
        "image_processor_type": "Sam2ImageProcessorFast",
        "image_std": [0.229, 0.224, 0.225],
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
    model = seeded(lambda: SiglipModel(SiglipConfig(**facts)))
    with torch.no_grad():  # the published ones, rounded
        model.logit_scale.fill_(4.7)
        model.logit_bias.fill_(-16.7)
    model.save_pretrained(folder)
    write_json(folder / "config.json", facts)
    processor = {
        "do_convert_rgb": None,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "SiglipImageProcessor",
        "image_std": [0.5, 0.5, 0.5],
        "processor_class": "SiglipProcessor",
        "resample": 2,
        "rescale_factor": 0.00392156862745098,
        "size": {"height": 32, "width": 32},
    }
    write_json(folder / "preprocessor_config.json", processor)


BUILDERS: dict[str, Callable[[Path], None]] = {
    "segmenter_sam2": sam2,
    "segmenter_sam2_tiny": sam2,
    "segmenter_sam2_large": sam2,
    "inpainter_lama": lama,
    "zero_shot_siglip2": siglip2,
    "encoder_siglip2": siglip2,
}
