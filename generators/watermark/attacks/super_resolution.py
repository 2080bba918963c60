"""Shrinks a picture and enlarges it again, by a network that makes up fine detail or by the cubic filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import cv2
import numpy as np
from pydantic import Field

from variorum.arrays import Pixels
from variorum.schemas.canonical import Json
from variorum.schemas.component import Use
from variorum.schemas.sample import PARTLY_GENERATED
from variorum.schemas.watermark import Attack, Target


class SuperResolution(Attack):
    """The strength is the share of the enlarged picture in the result. Every fine detail of it is the enlarger's."""

    family: ClassVar[str] = "regeneration"
    digital_source_type: ClassVar[str] = PARTLY_GENERATED

    enlarger: str | None = "enlarger"
    """Alias of the network; null enlarges by the cubic filter, as any photo application does."""
    factor: int = Field(default=2, ge=2, le=16)
    """By which the picture is shrunk; a network has its own."""

    def uses(self) -> list[Use]:
        """Return the network, if there is one."""
        return [Use(self.enlarger)] if self.enlarger else []

    def amount(self, strength: float) -> Mapping[str, Json]:
        """`share` of the enlarged picture."""
        return {"share": strength}

    def apply(
        self, images: Sequence[Pixels], strength: float, rngs: Sequence[np.random.Generator], target: Target
    ) -> list[Pixels]:
        """Each picture enlarged; nothing is random."""
        network = target.ctx.models.get(self.enlarger) if self.enlarger else None
        factor = network.factor if network else self.factor
        made = []
        for image in images:
            size = image.shape[1::-1]
            small = cv2.resize(image, [max(1, side // factor) for side in size], interpolation=cv2.INTER_AREA)
            large = network([small])[0] if network else small
            large = cv2.resize(large, size, interpolation=cv2.INTER_CUBIC)
            made.append(np.asarray(cv2.addWeighted(large, strength, image, 1 - strength, 0), np.uint8))
        return made
