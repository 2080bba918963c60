"""Pictures of classes or captions out of noise, by a text-to-image diffusion model: ImageNet-G's main route.

After Bansal & Grover, Leaving Reality to Imagination (arXiv 2302.02503). How prompts and guidance decide a set's
diversity: Fan et al., Scaling Laws of Synthetic Images for Model Training, CVPR 2024; Sariyildiz et al., CVPR 2023.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from generators.diffusion.draws import Make
from generators.diffusion.route import Route, Size, Weight
from generators.prompting.prompts import Templates, Wording, wording
from schemas.component import Context


class TextToImage(Route):
    """`per_sample` pictures a sample and guidance weight, of its class or its caption.

    A sample's own picture, if it has one, isn't looked at: a real dataset as the source lends its labels and the
    balance of its classes. Pictures of one sample and number share noise and prompt at every weight.
    """

    revision = 2

    model: str = "text_to_image"
    templates: Templates = "photo"
    """A named set (`photo`, `neutral`, `name_hypernym`, …), or texts with `{name}`, `{gloss}`, `{hypernym}`,
    `{place}`, `{caption}` in them; of several, each picture gets one by its seed."""
    names: dict[str, str] = Field(default_factory=dict)
    """Other names for classes, by id."""
    negative: str = ""
    """What pictures are to keep away from."""
    guidance: tuple[Weight, ...] = Field(default=(7.5,), min_length=1)
    """Weights of classifier-free guidance, 1 for none; one variant each, `guidance_7.5`. More keeps to the prompt and
    is less diverse: 1.5 to 3 suits training sets, 5 to 7.5 test sets."""
    size: Size | None = None
    """Side in pixels; null for the side of the model's training."""

    def wording(self, ctx: Context) -> Wording:
        """By the templates and names. Raises RecipeError."""
        return wording(self.component_name(), self.templates, self.names, ctx)

    def make(self, model: Any, ctx: Context) -> Make:
        """Calls a `TextToImage`."""
        return lambda asks, seeds, guidance: model(
            [ask.prompt for ask in asks],
            [ask.negative for ask in asks],
            seeds,
            steps=self.steps,
            guidance=guidance,
            size=self.size,
        )
