"""Other pictures of what a photograph shows, by a diffusion model that is told the photograph's CLIP embedding.

ImageNet-G's image-variation route (Bansal & Grover, arXiv 2302.02503): no words are involved, so the class is only as
sure as the model's eye for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated

import numpy as np
from pydantic import Field, field_validator

from generators.diffusion.draws import Ask, Safety, Studio, aliases, ineligible, seeds_for
from generators.prompting.prompts import class_words
from schemas.canonical import Json
from schemas.component import Context, Generator
from schemas.sample import Failure, Sample

Weight = Annotated[float, Field(ge=0, le=50)]


class ImageVariation(Generator):
    """`per_sample` pictures a photograph and guidance weight, with the photograph's label.

    Pictures of one sample and number share their noise at every weight. Made from a test picture they are no strangers
    to it: keep both on one side of a split.
    """

    model: str = "image_variation"
    guidance: tuple[Weight, ...] = Field(default=(3.0,), min_length=1)
    """Weights of classifier-free guidance, 1 for none; one variant each, `guidance_3`."""
    steps: int = Field(default=50, ge=1, le=1000)
    size: int | None = Field(default=None, ge=64, le=4096, multiple_of=8)
    """Side in pixels; null for the side of the model's training."""
    per_sample: int = Field(default=1, ge=1)
    safety: Safety = Safety()
    scorer: str | None = None
    """A zero-shot model (`zero_shot`) whose opinion of the class is recorded; it decides nothing."""
    batch: int = Field(default=8, ge=1)
    """Pictures that are denoised together; halved when memory runs out, which a picture's `achieved` shows."""

    @field_validator("guidance")
    @classmethod
    def _once_each(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(value)) != len(value):
            raise ValueError("must be weights that differ")
        return value

    def aliases(self) -> tuple[str, ...]:
        """The model, the safety checker and the scorer."""
        return aliases(self.model, self.safety, self.scorer)

    def filters(self) -> tuple[str, ...]:
        """The safety checker."""
        return self.safety.aliases()

    def generate(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Sample | Failure]:
        """For each sample its pictures, by number and then by weight, or a Failure for each that can't be."""
        model = ctx.models.get(self.model)
        studio = Studio(
            component=self,
            ctx=ctx,
            model=self.model,
            make=lambda asks, seeds, guidance: model(
                [np.asarray(ask.sample.image) for ask in asks],
                seeds,
                steps=self.steps,
                guidance=guidance,
                size=self.size,
            ),
            safety=self.safety,
            scorer=self.scorer,
            words=class_words(self.component_name(), {}, ctx) if self.scorer else {},
            batch=self.batch,
        )
        planned = (item for sample in samples for item in self.plan(sample, ctx))
        yield from studio.pictures(planned, len(self.guidance))

    def plan(self, sample: Sample, ctx: Context) -> Iterator[Ask | Failure]:
        """What is asked for, from the fields and the seed alone."""
        name = self.component_name()
        for number in range(self.per_sample):
            seeds = seeds_for(name, sample, number, self.safety, ctx)
            for weight in self.guidance:
                variant = f"guidance_{weight:g}"
                if isinstance(sample.image, bytes):
                    yield ineligible(self, sample, variant, number, "no_picture", "there is no picture to vary")
                    continue
                requested: dict[str, Json] = {
                    "route": name,
                    "class": sample.labels[0] if sample.labels else "",
                    "k": number,
                    "source": sample.id,
                    "guidance": weight,
                    "steps": self.steps,
                    "size": self.size,
                    "seed": seeds[0],
                }
                yield Ask(sample, variant, requested, weight, seeds)
