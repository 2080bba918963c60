"""Detectors of further families: DETR, RT-DETRv2 and D-FINE, which know COCO's categories; MM Grounding DINO."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hub_layouts.detectors import WIDTH, grounding_dino
from hub_layouts.saved import IMAGENET_MEAN, IMAGENET_STD, randomised, seeded, write_json
from variorum.models.coco import CATEGORIES

NAMES = {str(number): category.name for number, category in enumerate(CATEGORIES)}


def save(folder: Path, model: Any, config: dict[str, Any]) -> None:
    """The tensors as transformers saves them, by their old names; the configuration with the published keys alone."""
    import torch

    from variorum.models.pretrained import quietly

    for name, weights in randomised(model).named_parameters():
        if "class_embed" in name or "class_labels" in name:  # or all categories are equally likely
            torch.nn.init.normal_(weights)
    with quietly():
        model.save_pretrained(folder)
    write_json(folder / "config.json", config)


def transformer(decoder_layers: int) -> dict[str, Any]:
    return {
        "d_model": WIDTH,
        "decoder_attention_heads": 2,
        "decoder_ffn_dim": 2 * WIDTH,
        "decoder_layers": decoder_layers,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 2 * WIDTH,
    }


def detr(folder: Path) -> None:
    """facebook/detr-resnet-50: a backbone of timm, and COCO's ids with their gaps."""
    from transformers import DetrConfig, DetrForObjectDetection

    names = {str(number): "N/A" for number in range(91)} | {str(one.id): one.name for one in CATEGORIES}
    config = {
        "activation_dropout": 0.0,
        "activation_function": "relu",
        "architectures": ["DetrForObjectDetection"],
        "attention_dropout": 0.0,
        "auxiliary_loss": False,
        "backbone": "test_resnet",
        "classifier_dropout": 0.0,
        **transformer(2),
        "decoder_layerdrop": 0.0,
        "dilation": False,
        "dropout": 0.1,
        "encoder_layerdrop": 0.0,
        "encoder_layers": 2,
        "eos_coefficient": 0.1,
        "id2label": names,
        "init_std": 0.02,
        "init_xavier_std": 1.0,
        "is_encoder_decoder": True,
        "max_position_embeddings": 1024,
        "model_type": "detr",
        "num_hidden_layers": 2,
        "num_queries": 100,
        "position_embedding_type": "sine",
        "scale_embedding": False,
        "transformers_version": "4.6.0.dev0",
    }
    with seeded(50):
        save(folder, DetrForObjectDetection(DetrConfig(**config)), config)
    write_json(
        folder / "preprocessor_config.json",
        {
            "do_normalize": True,
            "do_resize": True,
            "feature_extractor_type": "DetrFeatureExtractor",
            "format": "coco_detection",
            "image_mean": IMAGENET_MEAN,
            "image_std": IMAGENET_STD,
            "size": {"longest_edge": 1333, "shortest_edge": 800},
        },
    )


def write_square_processor(folder: Path) -> None:
    """RT-DETR's: stretched to 640 pixels, colours in [0, 1]."""
    write_json(
        folder / "preprocessor_config.json",
        {
            "do_convert_annotations": True,
            "do_normalize": False,
            "do_pad": False,
            "do_rescale": True,
            "do_resize": True,
            "format": "coco_detection",
            "image_mean": IMAGENET_MEAN,
            "image_processor_type": "RTDetrImageProcessor",
            "image_std": IMAGENET_STD,
            "pad_size": None,
            "resample": 2,
            "rescale_factor": 0.00392156862745098,
            "size": {"height": 640, "width": 640},
        },
    )


