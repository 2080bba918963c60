"""The kinds of models that a table's `loader` can name. A name is part of the pin, so it never changes."""

from __future__ import annotations

from collections.abc import Mapping

from variorum.models.loaders import (
    class_conditional,
    classifiers,
    denoisers,
    detection,
    efficientnet_lite,
    embeddings,
    segmenters,
    shift_map,
    stable_diffusion,
    vision_language,
)
from variorum.models.loaders.loader import Loader
from variorum.schemas.errors import ModelUnavailable

LOADERS: Mapping[str, Loader] = {
    "class_diffusion": class_conditional.CLASS_DIFFUSION,
    "control_network": stable_diffusion.CONTROL_NETWORK,
    "detection": detection.DETECTION,
    "diffusion": stable_diffusion.DIFFUSION,
    "efficientnet_lite": efficientnet_lite.EFFICIENTNET_LITE,
    "folded_unet": class_conditional.FOLDED_UNET,
    "grey_cnn": classifiers.GREY_CNN,
    "image_classification": classifiers.IMAGE_CLASSIFICATION,
    "image_embedding": embeddings.IMAGE_EMBEDDING,
    "latent_denoiser": denoisers.LATENT_DENOISER,
    "perceptual": embeddings.PERCEPTUAL,
    "pixel_denoiser": denoisers.PIXEL_DENOISER,
    "safety_checker": stable_diffusion.SAFETY_CHECKER,
    "sam": segmenters.SAM,
    "shift_map": shift_map.SHIFT_MAP,
    "tiny_autoencoder": denoisers.TINY_AUTOENCODER,
    "u2net": segmenters.U2NET,
    "vision_language": vision_language.VISION_LANGUAGE,
    "zero_shot": vision_language.ZERO_SHOT,
}


def find_loader(name: str) -> Loader:
    """The loader of this name.

    Raises:
        ModelUnavailable: there is none.
    """
    if name not in LOADERS:
        raise ModelUnavailable(f"no loader named {name!r}; there are: {', '.join(LOADERS)}")
    return LOADERS[name]
