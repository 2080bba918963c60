"""LPIPS on AlexNet, as embeddings: the perceptual distance of two pictures is the squared distance of theirs.

Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, CVPR 2018, arXiv 1801.03924. The
backbone is torchvision's; the weights of its channels, `perceptual_heads.safetensors`, are version 0.1 of the authors'
package `lpips`, under the licence beside them.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from schemas.errors import ModelUnavailable
from variorum.models.device import best_device
from variorum.models.entries import Entry
from variorum.models.roles import Pixels

REVISION = 1

URL = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
HEADS = Path(__file__).with_name("perceptual_heads.safetensors")
STAGES = (slice(0, 2), slice(2, 5), slice(5, 8), slice(8, 10), slice(10, 12))
"""The layers up to each of AlexNet's five rectified convolutions."""
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Of colours in [-1, 1]."""
TINY = 1e-10


class Options(BaseModel):
    """Settings of a table's entry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(default=256, ge=64)
    """Side of the middle square that pictures are brought to, pixels."""
    width: int = Field(default=1024, ge=0)
    """Numbers that an embedding is brought down to, 0 for all there are, some ten a pixel."""
    batch: int = 32


def problem(entry: Entry) -> str:
    """What keeps it from running here."""
    if not (find_spec("torch") and find_spec("torchvision")):
        return "needs the packages torch, torchvision"
    if entry.local and not Path(entry.local.path).expanduser().exists():
        return f"{entry.local.path} doesn't exist; download {URL} to there"
    return ""


def load(entry: Entry, weights: Path | None, used: Mapping[str, Any]) -> Perceptual:
    """The distance on torchvision's AlexNet, of a state dict as safetensors or as PyTorch's own file.

    Raises:
        ModelUnavailable: for a file that isn't one.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    assert weights is not None
    try:
        if weights.suffix == ".safetensors":
            state = load_file(weights)
        else:
            state = torch.load(weights, map_location="cpu", weights_only=True)
        features = {name.removeprefix("features."): state[name] for name in state if name.startswith("features.")}
        network = backbone(features)
    except (OSError, RuntimeError, TypeError, SafetensorError, pickle.UnpicklingError) as error:
        raise ModelUnavailable(f"{weights} is no AlexNet of torchvision: {str(error).splitlines()[0]}") from None
    options, heads = Options.model_validate(entry.options), load_file(HEADS)
    weights_of_channels = [heads[f"lin{stage}"] for stage in range(len(STAGES))]
    return Perceptual(network.to(best_device()), weights_of_channels, options)


def backbone(state: Mapping[str, Any]) -> Any:
    """AlexNet's convolutions with these weights. Raises RuntimeError for missing, unknown or misshapen ones."""
    import torch
    from torchvision.models import AlexNet

    with torch.device("meta"):
        network = AlexNet().features
    network.load_state_dict(dict(state), assign=True)
    return network.float().eval().requires_grad_(False)


class Perceptual:
    """A `Perceptual`.

    LPIPS is the sum over stages of the mean over places of Σ_c w_c (x_c - y_c)², x and y features at length 1. The
    weights are positive, so it is the squared distance of the features times √(w_c / places), one after another.

    These are added up in `width` numbers, each in one place and with one sign by chance (Charikar et al., Finding
    Frequent Items in Data Streams, ICALP 2002). The distance of two pictures is then right in expectation, with a
    standard deviation of up to √(2 / width) of it; a mean over many pictures is nearer.
    """

    def __init__(self, network: Any, heads: Sequence[Any], options: Options) -> None:
        self._network = network
        self._heads = heads
        self._size = options.size
        self._width = options.width
        self._batch = options.batch

    def __call__(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """Embeddings `[N, d]` of the pictures' middle squares."""
        if not images:
            return self._embedded([np.zeros((8, 8, 3), np.uint8)])[:0]
        return np.concatenate([self._embedded(images[i : i + self._batch]) for i in range(0, len(images), self._batch)])

    def _embedded(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        import torch

        device = next(self._network.parameters()).device
        shift, scale = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (SHIFT, SCALE))
        with torch.inference_mode():
            x = torch.cat([self._square(image).to(device) for image in images])
            x, found = (x * 2 - 1 - shift) / scale, []
            for stage, head in zip(STAGES, self._heads, strict=True):
                x = self._network[stage](x)
                unit = x / (x.square().sum(dim=1, keepdim=True).sqrt() + TINY)
                weight = (head.to(device) / (x.shape[2] * x.shape[3])).sqrt()
                found.append((unit * weight.view(1, -1, 1, 1)).flatten(1))
            embeddings: NDArray[np.float32] = self._added_up(torch.cat(found, dim=1)).cpu().numpy()
        return embeddings

    def _added_up(self, features: Any) -> Any:
        """`[N, width]` of `[N, d]`."""
        import torch

        if not self._width:
            return features
        rng, d = np.random.default_rng(0), features.shape[1]
        place = torch.from_numpy(rng.integers(0, self._width, d)).to(features.device)
        sign = torch.from_numpy(rng.integers(0, 2, d, dtype=np.int8) * 2 - 1).to(features)
        return features.new_zeros(len(features), self._width).index_add_(1, place, features * sign)

    def _square(self, image: Pixels) -> Any:
        """The middle square as `[1, 3, size, size]` in [0, 1]."""
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