def rt_detr_v2(folder: Path) -> None:
    """PekingU/rtdetr_v2_r50vd: a head of its own for each layer of the decoder."""
    from transformers import RTDetrV2Config, RTDetrV2ForObjectDetection

    config = {
        "architectures": ["RTDetrV2ForObjectDetection"],
        "backbone": None,
        "backbone_config": {
            "depths": [1, 1, 1, 1],
            "downsample_in_bottleneck": False,
            "downsample_in_first_stage": False,
            "embedding_size": 8,
            "hidden_act": "relu",
            "hidden_sizes": [16, 16, 32, 32],
            "layer_type": "bottleneck",
            "model_type": "rt_detr_resnet",
            "num_channels": 3,
            "out_features": ["stage2", "stage3", "stage4"],
            "out_indices": [2, 3, 4],
        },
        **transformer(2),
        "decoder_in_channels": [WIDTH] * 3,
        "decoder_method": "default",
        "decoder_n_levels": 3,
        "decoder_n_points": 4,
        "encoder_hidden_dim": WIDTH,
        "encoder_in_channels": [16, 32, 32],
        "encoder_layers": 1,
        "feat_strides": [8, 16, 32],
        "id2label": NAMES,
        "model_type": "rt_detr_v2",
        "num_feature_levels": 3,
        "num_queries": 300,
        "torch_dtype": "float32",
        "transformers_version": "4.49.0.dev0",
        "use_focal_loss": True,
        "use_pretrained_backbone": False,
        "use_timm_backbone": False,
    }
    with seeded(51):
        save(folder, RTDetrV2ForObjectDetection(RTDetrV2Config(**config)), config)
    write_square_processor(folder)


def d_fine(folder: Path) -> None:
    """ustc-community/dfine-large-coco."""
    from transformers import DFineConfig, DFineForObjectDetection

    config = {
        "architectures": ["DFineForObjectDetection"],
        "backbone": None,
        "backbone_config": {
            "depths": [1, 1, 1, 1],
            "embedding_size": 8,
            "hidden_act": "relu",
            "hidden_sizes": [16, 16, 32, 32],
            "model_type": "hgnet_v2",
            "num_channels": 3,
            "out_features": ["stage2", "stage3", "stage4"],
            "out_indices": [2, 3, 4],
            "stage_downsample": [False, True, True, True],
            "stage_in_channels": [8, 16, 16, 32],
            "stage_kernel_size": [3, 3, 5, 5],
            "stage_light_block": [False, False, True, True],
            "stage_mid_channels": [8, 8, 16, 16],
            "stage_num_blocks": [1, 1, 1, 1],
            "stage_numb_of_layers": [2, 2, 2, 2],
            "stage_out_channels": [16, 16, 32, 32],
            "stem_channels": [3, 8, 8],
            "use_learnable_affine_block": False,
        },
        **transformer(2),
        "decoder_in_channels": [WIDTH] * 3,
        "decoder_n_points": [3, 6, 3],
        "encoder_hidden_dim": WIDTH,
        "encoder_in_channels": [16, 32, 32],
        "encoder_layers": 1,
        "feat_strides": [8, 16, 32],
        "hidden_expansion": 1.0,
        "id2label": NAMES,
        "model_type": "d_fine",
        "num_feature_levels": 3,
        "num_queries": 300,
        "torch_dtype": "float32",
        "transformers_version": "4.52.0.dev0",
        "use_focal_loss": True,
        "use_pretrained_backbone": False,
        "use_timm_backbone": False,
    }
    with seeded(52):
        save(folder, DFineForObjectDetection(DFineConfig(**config)), config)
    write_square_processor(folder)


def mm_grounding_dino(folder: Path) -> None:
    """openmmlab-community/mm_grounding_dino_base_all, and LLMDet: heads that the layers of the decoder don't share."""
    from transformers import MMGroundingDinoConfig, MMGroundingDinoForObjectDetection

    grounding_dino(folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "architectures": ["MMGroundingDinoForObjectDetection"],
        "decoder_bbox_embed_share": False,
        "decoder_cls_embed_share": False,
        "model_type": "mm-grounding-dino",
        "transformers_version": "4.54.0.dev0",
    }
    with seeded(53):
        save(folder, MMGroundingDinoForObjectDetection(MMGroundingDinoConfig(**config)), config)


BUILDERS: dict[str, Callable[[Path], None]] = {
    "detector_detr": detr,
    "detector_rtdetr": rt_detr_v2,
    "detector_dfine": d_fine,
    "detector_mm_grounded": mm_grounding_dino,
    "detector_llmdet": mm_grounding_dino,
}
