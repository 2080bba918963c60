"""The generalised Kuwahara filter: flat areas lose their grain and edges become sharp, as under a loaded brush.

Around each pixel lie eight overlapping windows, and the result is their mean, where those with little variance weigh
most (Papari et al., IEEE TIP 2007). The windows lie on an ellipse along the edge, so that what is long and thin
survives (Kyprianidis et al., "Image and Video Abstraction by Anisotropic Kuwahara Filtering", 2009).

Those papers give each window the shape of a sector. Here it is a Gaussian: then all windows' means are one blurred
picture, read at eight places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Pixels
    from variorum.kit.pictures.flow import Flow

SECTORS = 8
CENTRE, WIDTH = 0.6, 0.34
"""Distance of a window's centre, and its standard deviation, in radii."""
LEVEL = 0.6
"""Grey levels. Windows with less deviation weigh the same."""


def kuwahara(image: Pixels, flow: Flow, radius: float, *, sharpness: float = 8, stretch: float = 1) -> Pixels:
    """The filtered picture.

    Args:
        image: RGB `[H, W, 3]`.
        flow: the direction of edges.
        radius: of the neighbourhood in pixels.
        sharpness: the weight of a window is its standard deviation to the power of minus this.
        stretch: at straight edges the neighbourhood is this much longer and narrower, plus one; 0 for a circle.
    """
    height, width = image.shape[:2]
    sigma = max(WIDTH * radius, 0.3)
    light = np.asarray(cv2.transform(image, np.array([[0.299, 0.587, 0.114]], np.float32)), np.float32)
    light = light.reshape(height, width)
    squares = np.asarray(cv2.GaussianBlur(cv2.merge([light, light * light]), (0, 0), sigma))
    deviation = cv2.sqrt(np.maximum(squares[..., 1] - squares[..., 0] ** 2, 0))
    weight = np.asarray(cv2.pow(deviation + LEVEL, -sharpness))
    means = cv2.GaussianBlur(image, (0, 0), sigma).astype(np.float32)
    weighted = cv2.merge([*(channel * weight for channel in cv2.split(means)), weight])
    size = width, height
    tangents = cv2.resize(flow.tangents, size, interpolation=cv2.INTER_LINEAR)
    longer = 1 + stretch * np.asarray(cv2.resize(flow.anisotropy, size, interpolation=cv2.INTER_LINEAR))[..., None]
    along = tangents * (longer * (CENTRE * radius))
    across = np.stack([-tangents[..., 1], tangents[..., 0]], axis=-1) * (CENTRE * radius / longer)
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    here = cv2.merge([columns, rows])
    total = weighted * np.float32(0.25)
    for angle in np.arange(SECTORS) * (2 * np.pi / SECTORS):
        there = cv2.scaleAdd(across, float(np.sin(angle)), cv2.scaleAdd(along, float(np.cos(angle)), here))
        total += cv2.remap(weighted, there, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    colours = total[..., :3] / total[..., 3:]
    return np.asarray(np.clip(colours + 0.5, 0, 255), np.uint8)


def kuwahara_widely(image: Pixels, flow: Flow, radius: float) -> Pixels:
    """The filtered picture, computed at half the size: of a wide radius little else would be left."""
    height, width = image.shape[:2]
    half = cv2.resize(image, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(kuwahara(half, flow, radius / 2), (width, height), interpolation=cv2.INTER_LINEAR))
