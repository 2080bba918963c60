"""Repaints a picture with a style network, blended with the picture.

What the picture shows stays where it is, and every fine detail is made by the network: it is neither a photograph nor
made from nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from variorum.arrays import Pixels
from variorum.schemas.canonical import Json
from variorum.schemas.component import Use
from variorum.schemas.watermark import Attack, Attacked, Target


class Restyling(Attack):
    """In one of the network's styles, drawn for each picture. The strength is the network's share of the result."""

    family: ClassVar[str] = "enhancement"

    styles: tuple[int, ...] = Field(default=(2, 5), min_length=1)
    """Styles of the network to draw from, by number. The default ones look painted and leave least of a grid."""

    def uses(self) -> list[Use]:
        """Return the style network."""
        return [Use("style_network")]

    def amount(self, strength: float) -> Mapping[str, Json]:
        """`share` of the network's picture."""
        return {"share": strength}

    def apply(
        self, images: Sequence[Pixels], strength: float, rngs: Sequence[np.random.Generator], target: Target
    ) -> list[Attacked]:
        """Each picture repainted by itself.

        Raises:
            ValueError: the network has no style of a given number.
        """
        network = target.ctx.models.get("style_network")
        if wrong := [style for style in self.styles if not 0 <= style < network.styles]:
            raise ValueError(f"the style network has no style {wrong[0]}; there are 0 to {network.styles - 1}")
        made = []
        for image, rng in zip(images, rngs, strict=True):
            style = int(rng.choice(self.styles))
            weights = np.zeros((1, network.styles), np.float32)
            weights[0, style] = 1
            (painted,) = network([image], weights)
            mixed = (1 - strength) * image.astype(np.float32) + strength * painted.astype(np.float32)
            made.append(Attacked(np.rint(mixed).astype(np.uint8), {"style": style}))
        return made
