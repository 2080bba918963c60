"""Photographs remade after a prompt, by noising them part of the way and denoising them again.

SDEdit (Meng et al., ICLR 2022, arXiv 2108.01073), ImageNet-G's image-and-text route. The strength says how far: at 1,
which ImageNet-G used, next to nothing of the picture is left and only the prompt speaks.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, model_validator

from generators.diffusion.draws import Make
from generators.diffusion.route import Route, Size, Weight
from generators.editing.framing import crop, window
from generators.prompting.prompts import Templates, Wording, wording
from schemas.component import Context
from schemas.errors import RecipeError
from schemas.sample import Sample

Strength = Annotated[float, Field(gt=0, le=1)]


class ImageToImage(Route):
    """`per_sample` pictures a photograph and strength, cut to its middle square and remade after its class or caption.

    Pictures of one sample and number share noise and prompt at every strength. Made from a test picture they are no
    strangers to it: keep both on one side of a split.
    """

    revision = 2
    setting = "strength"
    of_pictures = True

    model: str = "image_to_image"
    templates: Templates = "photo"
    """As `text_to_image` has them."""
    names: dict[str, str] = Field(default_factory=dict)
    """Other names for classes, by id."""
    negative: str = ""
    """What pictures are to keep away from."""
    strength: tuple[Strength, ...] = Field(default=(0.5,), min_length=1)
    """How much of the way to noise, in (0, 1]; one variant each, `strength_0.5`."""
    guidance: Weight = 7.5
    """Weight of classifier-free guidance, 1 for none."""
    size: Size | None = None
    """Side in pixels; null for the side of the model's training."""

    @model_validator(mode="after")
    def _takes_a_step(self) -> Self:
        if int(self.steps * min(self.strength)) < 1:
            raise ValueError(f"a strength of {min(self.strength):g} leaves none of {self.steps} steps")
        return self

    def wording(self, ctx: Context) -> Wording:
        """By the templates and names. Raises RecipeError."""
        return wording(self.component_name(), self.templates, self.names, ctx)

    def make(self, model: Any, ctx: Context) -> Make:
        """Calls an `ImageToImage`. Raises RecipeError for a size that it can't make."""
        side = self.size or model.size
        if side % model.multiple:
            raise RecipeError(f"{self.component_name()}: size {side} is no multiple of {model.multiple}")
        return lambda asks, seeds, strength: model(
            [_square(ask.sample, side) for ask in asks],
            [ask.prompt for ask in asks],
            [ask.negative for ask in asks],
            seeds,
            strength=strength,
            steps=self.steps,
            guidance=self.guidance,
        )


def _square(sample: Sample, side: int) -> np.ndarray:
    """The middle square of a sample's picture."""
    pixels = np.asarray(sample.image)
    return crop(pixels, window(*pixels.shape[:2]), side)
