"""Edits by instruction: a model changes the weather, the season or the style, and the mark is lost on the way.

InstructPix2Pix (Brooks et al., CVPR 2023, arXiv 2211.09800), as Saberi et al. (ICLR 2024, arXiv 2310.00076) used it
against watermarks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

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

INSTRUCTIONS = (
    "make it snow",
    "make it look like sunset",
    "turn it into an oil painting",
    "make it autumn",
    "add some rain",
)


class InstructionEdit(Attack):
    """Each picture edited by one of a few instructions, drawn at random for the picture.

    The strength lowers the weight of the picture, so that the edit may change more of it.
    """

    family: ClassVar[str] = "edit"
    goal: ClassVar[Goal] = "removal"
    access: ClassVar[Access] = "none"
    digital_source_type: ClassVar[str] = PARTLY_GENERATED

    model: str = "instruction_edit"
    """Alias of the model."""
    instructions: tuple[Annotated[str, Field(min_length=1)], ...] = Field(default=INSTRUCTIONS, min_length=1)
    """To draw from."""
    most_image_guidance: float = Field(default=2.0, ge=1, le=20)
    """Weight of the picture at strength 0."""
    least_image_guidance: float = Field(default=1.2, ge=1, le=20)
    """Weight of the picture at strength 1."""
    guidance: float = Field(default=7.5, ge=1, le=50)
    """Weight of the instruction."""
    steps: int = Field(default=50, ge=1, le=1000)
    """Denoising steps."""
    size: int | None = Field(default=None, ge=8, le=4096)
    """Pixels to which the shorter side of a smaller picture is enlarged for the model; null is the side that it was
    trained at."""

    def uses(self) -> list[Use]:
        """Return the model."""
        return [Use(self.model)]

    def amount(self, strength: float) -> Mapping[str, Json]:
        """The weight of the picture."""
        fall = self.most_image_guidance - self.least_image_guidance
        return {"image_guidance": round(self.most_image_guidance - fall * strength, 6)}

    def apply(
        self, images: Sequence[Pixels], strength: float, rngs: Sequence[np.random.Generator], target: Target
    ) -> list[Attacked | Refused]:
        """Each picture edited, with an instruction and a seed of its own."""
        model = target.ctx.models.get(self.model)
        least, weight = self.size or model.size, float(str(self.amount(strength)["image_guidance"]))
        made: list[Attacked | Refused] = []
        for image, rng in zip(images, rngs, strict=True):
            instruction, seed = self.instructions[rng.integers(len(self.instructions))], int(rng.integers(2**63))
            with one_thread():
                (edited,) = model(
                    [fitted(image, model.multiple, least)],
                    [instruction],
                    [seed],
                    steps=self.steps,
                    guidance=self.guidance,
                    image_guidance=weight,
                )
            found = restored(edited, image.shape[:2], least)
            made.append(blank(found, image) or Attacked(found, {"instruction": instruction}))
        return made
