"""Five kinds of blur of ImageNet-C (Hendrycks & Dietterich, ICLR 2019, arXiv 1903.12261)."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from variorum.kit.corrupt.noise import random_bits
from variorum.kit.corrupt.outcome import Corrupted, Strength, rounded

if TYPE_CHECKING:
    from variorum.arrays import Array, Ints, Pixels, Singles

DIRECT = 121
"""Most elements of a kernel that OpenCV applies directly; it takes larger ones through a Fourier transform."""
FADED = 1e-4
"""Weights below this share of the whole are left out of a motion's kernel."""


def gaussian_blur(image: Pixels, strength: Strength, rng: np.random.Generator, scale: float) -> Corrupted:
    """`strength`: the standard deviation in pixels."""
    (sigma,) = strength
    return Corrupted(rounded(_smooth(image, sigma * scale)))


def defocus_blur(image: Pixels, strength: Strength, rng: np.random.Generator, scale: float) -> Corrupted:
    """The mean over a disk.

    `strength`: its radius in pixels, and the deviation of its soft edge, which stays at any scale, as it only takes off
    the pixels' corners.
    """
    kernel = _disk(strength[0] * scale, strength[1])
    if kernel.size <= DIRECT:
        return Corrupted(rounded(cv2.filter2D(image.astype(np.float32), -1, kernel)))
    return Corrupted(np.asarray(cv2.filter2D(image, -1, kernel)))


@lru_cache(maxsize=32)
def _disk(radius: float, soft: float) -> Singles:
    """The kernel of a disk, without rows of zeros around it.

    As published, the softening Gaussian takes the disk for reflected at the end of the array, which is 8 pixels from
    the centre, or as many as the radius: disks that reach it brighten the picture by 1 %.
    """
    reach = max(8, math.floor(radius))
    squares = np.arange(-reach, reach + 1) ** 2
    disk = (squares + squares[:, None] <= radius**2).astype(np.float32)
    side = 3 if radius <= 8 else 5
    kernel = np.asarray(cv2.GaussianBlur(disk / disk.sum(), (side, side), soft))
    used = np.flatnonzero(kernel[reach] > 1e-9)
    return np.ascontiguousarray(kernel[used[0] : used[-1] + 1, used[0] : used[-1] + 1])


def glass_blur(image: Pixels, strength: Strength, rng: np.random.Generator, scale: float) -> Corrupted:
    """Pixels scattered between two slight Gaussian blurs.

    `strength`: deviation of the blurs and reach of a pixel, both in pixels, and the number of rounds. The published
    program means to swap two pixels, but copies one over the other, row by row from the lower right, and so does this:
    each pixel becomes one that is -reach to reach - 1 columns and rows away, which may have been changed before it. The
    copies are followed for all pixels at once.
    """
    sigma, rounds = strength[0] * scale, int(strength[2])
    reach = max(1, round(strength[1] * scale))
    height, width = image.shape[:2]
    soft = rounded(_smooth(image, sigma))
    origin: Ints | None = None
    for _ in range(rounds):
        found = _scattered(height, width, reach, rng)
        origin = found if origin is None else np.take(origin, found)
    if origin is not None:
        soft = np.take(soft.reshape(-1, 3), origin, axis=0).reshape(image.shape)
    return Corrupted(rounded(_smooth(soft, sigma)))


def _scattered(height: int, width: int, reach: int, rng: np.random.Generator) -> Ints:
    """Where each pixel's value comes from after one round, `[H * W]`."""
    places = np.arange(height * width)
    if min(height, width) <= 2 * reach:
        return places
    inner = places.reshape(height, width)[reach + 1 : height - reach + 1, reach + 1 : width - reach + 1]
    across, down = ((random_bits(rng, (2, *inner.shape)).astype(np.uint32) * (2 * reach)) >> 16).astype(np.int64)
    source = places.copy()
    source.reshape(height, width)[reach + 1 : height - reach + 1, reach + 1 : width - reach + 1] += (
        (down - reach) * width + across - reach
    )
    # a source further on has its new value already: follow it to one that still had its old one
    last = np.where(source > places, source, places)
    while True:
        further = np.take(last, last)
        if np.array_equal(further, last):
            return np.take(source, last)
        last = further


def motion_blur(image: Pixels, strength: Strength, rng: np.random.Generator, scale: float) -> Corrupted:
    """A motion at an angle of -45 to 45 degrees. `strength`: radius and deviation in pixels.

    The motion goes to one side, as ImageMagick's does, so what is seen moves by its mean length.
    """
    radius, sigma = strength
    angle = float(rng.uniform(-45, 45))
    pixels, (x, y) = moved(image.astype(np.float32), radius * scale, sigma * scale, angle)
    origins = grid(*image.shape[:2])
    origins += np.array([x, y], np.float32)
    return Corrupted(rounded(pixels), {"angle": round(angle, 3)}, origins)


