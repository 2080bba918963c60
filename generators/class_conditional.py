"""Pictures of classes out of noise, by a class-conditional diffusion model: the class-conditional route of ImageNet-G.

After Bansal & Grover, Leaving Reality to Imagination (arXiv 2302.02503). Every picture's noise comes from its own
seed, so it is the same in any batch, order or process, up to what floating-point kernels do with another batch size
(one grey level now and then). At several guidance weights pictures share their noise and differ in nothing else.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from generators.diffusion.draws import Ask, Make, Safety
from generators.diffusion.route import Route, Weight
from generators.sources.imagenet import class_infos
from schemas.component import Context
from schemas.errors import RecipeError


class ClassConditional(Route):
    """`per_sample` pictures a sample and guidance weight, of the class that the sample's first label names.

    The samples' own pictures, if they have any, are not looked at: a real dataset as the source lends its labels and
    the balance of its classes, as ImageNet-G does.
    """

    of_classes = True

    model: str = "class_conditional"
    guidance: tuple[Weight, ...] = Field(default=(1.5,), min_length=1)
    """Weights of classifier-free guidance, 1 for none. More is truer to the class and less diverse; the shipped model's
    card has figures. One variant each, `guidance_1.5`."""
    steps: int = Field(default=10, ge=1, le=1000)
    sampler: Literal["ddim", "dpm++"] = "dpm++"
    """Both are deterministic, so a picture follows from its noise."""
    safety: Safety = Safety(checker=None)
    """No check: such a model makes its own classes and nothing else."""
    batch: int = Field(default=32, ge=1)
    """Pictures that are denoised together; halved when memory runs out, which a picture's `achieved` shows."""

    def make(self, model: Any, ctx: Context) -> Make:
        """Calls a `ClassConditional`."""
        classes = model.classes or [info.id for info in class_infos()]
        index = {identity: position for position, identity in enumerate(classes)}

        def label(ask: Ask) -> int:
            identity = ask.sample.labels[0]
            if identity not in index:
                shown = ", ".join(list(index)[:10]) + (", …" if len(index) > 10 else "")
                raise RecipeError(
                    f"{self.component_name()}: model {self.model!r} knows no class {identity!r}; it makes: {shown}"
                )
            return index[identity]

        return lambda asks, seeds, guidance: list(
            model([label(ask) for ask in asks], seeds, guidance=guidance, steps=self.steps, sampler=self.sampler)
        )
