"""Contrast, deformation, blocks and JPEG of ImageNet-C (Hendrycks & Dietterich, ICLR 2019, arXiv 1903.12261)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from variorum.kit.corrupt.noise import normal
from variorum.kit.corrupt.outcome import Corrupted, Strength

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

SMOOTH = 4
"""Cells per deviation of a smooth field that is drawn on a coarse grid."""


def contrast(image: Pixels, strength: Strength, rng: np.random.Generator, scale: float) -> Corrupted:
    """`strength`: the share of the difference from each channel's mean that is left."""
    (share,) = strength
    means = np.array(cv2.mean(image)[:3])
    levels = means + (np.arange(256)[:, None, None] - means) * share
    return Corrupted(np.asarray(cv2.LUT(image, np.rint(levels).astype(np.uint8))))


def pixelate(image: Pixels, strength: Strength, rng: np.random.Generator, scale: float) -> Corrupted:
    """`strength`: the number of blocks as a share of the pixels of a side, cut to a whole number.

    At a larger scale blocks are larger too. At a smaller one they aren't smaller, as the published ones are hardly more
    than a pixel. Pillow rounds a block's value for its rows and again for its columns.
    """
    height, width = image.shape[:2]
    share = strength[0] / max(scale, 1.0)
    blocks = max(1, int(width * share)), max(1, int(height * share))
    small = Image.fromarray(image).resize(blocks, Image.Resampling.BOX)
    return Corrupted(np.asarray(small.resize((width, height), Image.Resampling.NEAREST)))


def jpeg_compression(image: Pixels, strength: Strength, rng: np.random.Generator, scale: float) -> Corrupted:
    """`strength`: the quality of the JPEG, from 1 to 100, with chroma at half the resolution."""
    return Corrupted(as_jpeg(image, int(strength[0])))


def as_jpeg(image: Pixels, quality: int) -> Pixels:
    """The picture stored as a JPEG and read again."""
    colours = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", colours, [cv2.IMWRITE_JPEG_QUALITY, quality])  # the same bytes as Pillow's
    return np.asarray(simplejpeg.decode_jpeg(data.tobytes(), fastdct=False, fastupsample=False))


def elastic_transform(image: Pixels, strength: Strength, rng: np.random.Generator, scale: float) -> Corrupted:
    """A random affine map, and after it a smooth random displacement of each pixel.

    `strength`: the amplitude that the smoothed noise is multiplied by, the deviation of the Gaussian that smooths it,
    and the farthest that a corner of the affine map moves along each axis, all in pixels.
    """
    amplitude, sigma, farthest = strength
    height, width = image.shape[:2]
    middle = np.array([width // 2, height // 2], np.float32)
    arm = min(height, width) // 3
    corners = middle + np.array([[arm, arm], [arm, -arm], [-arm, -arm]], np.float32)
    shifts = rng.uniform(-farthest * scale, farthest * scale, (3, 2))
    matrix = cv2.getAffineTransform(corners, corners + shifts.astype(np.float32))
    turned = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    places = _displaced(height, width, amplitude, sigma, scale, rng)
    pixels = cv2.remap(turned, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    origins = cv2.transform(places, cv2.invertAffineTransform(matrix))
    drawn = {"shifts": np.round(shifts, 3).tolist()}
    return Corrupted(np.asarray(pixels), drawn, np.asarray(origins))


def _displaced(
    height: int, width: int, amplitude: float, sigma: float, scale: float, rng: np.random.Generator
) -> Singles:
    """Each pixel's place (x, y) and a smooth random displacement, `[H, W, 2]`.

    The noise is uniform in [-1, 1] for each pixel at scale 1. Where it is much smoothed it is drawn for coarser cells:
    the mean of many uniform values is normally distributed.
    """
    cell = max(1, int(sigma / SMOOTH))
    size = math.ceil(height / (cell * scale)), math.ceil(width / (cell * scale))
    if cell == 1:
        noise = rng.random((*size, 2), np.float32)
        noise *= np.float32(2 * amplitude * scale)
        noise -= np.float32(amplitude * scale)
    else:
        noise = normal(rng, (*size, 2), 0.0, amplitude * scale / 3**0.5 / cell)
    side = 2 * int(3 * sigma / cell + 0.5) + 1
    if side > 1:
        noise = cv2.GaussianBlur(noise, (side, side), sigma / cell, borderType=cv2.BORDER_REFLECT)
    if size != (height, width):
        noise = cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)
    noise[..., 0] += np.arange(width, dtype=np.float32)
    noise[..., 1] += np.arange(height, dtype=np.float32)[:, None]
    return np.asarray(noise)
