"""Other pictures of what a photograph shows, by a diffusion model conditioned on the photograph's CLIP embedding.

ImageNet-G's image-variation route (Bansal & Grover, arXiv 2302.02503). There are no prompts, so whether a picture shows
the class depends on the embedding alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.kit.diffusion.drawing import Request
from variorum.kit.diffusion.route import Route, Size, Variant, Weights
from variorum.schemas.sample import GENERATED

if TYPE_CHECKING:
    from variorum.arrays import Pixels


class ImageVariation(Route):
    """`per_sample` pictures per photograph and guidance weight, with the photograph's label.

    Pictures of one sample and number have the same noise at every weight. They resemble the photograph that they are
    made from, so keep both on the same side of a split.
    """

    needs_picture = True
    digital_source_type = GENERATED

    model: str = "image_variation"
    """Alias of the diffusion model."""
    guidance: Weights = (3.0,)
    """Weights of classifier-free guidance, 1 for none; one variant each, `guidance_3`."""
    size: Size | None = None
    """Side in pixels; null for the side that the model was trained at."""

    def variants(self) -> list[Variant]:
        """One per guidance weight."""
        return [
            Variant(f"guidance_{weight:g}", weight, {"guidance": weight, "steps": self.steps, "size": self.size})
            for weight in self.guidance
        ]

    def draw(self, model: Any, requests: Sequence[Request], seeds: Sequence[int], setting: float) -> list[Pixels]:
        """Call an `ImageVariation` model."""
        pictures = [np.asarray(request.of.sample.image) for request in requests]
        return list(model(pictures, seeds, steps=self.steps, guidance=setting, size=self.size))
