"""A classifier's preprocessing as a sentence for cards, and what such a sentence says that a network sees."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

N = r"([1-9]\d{0,5})"
"""A number of pixels in a sentence."""
NORMALISED = "values (x / 255 - mean) / std"


def shorter_side(side: int, interpolation: str) -> str:
    """A resize that keeps the shape. `interpolation` as its library names it."""
    return f"shorter side to {side} px ({interpolation})"


def stretched(height: int, width: int, interpolation: str) -> str:
    """A resize that doesn't keep the shape."""
    return f"stretched to {width} × {height} px ({interpolation})"


def centre(height: int, width: int) -> str:
    """A crop of the middle."""
    return f"centre {width} × {height} px"


def normalised(mean: Sequence[float], std: Sequence[float]) -> str:
    """The usual normalisation by channel, of values in [0, 1]."""
    return f"{NORMALISED}, mean {_listed(mean)}, std {_listed(std)}"


def sentence(*steps: str, by: str = "") -> str:
    """The steps in their order as one sentence; `by` says whose they are."""
    text = ", ".join(step for step in steps if step)
    return f"{text[:1].upper()}{text[1:]}{f' ({by})' if by else ''}."


class View(NamedTuple):
    """The part of a picture that a network sees.

    Attributes:
        scale: pixels of the network's input per pixel of the picture; 1 if it isn't resampled.
        hidden: pixels of the picture between what is seen and the edge, at the nearest edge.
    """

    scale: float
    hidden: float


def view_of(preprocessing: str, height: int, width: int) -> View | None:
    """Return the part of a picture of this size that a network sees, read from a sentence of this module.

    So it is known for whatever model says its preprocessing in such a sentence.

    Returns:
        None if the sentence has a step that isn't known, or if the picture is stretched in one direction.
    """
    steps = re.sub(r"\s*\([^()]*\)", "", preprocessing).removesuffix(".")
    across = down = 1.0
    hidden = [0.0, 0.0]

    def cut(wide: int, high: int) -> tuple[int, int]:
        hidden[0] += max(width - wide, 0) / 2 / across  # a larger crop has a border around the picture
        hidden[1] += max(height - high, 0) / 2 / down
        return wide, high

    for step in (steps[:1].lower() + steps[1:]).split(", "):
        if found := re.fullmatch(rf"shorter side to {N} px", step):
            scale = int(found[1]) / min(height, width)
            across, down, height, width = across * scale, down * scale, round(height * scale), round(width * scale)
        elif found := re.fullmatch(rf"(?:stretched|resized) to {N} × {N} px", step):
            across, down = across * int(found[1]) / width, down * int(found[2]) / height
            width, height = int(found[1]), int(found[2])
        elif found := re.fullmatch(rf"centre square of {N}/{N} of the shorter side", step):
            side = max(1, round(min(height, width) * int(found[1]) / int(found[2])))
            width, height = cut(side, side)
        elif found := re.fullmatch(rf"centre {N} × {N} px", step):
            width, height = cut(int(found[1]), int(found[2]))
        elif not re.fullmatch(r"grey|values .*|mean .*|std .*", step):
            return None
        if not (height and width):
            return None
    return View(across, min(hidden)) if across == down else None


def _listed(values: Sequence[float]) -> str:
    return " ".join(f"{value:.4g}" for value in values)
