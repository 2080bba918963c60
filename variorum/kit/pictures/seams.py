"""Measures whether a picture can be repeated side by side: its seams, its slow changes, what recurs, how even it is.

They look at pixels alone and know nothing of what people see. No part of this is the learned metric TexTile
(Rodriguez-Pardo et al., CVPR 2024, arXiv 2403.12961).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from variorum.kit.pictures.thumbnails import luma

if TYPE_CHECKING:
    from variorum.arrays import Floats, Ints, Pixels, Singles

NEAR = 8
"""Pairs of neighbouring columns on either side with which the seam is compared."""
LEAST = 0.5
"""Grey levels, or units of lightness; smaller differences between neighbouring columns are rounding."""
COARSE = 8
"""Width in pixels of the strips whose means are compared."""
WORKING = 256
"""Longer side in pixels on which repetition is measured."""
LAG = 16
"""Shifts of less than a side divided by this aren't counted as repetition."""
SLOW = 8
"""A side divided by this is the deviation of the blur that is taken away before repetition is measured."""
BLOCKS = 6
"""Blocks per side among which `unevenness` is measured."""
NOISE = 2.0
"""Units of CIELAB that colours deviate within a block by noise; flat blocks count as alike."""
ODD = 60.0
"""Distance in the plane of a* and b* between the mean colours of a block and of the usual one that counts as 1."""


def seam_ratio(image: Pixels) -> float:
    """Measure how much a picture jumps where it would meet its own copy, compared with the jumps beside it.

    The mean absolute difference between the first and the last column, divided by the median of those between the 8
    pairs of neighbouring columns on either side; the same for rows; the larger one. About 1 for a picture that
    continues into its copy, 0 for one that is mirrored there, above 2 for most cuts out of a photograph.

    Args:
        image: RGB `[H, W, 3]`.
    """
    return max(_seam(image), _seam(np.swapaxes(image, 0, 1)))


def _seam(image: Pixels) -> float:
    """Of columns."""
    width = image.shape[1]
    near = min(NEAR + 1, width)
    left, right = (np.ascontiguousarray(part, np.float32) for part in (image[:, :near], image[:, width - near :]))
    pairs = [np.abs(np.diff(part, axis=1)).mean(axis=(0, 2)) for part in (left, right)]
    usual = float(np.median(np.concatenate(pairs))) if near > 1 else 0.0
    return float(np.abs(left[:, 0] - right[:, -1]).mean()) / max(usual, LEAST)


def border_step(image: Pixels) -> float:
    """Grey levels by which a picture's light jumps at its border more than anywhere inside; the larger axis.

    The means of strips of 8 pixels are compared: the step between the first and the last strip, less the largest step
    between neighbouring strips. Light that falls off from one side to the other gives high values, and shows as a grid
    when the picture is repeated. At most 0 for a picture that continues into its copy.

    Args:
        image: RGB `[H, W, 3]`.
    """
    return max(_step(image), _step(np.swapaxes(image, 0, 1)))


def _step(image: Pixels) -> float:
    """Of columns; 0 where there are fewer than two strips."""
    number = image.shape[1] // COARSE
    if number < 2:
        return 0.0
    lines = image.mean(axis=0, dtype=np.float32)
    strips = lines[: number * COARSE].reshape(number, COARSE, -1).mean(axis=1)
    strips[-1] = lines[-COARSE:].mean(axis=0)
    inside = np.abs(np.diff(strips, axis=0)).mean(axis=1).max()
    return float(np.abs(strips[0] - strips[-1]).mean() - inside)


