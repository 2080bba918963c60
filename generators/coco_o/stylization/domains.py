"""COCO-O's six domains and the styles of each (Mao et al., ICCV 2023, arXiv 2307.12730)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from variorum.generators.coco_o.stylization import cartoon, handmake, painting, sketch, tattoo, weather
from variorum.generators.coco_o.stylization.style import Style

Domain = Literal["sketch", "cartoon", "painting", "weather", "handmake", "tattoo"]
DOMAINS: tuple[Domain, ...] = get_args(Domain)
STYLES: Mapping[Domain, Mapping[str, Style]] = {
    "sketch": sketch.STYLES,
    "cartoon": cartoon.STYLES,
    "painting": painting.STYLES,
    "weather": weather.STYLES,
    "handmake": handmake.STYLES,
    "tattoo": tattoo.STYLES,
}
