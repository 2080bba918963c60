"""The kinds of corruption, their strengths at severities 1 to 5, and one function that applies any of them.

The constants are those of ImageNet-C for pictures of 224 pixels and of CIFAR-10-C for pictures of 32 pixels (Hendrycks
& Dietterich, ICLR 2019, arXiv 1903.12261; github.com/hendrycks/robustness, Apache-2.0), and those of ImageNet-C-bar.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import cv2
import numpy as np

from variorum.kit.corrupt import blur, colour, digital, noise, spatter, weather
from variorum.kit.corrupt.bar import BAR
from variorum.kit.corrupt.outcome import (
    Corrupt,
    Corrupted,
    Family,
    Kind,
    Strength,
    in_three,
    is_grey,
)

if TYPE_CHECKING:
    from variorum.arrays import Pixels

__all__ = ["COMMON", "EXTRA", "KINDS", "SEVERITIES", "Corrupt", "Corrupted", "Family", "Kind", "Strength", "corrupt"]

SEVERITIES = (1, 2, 3, 4, 5)
SMALL = 64
"""Pictures whose shorter side, in pixels, is below this get the strengths of CIFAR-10-C, for kinds that have them."""
LARGE_SIDE, SMALL_SIDE = 224, 32
"""Pixels of the pictures that the two sets of strengths are for."""


def _one(*values: float) -> tuple[Strength, ...]:
    """Strengths of one constant each."""
    return tuple((value,) for value in values)


def _times(side: int, *values: Strength) -> tuple[Strength, ...]:
    """Strengths that are given as shares of a side."""
    return tuple(tuple(side * value for value in strength) for strength in values)


def _ends(step: Iterable[float], *ends: float) -> tuple[Strength, ...]:
    """Ends of ranges, each with its step."""
    return tuple(zip(ends, step, strict=True))


KINDS: Mapping[str, Kind] = {
    "gaussian_noise": Kind(
        "noise",
        noise.gaussian_noise,
        _one(0.08, 0.12, 0.18, 0.26, 0.38),
        _one(0.04, 0.06, 0.08, 0.09, 0.10),
    ),
    "shot_noise": Kind("noise", noise.shot_noise, _one(60, 25, 12, 5, 3), _one(500, 250, 100, 75, 50)),
    "impulse_noise": Kind(
        "noise",
        noise.impulse_noise,
        _one(0.03, 0.06, 0.09, 0.17, 0.27),
        _one(0.01, 0.02, 0.03, 0.05, 0.07),
    ),
    "defocus_blur": Kind(
        "blur",
        blur.defocus_blur,
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    ),
    "glass_blur": Kind(
        "blur",
        blur.glass_blur,
        ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    ),
    "motion_blur": Kind(
        "blur",
        blur.motion_blur,
        ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
        ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    ),
    "zoom_blur": Kind(
        "blur",
        blur.zoom_blur,
        _ends((0.01, 0.01, 0.02, 0.02, 0.03), 1.11, 1.16, 1.21, 1.26, 1.31),
        _ends((0.01,) * 5, 1.06, 1.11, 1.16, 1.21, 1.26),
    ),
    "snow": Kind(
        "weather",
        weather.snow,
        (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
    ),
    "frost": Kind(
        "weather",
        weather.frost,
        ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
        ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    ),
    "fog": Kind(
        "weather",
        weather.fog,
        ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
        ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    ),
    "brightness": Kind("digital", colour.brightness, _one(0.1, 0.2, 0.3, 0.4, 0.5), _one(0.05, 0.1, 0.15, 0.2, 0.3)),
    "contrast": Kind("digital", digital.contrast, _one(0.4, 0.3, 0.2, 0.1, 0.05), _one(0.75, 0.5, 0.4, 0.3, 0.15)),
    "elastic_transform": Kind(
        "digital",
        digital.elastic_transform,
        _times(244, (2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02)),
        _times(32, (0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    ),
    "pixelate": Kind("digital", digital.pixelate, _one(0.6, 0.5, 0.4, 0.3, 0.25), _one(0.95, 0.9, 0.85, 0.75, 0.65)),
    "jpeg_compression": Kind("digital", digital.jpeg_compression, _one(25, 18, 15, 10, 7), _one(80, 65, 58, 50, 40)),
    "speckle_noise": Kind(
        "extra",
        noise.speckle_noise,
        _one(0.15, 0.2, 0.35, 0.45, 0.6),
        _one(0.06, 0.1, 0.12, 0.16, 0.2),
    ),
    "gaussian_blur": Kind("extra", blur.gaussian_blur, _one(1, 2, 3, 4, 6), _one(0.4, 0.6, 0.7, 0.8, 1)),
    "spatter": Kind(
        "extra",
        spatter.spatter,
        (
            (0.65, 0.3, 4, 0.69, 0.6, 0),
            (0.65, 0.3, 3, 0.68, 0.6, 0),
            (0.65, 0.3, 2, 0.68, 0.5, 0),
            (0.65, 0.3, 1, 0.65, 1.5, 1),
            (0.67, 0.4, 1, 0.65, 1.5, 1),
        ),
        (
            (0.62, 0.1, 0.7, 0.7, 0.5, 0),
            (0.65, 0.1, 0.8, 0.7, 0.5, 0),
            (0.65, 0.3, 1, 0.69, 0.5, 0),
            (0.65, 0.1, 0.7, 0.69, 0.6, 1),
            (0.65, 0.1, 0.5, 0.68, 0.6, 1),
        ),
    ),
    "saturate": Kind(
        "extra",
        colour.saturate,
        ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
        ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
    ),
    **BAR,
}
"""By name: ImageNet-C's 15 kinds in its order, its four extra kinds, and those of ImageNet-C-bar."""