def repetition(image: Pixels) -> float:
    """The highest peak of a picture's autocorrelation beside the one at no shift, in [0, 1].

    Near 1 for a regular pattern such as a chessboard. Slow changes are taken away first.

    Args:
        image: RGB `[H, W, 3]`.
    """
    grey = luma(image)
    scale = WORKING / max(grey.shape)
    if scale < 1:
        size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
        grey = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA))
    fine = grey.astype(np.float32)
    fine -= cv2.GaussianBlur(fine, (0, 0), min(grey.shape) / SLOW, borderType=cv2.BORDER_REFLECT)
    power = np.abs(np.fft.rfft2(fine)) ** 2
    power[0, 0] = 0
    found = np.fft.irfft2(power, s=grey.shape)
    if found[0, 0] <= LEAST**2 * grey.size:
        return 0.0
    found = np.fft.fftshift(found / found[0, 0]).astype(np.float32)
    around = np.asarray(cv2.copyMakeBorder(found, 1, 1, 1, 1, cv2.BORDER_WRAP))
    peaks = found >= cv2.dilate(around, np.ones((3, 3), np.uint8))[1:-1, 1:-1]
    rows, columns = (np.abs(np.arange(side) - side // 2) for side in grey.shape)
    far = (rows[:, None] >= grey.shape[0] / LAG) | (columns >= grey.shape[1] / LAG)
    return float(np.clip(found[peaks & far].max(initial=0.0), 0.0, 1.0))


class Evenness(NamedTuple):
    """Likeness of the parts of a picture, and how much there is in them.

    Attributes:
        unevenness: 0 where all parts are alike, up to about 0.5 in a texture, more in a scene.
        contrast: deviation of the lightness within half of the parts at least, in units of CIELAB, 0 to 50.
    """

    unevenness: float
    contrast: float


def evenness(image: Pixels) -> Evenness:
    """Measure how alike 6 x 6 blocks of an RGB picture `[H, W, 3]` are.

    `unevenness` is the sum of the deviations among blocks of two things: of the logarithms of the deviation of the
    colours within, in CIELAB, and of the directions of edges. To it is added how far the hue of the oddest block is
    from the usual one, in units of ODD, as other things intrude at borders.
    """
    uneven, contrast = evenness_at(image, np.zeros(1, np.int64), np.zeros(1, np.int64), image.shape[:2])
    return Evenness(float(uneven[0]), float(contrast[0]))


def evenness_at(image: Pixels, tops: Ints, lefts: Ints, size: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Unevenness and contrast `[N]` of windows of one size in an RGB picture `[H, W, 3]`.

    `tops` and `lefts` `[N]` are their left upper corners.
    """
    rows, columns = (
        start[:, None] + np.rint(np.arange(BLOCKS + 1) * (side / BLOCKS)).astype(np.int64)
        for start, side in zip((tops, lefts), size, strict=True)
    )
    pixels = np.maximum(np.diff(rows, axis=1)[:, :, None] * np.diff(columns, axis=1)[:, None, :], 1)

    def means(layer: Singles) -> Floats:
        corners = cv2.integral(layer, sdepth=cv2.CV_64F)[rows[:, :, None], columns[:, None, :]]
        return np.asarray(np.diff(np.diff(corners, axis=1), axis=2) / pixels)

    lab = cv2.split(cv2.cvtColor(image.astype(np.float32) * np.float32(1 / 255), cv2.COLOR_RGB2LAB))
    colours = [means(one) for one in lab]
    lightness, *others = (np.maximum(means(one * one) - mean**2, 0) for one, mean in zip(lab, colours, strict=True))
    within = lightness + sum(others) + NOISE**2
    across, down = (cv2.Scharr(lab[0], cv2.CV_32F, *order, scale=1 / 32) for order in ((1, 0), (0, 1)))
    strength = means(across * across + down * down) + LEAST**2
    directions = means(across * across - down * down) / strength, means(2 * across * down) / strength
    hues = [one - np.median(one, axis=(1, 2), keepdims=True) for one in colours[1:]]
    oddest = np.hypot(*hues).max(axis=(1, 2))
    turning = np.hypot(*(one.std(axis=(1, 2)) for one in directions))
    uneven = np.log(within).std(axis=(1, 2)) / 2 + turning + oddest / ODD
    return uneven, np.sqrt(np.median(lightness, axis=(1, 2)))
