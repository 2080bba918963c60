"""The natural changes of light, each with what is drawn for it, what a strength asks for, and what it comes to.

Strengths are in (0, 1]. All strengths of a kind share their random numbers, so that they differ in strength alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from variorum.generators.natural_transformation import exposure, relighting

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles
    from variorum.schemas.canonical import Json

Attribute = Literal["exposure", "white_balance", "light_direction", "shadow", "haze"]
ATTRIBUTES: tuple[Attribute, ...] = get_args(Attribute)

LEAST_STRENGTH = 0.05
MOST_STOPS = 1.5
WARMEST, COOLEST = 3000.0, 9000.0
"""Kelvin at strength 1."""
STEEPEST = 0.6
"""Of the ramp at strength 1."""
DEEPEST, SHALLOWEST = 0.35, 0.6
"""Shares of the light that are left in a shadow, at strength 1 and at a third."""
PENUMBRA = 64.0, 96.0
"""Pixels at a side of 224."""
THICKEST = 0.8
"""Optical depth of the farthest haze at strength 1."""


class Relit(NamedTuple):
    """Changed light.

    Attributes:
        light: linear RGB `[H, W, 3]`, in [0, 1].
        achieved: measures on the picture before and after, both RGB `[H, W, 3]` uint8; None for a value that they don't
            show.
    """

    light: Singles
    achieved: Callable[[Pixels, Pixels], Mapping[str, Json]]


Change: TypeAlias = "Callable[[Singles, Mapping[str, float], np.random.Generator, bool], Relit]"
"""`(light, requested, rng, grey)`: linear RGB `[H, W, 3]`, what `asks` gave, and whether the picture is grey."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of change.

    Attributes:
        attribute: what changes.
        asks: the constants of a strength.
        apply: the change itself.
        grey: whether a grey picture has it too.
    """

    attribute: Attribute
    asks: Callable[[float], Mapping[str, float]]
    apply: Change
    grey: bool = True


def _stops(sign: int) -> Callable[[float], Mapping[str, float]]:
    return lambda strength: {"ev": sign * round(MOST_STOPS * strength * 20) / 20}


def _kelvin(most: float) -> Callable[[float], Mapping[str, float]]:
    """Temperatures are steps of mired, a million over kelvin, which look about equal."""

    def asked(strength: float) -> Mapping[str, float]:
        mired = 1e6 / exposure.DAYLIGHT
        return {"kelvin": float(round(1e6 / (mired + strength * (1e6 / most - mired)), -1))}

    return asked


def _left(strength: float) -> Mapping[str, float]:
    slope = (SHALLOWEST - DEEPEST) * 1.5
    return {"left": round(DEEPEST + slope * (1 - strength), 4)}


def _exposed(light: Singles, requested: Mapping[str, float], _rng: np.random.Generator, _grey: bool) -> Relit:
    made = exposure.exposed(light, requested["ev"])
    return Relit(made, lambda before, after: {"ev": _rounded(exposure.measured_ev(before, after))})


def _balanced(light: Singles, requested: Mapping[str, float], _rng: np.random.Generator, _grey: bool) -> Relit:
    made = exposure.balanced(light, requested["kelvin"])
    return Relit(made, lambda before, after: {"kelvin": _rounded(exposure.measured_kelvin(before, after), 0)})


def _from_one_side(light: Singles, requested: Mapping[str, float], rng: np.random.Generator, _grey: bool) -> Relit:
    angle = round(float(rng.uniform(0, 360)), 2)
    height, width = light.shape[:2]
    factors = relighting.ramp(height, width, requested["amount"], angle)

    def achieved(before: Pixels, after: Pixels) -> Mapping[str, Json]:
        found = relighting.measured_ramp(before, after)
        measured = (None, None) if found is None else (round(found[0], 2), round(found[1], 4))
        return {"drawn_angle": angle, "angle": measured[0], "amount": measured[1]}

    return Relit(exposure.multiplied(light, factors[..., None]), achieved)


def _shaded(light: Singles, requested: Mapping[str, float], rng: np.random.Generator, grey: bool) -> Relit:
    penumbra = round(float(rng.uniform(*PENUMBRA)), 2)
    height, width = light.shape[:2]
    mask = relighting.shadow_of(height, width, penumbra, rng)

    def achieved(before: Pixels, after: Pixels) -> Mapping[str, Json]:
        share = round(float(mask.mean()), 4)
        return {"penumbra": penumbra, "share": share, "left": _rounded(relighting.measured_shade(before, after, mask))}

    return Relit(relighting.shaded(light, mask, requested["left"], bluish=not grey), achieved)


def _hazed(light: Singles, requested: Mapping[str, float], rng: np.random.Generator, _grey: bool) -> Relit:
    height, width = light.shape[:2]
    far = relighting.depth(height, width, rng)
    air = relighting.air_of(light)

    def achieved(before: Pixels, after: Pixels) -> Mapping[str, Json]:
        through = float(np.exp(-requested["beta"] * far).mean())
        contrast = _rounded(relighting.measured_contrast(before, after))
        return {"air": round(air, 4), "through": round(through, 4), "contrast": contrast}

    return Relit(relighting.hazed(light, far, requested["beta"], air), achieved)


def _rounded(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else round(value, digits)


KINDS: Mapping[str, Kind] = {
    "brighter": Kind("exposure", _stops(1), _exposed),
    "darker": Kind("exposure", _stops(-1), _exposed),
    "warmer": Kind("white_balance", _kelvin(WARMEST), _balanced, grey=False),
    "cooler": Kind("white_balance", _kelvin(COOLEST), _balanced, grey=False),
    "light_direction": Kind(
        "light_direction", lambda strength: {"amount": round(STEEPEST * strength, 4)}, _from_one_side
    ),
    "shadow": Kind("shadow", _left, _shaded),
    "haze": Kind("haze", lambda strength: {"beta": round(THICKEST * strength, 4)}, _hazed),
}
"""By the name that variants begin with."""
