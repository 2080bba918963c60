"""Detectors that find what texts name: OWLv2 and Grounding DINO."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hub_layouts.clip import END, MERGES, SIZE, START, text_config, vision_config, vocabulary
from hub_layouts.saved import (
    CLIP_MEAN,
    CLIP_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Names,
    published,
    randomised,
    seeded,
    write_json,
    write_safetensors,
    write_tensors,
)

WIDTH = 32
GROUNDED: Names = (
    (r"conv_encoder\.model\.swin", "conv_encoder.model"),
    (r"(conv_encoder.*)attention\.q_proj", r"\1attention.self.query"),
    (r"(conv_encoder.*)attention\.k_proj", r"\1attention.self.key"),
    (r"(conv_encoder.*)attention\.v_proj", r"\1attention.self.value"),
    (r"(conv_encoder.*)attention\.o_proj", r"\1attention.output.dense"),
    (r"(conv_encoder.*)attention\.relative_position_bias", r"\1attention.self"),
    (r"(conv_encoder.*)mlp\.fc1", r"\1intermediate.dense"),
    (r"(conv_encoder.*)mlp\.fc2", r"\1output.dense"),
)
"""The Swin backbone's."""


def write_owl_tokenizer(folder: Path, merges: list[str] = MERGES) -> None:
    """CLIP's vocabulary, padded with `!` to 16 tokens."""

    def mark(content: str, **kind: bool) -> dict[str, Any]:
        return {"content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False, **kind}

    numbers = vocabulary(merges)
    write_json(folder / "vocab.json", numbers)
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", "utf-8")
    write_json(folder / "added_tokens.json", {END: numbers[END], START: numbers[START]})
    write_json(
        folder / "special_tokens_map.json",
        {"bos_token": mark(START), "eos_token": mark(END), "pad_token": "!", "unk_token": mark(END)},
    )
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_prefix_space": False,
            "added_tokens_decoder": {
                "0": {**mark("!"), "normalized": False, "special": True},
                str(numbers[START]): mark(START, special=True),
                str(numbers[END]): mark(END, special=True),
            },
            "additional_special_tokens": [],
            "bos_token": START,
            "clean_up_tokenization_spaces": True,
            "do_lower_case": True,
            "eos_token": END,
            "errors": "replace",
            "model_max_length": 16,
            "pad_token": "!",
            "processor_class": "Owlv2Processor",
            "tokenizer_class": "CLIPTokenizer",
            "unk_token": END,
        },
    )


def owlv2(folder: Path, side: int = 960) -> None:
    """google/owlv2-base-patch16-ensemble; `side`: of the pictures that it sees."""
    import torch
    from transformers import Owlv2Config, Owlv2ForObjectDetection

    gone = ("_name_or_path", "architectures", "torch_dtype", "transformers_version", "projection_dim")
    text = text_config(max_position_embeddings=16, model_type="owlv2_text_model", bos_token_id=SIZE - 2)
    text |= {"eos_token_id": SIZE - 1, "pad_token_id": 0}
    vision = vision_config(image_size=side, patch_size=16, model_type="owlv2_vision_model")
    config = {
        "architectures": ["Owlv2ForObjectDetection"],
        "initializer_factor": 1.0,
        "logit_scale_init_value": 2.6592,
        "model_type": "owlv2",
        "projection_dim": WIDTH,
        "text_config": {key: value for key, value in text.items() if key not in gone},
        "torch_dtype": "float32",
        "transformers_version": "4.35.0.dev0",
        "vision_config": {key: value for key, value in vision.items() if key not in gone},
    }
    write_owl_tokenizer(folder)
    write_json(folder / "config.json", config)
    write_json(
        folder / "preprocessor_config.json",
        {
            "do_normalize": True,
            "do_pad": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": CLIP_MEAN,
            "image_processor_type": "Owlv2ImageProcessor",
            "image_std": CLIP_STD,
            "processor_class": "Owlv2Processor",
            "rescale_factor": 0.00392156862745098,
            "size": {"height": side, "width": side},
        },
    )
    with seeded(30):
        model = randomised(Owlv2ForObjectDetection(Owlv2Config(**config)))
        for layer in (model.class_head.logit_scale, model.class_head.logit_shift):  # or scores are all 1 or 0
            torch.nn.init.normal_(layer.weight, std=0.02)
        write_tensors(folder / "model.safetensors", model)


