"""Distortions that any picture may meet: turns, crops, light, blur, noise, JPEG.

Eight are those of WAVES (An et al., ICML 2024, arXiv 2401.08573) with its amounts; crop, stretch and flip are those of
Saberi et al. (ICLR 2024, arXiv 2310.00076); shift and rescale are this project's. They differ from the corruptions of
the same names: ImageNet-C brightens by adding to the value and lowers contrast, where WAVES multiplies and raises it.
What is drawn is drawn before the amount is used, so that strengths differ in the amount alone.

Pixels are taken between positions by linear interpolation, where WAVES takes the nearest when it turns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageFilter

from variorum.generators.watermark.watermarking.kinds import Kind
from variorum.kit.corrupt.blur import grid
from variorum.kit.corrupt.digital import as_jpeg
from variorum.kit.corrupt.noise import gaussian_noise
from variorum.schemas.watermark import Attacked

if TYPE_CHECKING:
    from variorum.arrays import Floats, Pixels, Singles

OUTSIDE = -1e4
"""As an origin: no pixel of the picture before."""


def rotation(image: Pixels, degrees: float, rng: np.random.Generator) -> Attacked:
    """Turned about the middle, to the left or the right; the corners become black."""
    angle = degrees if rng.random() < 0.5 else -degrees
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    return _warped(image, cv2.invertAffineTransform(turn), {"degrees": round(angle, 3)}, cv2.BORDER_CONSTANT)


def resized_crop(image: Pixels, area: float, rng: np.random.Generator) -> Attacked:
    """Cut to a part of this area and the same shape somewhere in the picture, and enlarged."""
    side = math.sqrt(area)
    across, down = (1 - side) * rng.random(2)
    return _cut(image, across, down, side, side)


def centre_crop(image: Pixels, side: float, rng: np.random.Generator) -> Attacked:
    """Cut to the middle, which has this share of each side, and enlarged."""
    return _cut(image, (1 - side) / 2, (1 - side) / 2, side, side)


def stretch(image: Pixels, width: float, rng: np.random.Generator) -> Attacked:
    """Cut to the middle columns, this share of them, and stretched to the old width."""
    return _cut(image, (1 - width) / 2, 0, width, 1)


def shift(image: Pixels, pixels: float, rng: np.random.Generator) -> Attacked:
    """Moved by whole pixels in a random direction; the border is mirrored into the gap."""
    direction = 2 * math.pi * rng.random()
    across, down = round(pixels * math.cos(direction)), round(pixels * math.sin(direction))
    matrix = np.array([[1, 0, -across], [0, 1, -down]], np.float64)
    return _warped(image, matrix, {"across": across, "down": down}, cv2.BORDER_REFLECT_101)


def flip(image: Pixels, amount: float, rng: np.random.Generator) -> Attacked:
    """Left becomes right. It has no amount: all strengths are the same."""
    origins = grid(*image.shape[:2])
    return Attacked(np.ascontiguousarray(image[:, ::-1]), {}, np.ascontiguousarray(origins[:, ::-1]))


def erasing(image: Pixels, area: float, rng: np.random.Generator) -> Attacked:
    """A black rectangle of this area and the picture's shape somewhere in the picture."""
    height, width = image.shape[:2]
    high, wide = round(height * math.sqrt(area)), round(width * math.sqrt(area))
    # its middle stays where it is at all strengths, as far as the rectangle fits
    middle_y, middle_x = rng.random(2) * (height, width)
    top = int(np.clip(round(middle_y - high / 2), 0, height - high))
    left = int(np.clip(round(middle_x - wide / 2), 0, width - wide))
    pixels, origins = image.copy(), grid(height, width)
    pixels[top : top + high, left : left + wide] = 0
    origins[top : top + high, left : left + wide] = OUTSIDE
    return Attacked(pixels, {"left": left, "top": top}, origins)


def rescale(image: Pixels, side: float, rng: np.random.Generator) -> Attacked:
    """Made smaller, to this share of each side, and enlarged again."""
    height, width = image.shape[:2]
    small = max(1, round(width * side)), max(1, round(height * side))
    soft = Image.fromarray(image).resize(small, Image.Resampling.BILINEAR)
    return Attacked(np.asarray(soft.resize((width, height), Image.Resampling.BILINEAR)))


def brightness(image: Pixels, factor: float, rng: np.random.Generator) -> Attacked:
    """All values times a factor."""
    return _levels(image, 0.0, factor)


