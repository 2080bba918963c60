"""A classifier's preprocessing of a picture, as a sentence for cards."""

from __future__ import annotations

from collections.abc import Sequence

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


def _listed(values: Sequence[float]) -> str:
    return " ".join(f"{value:.4g}" for value in values)
