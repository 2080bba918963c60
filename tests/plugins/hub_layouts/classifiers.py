"""Classifiers and encoders of pictures: ResNet-50, ViT-B/16 and DINOv2-base."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hub_layouts.saved import (
    HALF,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Names,
    labels,
    randomised,
    seeded,
    write_json,
    write_tensors,
)

WIDTH = 32
VIT: Names = (
    (r"^vit\.layers", "vit.encoder.layer"),
    (r"attention\.(q)_proj", r"attention.attention.query"),
    (r"attention\.(k)_proj", r"attention.attention.key"),
    (r"attention\.(v)_proj", r"attention.attention.value"),
    (r"attention\.o_proj", "attention.output.dense"),
    (r"(vit.*)mlp\.fc1", r"\1intermediate.dense"),
    (r"(vit.*)mlp\.fc2", r"\1output.dense"),
)
"""Of ViT, and DINOv2's attention."""


def resnet_50(folder: Path) -> None:
    """microsoft/resnet-50."""
    from transformers import ResNetConfig, ResNetForImageClassification

    config = {
        "architectures": ["ResNetForImageClassification"],
        "depths": [3, 4, 6, 3],
        "downsample_in_first_stage": False,
        "embedding_size": 8,
        "hidden_act": "relu",
        "hidden_sizes": [16, 16, 32, 32],
        **labels(),
        "layer_type": "bottleneck",
        "model_type": "resnet",
        "num_channels": 3,
        "torch_dtype": "float32",
        "transformers_version": "4.18.0.dev0",
    }
    write_json(folder / "config.json", config)
    write_json(
        folder / "preprocessor_config.json",
        {
            "crop_pct": 0.875,
            "do_normalize": True,
            "do_resize": True,
            "feature_extractor_type": "ConvNextFeatureExtractor",
            "image_mean": IMAGENET_MEAN,
            "image_std": IMAGENET_STD,
            "resample": 3,
            "size": 224,
        },
    )
    with seeded(20):
        model = randomised(ResNetForImageClassification(ResNetConfig(**config)))
        write_tensors(folder / "model.safetensors", model)


def vit_base(folder: Path) -> None:
    """google/vit-base-patch16-224."""
    from transformers import ViTConfig, ViTForImageClassification

    config = {
        "_name_or_path": "google/vit-base-patch16-224",
        "architectures": ["ViTForImageClassification"],
        "attention_probs_dropout_prob": 0.0,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": WIDTH,
        **labels(),
        "image_size": 224,
        "initializer_range": 0.02,
        "intermediate_size": 2 * WIDTH,
        "layer_norm_eps": 1e-12,
        "model_type": "vit",
        "num_attention_heads": 2,
        "num_channels": 3,
        "num_hidden_layers": 2,
        "patch_size": 16,
        "qkv_bias": True,
        "transformers_version": "4.13.0.dev0",
    }
    write_json(folder / "config.json", config)
    write_json(
        folder / "preprocessor_config.json",
        {"do_normalize": True, "do_resize": True, "image_mean": HALF, "image_std": HALF, "size": 224},
    )
    with seeded(21):
        model = randomised(ViTForImageClassification(ViTConfig(**config)))
        write_tensors(folder / "model.safetensors", model, VIT)


def dinov2_base(folder: Path) -> None:
    """facebook/dinov2-base."""
    from transformers import Dinov2Config, Dinov2Model

    config = {
        "apply_layernorm": True,
        "architectures": ["Dinov2Model"],
        "attention_probs_dropout_prob": 0.0,
        "drop_path_rate": 0.0,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": WIDTH,
        "image_size": 518,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-06,
        "layerscale_value": 1.0,
        "mlp_ratio": 4,
        "model_type": "dinov2",
        "num_attention_heads": 2,
        "num_channels": 3,
        "num_hidden_layers": 2,
        "out_features": ["stage2"],
        "out_indices": [2],
        "patch_size": 14,
        "qkv_bias": True,
        "reshape_hidden_states": True,
        "stage_names": ["stem", "stage1", "stage2"],
        "torch_dtype": "float32",
        "transformers_version": "4.32.0.dev0",
        "use_swiglu_ffn": False,
    }
    write_json(folder / "config.json", config)
    write_json(
        folder / "preprocessor_config.json",
        {
            "crop_size": {"height": 224, "width": 224},
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
            "size": {"shortest_edge": 256},
        },
    )
    with seeded(22):
        write_tensors(folder / "model.safetensors", randomised(Dinov2Model(Dinov2Config(**config))), VIT)


BUILDERS: dict[str, Callable[[Path], None]] = {
    "classifier": vit_base,
    "classifier_small": resnet_50,
    "encoder": dinov2_base,
    "encoder_independent": dinov2_base,
}
