"""Loader `efficientnet_lite`: EfficientNet-Lite as an ImageNet-1k classifier, an encoder, or an adversary.

The weights are a PyTorch file. Classifier and encoder are exported to ONNX once and kept beside it: eager PyTorch takes
several times as long per picture and seconds to import. Later starts need neither PyTorch nor the architecture's code.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np

from variorum.models.device import best_device
from variorum.models.gradients import Differentiable, probabilities
from variorum.models.loaders.loader import Loader, no_obstacle
from variorum.models.onnx import Device, exported, open_session
from variorum.models.penultimate import once
from variorum.models.preprocessing import sentence
from variorum.models.pretrained import state_of
from variorum.models.roles import Encoder, Prepares
from variorum.models.table_entries import Entry, StrictModel
from variorum.models.weights import tree_sha256
from variorum.schemas.canonical import Json

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

REVISION = 2
BORDER = 32
"""The protocol that these networks were published with resizes to `size + 32` and crops the centre `size`."""
WIDTHS = {"logits": 1000, "embedding": 1280}
"""Of the network's outputs. The embedding is the pooled features; the logits are a linear map of them."""


class EfficientNetLiteOptions(StrictModel):
    """Options of `efficientnet_lite`."""

    size: int
    """Side of the input in pixels: 224, 240, 260 for lite0 to lite2."""
    batch: int = 8
    threads: int = 1
    """Of one session; pictures are spread over processes instead."""
    device: Device = "cpu"
    """`best`: a CUDA device, with the package onnxruntime-gpu. An adversary is always on the best device."""
    output: Literal["logits", "embedding", "gradients"] = "logits"
    """`embedding` makes it an encoder, `gradients` an adversary."""


def load_efficientnet_lite(
    entry: Entry, file: Path, options: EfficientNetLiteOptions, _used: Mapping[str, Any]
) -> EfficientNetLite | EfficientNetLiteEncoder | EfficientNetLiteAdversary:
    """The classifier or encoder of a `.pth` state dict, exported on the first call; or the adversary in PyTorch."""
    if options.output == "gradients":
        network = torch_module(entry.name, file).requires_grad_(False)
        return EfficientNetLiteAdversary(network.to(best_device()), options.size)
    made_of: dict[str, Json] = {
        "weights": tree_sha256(file),
        "revision": REVISION,
        "name": entry.name,
        "size": options.size,
    }
    onnx = exported(file, made_of, lambda target: export(entry.name, file, options.size, target))
    cls = EfficientNetLite if options.output == "logits" else EfficientNetLiteEncoder
    return cls(open_session(onnx, options.threads, entry.name, options.device), options)


class EfficientNetLite:
    """A `roles.Classifier`.

    Attributes:
        classes: empty, which stands for ImageNet's order.
        preprocessing: a sentence for cards.
    """

    def __init__(self, session: Any, options: EfficientNetLiteOptions) -> None:
        self._session = session
        self._options = options
        self.classes: tuple[str, ...] = ()
        self.preprocessing = sentence(
            f"centre square of {options.size}/{options.size + BORDER} of the shorter side",
            f"resized to {options.size} × {options.size} px (area, or bicubic where that enlarges)",
            "values (x - 127) / 128",
        )

    def __call__(self, images: Sequence[Pixels]) -> Singles:
        """Probabilities `[N, 1000]` in ImageNet index order."""
        return self._both(images)[0]

    def features(self, images: Sequence[Pixels]) -> Singles:
        """Embeddings `[N, 1280]`, non-negative: what the last layer gets."""
        return self._both(images)[1]

    @once
    def _both(self, images: Sequence[Pixels]) -> tuple[Singles, Singles]:
        logits, embeddings = outputs(self._session, self._options, images, *WIDTHS)
        return softmax(logits), embeddings


class EfficientNetLiteEncoder(Encoder, Prepares):
    """A `roles.Encoder`."""

    def __init__(self, session: Any, options: EfficientNetLiteOptions) -> None:
        self._session = session
        self._options = options
        self.side, self.std = options.size + BORDER, (128 / 255, 128 / 255, 128 / 255)

    @once
    def __call__(self, images: Sequence[Pixels]) -> Singles:
        """Embeddings `[N, 1280]`, non-negative."""
        return outputs(self._session, self._options, images, "embedding")[0]


