"""Loader `textile`: TexTile, a learned measure of how well a texture can be repeated.

Rodriguez-Pardo et al., TexTile: A Differentiable Metric for Texture Tileability, CVPR 2024, arXiv 2403.12961: a
ConvNeXt-B with two layers of linear attention, which sees the picture repeated 2 x 2. Its weights are in no package and
on no known Hub repository. They are read strictly, on any device, and never fetched while a picture is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.models.device import best_device, inference
from variorum.models.loaders.loader import Loader, NoOptions
from variorum.models.pretrained import state_of
from variorum.models.table_entries import Entry, StrictModel
from variorum.models.weights import local_path

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

URL = "https://carlosrodriguezpardo.es/projects/TexTile/models/textile_v3.pth"
"""Where the authors publish the weights."""
SIDE = 512
"""To which the repeated picture is resized."""
STEEP = 0.25
"""Factor of the network's output in the logistic function, as in the authors' package."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STAGES = ((128, 3), (256, 3), (512, 27), (1024, 3))
"""Channels and blocks of ConvNeXt-B."""
HEADS, PER_HEAD = 16, (128, 256)
"""Attention after the third and before the last stage."""


def weights_missing(entry: Entry, _options: StrictModel) -> str:
    """A line if the weights aren't where the table expects them."""
    if entry.local and not local_path(entry.local).exists():
        return f"{entry.local.path} doesn't exist; download {URL} to there"
    return ""


def load_textile(_entry: Entry, file: Path, _options: StrictModel, _used: Mapping[str, Any]) -> Textile:
    """The network with the weights of a PyTorch or safetensors file, every one of which must fit.

    Raises:
        ModelUnavailable: the file isn't TexTile's.
    """
    import torch
    from safetensors.torch import load_file

    with state_of(file, "TexTile's network"):
        pickled = file.suffix != ".safetensors"
        state = torch.load(file, map_location="cpu", weights_only=True) if pickled else load_file(file)
        with torch.device("meta"):
            model = network()
        model.load_state_dict(state, assign=True)
    return Textile(model.float().to(best_device()).eval().requires_grad_(False))


class Textile:
    """A `roles.TileabilityScorer`."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __call__(self, images: Sequence[Pixels]) -> Singles:
        """The score `[N]` in (0, 1) of each picture, higher for more tileable ones; NaN for one that isn't square.

        The published metric squeezes such pictures to a square, which changes what is repeated. Pictures go through the
        network one by one, so a score depends on its picture alone.
        """
        return np.array([self._score(image) for image in images], np.float32)

    def _score(self, image: Pixels) -> float:
        import torch
        from torch.nn.functional import interpolate

        if image.shape[0] != image.shape[1]:
            return float("nan")
        device = next(self._model.parameters()).device
        values = torch.from_numpy(np.ascontiguousarray(image)).to(device).permute(2, 0, 1)[None].float() / 255
        seen = interpolate(values.tile(1, 1, 2, 2), (SIDE, SIDE), mode="bilinear", antialias=True)
        mean, deviation = (torch.tensor(one, device=device)[:, None, None] for one in (MEAN, DEVIATION))
        with inference():
            return float(torch.sigmoid(STEEP * self._model((seen - mean) / deviation))[0, 0])


def network(
    stages: Sequence[tuple[int, int]] = STAGES, heads: int = HEADS, per_head: tuple[int, int] = PER_HEAD
) -> Any:
    """The network: pictures `[N, 3, H, W]` to numbers `[N, 1]`.

    Args:
        stages: channels and blocks of the four stages.
        heads: of both layers of attention.
        per_head: channels of a head, of each.
    """
    from torch import nn
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    (_, third, last) = (channels for channels, _ in stages[1:])
    following = [*(channels for channels, _ in stages[1:]), None]
    settings = [CNBlockConfig(width, after, depth) for (width, depth), after in zip(stages, following, strict=True)]
    model = ConvNeXt(settings)
    parts = list(model.features)
    attention = [_linear_attention(width, heads, size) for width, size in zip((third, last), per_head, strict=True)]
    model.features = nn.Sequential(*parts[:5], attention[0], *parts[5:7], attention[1], *parts[7:])
    model.classifier = nn.Sequential(nn.Flatten(1), nn.Linear(last, 1))
    return model


def _linear_attention(width: int, heads: int, per_head: int) -> Any:
    """A residual layer of attention whose cost is linear in the number of pixels (Shen et al., WACV 2021)."""
    import torch
    from torch import nn

    class Normalised(nn.Module):
        """Layer normalisation over channels."""

        def __init__(self) -> None:
            super().__init__()
            self.g = nn.Parameter(torch.ones(1, width, 1, 1))
            self.b = nn.Parameter(torch.zeros(1, width, 1, 1))

        def forward(self, x: Any) -> Any:
            variance, mean = torch.var_mean(x, dim=1, unbiased=False, keepdim=True)
            return (x - mean) * torch.rsqrt(variance + 1e-5) * self.g + self.b

    class Attention(nn.Module):
        """Queries are normalised over channels, keys over pixels."""

        def __init__(self) -> None:
            super().__init__()
            self.to_qkv = nn.Conv2d(width, 3 * heads * per_head, 1, bias=False)
            self.to_out = nn.Sequential(nn.Conv2d(heads * per_head, width, 1), Normalised())
            self.gamma = nn.Parameter(torch.tensor(0.01))

        def forward(self, x: Any) -> Any:
            number, _, height, across = x.shape
            parts = self.to_qkv(x).reshape(number, 3, heads, per_head, height * across)
            query, key, value = parts[:, 0].softmax(dim=-2) * per_head**-0.5, parts[:, 1].softmax(dim=-1), parts[:, 2]
            context = key @ value.transpose(-1, -2)
            out = (context.transpose(-1, -2) @ query).reshape(number, heads * per_head, height, across)
            return self.to_out(out) * self.gamma + x

    return Attention()


TEXTILE = Loader(revision=1, make=load_textile, options=NoOptions, packages=("torchvision",), obstacle=weights_missing)
