"""Pictures of classes drawn from noise by a class-conditional diffusion model: ImageNet-G's class-conditional route.

After Bansal & Grover, Leaving Reality to Imagination (arXiv 2302.02503). Each picture's noise comes from its own seed,
so the picture is the same in any batch, order or process, except that floating-point kernels may move a pixel by one
grey level at another batch size. At several guidance weights pictures have the same noise and differ in nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from variorum.kit.diffusion.drawing import Request, Safety
from variorum.kit.diffusion.route import Route, Variant, Weights
from variorum.models.imagenet_classes import class_infos
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import GENERATED, Failure, Sample
from variorum.sources.class_names import CAPTION

if TYPE_CHECKING:
    from variorum.arrays import Pixels


class ClassConditional(Route):
    """`per_sample` pictures per sample and guidance weight, of the class that the sample's first label names.

    A sample's own picture is ignored, so a real dataset as the source contributes its labels and its class balance, as
    in ImageNet-G. With `keep_pictures` it stays, and only samples without a picture get one.
    """

    needs_label = True
    digital_source_type = GENERATED

    model: str = "class_conditional"
    """Alias of the diffusion model."""
    guidance: Weights = (1.5,)
    """Weights of classifier-free guidance, 1 for none; one variant each, `guidance_1.5`. More guidance is truer to the
    class and less diverse; the card of the packaged model has figures."""
    steps: int = Field(default=10, ge=1, le=1000)
    """Denoising steps."""
    sampler: Literal["ddim", "dpm++"] = "dpm++"
    """Both are deterministic, so a picture follows from its noise."""
    safety: Safety = Safety(checker=None)
    """No check by default: the model makes only the classes that it was trained on."""
    batch: int = Field(default=32, ge=1)
    """Pictures that are denoised together; halved when memory runs out, which a picture's `achieved` shows."""
    keep_pictures: bool = False
    """Whether samples that have a picture pass unchanged, for an edition of photographs and generated pictures. The
    generated ones then have no member `txt`, as photographs may have none and samples of an edition are alike."""

    def identity(self) -> dict[str, Json]:
        """Without `keep_pictures` where it is false."""
        found = super().identity()
        return found if self.keep_pictures else {key: found[key] for key in found if key != "keep_pictures"}

    def generate(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Sample | Failure]:
        """As `Route.generate`; with `keep_pictures`, pictures pass in their place among the samples."""
        if not self.keep_pictures:
            yield from super().generate(samples, ctx)
            return
        for missing, run in groupby(samples, lambda sample: isinstance(sample.image, bytes)):
            for item in super().generate(run, ctx) if missing else run:
                yield replace(item, extras={}) if missing and isinstance(item, Sample) else item

    def requests(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Mapping[str, Json]]:
        """As `Route.requests`; with `keep_pictures`, only of samples that come with a class's name for a picture."""
        return super().requests((one for one in samples if not self.keep_pictures or CAPTION in one.extras), ctx)

    def variants(self) -> list[Variant]:
        """One per guidance weight."""
        return [
            Variant(f"guidance_{weight:g}", weight, {"guidance": weight, "steps": self.steps, "sampler": self.sampler})
            for weight in self.guidance
        ]

    def draw(self, model: Any, requests: Sequence[Request], seeds: Sequence[int], setting: float) -> list[Pixels]:
        """Call a `ClassConditional` model. Raises RecipeError for a class that it doesn't know."""
        classes = model.classes or [info.id for info in class_infos()]
        labels = [request.of.sample.labels[0] for request in requests]
        index = {identity: position for position, identity in enumerate(classes)}
        if unknown := [label for label in labels if label not in index]:
            shown = ", ".join(list(index)[:10]) + (", …" if len(index) > 10 else "")
            raise RecipeError(
                f"{self.component_name()}: model {self.model!r} knows no class {unknown[0]!r}; it makes: {shown}"
            )
        indices = [index[label] for label in labels]
        return list(model(indices, seeds, guidance=setting, steps=self.steps, sampler=self.sampler))
