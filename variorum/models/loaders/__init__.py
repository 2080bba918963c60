"""The kinds of models that a table's `loader` can name. A name is part of the pin, so it never changes."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from variorum.models.loaders.loader import Loader
from variorum.schemas.errors import ModelUnavailable

LOADERS: Mapping[str, str] = {
    "autoencoder": "autoencoders.AUTOENCODER",
    "centerface": "faces.CENTERFACE",
    "centernet": "coco_detectors.CENTERNET",
    "class_diffusion": "class_conditional.CLASS_DIFFUSION",
    "clip_embedding": "clip_embedding.CLIP_EMBEDDING",
    "clip_tower": "clip_tower.CLIP_TOWER",
    "control_network": "stable_diffusion.CONTROL_NETWORK",
    "detection": "detection.DETECTION",
    "diffusion": "stable_diffusion.DIFFUSION",
    "efficientnet_lite": "efficientnet_lite.EFFICIENTNET_LITE",
    "embedding_head": "embedding_head.EMBEDDING_HEAD",
    "face_age": "faces.FACE_AGE",
    "folded_denoiser": "denoisers.FOLDED_DENOISER",
    "folded_unet": "class_conditional.FOLDED_UNET",
    "grey_cnn": "classifiers.GREY_CNN",
    "image_classification": "classifiers.IMAGE_CLASSIFICATION",
    "image_embedding": "embeddings.IMAGE_EMBEDDING",
    "latent_denoiser": "denoisers.LATENT_DENOISER",
    "learned_watermark": "learned_watermark.LEARNED_WATERMARK",
    "multi_style": "style_networks.MULTI_STYLE",
    "nanodet": "coco_detectors.NANODET",
    "noise_regression": "noise_regression.NOISE_REGRESSION",
    "nsfw_score": "nsfw.NSFW_SCORE",
    "nude_parts": "nude_parts.NUDE_PARTS",
    "patch_completion": "patch_completion.PATCH_COMPLETION",
    "perceptual": "embeddings.PERCEPTUAL",
    "pixel_denoiser": "denoisers.PIXEL_DENOISER",
    "rivagan": "rivagan.RIVAGAN",
    "rivagan_decoder": "rivagan.RIVAGAN_DECODER",
    "safety_checker": "stable_diffusion.SAFETY_CHECKER",
    "sam": "segmenters.SAM",
    "shift_map": "shift_map.SHIFT_MAP",
    "style_transfer": "style_networks.STYLE_TRANSFER",
    "style_vector": "style_networks.STYLE_VECTOR",
    "text_detection": "text_detection.TEXT_DETECTION",
    "text_reading": "text_reading.TEXT_READING",
    "textile": "textile.TEXTILE",
    "tiny_autoencoder": "denoisers.TINY_AUTOENCODER",
    "trustmark": "trustmark.TRUSTMARK",
    "u2net": "segmenters.U2NET",
    "vision_language": "vision_language.VISION_LANGUAGE",
    "zero_shot": "vision_language.ZERO_SHOT",
}
"""By name, the module with the loader, and its name there. A module is imported when a model needs its loader."""


def find_loader(name: str) -> Loader:
    """The loader of this name.

    Raises:
        ModelUnavailable: there is none.
    """
    if name not in LOADERS:
        raise ModelUnavailable(f"no loader named {name!r}; there are: {', '.join(LOADERS)}")
    module, _, constant = LOADERS[name].partition(".")
    found: Loader = getattr(importlib.import_module(f"{__name__}.{module}"), constant)
    return found
