"""EfficientNet-Lite, an ImageNet-1k classifier or an encoder, run on ONNX Runtime, or an adversary in PyTorch.

The weights come as a PyTorch file. They are turned into ONNX once and kept beside it, because eager PyTorch takes
several times as long a picture and seconds to import; a warm cache needs neither PyTorch nor the architecture's code.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from variorum.models.device import best_device
from variorum.models.entries import Entry
from variorum.models.onnx import open_session
from variorum.models.pretrained import lacking
from variorum.models.roles import Pixels

REVISION = 2
BORDER = 32
"""The protocol these networks were published with resizes to `size + 32` and crops the centre `size`."""
WIDTHS = {"logits": 1000, "embedding": 1280}
"""Of the network's outputs: class scores, and the globally pooled features that they are a linear map of."""


class Options(BaseModel):
    """Settings of a table's entry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int
    """Side of the input in pixels: 224, 240, 260 for lite0 to lite2."""
    batch: int = 8
    threads: int = 1
    """Of one session; pictures are shared out among processes instead."""
    output: Literal["logits", "embedding", "gradients"] = "logits"
    """`embedding` makes it an encoder, `gradients` an adversary."""


def problem(entry: Entry) -> str:
    """What keeps it from running here."""
    return lacking("onnxruntime")


def load(
    entry: Entry, weights: Path | None, used: Mapping[str, Any]
) -> EfficientNetLite | EfficientNetLiteEncoder | EfficientNetLiteAdversary:
    """The classifier or encoder of a `.pth` state dict, exported on the first call; or the adversary, as it is."""
    assert weights is not None
    options = Options.model_validate(entry.options)
    if options.output == "gradients":
        network = torch_module(entry.name, weights).requires_grad_(False)
        return EfficientNetLiteAdversary(network.to(best_device()), options.size)
    exported = weights.with_name(f"{weights.stem}.export{REVISION}.onnx")
    if not exported.is_file():
        export(entry.name, weights, options.size, exported)
    kind = EfficientNetLite if options.output == "logits" else EfficientNetLiteEncoder
    return kind(open_session(exported, options.threads), options)


class EfficientNetLite:
    """A `Classifier`."""

    def __init__(self, session: Any, options: Options) -> None:
        self._session = session
        self._options = options

    def __call__(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """Probabilities `[N, 1000]` in ImageNet index order."""
        return softmax(outputs(self._session, self._options, images, "logits"))


class EfficientNetLiteEncoder:
    """An `Encoder`."""

    def __init__(self, session: Any, options: Options) -> None:
        self._session = session
        self._options = options

    def __call__(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """Embeddings `[N, 1280]`, not negative."""
        return outputs(self._session, self._options, images, "embedding")


class EfficientNetLiteAdversary:
    """An `Adversary`."""

    def __init__(self, network: Any, size: int) -> None:
        self._network = network
        self._size = size

    def __call__(self, pictures: Any) -> Any:
        """Log probabilities `[N, 1000]` of `[N, 3, H, W]` in [0, 1], cropped as `prepare` does."""
        from torch.nn import functional

        height, width = pictures.shape[2:]
        side = max(1, round(min(height, width) * self._size / (self._size + BORDER)))
        top, left = (height - side) // 2, (width - side) // 2
        crop = pictures[..., top : top + side, left : left + side]
        if side != self._size:
            shape = (self._size, self._size)
            crop = functional.interpolate(crop, shape, mode="bicubic", antialias=side > self._size)
        logits, _ = self._network((crop * 255 - 127) / 128)
        return logits.log_softmax(-1)


def outputs(session: Any, options: Options, images: Sequence[Pixels], name: str) -> NDArray[np.float32]:
    """One of the network's outputs for all pictures, a batch at a time."""
    parts = []
    for start in range(0, len(images), options.batch):
        batch = np.stack([prepare(image, options.size) for image in images[start : start + options.batch]])
        parts.append(session.run([name], {"x": batch})[0])
    return np.concatenate(parts) if parts else np.zeros((0, WIDTHS[name]), np.float32)


def prepare(image: Pixels, size: int) -> NDArray[np.float32]:
    """The network's input `[3, size, size]`: the central `size / (size + 32)` of the short side.

    The values are `(x - 127) / 128`, as in TensorFlow's own preprocessing of this family; ImageNet's mean and
    deviation, usual elsewhere, cost it ten points of accuracy.
    """
    height, width = image.shape[:2]
    side = max(1, round(min(height, width) * size / (size + BORDER)))
    top, left = (height - side) // 2, (width - side) // 2
    crop = image[top : top + side, left : left + side]
    # OpenCV's bicubic filter doesn't widen to shrink, so it would alias; areas are averaged there instead.
    if side > size:
        crop = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    elif side < size:
        crop = cv2.resize(crop, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray((crop.astype(np.float32).transpose(2, 0, 1) - 127) / 128)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Along the last axis, without overflow."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    scaled: NDArray[np.float32] = raised / raised.sum(axis=-1, keepdims=True)
    return scaled


def torch_module(name: str, weights: Path) -> Any:
    """The PyTorch network, in evaluation mode, that maps a batch to logits and embeddings."""
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

    network = EfficientNet.from_name(name)
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return LogitsAndEmbedding(
        network
    ).eval()  # on the wrapper: the exporter restores the wrapper's mode to all that is in it


def export(name: str, weights: Path, size: int, target: Path) -> None:
    """Write the network as ONNX, opset 17, with a free batch size, in one step."""
    import torch

    with tempfile.TemporaryDirectory(dir=target.parent) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fresh = Path(folder) / "model.onnx"
        with contextlib.redirect_stdout(io.StringIO()):
            torch.onnx.export(
                torch_module(name, weights),
                (torch.zeros(1, 3, size, size),),
                str(fresh),
                input_names=["x"],
                output_names=list(WIDTHS),
                dynamic_axes={name: {0: "n"} for name in ("x", *WIDTHS)},
                opset_version=17,
                dynamo=False,
            )
        os.replace(fresh, target)
