"""Several distortions at once, as WAVES combines them: geometric, photometric, degradation, or all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from variorum.generators.watermark.watermarking.distortions import GROUPS, KINDS, followed
from variorum.schemas.watermark import Attack, Attacked, Target

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles
    from variorum.schemas.canonical import Json


class CombinedDistortion(Attack):
    """Removes a mark by several everyday changes, one after the other, each at the same strength.

    geometric: rotation, resized_crop, erasing; photometric: brightness, contrast; degradation: blur, noise, jpeg; all:
    all eight. WAVES publishes figures for common strengths of 0.04 to 0.2 and no program, so the order is ours.
    """

    family: ClassVar[str] = "combined distortion"

    group: Literal["geometric", "photometric", "degradation", "all"] = "all"
    """Which distortions."""
    most: float = Field(default=0.2, gt=0, le=1)
    """The relative strength of each at strength 1."""

    @property
    def called(self) -> str:
        """Its label, or `combined_` and the group."""
        return self.label or f"combined_{self.group}"

    def amount(self, strength: float) -> Mapping[str, Json]:
        """The relative strength of each, and what it is in absolute terms."""
        each = round(strength * self.most, 6)
        amounts: dict[str, Json] = {
            f"{name}_{KINDS[name].amount}": int(amount) if KINDS[name].whole else amount
            for name in self._names()
            for amount in [KINDS[name].at(each)]
        }
        return {"each": each, **amounts}

    def apply(
        self, images: Sequence[Pixels], strength: float, rngs: Sequence[np.random.Generator], target: Target
    ) -> Sequence[Attacked]:
        """Each picture distorted several times."""
        return [self._one(image, round(strength * self.most, 6), rng) for image, rng in zip(images, rngs, strict=True)]

    def _names(self) -> tuple[str, ...]:
        return tuple(name for group in GROUPS if self.group in (group, "all") for name in GROUPS[group])

    def _one(self, image: Pixels, each: float, rng: np.random.Generator) -> Attacked:
        drawn: dict[str, Json] = {}
        origins: Singles | None = None
        for name, own in zip(self._names(), rng.spawn(len(self._names())), strict=True):
            step = KINDS[name].apply(image, KINDS[name].at(each), own)
            image, origins = step.image, followed(origins, step.origins)
            drawn |= {f"{name}_{key}": value for key, value in step.drawn.items()}
        return Attacked(image, drawn, origins)
