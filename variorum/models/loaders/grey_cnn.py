"""Small convolutional networks for small grey pictures that this project trained, as half-precision safetensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from variorum.models.entries import Entry
from variorum.models.pretrained import lacking
from variorum.models.roles import Pixels

REVISION = 1
FILE = "model.fp16.safetensors"


class Options(BaseModel):
    """Settings of a table's entry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: tuple[str, ...]
    """Class ids in the order of the network's outputs."""
    size: int
    """Side of the input in pixels."""
    batch: int = 64
    output: Literal["probabilities", "embedding"] = "probabilities"
    """`embedding` makes it an encoder: what the last layer, a linear one, sees."""


def problem(entry: Entry) -> str:
    """What keeps it from running here."""
    return lacking("safetensors", "torch")


def load(entry: Entry, weights: Path | None, used: Mapping[str, Any]) -> GreyCNN | GreyCNNEncoder:
    """The classifier or encoder of a folder with `model.fp16.safetensors`."""
    from safetensors.torch import load_file

    assert weights is not None
    options = Options.model_validate(entry.options)
    module = network(len(options.classes))
    module.load_state_dict(load_file(weights / FILE))
    return (GreyCNN if options.output == "probabilities" else GreyCNNEncoder)(module.eval(), options)


def network(classes: int) -> Any:
    """The PyTorch module that maps grey pictures `[N, 1, 28, 28]` in [-1, 1] to logits `[N, classes]`.

    Three resolutions (14, 7 and 3 pixels for an input of 28), the last averaged; 242 000 parameters for ten classes.
    """
    from torch import nn

    def stage(before: int, after: int, side: int, stride: int) -> list[nn.Module]:
        convolution = nn.Conv2d(before, after, side, stride, side // 2, bias=False)
        return [convolution, nn.BatchNorm2d(after), nn.ReLU()]

    return nn.Sequential(
        *stage(1, 32, 5, 2),
        *stage(32, 64, 3, 1),
        nn.MaxPool2d(2),
        *stage(64, 128, 3, 1),
        nn.MaxPool2d(2),
        *stage(128, 128, 3, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(128, classes),
    )


class GreyCNN:
    """A `Classifier` of its own classes, not of ImageNet's; colour is ignored, other sizes are resized."""

    def __init__(self, module: Any, options: Options) -> None:
        self._module = module
        self._options = options
        self.classes = options.classes

    def __call__(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """Probabilities `[N, K]` in the order of `classes`."""
        return outputs(lambda batch: self._module(batch).softmax(-1), self._options, images, len(self.classes))


class GreyCNNEncoder:
    """An `Encoder`; colour is ignored, other sizes are resized."""

    def __init__(self, module: Any, options: Options) -> None:
        self._module = module[:-2]  # without dropout and the linear layer
        self._options = options
        self._width = module[-1].in_features

    def __call__(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """Embeddings `[N, 128]`, not negative."""
        return outputs(self._module, self._options, images, self._width)


def outputs(run: Any, options: Options, images: Sequence[Pixels], width: int) -> NDArray[np.float32]:
    """What a module gives `[N, width]` for all pictures, a batch at a time."""
    import torch

    parts = []
    for start in range(0, len(images), options.batch):
        batch = np.stack([prepare(image, options.size) for image in images[start : start + options.batch]])
        with torch.inference_mode():
            parts.append(run(torch.from_numpy(batch)).numpy())
    return np.concatenate(parts) if parts else np.zeros((0, width), np.float32)


def prepare(image: Pixels, size: int) -> NDArray[np.float32]:
    """The network's input `[1, size, size]` in [-1, 1] of an RGB picture `[H, W, 3]`, squared if need be."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if grey.shape != (size, size):
        grey = cv2.resize(grey, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(grey, np.float32)[None] / np.float32(127.5) - np.float32(1)
