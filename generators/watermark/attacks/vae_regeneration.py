"""Regeneration by an autoencoder: a picture described by few numbers, and made of them again.

What the description leaves out is lost, and the mark with it (Zhao et al., NeurIPS 2024, arXiv 2306.01953; WAVES, An et
al., ICML 2024, arXiv 2401.08573). Noise on the description makes the attack stronger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from variorum.generators.watermark.watermarking.regenerating import blank, recoded
from variorum.schemas.component import Use
from variorum.schemas.watermark import Access, Attack, Goal, Refused, Target

if TYPE_CHECKING:
    from variorum.arrays import Pixels
    from variorum.schemas.canonical import Json


class VaeRegeneration(Attack):
    """Each picture encoded and decoded by an autoencoder, with noise on its latents.

    The strength scales the noise and the number of passes. Without noise and with one pass every strength is the same:
    the plain reconstruction.
    """

    family: ClassVar[str] = "regeneration"
    goal: ClassVar[Goal] = "removal"
    access: ClassVar[Access] = "none"

    model: str = "autoencoder"
    """Alias of the autoencoder. It has weights in the profile `hub` alone."""
    noise: float = Field(default=0.5, ge=0, le=4)
    """Standard deviation of the noise at full strength, where that of the latents is about 1."""
    times: int = Field(default=1, ge=1, le=16)
    """Passes at full strength."""

    def uses(self) -> list[Use]:
        """Return the autoencoder."""
        return [Use(self.model)]

    def amount(self, strength: float) -> Mapping[str, Json]:
        """The noise, and the number of passes."""
        return {"noise": round(self.noise * strength, 6), "times": ceil(self.times * strength - 1e-9)}

    def apply(
        self, images: Sequence[Pixels], strength: float, rngs: Sequence[np.random.Generator], target: Target
    ) -> list[Pixels | Refused]:
        """Each picture reconstructed, with noise of its own."""
        autoencoder, noise = target.ctx.models.get(self.model), round(self.noise * strength, 6)
        made: list[Pixels | Refused] = []
        for image, rng in zip(images, rngs, strict=True):
            found = image
            for _ in range(ceil(self.times * strength - 1e-9)):
                found = recoded(found, autoencoder, rng, noise)
            made.append(blank(found, image) or found)
        return made
