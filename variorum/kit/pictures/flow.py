"""The direction of edges at every pixel, and averages along it.

The field is the minor eigenvector of the smoothed structure tensor of the colours (Kang et al., "Coherent Line
Drawing", NPAR 2007; Kyprianidis et al., "Image and Video Abstraction by Anisotropic Kuwahara Filtering", Computer
Graphics Forum 28, 2009). It varies slowly, so it is computed and followed on a reduced picture; only the values that
are averaged are read at full size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

SHORT = 160
"""Short side of the reduced picture that the field is computed on, in pixels."""
SIGMA = 2.0
"""Smoothing of the structure tensor in pixels of the reduced picture."""
WIDE = 0.03
"""Weight of a tensor that is smoothed four times as wide: it gives flat areas the direction of what surrounds them."""
NOISE = 2e-4
"""Added to the tensor's trace, as squared differences of grey levels in [0, 1]: flat areas are isotropic."""
CUT = (0.94, 0.34)
"""Tangents point to this side. The opposite signs meet at 110°, a direction that few edges have."""


class Flow(NamedTuple):
    """The direction of edges on a reduced picture.

    Attributes:
        tangents: unit vectors (x, y) along the edges, `[h, w, 2]`.
        anisotropy: 0 where all directions are alike, such as in flat areas and at corners, 1 at straight edges,
            `[h, w]`.
    """

    tangents: Singles
    anisotropy: Singles


class Path(NamedTuple):
    """Where the points lie that are reached by following the field from every pixel.

    Attributes:
        ends: (x, y) in pixels, as `cv2.remap` takes them, `[H, W, 2]`.
        distance: length of the path in pixels.
    """

    ends: Singles
    distance: float


def edge_flow(image: Pixels) -> Flow:
    """The field of an RGB picture `[H, W, 3]`, at a short side of at most `SHORT`."""
    factor = SHORT / min(image.shape[:2])
    small = image
    if factor < 1:
        size = [max(1, round(side * factor)) for side in image.shape[1::-1]]
        small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    horizontal, vertical = (
        np.asarray(cv2.Scharr(small, cv2.CV_32F, dx, 1 - dx, scale=1 / (32 * 255))) for dx in (1, 0)
    )
    products = (horizontal * horizontal, horizontal * vertical, vertical * vertical)
    third = np.full((1, 3), 1 / 3, np.float32)
    tensor = cv2.merge([cv2.transform(product, third) for product in products])
    smooth = cv2.GaussianBlur(tensor, (0, 0), SIGMA)
    smooth = np.asarray(cv2.scaleAdd(_wide(tensor), WIDE, smooth), np.float32)
    xx, xy, yy = cv2.split(smooth)
    length, angle = cv2.cartToPolar(xx - yy, 2 * xy)
    across = 0.5 * angle
    tangents = np.stack([-np.sin(across), np.cos(across)], axis=-1)
    tangents *= np.where(tangents @ np.asarray(CUT, np.float32) < 0, np.float32(-1), np.float32(1))[..., None]
    return Flow(tangents, length / (xx + yy + np.float32(NOISE)))


def follow(flow: Flow, shape: tuple[int, int], stride: float, steps: int) -> list[Path]:
    """Paths along the field from every pixel of a picture, `steps` in each direction.

    Args:
        flow: the field.
        shape: height and width of the picture that is to be averaged.
        stride: length of a step in pixels of that picture.
        steps: number of steps in each direction.
    """
    height, width = flow.tangents.shape[:2]
    scale = np.asarray([shape[1] / width, shape[0] / height], np.float32)
    step = np.float32(stride / scale.min())
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    start = cv2.merge([columns, rows])
    found = []
    for sign in (1, -1):
        heading = flow.tangents * np.float32(sign)
        place = start + step * heading
        for number in range(1, steps + 1):
            if number > 1:
                ahead = np.asarray(
                    cv2.remap(flow.tangents, place, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
                )
                cosine = cv2.transform(ahead * heading, np.ones((1, 2), np.float32))
                heading = ahead * np.copysign(np.float32(1), cosine)[..., None]
                place = place + step * heading
            found.append(Path(_enlarged(place, scale, shape), number * stride))
    return found


def average(values: Pixels | Singles, paths: Sequence[Path], sigma: float) -> Singles:
    """Weighted mean of values `[H, W]` along paths, by a Gaussian of the distance, `[H, W]` float32.

    This is line integral convolution (Cabral & Leedom, SIGGRAPH 1993) with few samples.
    """
    total = values.astype(np.float32)
    weights = [float(np.exp(-0.5 * (path.distance / sigma) ** 2)) for path in paths]
    for path, weight in zip(paths, weights, strict=True):
        there = cv2.remap(values, path.ends, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        cv2.scaleAdd(there.astype(np.float32), weight, total, total)
    total *= 1 / (1 + sum(weights))
    return total


def _wide(tensor: Singles) -> Singles:
    """The tensor smoothed by four times `SIGMA`, computed at a quarter of its size."""
    size = [max(1, side // 4) for side in tensor.shape[1::-1]]
    small = cv2.GaussianBlur(cv2.resize(tensor, size, interpolation=cv2.INTER_AREA), (0, 0), SIGMA)
    return np.asarray(cv2.resize(small, tensor.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def _enlarged(place: Singles, scale: Singles, shape: tuple[int, int]) -> Singles:
    """Places on the reduced picture as places on the picture, for each of its pixels."""
    there = place * scale + (scale - 1) / 2
    return np.asarray(cv2.resize(there, shape[::-1], interpolation=cv2.INTER_LINEAR))
