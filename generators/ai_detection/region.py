"""Draw a region of a frame and put a picture into another one there, so that nothing outside of it changes.

Regions lie as often at each place of the frame as at any other: a detector that knows where models work, and nothing
of what they make, must not find them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels, Singles

AREA = 0.1, 0.4
"""Least and largest share of the frame."""
COARSE = 0.2
"""Deviation of the blur that shapes regions, as a share of the side: one to three blobs."""
FEATHER = 1.5
"""Deviation of the blur of a region's edge, in pixels."""
FAINT = 0.02
"""Weight under which nothing of a picture is left; above one minus it nothing of the other."""


def drawn(rng: np.random.Generator, height: int, width: int) -> Bools:
    """A region `[height, width]` of 10 to 40 % of the frame: where smoothed noise, which has no border, is largest."""
    down, across = np.fft.fftfreq(height)[:, None] * height, np.fft.rfftfreq(width)[None] * width
    smooth = np.exp(-2 * (np.pi * COARSE) ** 2 * (down**2 + across**2))
    field = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(height, width))) * smooth, (height, width))
    number = round(rng.uniform(*AREA) * field.size)
    region = np.zeros(field.size, bool)
    region[np.argsort(-field, axis=None, kind="stable")[:number]] = True
    return region.reshape(field.shape)


def put_into(original: Pixels, made: Pixels, region: Bools) -> Pixels:
    """`made` inside the region, `original` elsewhere, with a soft edge."""
    weight: Singles = cv2.GaussianBlur(region.astype(np.float32), (0, 0), FEATHER)[..., None]
    weight = np.where(weight < FAINT, np.float32(0), np.where(weight > 1 - FAINT, np.float32(1), weight))
    return np.asarray(np.rint(original + weight * (made.astype(np.float32) - original)), np.uint8)
