"""Pictures of classes out of noise, by a class-conditional diffusion model: the class-conditional route of ImageNet-G.

After Bansal & Grover, Leaving Reality to Imagination (arXiv 2302.02503). Every picture's noise comes from its own
seed, so it is the same in any batch, order or process, up to what floating-point kernels do with another batch size
(one grey level now and then). One sample may ask for several guidance weights; its pictures then share their noise,
and differ in nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from schemas.canonical import Json
from schemas.component import Context, Generator
from schemas.errors import RecipeError
from schemas.sample import Failure, Op, Sample, child_id

log = logging.getLogger(__name__)

Weight = Annotated[float, Field(ge=0, le=50)]


class ClassConditional(Generator):
    """One picture a sample and guidance weight, of the class that the sample's first label names.

    The samples' own pictures, if they have any, are not looked at: a real dataset as the source lends its labels and
    the balance of its classes, as ImageNet-G does.
    """

    model: str = "class_conditional"
    guidance: tuple[Weight, ...] = Field(default=(1.5,), min_length=1)
    """Weights of classifier-free guidance, 1 for none. More is truer to the class and less diverse; the shipped model's
    card has figures. One variant each, `guidance_1.5`."""
    steps: int = Field(default=10, ge=1, le=1000)
    sampler: Literal["ddim", "dpm++"] = "dpm++"
    """Both are deterministic, so a picture follows from its noise."""
    batch: int = Field(default=32, ge=1)
    """Samples that are denoised together; halved when memory runs out, which a picture's `achieved` shows."""

    @field_validator("guidance")
    @classmethod
    def _once_each(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(value)) != len(value):
            raise ValueError("must be weights that differ")
        return value

    def aliases(self) -> tuple[str, ...]:
        """The model."""
        return (self.model,)

    def generate(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Sample | Failure]:
        """For each sample a picture per guidance weight, or one `unlabelled` Failure each.

        Raises:
            RecipeError: when the model doesn't know a sample's class.
        """
        from torch import OutOfMemoryError

        model = ctx.models.get(self.model)
        index = {identity: position for position, identity in enumerate(model.classes)}
        batch, waiting = self.batch, iter(samples)
        while group := list(islice(waiting, batch)):
            known = [sample for sample in group if sample.labels]
            labels = [self._label(sample, index) for sample in known]
            seeds = [self._seed(sample, ctx) for sample in known]
            try:
                rounds = {
                    weight: model(labels, seeds, guidance=weight, steps=self.steps, sampler=self.sampler)
                    for weight in self.guidance
                }
            except OutOfMemoryError:
                if len(known) == 1:
                    raise
                batch = max(1, len(group) // 2)
                log.warning("%s: out of memory with %d pictures, going on with %d", self.model, len(group), batch)
                waiting = chain(group, waiting)
                continue
            made = {sample.id: number for number, sample in enumerate(known)}
            for sample in group:
                for weight in self.guidance:
                    if sample.id in made:
                        yield self._child(sample, rounds[weight][made[sample.id]], weight, len(known), ctx)
                    else:
                        yield self._unlabelled(sample, weight)

    def _label(self, sample: Sample, index: dict[str, int]) -> int:
        if sample.labels[0] not in index:
            shown = ", ".join(list(index)[:10]) + (", …" if len(index) > 10 else "")
            raise RecipeError(
                f"{self.component_name()}: model {self.model!r} knows no class {sample.labels[0]!r}; it makes: {shown}"
            )
        return index[sample.labels[0]]

    def _seed(self, sample: Sample, ctx: Context) -> int:
        return ctx.seed_for(self.component_name(), sample.id, "noise")

    def _requested(self, weight: float) -> dict[str, Json]:
        return {"guidance": weight, "steps": self.steps, "sampler": self.sampler}

    def _child(self, sample: Sample, image: Any, weight: float, together: int, ctx: Context) -> Sample:
        op = Op(
            name=self.component_name(),
            revision=self.revision,
            requested=self._requested(weight),
            achieved={"class": sample.labels[0], "size": image.shape[0], "batch": together},
            gates={},
            models={self.model: ctx.models.pin(self.model)},
            seed=self._seed(sample, ctx),
        )
        variant = f"guidance_{weight:g}"
        # what came with a real picture (a mask) says nothing of this one; the class's name still does
        extras = {ending: value for ending, value in sample.extras.items() if ending == "txt"}
        return sample.child(image, op, variant=variant, fingerprint=self.fingerprint(), extras=extras)

    def _unlabelled(self, sample: Sample, weight: float) -> Failure:
        variant = f"guidance_{weight:g}"
        return Failure(
            child_id(sample.id, self.fingerprint(), variant, self._requested(weight)),
            sample.id,
            "ineligible",
            "unlabelled",
            variant,
            origin=sample.origin,
            licence=sample.licence,
            detail="it has no label to say which class to make",
        )
