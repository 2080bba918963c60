"""Frames as ImageNet-C's: the short side is resized to 8/7 of the frame, and the middle is cut out."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from variorum.annotations import check_masks, moved
from variorum.pixels import MAX_PIXELS, UndecodableImage, decode_mask, transparent
from variorum.schemas.annotations import Annotations

if TYPE_CHECKING:
    from variorum.arrays import Floats, Pixels
    from variorum.schemas.sample import Sample

LARGER = 256 / 224
"""Short side before it is cut, as a share of the frame."""
MIN_SIDE = 32
"""Pixels of the shorter side of a picture that is used."""


class Unusable(ValueError):
    """A picture that can't be used. `reason` is one word for a row of the edition's table."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Framed(NamedTuple):
    """A picture in its frame, with what belongs to it.

    Attributes:
        image: RGB `[H, W, 3]` uint8.
        mask: its `mask.png`, `[H, W]`; None without one.
        annotations: its own, moved along.
    """

    image: Pixels
    mask: Pixels | None
    annotations: Annotations


def usable(sample: Sample, side: int = MIN_SIDE) -> Pixels:
    """A sample's picture, for techniques that take it at its own size.

    Raises:
        Unusable: `no_picture`, `too_small`, or `alpha`: its file has transparent pixels, and what is behind them isn't
            known. A reader lays them over white.
    """
    image, kept = _large(sample, side), sample.encoded
    if kept is not None and kept.pixels is image and kept.ending != "jpg" and transparent(kept.data):
        raise Unusable("alpha", "the file has transparent pixels; lay it over a ground of your choice first")
    return image


def framed(sample: Sample, frame: int | None, *, larger: float = LARGER, least: int = MIN_SIDE) -> Framed:
    """A sample's picture in a square frame of this side, or at its own size for None.

    Args:
        sample: with a decoded picture.
        frame: side in pixels.
        larger: short side before the frame is cut from its middle, as a share of the frame.
        least: pixels of the shorter side of a picture that is used.

    Raises:
        Unusable: there is no picture, it is too small or too long, or its mask doesn't fit it.
    """
    image = _large(sample, least)
    height, width = size = image.shape[:2]
    mask = given_mask(sample, height, width)
    if frame is None:
        return Framed(image, mask, sample.annotations)
    short = round(frame * larger)
    high, wide = (short if side == min(size) else int(short * side / min(size)) for side in size)
    if high * wide > MAX_PIXELS:
        raise Unusable("too_long", f"{width} x {height} pixels; resized to {wide} x {high}, the limit is {MAX_PIXELS}")
    top, left = (round((side - frame) / 2) for side in (high, wide))
    matrix: Floats = np.array([[wide / width, 0, -left], [0, high / height, -top]])

    def cut(pixels: Pixels) -> Pixels:
        small = Image.fromarray(pixels).resize((wide, high), Image.Resampling.BILINEAR)
        return np.ascontiguousarray(np.asarray(small)[top : top + frame, left : left + frame])

    objects = moved(sample.annotations, matrix, (height, width), (frame, frame))
    return Framed(cut(image), None if mask is None else cut(mask), objects)


def given_mask(sample: Sample, height: int, width: int) -> Pixels | None:
    """A sample's `mask.png`, `[height, width]`; None without one.

    Raises:
        Unusable: it can't be read, or it or the mask of an object doesn't fit a picture of this size.
    """
    mask = sample.extras.get("mask.png")
    try:
        mask = decode_mask(mask) if isinstance(mask, bytes) else mask
        check_masks(sample.annotations, height, width)
    except UndecodableImage as error:
        raise Unusable(error.reason, f"mask.png: {error}") from None
    except ValueError as error:
        raise Unusable("bad_mask", str(error)) from None
    if mask is not None and mask.shape[:2] != (height, width):
        raise Unusable("size_mismatch", f"mask.png is {list(mask.shape[:2])}, the picture {[height, width]}")
    return mask


def _large(sample: Sample, side: int) -> Pixels:
    """The picture, if there is one and its shorter side has this many pixels; else raise Unusable."""
    if isinstance(sample.image, bytes):
        raise Unusable("no_picture", "there are no pixels to change")
    height, width = sample.image.shape[:2]
    if min(height, width) < side:
        raise Unusable("too_small", f"{width} x {height} pixels, the shorter side must be {side}")
    return sample.image