def contrast(image: Pixels, factor: float, rng: np.random.Generator) -> Attacked:
    """The difference of each value from the mean luminance times a factor, as Pillow's."""
    mean = round(float(cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0]))
    return _levels(image, mean, factor)


def blur(image: Pixels, radius: float, rng: np.random.Generator) -> Attacked:
    """Pillow's Gaussian blur, whose radius is the deviation in pixels."""
    return Attacked(np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius))))


def noise(image: Pixels, deviation: float, rng: np.random.Generator) -> Attacked:
    """Normal noise, its deviation a share of the range; that of the corruptions, so a grey picture stays grey."""
    return Attacked(gaussian_noise(image, (deviation,), rng, 1.0).image)


def jpeg(image: Pixels, quality: float, rng: np.random.Generator) -> Attacked:
    """Stored as a JPEG with chroma at half the resolution, and read again."""
    return Attacked(as_jpeg(image, int(quality)))


KINDS: Mapping[str, Kind] = {
    "rotation": Kind("degrees", 0, 45, rotation, (0, 180)),
    "resized_crop": Kind("area", 1, 0.5, resized_crop, (0.01, 1)),
    "erasing": Kind("area", 0, 0.25, erasing),
    "brightness": Kind("factor", 1, 2, brightness, (0.05, 20)),
    "contrast": Kind("factor", 1, 2, contrast, (0.05, 20)),
    "blur": Kind("radius", 0, 20, blur, (0, 100)),
    "noise": Kind("deviation", 0, 0.1, noise),
    "jpeg": Kind("quality", 90, 10, jpeg, (1, 100), whole=True),
    "centre_crop": Kind("side", 1, 0.5, centre_crop, (0.1, 1)),
    "stretch": Kind("width", 1, 0.5, stretch, (0.1, 1)),
    "flip": Kind("", 0, 0, flip),
    "shift": Kind("pixels", 0, 16, shift, (0, 1024)),
    "rescale": Kind("side", 1, 0.25, rescale, (0.01, 1)),
}
"""By name. The first eight are those of WAVES."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "geometric": ("rotation", "resized_crop", "erasing"),
    "photometric": ("brightness", "contrast"),
    "degradation": ("blur", "noise", "jpeg"),
}
"""WAVES' combinations, each in the order in which they are applied."""


MOVING = frozenset({"rotation", "resized_crop", "centre_crop", "stretch", "flip", "shift"})
"""Kinds that move the whole picture: PSNR to the picture before says nothing of how such a one looks."""


def followed(first: Singles | None, second: Singles | None) -> Singles | None:
    """Where pixels come from after two steps, from the origins of each; None if neither moved any."""
    if first is None or second is None:
        return second if first is None else first
    height, width = first.shape[:2]
    nearest = np.floor(second + 0.5)
    x, y = nearest[..., 0].astype(np.int64), nearest[..., 1].astype(np.int64)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    found = first[y.clip(0, height - 1), x.clip(0, width - 1)] + (second - nearest)
    return np.where(inside[..., None], found, np.float32(OUTSIDE))


def _cut(image: Pixels, left: float, top: float, wide: float, high: float) -> Attacked:
    """A part given by shares of the sides, enlarged to the whole."""
    height, width = image.shape[:2]
    matrix = np.array([[wide, 0, left * width + wide / 2 - 0.5], [0, high, top * height + high / 2 - 0.5]])
    drawn = {"left": round(left * width, 2), "top": round(top * height, 2)}
    return _warped(image, matrix, drawn, cv2.BORDER_REPLICATE)


def _warped(image: Pixels, matrix: Floats, drawn: Mapping[str, float], border: int) -> Attacked:
    """The picture whose pixels come from where a matrix `[2, 3]` maps them, from centres to centres."""
    height, width = image.shape[:2]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    pixels = cv2.warpAffine(image, matrix, (width, height), flags=flags, borderMode=border)
    origins = np.empty((height, width, 2), np.float32)
    for axis, (across, down, start) in enumerate(matrix.tolist()):
        rows = (down * np.arange(height) + start).astype(np.float32)
        np.add((across * np.arange(width)).astype(np.float32), rows[:, None], out=origins[..., axis])
    return Attacked(np.asarray(pixels), drawn, origins)


def _levels(image: Pixels, middle: float, factor: float) -> Attacked:
    """Each value's difference from the middle times a factor."""
    levels = (middle + (np.arange(256) - middle) * factor).clip(0, 255)
    return Attacked(np.asarray(cv2.LUT(image, np.rint(levels).astype(np.uint8))))
