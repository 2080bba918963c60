"""A filter against noise, which takes a mark for noise: median, bilateral, non-local means, wavelet shrinkage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import cv2
import numpy as np

from variorum.generators.watermark.watermarking.kinds import Kind, OfAKind
from variorum.generators.watermark.watermarking.shrinkage import shrunk
from variorum.schemas.watermark import Attacked

if TYPE_CHECKING:
    from variorum.arrays import Pixels

REACH = 5
"""Pixels around each that the bilateral filter looks at."""
PATCH, SEARCH = 5, 15
"""Sides in pixels of the patches that non-local means compares, and of the window that it looks for them in."""


def median(image: Pixels, reach: float, rng: np.random.Generator) -> Attacked:
    """The median of each channel over a square that reaches this many pixels to each side."""
    return Attacked(np.asarray(cv2.medianBlur(image, 2 * int(reach) + 1)))


def bilateral(image: Pixels, levels: float, rng: np.random.Generator) -> Attacked:
    """A mean of pixels nearby with similar colours; `levels` is the deviation of the weights in colour."""
    return Attacked(np.asarray(cv2.bilateralFilter(image, 2 * REACH + 1, levels, REACH / 2)))


def non_local_means(image: Pixels, levels: float, rng: np.random.Generator) -> Attacked:
    """A mean of pixels with similar surroundings (Buades et al., CVPR 2005), in Lab; `levels` is OpenCV's h."""
    return Attacked(np.asarray(cv2.fastNlMeansDenoisingColored(image, None, levels, levels, PATCH, SEARCH)))


def wavelet(image: Pixels, levels: float, rng: np.random.Generator) -> Attacked:
    """Wavelet coefficients that noise of this deviation may have made are shrunk."""
    return Attacked(shrunk(image, levels))


class Denoising(OfAKind):
    """Removes a mark as if it were noise. `kind` is median, bilateral, non_local_means or wavelet."""

    family: ClassVar[str] = "denoising"
    kinds: ClassVar[Mapping[str, Kind]] = {
        "median": Kind("reach", 0, 5, median, (1, 100), whole=True),
        "bilateral": Kind("levels", 0, 100, bilateral, (0, 1000)),
        "non_local_means": Kind("levels", 0, 20, non_local_means, (0, 100)),
        "wavelet": Kind("levels", 0, 25, wavelet, (0, 100)),
    }

    kind: str = "median"
    """Which filter; it is also its name in variants."""
