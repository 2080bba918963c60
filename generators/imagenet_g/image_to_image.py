"""Photographs remade after a prompt: noised part of the way, then denoised.

SDEdit (Meng et al., ICLR 2022, arXiv 2108.01073), ImageNet-G's image-and-text route. The strength is the part of the
way: at 1, which ImageNet-G used, almost nothing of the picture is left and only the prompt counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from variorum.kit.diffusion.drawing import Request
from variorum.kit.diffusion.route import PromptedRoute, Size, Variant, Weight, all_different, check_negative
from variorum.kit.pictures.framing import crop, window
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import PARTLY_GENERATED, Sample

if TYPE_CHECKING:
    from variorum.arrays import Pixels

Strength = Annotated[float, Field(gt=0, le=1)]


class ImageToImage(PromptedRoute):
    """`per_sample` pictures per photograph and strength: its middle square, remade after its class or caption.

    Pictures of one sample and number have the same noise and prompt at every strength. They resemble the photograph
    that they are made from, so keep both on the same side of a split.
    """

    revision = 2
    needs_picture = True
    digital_source_type = PARTLY_GENERATED

    model: str = "image_to_image"
    """Alias of the diffusion model."""
    strength: Annotated[tuple[Strength, ...], Field(min_length=1), AfterValidator(all_different)] = (0.5,)
    """Share of the way to pure noise, in (0, 1]; one variant each, `strength_0.5`."""
    guidance: Weight = 7.5
    """Weight of classifier-free guidance, 1 for none."""
    size: Size | None = None
    """Side in pixels; null for the side that the model was trained at."""

    @model_validator(mode="after")
    def _settings_have_an_effect(self) -> Self:
        check_negative(self.negative, (self.guidance,))
        if int(self.steps * min(self.strength)) < 1:
            raise ValueError(f"a strength of {min(self.strength):g} leaves none of {self.steps} steps")
        return self

    def variants(self) -> list[Variant]:
        """One per strength."""
        return [
            Variant(
                f"strength_{strength:g}",
                strength,
                {
                    "negative": self.negative,
                    "guidance": self.guidance,
                    "strength": strength,
                    "steps": self.steps,
                    "size": self.size,
                },
            )
            for strength in self.strength
        ]

    def draw(self, model: Any, requests: Sequence[Request], seeds: Sequence[int], setting: float) -> list[Pixels]:
        """Call an `ImageToImage` model. Raises RecipeError for a size that it can't make."""
        side = self.size or model.size
        if side % model.multiple:
            raise RecipeError(f"{self.component_name()}: size {side} is no multiple of {model.multiple}")
        return list(
            model(
                [_square(request.of.sample, side) for request in requests],
                [request.prompt for request in requests],
                [self.negative] * len(requests),
                seeds,
                strength=setting,
                steps=self.steps,
                guidance=self.guidance,
            )
        )


def _square(sample: Sample, side: int) -> Pixels:
    """The middle square of a sample's picture, `[side, side, 3]`."""
    pixels = np.asarray(sample.image)
    return crop(pixels, window(*pixels.shape[:2]), side)