class EfficientNetLiteAdversary(Differentiable):
    """A `roles.Adversary` and a `roles.Embedding`."""

    def __init__(self, network: Any, size: int) -> None:
        super().__init__(network, self._cropped, self._answers)
        self._size = size

    def _cropped(self, pictures: Any) -> Any:
        """Pictures in [0, 1], cropped as by `network_input`."""
        from torch.nn import functional

        height, width = pictures.shape[2:]
        side = max(1, round(min(height, width) * self._size / (self._size + BORDER)))
        top, left = (height - side) // 2, (width - side) // 2
        crop = pictures[..., top : top + side, left : left + side]
        if side != self._size:
            shape = (self._size, self._size)
            crop = functional.interpolate(crop, shape, mode="bicubic", antialias=side > self._size)
        return (crop * 255 - 127) / 128

    def _answers(self, images: Sequence[Pixels]) -> Singles:
        """Probabilities `[N, 1000]` of stored pictures, prepared as for the classifier; each is asked about alone."""
        found = [probabilities(self._network, network_input(image, self._size)[None]) for image in images]
        return np.concatenate(found) if found else np.zeros((0, WIDTHS["logits"]), np.float32)

    def features(self, pictures: Any, layer: str = "") -> Any:
        """What a layer gives. Without one, pooled features `[N, 1280]` of whole pictures, squashed to a square."""
        if layer:
            return super().features(pictures, layer)
        from torch.nn import functional

        shape = (self._size, self._size)
        seen = pictures.to(self.device)
        if seen.shape[2:] != shape:
            seen = functional.interpolate(seen, shape, mode="bicubic", antialias=True)
        return self._network((seen * 255 - 127) / 128)[1]


def outputs(session: Any, options: EfficientNetLiteOptions, images: Sequence[Pixels], *names: str) -> list[Singles]:
    """Some of the network's outputs for all pictures, computed in batches."""
    parts: list[list[Singles]] = [[np.zeros((0, WIDTHS[name]), np.float32) for name in names]]
    for start in range(0, len(images), options.batch):
        batch = np.stack([network_input(image, options.size) for image in images[start : start + options.batch]])
        parts.append(session.run(list(names), {"x": batch}))
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def network_input(image: Pixels, size: int) -> Singles:
    """`[3, size, size]`: the centre of the picture, `size / (size + 32)` of its shorter side.

    The values are `(x - 127) / 128`, as in TensorFlow's own preprocessing for this family. ImageNet's mean and standard
    deviation, usual elsewhere, cost ten points of accuracy.
    """
    height, width = image.shape[:2]
    side = max(1, round(min(height, width) * size / (size + BORDER)))
    top, left = (height - side) // 2, (width - side) // 2
    crop = image[top : top + side, left : left + side]
    # OpenCV's bicubic filter isn't widened to shrink a picture, so it would alias.
    if side > size:
        crop = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    elif side < size:
        crop = cv2.resize(crop, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray((crop.astype(np.float32).transpose(2, 0, 1) - 127) / 128)


def softmax(logits: Singles) -> Singles:
    """Softmax along the last axis, without overflow."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    scaled: Singles = raised / raised.sum(axis=-1, keepdims=True)
    return scaled


def torch_module(name: str, file: Path) -> Any:
    """The PyTorch network in evaluation mode; maps a batch to logits and embeddings."""
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    class LogitsAndEmbedding(torch.nn.Module):
        """The network without the debugging prints of its own forward pass."""

        def __init__(self, network: Any) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Any) -> Any:
            embedding = self.network.extract_features(x).mean((2, 3))
            return self.network._fc(embedding), embedding

    with state_of(file, f"a state dict of {name}"):
        network = EfficientNet.from_name(name)
        network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    # eval() on the wrapper: after an export, PyTorch sets the wrapper's mode on everything inside
    return LogitsAndEmbedding(network).eval()


def export(name: str, file: Path, size: int, target: Path) -> None:
    """Write the network as ONNX, opset 17, with a free batch size. Exports are reproducible."""
    import torch

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            torch_module(name, file),
            (torch.zeros(1, 3, size, size),),
            str(target),
            input_names=["x"],
            output_names=list(WIDTHS),
            dynamic_axes={name: {0: "n"} for name in ("x", *WIDTHS)},
            opset_version=17,
            dynamo=False,
        )


EFFICIENTNET_LITE = Loader(
    revision=REVISION,
    make=load_efficientnet_lite,
    options=EfficientNetLiteOptions,
    packages=("onnxruntime",),
    obstacle=no_obstacle,
    role=lambda options: {"logits": "classifier", "embedding": "encoder"}.get(options.output, "adversary"),
    steers={"output": "gradients"},
)