def moved(values: Array, radius: float, sigma: float, angle: float) -> tuple[Singles, tuple[float, float]]:
    """A float32 picture blurred by motion, and how far away its values come from on average, (x, y) in pixels.

    As ImageMagick's motion blur: each pixel is the mean of those in one direction, up to 2 * radius away, with the
    weights of one side of a Gaussian; positions are rounded to pixels, and the border's values go on beyond it.
    """
    steps = np.arange(2 * math.ceil(radius) + 1)
    weights = np.exp(-(steps**2) / (2 * max(sigma, 1e-6) ** 2))
    weights /= weights.sum()
    steps, weights = steps[weights > FADED], weights[weights > FADED]
    weights /= weights.sum()
    turn = math.radians(angle)
    columns = np.ceil(steps * math.cos(turn) - 0.5).astype(int)
    rows = np.ceil(steps * math.sin(turn) - 0.5).astype(int)
    left, top = max(0, -columns.min()), max(0, -rows.min())
    height, width = values.shape[:2]
    border = cv2.copyMakeBorder(
        values, top, max(0, rows.max()), left, max(0, columns.max()), borderType=cv2.BORDER_REPLICATE
    )
    total = None
    for part in _parts(columns, rows):
        x, y = columns[part].min(), rows[part].min()
        kernel = np.zeros((rows[part].max() - y + 1, columns[part].max() - x + 1), np.float32)
        np.add.at(kernel, (rows[part] - y, columns[part] - x), weights[part])
        high, wide = kernel.shape
        window = border[top + y : top + y + height + high - 1, left + x : left + x + width + wide - 1]
        found = cv2.filter2D(window, cv2.CV_32F, kernel, anchor=(0, 0))[:height, :width]
        total = found if total is None else cv2.add(total, found)
    return np.asarray(total), (float(weights @ columns), float(weights @ rows))


def _parts(columns: Ints, rows: Ints) -> list[slice]:
    """Stretches of a line that fit kernels of at most DIRECT elements."""
    parts, first = [], 0
    for last in range(1, len(columns) + 1):
        if last < len(columns):
            area = (np.ptp(columns[first : last + 1]) + 1) * (np.ptp(rows[first : last + 1]) + 1)
        if last == len(columns) or area > DIRECT:
            parts.append(slice(first, last))
            first = last
    return parts


def zoom_blur(image: Pixels, strength: Strength, rng: np.random.Generator, scale: float) -> Corrupted:
    """The mean of the picture and of its middle at several magnifications, the first of them 1.

    `strength`: as `numpy.arange` takes them, the end of the magnifications, and the step from one to the next. What is
    seen is as much larger as the mean magnification.
    """
    height, width = image.shape[:2]
    factors = np.arange(1, *strength)
    total, middle = image.astype(np.float32), np.array([[1.0, 0, 0], [0, 1, 0]])
    cv2.accumulate(image, total)  # the first factor
    middle *= 2
    for factor in factors[1:]:
        matrix = _zoomed(height, width, float(factor))
        cv2.accumulate(
            cv2.warpAffine(
                image,
                matrix,
                (width, height),
                flags=cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            ),
            total,
        )
        middle += matrix
    number = len(factors) + 1
    total *= np.float32(1 / number)
    origins = cv2.transform(grid(height, width), middle / number)
    return Corrupted(rounded(total), {}, origins)


def _zoomed(height: int, width: int, factor: float) -> Array:
    """The map from the enlarged middle to the picture, `[2, 3]`.

    As published: the middle is cut to whole pixels, its corner pixels become corner pixels, and what is too much is cut
    evenly.
    """
    out = np.zeros((2, 3))
    for axis, side in enumerate((width, height)):
        cut = math.ceil(side / factor)
        start, large = (side - cut) // 2, round(cut * factor)
        step = (cut - 1) / max(large - 1, 1)
        out[axis, axis] = step
        out[axis, 2] = start + (large - side) // 2 * step
    return out


def grid(height: int, width: int) -> Singles:
    """(x, y) of each pixel, `[H, W, 2]`."""
    out = np.empty((height, width, 2), np.float32)
    out[..., 0] = np.arange(width)
    out[..., 1] = np.arange(height)[:, None]
    return out


def _smooth(image: Pixels, sigma: float) -> Array:
    """The picture through a Gaussian that ends at four deviations; float32, or the picture itself if that is narrow."""
    side = 2 * int(4 * sigma + 0.5) + 1
    if side == 1:
        return image
    return np.asarray(cv2.GaussianBlur(image.astype(np.float32), (side, side), sigma, borderType=cv2.BORDER_REPLICATE))
