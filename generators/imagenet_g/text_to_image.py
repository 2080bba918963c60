"""Pictures of classes or captions drawn from noise by a text-to-image diffusion model: ImageNet-G's main route.

After Bansal & Grover, Leaving Reality to Imagination (arXiv 2302.02503). How prompts and guidance decide a set's
diversity: Fan et al., Scaling Laws of Synthetic Images for Model Training, CVPR 2024; Sariyildiz et al., CVPR 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from pydantic import model_validator

from variorum.kit.diffusion.drawing import Request
from variorum.kit.diffusion.route import PromptedRoute, Size, Variant, Weights, check_negative
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import GENERATED

if TYPE_CHECKING:
    from variorum.arrays import Pixels


class TextToImage(PromptedRoute):
    """`per_sample` pictures per sample and guidance weight, of its class or its caption.

    A sample's own picture is ignored, so a real dataset as the source contributes its labels and its class balance.
    Pictures of one sample and number have the same noise and prompt at every weight.
    """

    revision = 2
    digital_source_type = GENERATED

    model: str = "text_to_image"
    """Alias of the diffusion model."""
    guidance: Weights = (7.5,)
    """Weights of classifier-free guidance, 1 for none; one variant each, `guidance_7.5`. More guidance keeps closer to
    the prompt and is less diverse: 1.5 to 3 suits training sets, 5 to 7.5 test sets."""
    size: Size | None = None
    """Side in pixels; null for the side that the model was trained at."""

    @model_validator(mode="after")
    def _negative_has_an_effect(self) -> Self:
        check_negative(self.negative, self.guidance)
        return self

    def variants(self) -> list[Variant]:
        """One per guidance weight."""
        return [
            Variant(
                f"guidance_{weight:g}",
                weight,
                {"negative": self.negative, "guidance": weight, "steps": self.steps, "size": self.size},
            )
            for weight in self.guidance
        ]

    def draw(self, model: Any, requests: Sequence[Request], seeds: Sequence[int], setting: float) -> list[Pixels]:
        """Call a `TextToImage` model. Raises RecipeError for a size that it can't make."""
        if self.size is not None and self.size % (multiple := getattr(model, "multiple", 1)):
            raise RecipeError(f"{self.component_name()}: size {self.size} is no multiple of {multiple}")
        return list(
            model(
                [request.prompt for request in requests],
                [self.negative] * len(requests),
                seeds,
                steps=self.steps,
                guidance=setting,
                size=self.size,
            )
        )
