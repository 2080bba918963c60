"""Loader `noise_regression`: a network of two convolutions that brightens dark pictures.

It is small enough to run on OpenCV's filters, in half of PyTorch's time, and each result depends on its picture
alone, whatever the batch and the number of threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from variorum.models.loaders.loader import Loader, no_obstacle
from variorum.models.pretrained import state_of
from variorum.models.table_entries import Entry, StrictModel
from variorum.schemas.errors import ModelUnavailable

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

WEIGHTS = "model.safetensors"
FIRST, LAST, BIAS = "0.weight", "3.weight", "3.bias"
"""Names of the tensors: `[K, 3, 3, 3]`, `[3, K, 3, 3]` and `[3]`."""
EPSILON = 1e-5
"""Added to the variance by the instance norm, for pictures in [-1, 1]."""
ROOT, CUBIC = (2 / np.pi) ** 0.5, 0.044715
"""Of GELU's approximation by the hyperbolic tangent (Hendrycks & Gimpel, arXiv 1606.08415)."""


def load_noise_regression(
    entry: Entry, folder: Path, _options: StrictModel, _used: Mapping[str, Any]
) -> NoiseRegression:
    """The network of a folder with `model.safetensors`.

    Raises:
        ModelUnavailable: the file isn't such a network.
    """
    from safetensors.numpy import load_file

    file = folder / WEIGHTS
    with state_of(file, "a state dict of two convolutions"):
        state = load_file(file)
        first, last, bias = (np.asarray(state[name], np.float32) for name in (FIRST, LAST, BIAS))
    hidden = first.size // 27
    if (first.shape, last.shape, bias.shape) != ((hidden, 3, 3, 3), (3, hidden, 3, 3), (3,)) or len(state) != 3:
        shapes = {name: list(value.shape) for name, value in state.items()}
        raise ModelUnavailable(f"{entry.name}: {file} isn't a network of two 3 x 3 convolutions: {shapes}")
    return NoiseRegression(first, last, bias)


class NoiseRegression:
    """A `roles.LowLightEnhancer` after NoiSER (Zhang et al., arXiv 2211.04700).

    Args:
        first: weights of the first convolution, `[K, 3, 3, 3]`; it has no bias.
        last: weights of the second convolution, `[3, K, 3, 3]`.
        bias: of the second convolution, `[3]`.
    """

    def __init__(self, first: Singles, last: Singles, bias: Singles) -> None:
        self._first, self._last, self._bias = first, last, bias

    def __call__(self, images: Sequence[Pixels]) -> list[Pixels]:
        """Each picture with middle grey as the mean of its channels, at its own size."""
        return [self._enhanced(image) for image in images]

    def _enhanced(self, image: Pixels) -> Pixels:
        """Channel by channel, so that the memory needed doesn't grow with their number."""
        planes = [cv2.multiply(one, 1 / 127.5, dtype=cv2.CV_32F) for one in cv2.split(image)]
        sums = [np.full(image.shape[:2], value, np.float32) for value in self._bias]
        for before, after in zip(self._first, self._last.transpose(1, 0, 2, 3), strict=True):
            hidden = _filtered(planes[0], before[0])
            for plane, kernel in zip(planes[1:], before[1:], strict=True):
                hidden += _filtered(plane, kernel)
            mean, deviation = cv2.meanStdDev(hidden)
            hidden -= np.float32(mean[0, 0])
            hidden *= np.float32((float(deviation[0, 0]) ** 2 + EPSILON) ** -0.5)
            _gelu(hidden)
            for total, kernel in zip(sums, after, strict=True):
                total += _filtered(hidden, kernel)
        out = cv2.merge([np.tanh(total, out=total) for total in sums])
        return np.asarray(cv2.addWeighted(out, 127.5, out, 0, 127.5, dtype=cv2.CV_8U))


def _filtered(plane: Singles, kernel: Singles) -> Singles:
    """A convolution as networks have it, without turning the kernel; the outer pixels are repeated."""
    return np.asarray(cv2.filter2D(plane, -1, kernel, borderType=cv2.BORDER_REPLICATE))


def _gelu(values: Singles) -> None:
    """In place."""
    inner = values * values
    inner *= np.float32(ROOT * CUBIC)
    inner += np.float32(ROOT)
    inner *= values
    np.tanh(inner, out=inner)
    inner += np.float32(1)
    values *= inner
    values *= np.float32(0.5)


NOISE_REGRESSION = Loader(revision=1, make=load_noise_regression, packages=("safetensors",), obstacle=no_obstacle)