COMMON: tuple[str, ...] = tuple(KINDS)[:15]
EXTRA: tuple[str, ...] = tuple(KINDS)[15:19]


def corrupt(image: Pixels, kind: str, severity: int, rng: np.random.Generator, *, scale: float = 1.0) -> Corrupted:
    """The picture with a corruption. A grey one stays grey, and the array is never written to.

    Args:
        image: RGB `[H, W, 3]` uint8.
        kind: one of KINDS.
        severity: 1 to 5.
        rng: draws whatever is random.
        scale: of lengths, 1 for those of the constants. `scale_of` gives that at which a corruption looks the same in a
            picture of another size.

    Raises:
        ValueError: an unknown kind, another severity, or a scale that isn't positive.
    """
    constants = strength_of(kind, severity, min(image.shape[:2]))
    if not 0 < scale < np.inf:
        raise ValueError(f"scale {scale} must be a positive number")
    image = np.ascontiguousarray(image)
    found = KINDS[kind].apply(image, constants, rng, scale)
    if is_grey(image) and not is_grey(found.image):
        return found._replace(image=in_three(cv2.cvtColor(found.image, cv2.COLOR_RGB2GRAY)))
    return found


def strength_of(kind: str, severity: int, side: int) -> Strength:
    """The constants of a kind at a severity for a picture whose shorter side has that many pixels.

    Raises:
        ValueError: an unknown kind or severity.
    """
    check_kind(kind)
    if severity not in SEVERITIES:
        raise ValueError(f"severity {severity!r} of {kind} doesn't exist; there are 1 to 5")
    small = KINDS[kind].small
    return KINDS[kind].strengths[severity - 1] if side >= SMALL or small is None else small[severity - 1]


def check_kind(kind: str) -> None:
    """Raise ValueError for the name of no kind."""
    if kind not in KINDS:
        raise ValueError(f"no corruption is called {kind!r}; there are: {', '.join(KINDS)}")


def scale_of(kind: str, side: int) -> float:
    """The scale at which a kind looks the same in a picture of this shorter side as in one its constants are for."""
    return side / (LARGE_SIDE if side >= SMALL or KINDS[kind].small is None else SMALL_SIDE)
