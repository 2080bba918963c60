"""Pictures of classes or captions out of noise, by a text-to-image diffusion model: ImageNet-G's main route.

After Bansal & Grover, Leaving Reality to Imagination (arXiv 2302.02503). All that decides a picture is planned before
one is made and stands in its record: class, template, prompt, negative prompt, seed, guidance, steps.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from generators.diffusion.draws import Ask, Safety, Studio, aliases, ineligible, seeds_for
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
from schemas.sample import Failure, Sample

log = logging.getLogger(__name__)

Weight = Annotated[float, Field(ge=0, le=50)]


class TextToImage(Generator):
    """`per_sample` pictures a sample and guidance weight, of its class or its caption.

    A sample's own picture, if it has one, isn't looked at: a real dataset as the source lends its labels and the
    balance of its classes. Pictures of one sample and number share noise and prompt at every weight.
    """

    model: str = "text_to_image"
    templates: Named | tuple[str, ...] = "photo"
    """`photo`, `neutral`, `clip80`, `clip80_verbatim`, `caption`, or texts with `{name}`, `{gloss}`, `{caption}` in
    them; of several, each picture gets one by its seed."""
    names: dict[str, str] = Field(default_factory=dict)
    """Other names for classes, by id."""
    negative: str = ""
    """What pictures are to keep away from."""
    guidance: tuple[Weight, ...] = Field(default=(7.5,), min_length=1)
    """Weights of classifier-free guidance, 1 for none; one variant each, `guidance_7.5`. More keeps to the prompt and
    is less diverse: 1.5 to 3 suits training sets, 5 to 7.5 test sets."""
    steps: int = Field(default=50, ge=1, le=1000)
    size: int | None = Field(default=None, ge=64, le=4096, multiple_of=8)
    """Side in pixels; null for the side of the model's training."""
    per_sample: int = Field(default=1, ge=1)
    safety: Safety = Safety()
    scorer: str | None = None
    """A zero-shot model (`zero_shot`) whose opinion of class and prompt is recorded; it decides nothing."""
    batch: int = Field(default=8, ge=1)
    """Pictures that are denoised together; halved when memory runs out, which a picture's `achieved` shows."""

    @field_validator("guidance")
    @classmethod
    def _once_each(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(value)) != len(value):
            raise ValueError("must be weights that differ")
        return value

    @model_validator(mode="after")
    def _makes_sense(self) -> TextToImage:
        check_templates(self.templates)
        if self.negative and min(self.guidance) <= 1:
            raise ValueError("negative has no effect at a guidance of 1 or less")
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
        """For each sample its pictures, by number and then by weight, or a Failure for each that can't be.

        Raises:
            RecipeError: as `check`, or for a label that isn't among the source's classes.
        """
        words = self._words(ctx)
        check_prompts(self.component_name(), template_set(self.templates), words)
        model = ctx.models.get(self.model)
        studio = Studio(
            component=self,
            ctx=ctx,
            model=self.model,
            make=lambda asks, seeds, guidance: model(
                [ask.prompt for ask in asks],
                [ask.negative for ask in asks],
                seeds,
                steps=self.steps,
                guidance=guidance,
                size=self.size,
            ),
            safety=self.safety,
            scorer=self.scorer,
            words=words,
            batch=self.batch,
            note=lambda ask: {"prompt_cut": model.cut([ask.prompt])[0]},
        )
        planned = (item for sample in samples for item in self.plan(sample, ctx, words))
        yield from studio.pictures(planned, len(self.guidance))

    def plan(self, sample: Sample, ctx: Context, words: Mapping[str, Words]) -> Iterator[Ask | Failure]:
        """What is asked for, from the fields, the seed and the sample's label or caption alone."""
        name = self.component_name()
        templates = template_set(self.templates)
        for number in range(self.per_sample):
            template, found = described(name, sample, number, templates, words, ctx)
            seeds = seeds_for(name, sample, number, self.safety, ctx)
            for weight in self.guidance:
                variant = f"guidance_{weight:g}"
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
                    "guidance": weight,
                    "steps": self.steps,
                    "size": self.size,
                    "seed": seeds[0],
                }
                yield Ask(sample, variant, requested, weight, seeds, prompt=found, negative=self.negative)

    def _words(self, ctx: Context) -> dict[str, Words]:
        return class_words(self.component_name(), self.names, ctx)
