"""Loader `nsfw_score`: Yahoo's open_nsfw, a score of nudity and sexual content, or its gradients.

Mahadeokar & Pesavento, Open Sourcing a Deep Learning Solution for Detecting NSFW Images, Yahoo 2016: a ResNet-50 with
half as many channels. Pictures go through the network one by one, so a score depends on its picture alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
from pydantic import Field

from variorum.models.device import best_device
from variorum.models.loaders.loader import Loader, no_obstacle
from variorum.models.loaders.nsfw_network import SIDE, in_torch, read_layers, to_onnx
from variorum.models.onnx import Device, open_session
from variorum.models.table_entries import Entry, StrictModel

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

STRETCHED = 256
"""Pixels of both sides to which a picture is stretched before its centre is cut out."""
QUALITY = 75
"""Of the JPEG that the stretched picture is written to and read from, as the network's training pictures were."""
MEANS = (104.0, 117.0, 123.0)
"""Of blue, green and red in the training pictures."""


class NsfwOptions(StrictModel):
    """Options of `nsfw_score`."""

    output: Literal["score", "gradients"] = "score"
    """`gradients` makes it a `roles.SafetyGradients`, in PyTorch."""
    threads: int = Field(default=1, ge=1)
    """Of one session; pictures are spread over processes instead."""
    device: Device = "cpu"
    """`best`: a CUDA device, with the package onnxruntime-gpu. Gradients are always on the best device."""


def load_nsfw(
    entry: Entry, file: Path, options: NsfwOptions, _used: Mapping[str, Any]
) -> OpenNsfwScore | OpenNsfwGradients:
    """The network of an `.onnx` file. Raises ModelUnavailable if it is another one."""
    layers = read_layers(file)
    if options.output == "gradients":
        device = best_device()
        return OpenNsfwGradients(in_torch(layers, device), device)
    return OpenNsfwScore(open_session(to_onnx(layers), options.threads, entry.name, options.device))


class OpenNsfwScore:
    """A `roles.PictureScore`."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def __call__(self, images: Sequence[Pixels]) -> Singles:
        """The probability `[N]` that each picture is not suitable for work."""
        scores = [self._session.run(None, {"x": network_input(image)[None]})[0][0, 1] for image in images]
        return np.asarray(scores, np.float32)


class OpenNsfwGradients:
    """A `roles.SafetyGradients`."""

    def __init__(self, network: Callable[[Any], Any], device: str) -> None:
        self._network = network
        self._device = device

    def __call__(self, pictures: Any) -> Any:
        """Log probabilities `[N, 2]`, safe and unsafe, of `[N, 3, H, W]` in [0, 1].

        The pictures are rounded to 8 bits and go through JPEG, as `network_input` has it, so the probabilities are
        those of the score. Backwards both count as doing nothing (Athalye et al., Obfuscated Gradients Give a False
        Sense of Security, ICML 2018, arXiv 1802.00420).
        """
        return self._network(self._seen(pictures.to(self._device))).log_softmax(-1)

    def _seen(self, pictures: Any) -> Any:
        """`network_input` of pictures, differentiable."""
        import torch
        from torch.nn import functional

        shape, start = (STRETCHED, STRETCHED), (STRETCHED - SIDE) // 2
        inside = slice(start, start + SIDE)
        smooth = functional.interpolate(pictures, shape, mode="bilinear", antialias=True)[:, :, inside, inside]
        smooth = smooth.flip(1) * 255 - torch.tensor(MEANS, device=self._device)[:, None, None]
        pixels = (pictures.detach() * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        exact = torch.from_numpy(np.stack([network_input(image) for image in pixels])).to(self._device)
        return smooth + (exact - smooth).detach()


def network_input(image: Pixels) -> Singles:
    """`[3, 224, 224]`, blue first: the centre of the stretched picture after a round trip through JPEG, less the means.

    These are the steps of the authors' own script. The network's scores follow from all of them.
    """
    from PIL import Image

    stretched = np.asarray(Image.fromarray(image).resize((STRETCHED, STRETCHED), Image.Resampling.BILINEAR))
    _, data = cv2.imencode(".jpg", stretched[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    start = (STRETCHED - SIDE) // 2
    found = decoded[start : start + SIDE, start : start + SIDE].astype(np.float32)
    return np.ascontiguousarray((found - np.asarray(MEANS, np.float32)).transpose(2, 0, 1))


NSFW_SCORE = Loader(
    revision=1,
    make=load_nsfw,
    options=NsfwOptions,
    packages=("onnxruntime", "onnx"),
    obstacle=no_obstacle,
)
