"""Classifiers of further families: ConvNeXt V2, Swin V2, DINOv2 with a linear head, an EfficientNet of timm."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from hub_layouts.classifiers import VIT, WIDTH, dinov2_base
from hub_layouts.saved import (
    HALF,
    IMAGENET_MEAN,
    IMAGENET_STD,
    labels,
    randomised,
    seeded,
    write_json,
    write_safetensors,
    write_tensors,
)


def convnext_v2(folder: Path) -> None:
    """facebook/convnextv2-base-22k-224."""
    from transformers import ConvNextV2Config, ConvNextV2ForImageClassification

    config = {
        "architectures": ["ConvNextV2ForImageClassification"],
        "depths": [1, 1, 2, 1],
        "drop_path_rate": 0.0,
        "hidden_act": "gelu",
        "hidden_sizes": [8, 16, 16, WIDTH],
        **labels(),
        "image_size": 224,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "model_type": "convnextv2",
        "num_channels": 3,
        "num_stages": 4,
        "out_features": ["stage4"],
        "patch_size": 4,
        "problem_type": "single_label_classification",
        "stage_names": ["stem", "stage1", "stage2", "stage3", "stage4"],
        "torch_dtype": "float32",
        "transformers_version": "4.27.0.dev0",
    }
    write_json(folder / "config.json", config)
    write_json(
        folder / "preprocessor_config.json",
        {
            "crop_pct": 0.875,
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": IMAGENET_MEAN,
            "image_processor_type": "ConvNextImageProcessor",
            "image_std": IMAGENET_STD,
            "resample": 3,
            "rescale_factor": 0.00392156862745098,
            "size": {"shortest_edge": 224},
        },
    )
    with seeded(40):
        model = randomised(ConvNextV2ForImageClassification(ConvNextV2Config(**config)))
        write_tensors(folder / "model.safetensors", model)


def swin_v2(folder: Path) -> None:
    """microsoft/swinv2-base-patch4-window16-256: its buffers of positions are saved, too."""
    from transformers import Swinv2Config, Swinv2ForImageClassification

    config = {
        "architectures": ["Swinv2ForImageClassification"],
        "attention_probs_dropout_prob": 0.0,
        "depths": [2, 2, 2, 2],
        "drop_path_rate": 0.1,
        "embed_dim": 8,
        "encoder_stride": 32,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": 64,
        **labels(),
        "image_size": 256,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-05,
        "mlp_ratio": 4.0,
        "model_type": "swinv2",
        "num_channels": 3,
        "num_heads": [1, 1, 2, 2],
        "num_layers": 4,
        "patch_size": 4,
        "path_norm": True,
        "pretrained_window_sizes": [0, 0, 0, 0],
        "qkv_bias": True,
        "torch_dtype": "float32",
        "transformers_version": "4.21.0.dev0",
        "use_absolute_embeddings": False,
        "window_size": 16,
    }
    write_json(folder / "config.json", config)
    write_json(
        folder / "preprocessor_config.json",
        {
            "do_normalize": True,
            "do_resize": True,
            "feature_extractor_type": "ViTFeatureExtractor",
            "image_mean": IMAGENET_MEAN,
            "image_std": IMAGENET_STD,
            "resample": 3,
            "size": 256,
        },
    )
    with seeded(41):
        model = randomised(Swinv2ForImageClassification(Swinv2Config(**config)))
    positions = {name: buffer for name, buffer in model.named_buffers() if ".relative_" in name}
    write_safetensors(folder / "model.safetensors", {**model.state_dict(), **positions})


def dinov2_linear(folder: Path) -> None:
    """facebook/dinov2-base-imagenet1k-1-layer: the encoder under the head, with the encoder's processor."""
    from transformers import Dinov2Config, Dinov2ForImageClassification

    dinov2_base(folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"architectures": ["Dinov2ForImageClassification"], **labels()}
    write_json(folder / "config.json", config)
    with seeded(42):
        model = randomised(Dinov2ForImageClassification(Dinov2Config(**config)))
        write_tensors(folder / "model.safetensors", model, VIT)


def advprop(folder: Path) -> None:
    """timm/tf_efficientnet_b5.ap_in1k in timm's own form; B0 and its true widths, as timm's are fixed."""
    import timm

    side = 224
    config = {
        "architecture": "tf_efficientnet_b0",
        "num_classes": 1000,
        "num_features": 1280,
        "pretrained_cfg": {
            "tag": "ap_in1k",
            "custom_load": False,
            "input_size": [3, side, side],
            "fixed_input_size": False,
            "interpolation": "bicubic",
            "crop_pct": 0.875,
            "crop_mode": "center",
            "mean": HALF,
            "std": HALF,
            "num_classes": 1000,
            "pool_size": [7, 7],
            "first_conv": "conv_stem",
            "classifier": "classifier",
        },
    }
    write_json(folder / "config.json", config)
    with seeded(43):
        write_safetensors(
            folder / "model.safetensors", randomised(timm.create_model("tf_efficientnet_b0")).state_dict()
        )


BUILDERS: dict[str, Callable[[Path], None]] = {
    "classifier_convnext": convnext_v2,
    "classifier_swin": swin_v2,
    "classifier_dinov2": dinov2_linear,
    "classifier_adversarial": advprop,
}
