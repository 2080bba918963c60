"""Photographs remade after a prompt, by noising them part of the way and denoising them again.

SDEdit (Meng et al., ICLR 2022, arXiv 2108.01073), ImageNet-G's image-and-text route. The strength says how far: at 1,
which ImageNet-G used, next to nothing of the picture is left and only the prompt speaks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated

import numpy as np
from pydantic import Field, field_validator, model_validator

from generators.diffusion.draws import Ask, Safety, Studio, aliases, ineligible, seeds_for
from generators.editing.framing import crop, window
from generators.prompting.prompts import (
    Named,
    Words,
    check_prompts,
    check_templates,
    class_words,
    described,
    leak_warning,
    template_set,
)
from schemas.canonical import Json
from schemas.component import Context, Generator
from schemas.errors import RecipeError
from schemas.sample import Failure, Sample

log = logging.getLogger(__name__)

Strength = Annotated[float, Field(gt=0, le=1)]


class ImageToImage(Generator):
    """`per_sample` pictures a photograph and strength, cut to its middle square and remade after its class or caption.

    Pictures of one sample and number share noise and prompt at every strength. Made from a test picture they are no
    strangers to it: keep both on one side of a split.
    """

    model: str = "image_to_image"
    templates: Named | tuple[str, ...] = "photo"
    """`photo`, `neutral`, `clip80`, `clip80_verbatim`, `caption`, or texts with `{name}`, `{gloss}`, `{caption}` in
    them; of several, each picture gets one by its seed."""
    names: dict[str, str] = Field(default_factory=dict)
    """Other names for classes, by id."""
    negative: str = ""
    strength: tuple[Strength, ...] = Field(default=(0.5,), min_length=1)
    """How much of the way to noise, in (0, 1]; one variant each, `strength_0.5`."""
    guidance: float = Field(default=7.5, ge=0, le=50)
    """Weight of classifier-free guidance, 1 for none."""
    steps: int = Field(default=50, ge=1, le=1000)
    """Of the whole way; a strength s takes the last s of them."""
    size: int | None = Field(default=None, ge=64, le=4096, multiple_of=8)
    """Side in pixels; null for the side of the model's training."""
    per_sample: int = Field(default=1, ge=1)
    safety: Safety = Safety()
    scorer: str | None = None
    """A zero-shot model (`zero_shot`) whose opinion of class and prompt is recorded; it decides nothing."""
    batch: int = Field(default=8, ge=1)
    """Pictures that are denoised together; halved when memory runs out, which a picture's `achieved` shows."""

    @field_validator("strength")
    @classmethod
    def _once_each(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(value)) != len(value):
            raise ValueError("must be strengths that differ")
        return value

    @model_validator(mode="after")
    def _makes_sense(self) -> ImageToImage:
        check_templates(self.templates)
        if self.negative and self.guidance <= 1:
            raise ValueError("negative has no effect at a guidance of 1 or less")
        if int(self.steps * min(self.strength)) < 1:
            raise ValueError(f"a strength of {min(self.strength):g} leaves none of {self.steps} steps")
        return self

    def aliases(self) -> tuple[str, ...]:
        """The model, the safety checker and the scorer."""
        return aliases(self.model, self.safety, self.scorer)

    def filters(self) -> tuple[str, ...]:
        """The safety checker."""
        return self.safety.aliases()

    def check(self, ctx: Context) -> None:
        """Refuse classes without a name or with one prompt for two, and warn of templates that leak test sets."""
        templates = template_set(self.templates)
        check_prompts(self.component_name(), templates, self._words(ctx))
        if warning := leak_warning(self.component_name(), templates):
            log.warning("%s", warning)

    def generate(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Sample | Failure]:
        """For each sample its pictures, by number and then by strength, or a Failure for each that can't be.

        Raises:
            RecipeError: as `check`, for a label that isn't among the source's classes, or a size that the model can't.
        """
        words = self._words(ctx)
        check_prompts(self.component_name(), template_set(self.templates), words)
        model = ctx.models.get(self.model)
        side = self.size or model.size
        if side % model.multiple:
            raise RecipeError(f"{self.component_name()}: size {side} is no multiple of {model.multiple}")
        studio = Studio(
            component=self,
            ctx=ctx,
            model=self.model,
            make=lambda asks, seeds, strength: model(
                [_square(ask.sample, side) for ask in asks],
                [ask.prompt for ask in asks],
                [ask.negative for ask in asks],
                seeds,
                strength=strength,
                steps=self.steps,
                guidance=self.guidance,
            ),
            safety=self.safety,
            scorer=self.scorer,
            words=words,
            batch=self.batch,
            note=lambda ask: {"prompt_cut": model.cut([ask.prompt])[0]},
        )
        planned = (item for sample in samples for item in self.plan(sample, ctx, words))
        yield from studio.pictures(planned, len(self.strength))

    def plan(self, sample: Sample, ctx: Context, words: Mapping[str, Words]) -> Iterator[Ask | Failure]:
        """What is asked for, from the fields, the seed and the sample's label or caption alone."""
        name = self.component_name()
        templates = template_set(self.templates)
        for number in range(self.per_sample):
            template, found = described(name, sample, number, templates, words, ctx)
            if isinstance(sample.image, bytes):
                found = "no_picture", "there is no picture to start from"
            seeds = seeds_for(name, sample, number, self.safety, ctx)
            for strength in self.strength:
                variant = f"strength_{strength:g}"
                if isinstance(found, tuple):
                    yield ineligible(self, sample, variant, number, *found)
                    continue
                requested: dict[str, Json] = {
                    "route": name,
                    "class": sample.labels[0] if sample.labels else "",
                    "k": number,
                    "source": sample.id,
                    "template": template.id,
                    "group": template.group,
                    "prompt": found,
                    "negative": self.negative,
                    "strength": strength,
                    "guidance": self.guidance,
                    "steps": self.steps,
                    "size": self.size,
                    "seed": seeds[0],
                }
                yield Ask(sample, variant, requested, strength, seeds, prompt=found, negative=self.negative)

    def _words(self, ctx: Context) -> dict[str, Words]:
        return class_words(self.component_name(), self.names, ctx)


def _square(sample: Sample, side: int) -> np.ndarray:
    """The middle square of a sample's picture."""
    pixels = np.asarray(sample.image)
    return crop(pixels, window(*pixels.shape[:2]), side)
