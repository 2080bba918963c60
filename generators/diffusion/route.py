"""The skeleton of the routes on which diffusion models draw: from samples to asks, and from asks to rows or pictures.

All that decides a picture is settled before one is drawn and before a model is loaded: its ask follows from the
recipe's fields and seed and the sample's label or caption. A plan's table has the same asks as rows.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from generators.diffusion.draws import Ask, Make, Safety, Studio, aliases, seed_of
from generators.prompting.prompts import UNLABELLED, Wording, class_words, described, leak_warning
from schemas.canonical import Json
from schemas.component import Context, Generator
from schemas.sample import Failure, Sample, child_id

log = logging.getLogger(__name__)

Weight = Annotated[float, Field(ge=1, le=50)]
"""Of classifier-free guidance. Below 1, which would be a weight between none and some, pipelines give what 1 gives."""
Size = Annotated[int, Field(ge=64, le=4096, multiple_of=8)]
ASKED = ("negative", "guidance", "strength", "steps", "size", "sampler")
"""Fields that an ask names, where a route has them."""


class Route(Generator):
    """`per_sample` pictures for each sample and value of the field that `setting` names.

    Pictures of one sample and number share their noise, and their prompt if they have one, at every value.
    """

    setting: ClassVar[str] = "guidance"
    """A variant comes of each of this field's values."""
    of_pictures: ClassVar[bool] = False
    """Whether a picture is needed to start from."""
    of_classes: ClassVar[bool] = False
    """Whether a label is needed where there is no prompt."""

    model: str
    steps: int = Field(default=50, ge=1, le=1000)
    per_sample: int = Field(default=1, ge=1)
    safety: Safety = Safety()
    scorer: str | None = None
    """A zero-shot model (`zero_shot`) whose opinion of class and prompt is recorded; it decides nothing."""
    batch: int = Field(default=8, ge=1)
    """Pictures that are denoised together; halved when memory runs out, which a picture's `achieved` shows."""

    @abstractmethod
    def make(self, model: Any, ctx: Context) -> Make:
        """What calls the loaded model."""

    def wording(self, ctx: Context) -> Wording | None:
        """How classes and captions are put into words; None for a route without prompts. Raises RecipeError."""
        return None

    @field_validator("guidance", "strength", check_fields=False)
    @classmethod
    def _once_each(cls, value: Any) -> Any:
        if isinstance(value, tuple) and len(set(value)) != len(value):
            raise ValueError("must be values that differ")
        return value

    @model_validator(mode="after")
    def _negative_has_an_effect(self) -> Self:
        weights = getattr(self, "guidance", ())
        if getattr(self, "negative", "") and min(weights if isinstance(weights, tuple) else (weights,)) == 1:
            raise ValueError("negative has no effect at a guidance of 1")
        return self

    def aliases(self) -> tuple[str, ...]:
        """The model, the safety checker and the scorer."""
        return aliases(self.model, self.safety, self.scorer)

    def filters(self) -> tuple[str, ...]:
        """The safety checker."""
        return self.safety.aliases()

    def check(self, ctx: Context) -> None:
        """Refuse classes without a name or with one prompt for two, and warn of templates that leak test sets."""
        wording = self.wording(ctx)
        if wording and (warning := leak_warning(self.component_name(), wording.templates)):
            log.warning("%s", warning)

    def generate(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Sample | Failure]:
        """For each sample its pictures, by number and then by setting, or a Failure for each that can't be.

        Raises:
            RecipeError: as `check`, or for a label or a size that the model or the source doesn't know.
        """
        wording, model = self.wording(ctx), ctx.models.get(self.model)
        words = wording.words if wording else class_words(self.component_name(), {}, ctx) if self.scorer else {}
        studio = Studio(
            component=self,
            ctx=ctx,
            model=self.model,
            make=self.make(model, ctx),
            safety=self.safety,
            scorer=self.scorer,
            words=words,
            batch=self.batch,
            note=(lambda ask: {"prompt_cut": model.cut([ask.prompt])[0]}) if wording else (lambda _: {}),
        )
        wanted = (
            replace(ask, reason=("no_picture", "there is no picture to start from"))
            if self.of_pictures and isinstance(ask.sample.image, bytes)
            else ask
            for ask in self.asks(samples, wording, ctx)
        )
        yield from studio.pictures(wanted, len(getattr(self, self.setting)))

    def planned(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Mapping[str, Json]]:
        """A row for each picture that is asked for, in the order in which they are made."""
        wording, fingerprint = self.wording(ctx), self.fingerprint()
        for ask in self.asks(samples, wording, ctx):
            yield {
                "id": child_id(ask.sample.id, fingerprint, ask.variant, ask.requested),
                "origin": ask.sample.origin,
                "variant": ask.variant,
                "reason": ask.reason[0],
                **ask.requested,
            }

    def asks(self, samples: Iterable[Sample], wording: Wording | None, ctx: Context) -> Iterator[Ask]:
        """What is asked for, from the fields, the seed and the samples' labels or captions alone."""
        name = self.component_name()
        common = {field: getattr(self, field) for field in ASKED if hasattr(self, field)}
        settings = [(value, f"{self.setting}_{value:g}") for value in getattr(self, self.setting)]
        for sample, number in ((sample, number) for sample in samples for number in range(self.per_sample)):
            told: dict[str, Json] = {}
            reason = UNLABELLED if self.of_classes and not sample.labels else ("", "")
            if wording:
                template, prompt, reason = described(name, sample, number, wording, ctx)
                told = {"template": template.id, "group": template.group, "prompt": prompt}
            seed = seed_of(name, sample, number, 0, ctx)
            for value, variant in settings:
                requested: dict[str, Json] = {
                    "route": name,
                    "class": sample.labels[0] if sample.labels else "",
                    "k": number,
                    "source": sample.id,
                    **told,
                    **common,
                    self.setting: value,
                    "seed": seed,
                }
                prompt, negative = str(told.get("prompt", "")), str(common.get("negative", ""))
                yield Ask(sample, variant, requested, value, number, prompt, negative, reason)
