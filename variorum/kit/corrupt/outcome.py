"""Define a kind of corruption and its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import cv2
import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Array, Pixels, Singles
    from variorum.schemas.canonical import Json

Family = Literal["noise", "blur", "weather", "digital", "extra", "bar"]
"""ImageNet-C's four families of 15 kinds, its four extra kinds, and kinds of ImageNet-C-bar."""
Strength: TypeAlias = tuple[float, ...]
"""The constants of one kind at one severity."""
Corrupt: TypeAlias = "Callable[[Pixels, Strength, np.random.Generator, float], Corrupted]"
"""`(image, strength, rng, scale)`: lengths in pixels are multiplied by the scale, which is 1 at 224 pixels."""


class Corrupted(NamedTuple):
    """A corrupted picture.

    Attributes:
        image: RGB `[H, W, 3]` uint8.
        drawn: what was drawn at random, by name, such as the angle of the motion in degrees.
        origins: where each pixel comes from if pixels moved: (x, y) in the picture before, `[H, W, 2]`, in pixels from
            the first pixel's centre, as `cv2.remap` takes them; None if nothing moved.
    """

    image: Pixels
    drawn: Mapping[str, Json] = {}
    origins: Singles | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of corruption.

    Attributes:
        family: the group that its error is averaged in.
        apply: the function.
        strengths: constants at 224 pixels by severity.
        small: constants at 32 pixels by severity; None for a kind that has none.
    """

    family: Family
    apply: Corrupt
    strengths: tuple[Strength, ...]
    small: tuple[Strength, ...] | None = None


def rounded(values: Array) -> Pixels:
    """Grey levels as uint8: rounded to the nearest and cut at 0 and 255."""
    return np.asarray(cv2.add(values, 0.0, dtype=cv2.CV_8U))


def is_grey(image: Pixels) -> bool:
    """Return whether the three channels of `[H, W, 3]` are the same."""
    for rows in (image[::16], image):  # a few rows show that most pictures are in colour
        red, green, blue = rows[..., 0], rows[..., 1], rows[..., 2]
        if not (np.array_equal(red, green) and np.array_equal(green, blue)):
            return False
    return True


def in_three(channel: Pixels) -> Pixels:
    """A grey picture `[H, W]` as RGB `[H, W, 3]`."""
    return np.asarray(cv2.merge([channel] * 3))