def write_bert_tokenizer(folder: Path) -> None:
    """BERT's numbers for its marks and full stops, which the network tells its texts apart by; a token a letter."""
    from transformers import BertTokenizer

    words = [f"[unused{number}]" for number in range(1100)]
    marks = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
    for word, number in {**marks, ".": 1012, "?": 1029}.items():
        words[number] = word
    for place, letter in enumerate(string.ascii_lowercase):
        words[200 + place], words[300 + place] = letter, f"##{letter}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    named = {f"{mark[1:-1].lower()}_token": mark for mark in marks}
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)  # for tokenizer.json
    write_json(folder / "special_tokens_map.json", named)
    kind = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    write_json(
        folder / "tokenizer_config.json",
        {
            "added_tokens_decoder": {str(number): {"content": mark, **kind} for mark, number in marks.items()},
            "clean_up_tokenization_spaces": True,
            "do_lower_case": True,
            "model_max_length": 512,
            "processor_class": "GroundingDinoProcessor",
            "strip_accents": None,
            "tokenize_chinese_chars": True,
            "tokenizer_class": "BertTokenizer",
            **named,
        },
    )


def grounding_dino(
    folder: Path, shortest: int = 800, longest: int = 1333, window: int = 12, queries: int = 900
) -> None:
    """IDEA-Research/grounding-dino-base: no layer norm after its backbone, and tied heads once."""
    import torch
    from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection

    backbone = {
        "attention_probs_dropout_prob": 0.0,
        "depths": [2, 2, 2, 2],
        "drop_path_rate": 0.1,
        "embed_dim": 8,
        "encoder_stride": 32,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": 64,
        "image_size": 384,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-05,
        "mlp_ratio": 4.0,
        "model_type": "swin",
        "num_channels": 3,
        "num_heads": [1, 1, 2, 2],
        "num_layers": 4,
        "out_features": ["stage2", "stage3", "stage4"],
        "out_indices": [2, 3, 4],
        "patch_size": 4,
        "path_norm": True,
        "qkv_bias": True,
        "stage_names": ["stem", "stage1", "stage2", "stage3", "stage4"],
        "use_absolute_embeddings": False,
        "window_size": window,
    }
    text = {
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "model_type": "bert",
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "vocab_size": 1100,
    }
    config = {
        "activation_dropout": 0.0,
        "activation_function": "relu",
        "architectures": ["GroundingDinoForObjectDetection"],
        "attention_dropout": 0.0,
        "auxiliary_loss": False,
        "backbone": None,
        "backbone_config": backbone,
        "backbone_kwargs": None,
        "bbox_cost": 5.0,
        "bbox_loss_coefficient": 5.0,
        "class_cost": 1.0,
        "d_model": WIDTH,
        "decoder_attention_heads": 2,
        "decoder_bbox_embed_share": True,
        "decoder_ffn_dim": 2 * WIDTH,
        "decoder_layers": 2,
        "decoder_n_points": 4,
        "disable_custom_kernels": False,
        "dropout": 0.1,
        "embedding_init_target": True,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 2 * WIDTH,
        "encoder_layers": 2,
        "encoder_n_points": 4,
        "focal_alpha": 0.25,
        "fusion_dropout": 0.0,
        "fusion_droppath": 0.1,
        "giou_cost": 2.0,
        "giou_loss_coefficient": 2.0,
        "init_std": 0.02,
        "is_encoder_decoder": True,
        "layer_norm_eps": 1e-05,
        "max_text_len": 256,
        "model_type": "grounding-dino",
        "num_feature_levels": 4,
        "num_queries": queries,
        "position_embedding_type": "sine",
        "positional_embedding_temperature": 20,
        "query_dim": 4,
        "text_config": text,
        "text_enhancer_dropout": 0.0,
        "torch_dtype": "float32",
        "transformers_version": "4.40.0.dev0",
        "two_stage": True,
        "two_stage_bbox_embed_share": False,
        "use_pretrained_backbone": False,
        "use_timm_backbone": False,
    }
    write_bert_tokenizer(folder)
    write_json(folder / "config.json", config)
    write_json(
        folder / "preprocessor_config.json",
        {
            "do_convert_annotations": True,
            "do_normalize": True,
            "do_pad": True,
            "do_rescale": True,
            "do_resize": True,
            "format": "coco_detection",
            "image_mean": IMAGENET_MEAN,
            "image_processor_type": "GroundingDinoImageProcessor",
            "image_std": IMAGENET_STD,
            "processor_class": "GroundingDinoProcessor",
            "resample": 2,
            "rescale_factor": 0.00392156862745098,
            "size": {"longest_edge": longest, "shortest_edge": shortest},
        },
    )
    with seeded(31):
        model = randomised(GroundingDinoForObjectDetection(GroundingDinoConfig(**config)))
    tensors = published(model.state_dict(), GROUNDED)
    again = ("model.decoder.bbox_embed.", "bbox_embed.1.", "model.backbone.conv_encoder.model.layernorm.")
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(again)}
    index = torch.arange(window**4).reshape(window**2, window**2)  # a buffer that no class of today has
    for name in [name for name in tensors if name.endswith("relative_position_bias_table")]:
        tensors[name.replace("bias_table", "index")] = index
    write_safetensors(folder / "model.safetensors", tensors)


BUILDERS: dict[str, Callable[[Path], None]] = {
    "detector": owlv2,
    "detector_grounded": grounding_dino,
    "detector_gate": grounding_dino,
}
