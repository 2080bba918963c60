"""Loaders `image_embedding` and `perceptual`: pictures as vectors, by content and by appearance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from variorum.models.content import content_hash
from variorum.models.device import best_device, inference
from variorum.models.loaders.loader import Loader
from variorum.models.penultimate import once
from variorum.models.pretrained import load_pretrained, one_error, side_of, state_of, std_of
from variorum.models.roles import Encoder, Prepares
from variorum.models.table_entries import Entry, StrictModel
from variorum.models.weights import local_path
from variorum.schemas.errors import ModelUnavailable

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles


# ── image_embedding: vision transformers ─────────────────────────────────────────────────────────────────────────────


UNUSED = ("pooler.*", "*.pooler.*", "*mask_token")
"""Tensors that a class token doesn't depend on; classifiers' checkpoints lack a pooler."""


class ImageEmbeddingOptions(StrictModel):
    """Options of `image_embedding`."""

    batch: int = 8


def load_image_embedding(
    entry: Entry, folder: Path, options: ImageEmbeddingOptions, _used: Mapping[str, Any]
) -> ImageEmbedding:
    """The encoder of a folder written by transformers' `save_pretrained`.

    Raises:
        ModelUnavailable: the folder has no model as safetensors, or a network with neither a class token nor SigLIP's
            pooling.
    """
    from transformers import AutoImageProcessor, AutoModel, SiglipVisionModel

    from variorum.models.loaders import siglip

    pooled = siglip.is_siglip(folder, entry)
    with one_error(folder, "an image processor"):
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    kind = SiglipVisionModel if pooled else AutoModel
    model = load_pretrained(kind, folder, entry, may_lack=UNUSED, trust_remote_code=False)
    if not pooled and not any(name.endswith("cls_token") for name, _ in model.named_parameters()):
        raise ModelUnavailable(f"{entry.name} has no class token; this loader needs a vision transformer with one")
    return ImageEmbedding(processor, model.to(best_device()).eval(), options.batch, pooled=pooled)


class ImageEmbedding(Encoder, Prepares):
    """A `roles.Encoder`: the last layer's class token; the checkpoint's processor resizes and normalises.

    It isn't `pooler_output`, which in some architectures has passed another layer that has a meaning only for the
    original training task. SigLIP has no class token: with `pooled`, its `pooler_output`, which was trained to be near
    that of the picture's text, is the embedding.
    """

    def __init__(self, processor: Any, model: Any, batch: int, *, pooled: bool = False) -> None:
        self._processor = processor
        self._model = model
        self._batch = batch
        self._pooled = pooled
        self.side, self.std = side_of(processor), std_of(processor)

    @once
    def __call__(self, images: Sequence[Pixels]) -> Singles:
        """Embeddings `[N, d]`, d the network's hidden size."""
        parts = [self._tokens(images[i : i + self._batch]) for i in range(0, len(images), self._batch)]
        return np.concatenate(parts) if parts else np.zeros((0, self._model.config.hidden_size), np.float32)

    def _tokens(self, images: Sequence[Pixels]) -> Singles:

        inputs = self._processor(images=list(images), return_tensors="pt", input_data_format="channels_last")
        with inference():
            pixels = inputs["pixel_values"].to(self._model.device, self._model.dtype)
            output = self._model(pixel_values=pixels)
            chosen = output.pooler_output if self._pooled else output.last_hidden_state[:, 0]
            tokens: Singles = chosen.float().cpu().numpy()
        return tokens


IMAGE_EMBEDDING = Loader(
    revision=1,
    make=load_image_embedding,
    options=ImageEmbeddingOptions,
    packages=("transformers", "torch"),
    role=lambda _: "encoder",
)


# ── perceptual: LPIPS ────────────────────────────────────────────────────────────────────────────────────────────────

URL = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
HEADS = Path(__file__).with_name("perceptual_heads.safetensors")
HEADS_SHA256 = "e62475ea6ad0ed1976b09beae720c28ab9e11cbb36d123f1a4491e50352baa4e"
"""Weights of the channels: version 0.1 of the authors' package `lpips`, under the licence in the file beside it."""
STAGES = (slice(0, 2), slice(2, 5), slice(5, 8), slice(8, 10), slice(10, 12))
"""AlexNet's layers up to each of its five rectified convolutions."""
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Of colours in [-1, 1]."""
TINY = 1e-10


class PerceptualOptions(StrictModel):
    """Options of `perceptual`."""

    size: int = Field(default=256, ge=64)
    """Side in pixels to which the central square of a picture is resized."""
    width: int = Field(default=1024, ge=0)
    """Dimension that embeddings are projected to; 0 for no projection, about ten numbers per pixel."""
    batch: int = 32


def alexnet_missing(entry: Entry, _options: PerceptualOptions) -> str:
    """A line if the weights aren't where the table expects them; no Hub repository has them for `--fetch`."""
    if entry.local and not local_path(entry.local).exists():
        return f"{entry.local.path} doesn't exist; download {URL} to there"
    return ""


