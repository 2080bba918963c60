"""Other pictures of what a photograph shows, by a diffusion model that is told the photograph's CLIP embedding.

ImageNet-G's image-variation route (Bansal & Grover, arXiv 2302.02503): no words are involved, so the class is only as
sure as the model's eye for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from generators.diffusion.draws import Make
from generators.diffusion.route import Route, Size, Weight
from schemas.component import Context


class ImageVariation(Route):
    """`per_sample` pictures a photograph and guidance weight, with the photograph's label.

    Pictures of one sample and number share their noise at every weight. Made from a test picture they are no strangers
    to it: keep both on one side of a split.
    """

    of_pictures = True

    model: str = "image_variation"
    guidance: tuple[Weight, ...] = Field(default=(3.0,), min_length=1)
    """Weights of classifier-free guidance, 1 for none; one variant each, `guidance_3`."""
    size: Size | None = None
    """Side in pixels; null for the side of the model's training."""

    def make(self, model: Any, ctx: Context) -> Make:
        """Calls an `ImageVariation`."""
        return lambda asks, seeds, guidance: model(
            [np.asarray(ask.sample.image) for ask in asks],
            seeds,
            steps=self.steps,
            guidance=guidance,
            size=self.size,
        )
