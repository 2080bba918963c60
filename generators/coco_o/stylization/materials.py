"""Simulate materials: noise of several scales, paper, canvas, grazing light."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from variorum.kit.corrupt.air import blurred_widely

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels, Singles

CANVASES = ((238, 232, 220), (224, 214, 194), (206, 186, 152), (190, 188, 182), (150, 122, 96))
"""Primed canvas: white, cream, ochre, grey, umber."""
PAPERS = ((244, 238, 224), (226, 232, 236), (238, 224, 206), (214, 226, 214), (60, 66, 84), (228, 206, 202))
"""Sheets behind an object that stands alone."""


def clouds(shape: tuple[int, int], size: float, rng: np.random.Generator, octaves: int = 3) -> Singles:
    """Smooth noise `[H, W]` of mean 0 and standard deviation 1.

    Args:
        shape: height and width.
        size: of the largest blobs, in pixels. Each further octave is half as large and half as strong.
        rng: draws the noise.
        octaves: number of scales.
    """
    height, width = shape
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        step = max(size / 2**octave, 1)
        small = rng.standard_normal((int(height / step) + 3, int(width / step) + 3), np.float32)
        if step > 1:
            # a drawn offset, so that the grid doesn't begin at the corner
            offset = rng.random(2, np.float32)
            matrix = np.array([[1 / step, 0, 0.5 + offset[0]], [0, 1 / step, 0.5 + offset[1]]], np.float32)
            flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
            small = np.asarray(
                cv2.warpAffine(small, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT)
            )
        total += small[:height, :width] * np.float32(0.5**octave)
    deviation = float(total.std())
    return np.asarray((total - total.mean()) / np.float32(deviation or 1))


def relief(surface: Singles, angle: float, depth: float) -> Singles:
    """Light a surface from one side, `[H, W]`: 1 where it is level, more on slopes that face the light.

    Args:
        surface: heights in pixels.
        angle: the direction that the light comes from, in degrees clockwise from the right.
        depth: multiplies the heights.
    """
    x, y = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    kernel = np.array([[0, y, 0], [x, 0, -x], [0, -y, 0]], np.float32) * np.float32(depth / 2)
    slope = np.asarray(cv2.filter2D(surface, cv2.CV_32F, kernel, borderType=cv2.BORDER_REFLECT))
    return np.asarray(1 + slope / np.sqrt(1 + slope * slope))


def paper(shape: tuple[int, int], unit: float, rng: np.random.Generator) -> Singles:
    """The tooth of rough paper: heights `[H, W]` of mean 0 and standard deviation 1."""
    return clouds(shape, 5 * unit, rng, 3)


def weave(shape: tuple[int, int], pitch: float, rng: np.random.Generator) -> Singles:
    """Heights `[H, W]` of plain weave in [-1, 1]: threads `pitch` pixels apart, which go over and under each other."""
    height, width = shape
    bend = clouds(shape, 12 * pitch, rng, 1) * np.float32(0.25)
    step = np.float32(np.pi / pitch)
    columns = np.arange(width, dtype=np.float32)[None] * step + bend * np.float32(np.pi)
    rows = np.arange(height, dtype=np.float32)[:, None] * step + bend * np.float32(np.pi)
    (up, over), (down, under) = (cv2.polarToCart(np.ones_like(bend), angle) for angle in (columns, rows))
    return np.asarray(1 - 2 * np.where(up * down > 0, np.abs(over), np.abs(under)), np.float32)


def on_ground(image: Pixels, subject: Pixels, colour: Sequence[int]) -> Pixels:
    """A picture whose subject stands on one colour. Nothing else of it is left."""
    alpha = (subject.astype(np.float32) * np.float32(1 / 255))[..., None]
    return np.asarray(image * alpha + np.asarray(colour, np.float32) * (1 - alpha) + 0.5, np.uint8)


def spread(image: Pixels, subject: Pixels, reach: float) -> Pixels:
    """A picture whose subject's colours go on beyond its outline, so that a brush at the edge finds no other colour.

    Args:
        image: RGB `[H, W, 3]`. Nothing of it is left where the subject is 0.
        subject: 0 to 255, `[H, W]`.
        reach: pixels within which the nearest colours count most; further away it is their mean.
    """
    alpha = (subject.astype(np.float32) * np.float32(1 / 255))[..., None]
    premultiplied = np.concatenate([image * alpha, alpha], axis=2)
    near = blurred_widely(premultiplied, reach)
    share = near[..., 3:]
    mean = premultiplied[..., :3].sum(axis=(0, 1)) / max(float(alpha.sum()), 1e-6)
    beyond = (near[..., :3] + 1e-3 * mean) / (share + 1e-3)
    sure = np.clip(2 * alpha - 1, 0, 1)
    return np.asarray(np.clip(image * sure + beyond * (1 - sure) + 0.5, 0, 255), np.uint8)


def ragged(subject: Pixels, unit: float, rng: np.random.Generator) -> Singles:
    """A subject's mask with an outline as a brush leaves it: off by up to a unit or so. `[H, W]` in [0, 1]."""
    shape = subject.shape[0], subject.shape[1]
    soft = cv2.GaussianBlur(subject, (0, 0), max(1.2 * unit, 0.5)).astype(np.float32) * np.float32(1 / 255)
    edge = 0.1 * np.clip(clouds(shape, 8 * unit, rng, 2), -2, 2)
    return np.asarray(np.clip((soft - 0.45 + edge) * 5 + 0.5, 0, 1), np.float32)


def tone(image: Pixels, key: float, saturation: float, where: Bools | None = None) -> Pixels:
    """A picture at another mean lightness and saturation.

    Args:
        image: RGB `[H, W, 3]`.
        key: the mean luminance to approach, in (0, 1). Dark pictures become lighter by at most a gamma of 0.55.
        saturation: factor of the distance to grey.
        where: pixels that the mean is taken over; None for all.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    mean = float(grey.mean() if where is None or not where.any() else grey[where].mean()) / 255
    gamma = np.clip(np.log(key) / np.log(np.clip(mean, 0.02, 0.98)), 0.55, 1.25)
    curve = np.rint(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)
    lighter = cv2.LUT(image, curve)
    back = (1 - saturation) * np.array([[0.299, 0.587, 0.114]] * 3)
    return np.asarray(cv2.transform(lighter, (back + saturation * np.eye(3)).astype(np.float32)))


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """A number to be recorded."""
    return round(float(rng.uniform(low, high)), 3)


def smoothstep(values: Singles, low: float, high: float) -> Singles:
    """0 up to `low`, 1 from `high` on, smooth in between."""
    share = np.clip((values - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)