def load_perceptual(_entry: Entry, file: Path, options: PerceptualOptions, _used: Mapping[str, Any]) -> Perceptual:
    """The distance on torchvision's AlexNet, from a state dict as safetensors or PyTorch file.

    Raises:
        ModelUnavailable: the file isn't one.
    """
    import torch
    from safetensors.torch import load_file

    with state_of(file, "torchvision's AlexNet"):
        if file.suffix == ".safetensors":
            state = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
        features = {name.removeprefix("features."): state[name] for name in state if name.startswith("features.")}
        network = backbone(features)
    if content_hash(HEADS) != HEADS_SHA256:
        raise ModelUnavailable(f"{HEADS} is damaged; reinstall variorum")
    heads = load_file(HEADS)
    return Perceptual(network.to(best_device()), [heads[f"lin{stage}"] for stage in range(len(STAGES))], options)


def backbone(state: Mapping[str, Any]) -> Any:
    """AlexNet's convolutions with these weights.

    Raises:
        RuntimeError: missing, unknown or misshapen weights.
    """
    import torch
    from torchvision.models import AlexNet

    with torch.device("meta"):
        network = AlexNet().features
    network.load_state_dict(dict(state), assign=True)
    return network.float().eval().requires_grad_(False)


class Perceptual:
    """A `roles.Perceptual`: LPIPS on AlexNet (Zhang et al., CVPR 2018, arXiv 1801.03924) as embeddings.

    LPIPS is the sum over stages of the mean over places of Σ_c w_c (x_c - y_c)², with x and y features of length 1. The
    weights are positive, so LPIPS is the squared distance of the concatenated features times √(w_c / places).

    A count sketch projects these to `width` numbers: each feature is added to one of them with a random sign (Charikar
    et al., Finding Frequent Items in Data Streams, ICALP 2002). The distance of two pictures is then unbiased, with a
    relative standard deviation of up to √(2 / width); means over many pictures are more precise.
    """

    def __init__(self, network: Any, heads: Sequence[Any], options: PerceptualOptions) -> None:
        self._network = network
        self._heads = heads
        self._size = options.size
        self._width = options.width
        self._batch = options.batch

    def __call__(self, images: Sequence[Pixels]) -> Singles:
        """Embeddings `[N, d]` of the central squares."""
        if not images:
            return self._embedded([np.zeros((8, 8, 3), np.uint8)])[:0]
        return np.concatenate([self._embedded(images[i : i + self._batch]) for i in range(0, len(images), self._batch)])

    def _embedded(self, images: Sequence[Pixels]) -> Singles:
        import torch

        device = next(self._network.parameters()).device
        shift, scale = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (SHIFT, SCALE))
        with inference():
            x = torch.cat([self._square(image).to(device) for image in images])
            x, found = (x * 2 - 1 - shift) / scale, []
            for stage, head in zip(STAGES, self._heads, strict=True):
                x = self._network[stage](x)
                unit = x / (x.square().sum(dim=1, keepdim=True).sqrt() + TINY)
                weight = (head.to(device) / (x.shape[2] * x.shape[3])).sqrt()
                found.append((unit * weight.view(1, -1, 1, 1)).flatten(1))
            embeddings: Singles = self._projected(torch.cat(found, dim=1)).cpu().numpy()
        return embeddings

    def _projected(self, features: Any) -> Any:
        """`[N, d]` to `[N, width]` by the count sketch."""
        import torch

        if not self._width:
            return features
        rng, d = np.random.default_rng(0), features.shape[1]
        place = torch.from_numpy(rng.integers(0, self._width, d)).to(features.device)
        sign = torch.from_numpy(rng.integers(0, 2, d, dtype=np.int8) * 2 - 1).to(features)
        return features.new_zeros(len(features), self._width).index_add_(1, place, features * sign)

    def _square(self, image: Pixels) -> Any:
        """The central square as `[1, 3, size, size]` in [0, 1]."""
        import torch
        from torch.nn import functional

        height, width = image.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        crop = torch.from_numpy(np.array(image[top : top + side, left : left + side])).permute(2, 0, 1)[None] / 255
        if side == self._size:
            return crop
        shape = (self._size, self._size)
        return functional.interpolate(crop, shape, mode="bicubic", antialias=side > self._size).clamp(0, 1)


PERCEPTUAL = Loader(
    revision=1,
    make=load_perceptual,
    options=PerceptualOptions,
    packages=("torch", "torchvision"),
    obstacle=alexnet_missing,
    role=lambda _: "encoder",
)
