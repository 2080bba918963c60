"""Regeneration: a latent diffusion model makes the picture anew from a noisy version of it.

Zhao et al. (NeurIPS 2024, arXiv 2306.01953); WAVES (An et al., ICML 2024, arXiv 2401.08573) calls several passes
rinsing; with a caption it is the purification in latent space of Saberi et al. (ICLR 2024, arXiv 2310.00076).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from variorum.generators.watermark.watermarking.regenerating import blank
from variorum.models.device import one_thread
from variorum.models.diffusion.images import fitted, restored
from variorum.schemas.component import Use
from variorum.schemas.sample import PARTLY_GENERATED
from variorum.schemas.watermark import Access, Attack, Attacked, Goal, Refused, Target

if TYPE_CHECKING:
    from variorum.arrays import Pixels
    from variorum.schemas.canonical import Json

QUESTION = "Describe this picture in one sentence."
"""What the captioner is asked."""


class Regeneration(Attack):
    """Each picture through image-to-image diffusion, at `t` of 1000 steps times the strength.

    WAVES has t 40 to 200 for one pass, half of it for two and a quarter for four. Noise and steps are those of the
    pipeline's own schedule, so that the smallest t is rounded up to one step of it.
    """

    family: ClassVar[str] = "regeneration"
    goal: ClassVar[Goal] = "removal"
    access: ClassVar[Access] = "none"
    digital_source_type: ClassVar[str] = PARTLY_GENERATED

    model: str = "image_to_image"
    """Alias of any image-to-image model."""
    t: int = Field(default=200, ge=1, le=1000)
    """Noise at full strength, in thousandths of the way to pure noise."""
    times: int = Field(default=1, ge=1, le=16)
    """How often: 1 is regeneration, 2 and 4 are rinsing."""
    steps: int = Field(default=50, ge=1, le=1000)
    """Steps of the whole diffusion; a picture takes its share `t` / 1000 of them, one at least."""
    guidance: float = Field(default=7.5, ge=1, le=50)
    """Weight of the prompt, 1 for none."""
    prompt: str = ""
    """What all pictures show."""
    captioner: str | None = None
    """Alias of a model that captions each picture (`vlm`); the caption then follows the prompt."""
    size: int | None = Field(default=None, ge=8, le=4096)
    """Pixels to which the shorter side of a smaller picture is enlarged for the model; null is the side that it was
    trained at."""

    def uses(self) -> list[Use]:
        """Return the model and the captioner."""
        return [Use(alias) for alias in (self.model, self.captioner) if alias is not None]

    def amount(self, strength: float) -> Mapping[str, Json]:
        """The noise in thousandths, and how often."""
        return {"t": max(1, round(self.t * strength)), "times": self.times}

    def apply(
        self, images: Sequence[Pixels], strength: float, rngs: Sequence[np.random.Generator], target: Target
    ) -> list[Attacked | Refused]:
        """Each picture made anew, with a seed and a caption of its own."""
        models, t = target.ctx.models, max(1, round(self.t * strength))
        model = models.get(self.model)
        captioner = None if self.captioner is None else models.get(self.captioner)
        least, steps = self.size or model.size, max(self.steps, ceil(1000 / t))
        made: list[Attacked | Refused] = []
        for image, rng in zip(images, rngs, strict=True):
            caption = captioner([image], [QUESTION])[0].strip() if captioner else ""
            prompt, found = ", ".join(filter(None, (self.prompt, caption))), image
            with one_thread():
                for _ in range(self.times):
                    (regenerated,) = model(
                        [fitted(found, model.multiple, least)],
                        [prompt],
                        [""],
                        [int(rng.integers(2**63))],
                        strength=min(1.0, t / 1000 + 1e-9),  # as 50 * 0.58 is below 29
                        steps=steps,
                        guidance=self.guidance,
                    )
                    found = restored(regenerated, image.shape[:2], least)
            made.append(blank(found, image) or Attacked(found, {"prompt": prompt} if prompt else {}))
        return made
