"""The kinds of models that a table's `loader` can name. A name is part of the pin, so it never changes."""

from __future__ import annotations

from collections.abc import Mapping

from variorum.models.loaders.autoencoders import AUTOENCODER
from variorum.models.loaders.class_conditional import CLASS_DIFFUSION, FOLDED_UNET
from variorum.models.loaders.classifiers import GREY_CNN, IMAGE_CLASSIFICATION
from variorum.models.loaders.clip_embedding import CLIP_EMBEDDING
from variorum.models.loaders.clip_tower import CLIP_TOWER
from variorum.models.loaders.coco_detectors import CENTERNET, NANODET
from variorum.models.loaders.denoisers import FOLDED_DENOISER, LATENT_DENOISER, PIXEL_DENOISER, TINY_AUTOENCODER
from variorum.models.loaders.detection import DETECTION
from variorum.models.loaders.efficientnet_lite import EFFICIENTNET_LITE
from variorum.models.loaders.embedding_head import EMBEDDING_HEAD
from variorum.models.loaders.embeddings import IMAGE_EMBEDDING, PERCEPTUAL
from variorum.models.loaders.faces import CENTERFACE, FACE_AGE
from variorum.models.loaders.learned_watermark import LEARNED_WATERMARK
from variorum.models.loaders.loader import Loader
from variorum.models.loaders.noise_regression import NOISE_REGRESSION
from variorum.models.loaders.nsfw import NSFW_SCORE
from variorum.models.loaders.nude_parts import NUDE_PARTS
from variorum.models.loaders.patch_completion import PATCH_COMPLETION
from variorum.models.loaders.rivagan import RIVAGAN, RIVAGAN_DECODER
from variorum.models.loaders.segmenters import SAM, U2NET
from variorum.models.loaders.shift_map import SHIFT_MAP
from variorum.models.loaders.stable_diffusion import CONTROL_NETWORK, DIFFUSION, SAFETY_CHECKER
from variorum.models.loaders.style_networks import MULTI_STYLE, STYLE_TRANSFER, STYLE_VECTOR
from variorum.models.loaders.text_detection import TEXT_DETECTION
from variorum.models.loaders.text_reading import TEXT_READING
from variorum.models.loaders.textile import TEXTILE
from variorum.models.loaders.trustmark import TRUSTMARK
from variorum.models.loaders.vision_language import VISION_LANGUAGE, ZERO_SHOT
from variorum.schemas.errors import ModelUnavailable

LOADERS: Mapping[str, Loader] = {
    "autoencoder": AUTOENCODER,
    "centerface": CENTERFACE,
    "centernet": CENTERNET,
    "class_diffusion": CLASS_DIFFUSION,
    "clip_embedding": CLIP_EMBEDDING,
    "clip_tower": CLIP_TOWER,
    "control_network": CONTROL_NETWORK,
    "detection": DETECTION,
    "diffusion": DIFFUSION,
    "efficientnet_lite": EFFICIENTNET_LITE,
    "embedding_head": EMBEDDING_HEAD,
    "face_age": FACE_AGE,
    "folded_denoiser": FOLDED_DENOISER,
    "folded_unet": FOLDED_UNET,
    "grey_cnn": GREY_CNN,
    "image_classification": IMAGE_CLASSIFICATION,
    "image_embedding": IMAGE_EMBEDDING,
    "latent_denoiser": LATENT_DENOISER,
    "learned_watermark": LEARNED_WATERMARK,
    "multi_style": MULTI_STYLE,
    "nanodet": NANODET,
    "noise_regression": NOISE_REGRESSION,
    "nsfw_score": NSFW_SCORE,
    "nude_parts": NUDE_PARTS,
    "patch_completion": PATCH_COMPLETION,
    "perceptual": PERCEPTUAL,
    "pixel_denoiser": PIXEL_DENOISER,
    "rivagan": RIVAGAN,
    "rivagan_decoder": RIVAGAN_DECODER,
    "safety_checker": SAFETY_CHECKER,
    "sam": SAM,
    "shift_map": SHIFT_MAP,
    "style_transfer": STYLE_TRANSFER,
    "style_vector": STYLE_VECTOR,
    "text_detection": TEXT_DETECTION,
    "text_reading": TEXT_READING,
    "textile": TEXTILE,
    "tiny_autoencoder": TINY_AUTOENCODER,
    "trustmark": TRUSTMARK,
    "u2net": U2NET,
    "vision_language": VISION_LANGUAGE,
    "zero_shot": ZERO_SHOT,
}


def find_loader(name: str) -> Loader:
    """The loader of this name.

    Raises:
        ModelUnavailable: there is none.
    """
    if name not in LOADERS:
        raise ModelUnavailable(f"no loader named {name!r}; there are: {', '.join(LOADERS)}")
    return LOADERS[name]
