"""Base class of the four routes of diffusion models: from samples to requests, and on to rows or pictures.

A request follows from the recipe's fields and seed and from the sample's label or caption. So all requests are known
before a model is loaded, and the table of requests has the same rows that are drawn.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

from pydantic import AfterValidator, Field

from variorum.kit.diffusion.drawing import Drawn, Request, Safety, draw, noise
from variorum.kit.diffusion.opinions import opinions
from variorum.kit.diffusion.settings import check_settings
from variorum.kit.gates.gates import Gates, at_most, blank
from variorum.kit.prompts.prompts import (
    UNLABELLED,
    Templates,
    Wording,
    class_words,
    leak_warning,
    prompt_for,
    wording_for,
)
from variorum.kit.windows import in_windows
from variorum.models.batch_search import best_batch
from variorum.models.device import gpu_name
from variorum.schemas.annotations import Annotations, Text
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Generator, Use
from variorum.schemas.edit import Edit
from variorum.schemas.fields import each_once
from variorum.schemas.sample import Failure, Gate, Sample, child_id
from variorum.schemas.uses import required_models

if TYPE_CHECKING:
    from variorum.arrays import Pixels

log = logging.getLogger(__name__)

FLAGGED = "filtered_nsfw"
NO_PICTURE = "no_picture", "there is no picture to start from"


all_different = each_once("must be values that differ")
"""Checks values; with equal ones two variants would have one name."""
Weight = Annotated[float, Field(ge=1, le=50)]
"""Weight of classifier-free guidance. Pipelines treat a weight below 1 as 1, which is no guidance, so it is refused."""
Weights = Annotated[tuple[Weight, ...], Field(min_length=1), AfterValidator(all_different)]
Size = Annotated[int, Field(ge=64, le=4096, multiple_of=8)]


@dataclass(frozen=True, slots=True)
class Variant:
    """One of a route's variants.

    Attributes:
        name: `guidance_1.5`.
        setting: the guidance or strength that tells it from the others.
        asked: what its requests record, besides label and prompt.
    """

    name: str
    setting: float
    asked: Mapping[str, Json]


class Shown(NamedTuple):
    """The facts of a picture that was made, besides its prompt.

    Attributes:
        annotations: those of its sample that still hold.
        achieved: what was measured.
        gates: further checks.
        kind: its digital source type, if it isn't the route's.
    """

    annotations: Annotations
    achieved: Mapping[str, Json] = {}
    gates: Mapping[str, Gate] = {}
    kind: str | None = None


class Route(Generator):
    """`per_sample` pictures for each sample and variant.

    Pictures of one sample and number have the same noise, and the same prompt if any, in every variant.
    """

    needs_picture: ClassVar[bool] = False
    """Whether it starts from a picture."""
    needs_label: ClassVar[bool] = False
    """Whether it needs a label although it has no prompt."""

    model: str
    steps: int = Field(default=50, ge=1, le=1000)
    """Denoising steps."""
    per_sample: int = Field(default=1, ge=1)
    """Pictures made for each sample."""
    safety: Safety = Safety()
    """The check for unsafe pictures."""
    scorer: str | None = None
    """A zero-shot model (`zero_shot`) whose opinion of class and prompt is recorded; it decides nothing."""
    batch: int = Field(default=8, ge=1)
    """Pictures that are denoised together; halved when memory runs out, which a picture's `achieved` shows. On a GPU,
    unless it is set, the fastest number is looked for once and kept for the machine."""

    @abstractmethod
    def variants(self) -> list[Variant]:
        """The variants of each picture, in the order in which they are made."""

    @abstractmethod
    def draw(self, model: Any, requests: Sequence[Request], seeds: Sequence[int], setting: float) -> list[Pixels]:
        """One picture per request, each with its seed, by the loaded model. Called from threads."""

    def wording(self, ctx: Context) -> Wording | None:
        """Turn classes and captions into prompts; None for a route without prompts. Raises RecipeError."""
        return None

    def settings(self) -> int:
        """Count the settings of one sample and number, with one request each."""
        return len(self.variants())

    def shown(self, request: Request, image: Pixels) -> Shown:
        """Return the facts of a picture that was made. Objects may be anywhere now, so none of them holds."""
        return Shown(replace(request.of.sample.annotations, objects=()))

    def measured(
        self, requests: Sequence[Request], images: Sequence[Pixels], ctx: Context
    ) -> Sequence[Mapping[str, Json]]:
        """Measure each picture, besides how it was made; nothing by default. Called from threads."""
        return [{}] * len(images)

    def uses(self) -> list[Use]:
        """Return the model, the safety checker, which decides, and the scorer."""
        return [
            Use(self.model, batch=self.batch),
            *self.safety.uses(),
            *([] if self.scorer is None else [Use(self.scorer)]),
        ]

    def check(self, ctx: Context) -> None:
        """Raise RecipeError.

        The settings don't suit the model, a class has no name, or two classes have one prompt. Templates that leak test
        sets are warned of.
        """
        check_settings(self, ctx)
        wording = self.wording(ctx)
        if wording and (warning := leak_warning(self.component_name(), wording.templates)):
            log.warning("%s", warning)

    def generate(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Sample | Failure]:
        """For each sample its pictures, by number and then by variant, or a Failure for each that can't be made.

        Raises:
            RecipeError: as `check`, or for a label or size that the model or the source doesn't know.
        """
        wording, model = self.wording(ctx), ctx.models.get(self.model)
        words = wording.words if wording else class_words(self.component_name(), {}, ctx) if self.scorer else {}

        def draw_window(window: list[Request]) -> list[Drawn | None]:
            possible = [request for request in window if not request.problem]
            drawn = draw(possible, partial(self.draw, model), self.safety, ctx.models)
            if self.scorer and drawn:
                scorer, images = ctx.models.get(self.scorer), [item.image for item in drawn]
                for item, notes in zip(drawn, opinions(scorer, images, possible, words), strict=True):
                    item.notes = notes
            facts = self.measured(possible, [item.image for item in drawn], ctx)
            for item, found in zip(drawn, facts, strict=True):
                item.facts = found
            made = iter(drawn)
            return [None if request.problem else next(made) for request in window]

        requests: Iterator[Request] = (
            replace(item, problem=NO_PICTURE)
            if self.needs_picture and isinstance(item.of.sample.image, bytes)
            else item
            for item in self._requests(samples, wording, ctx)
        )
        # a window has `batch` pictures of each setting, so that calls are full
        batch, requests = self._batch(model, requests, ctx)
        pairs = in_windows(requests, draw_window, batch=batch, group=self.settings(), name=self.component_name())
        with closing(pairs):
            for request, drawn in pairs:
                if drawn:
                    yield self._result(request, drawn, model)
                elif request.problem:
                    yield request.skipped(*request.problem)

    def requests(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Mapping[str, Json]]:
        """One row per picture that is asked for, in the order in which they are made."""
        fingerprint = self.fingerprint()
        for request in self._requests(samples, self.wording(ctx), ctx):
            sample = request.of.sample
            yield {
                "id": child_id(sample.id, fingerprint, request.variant, request.requested),
                "origin": sample.origin,
                "variant": request.variant,
                "reason": request.problem[0] if request.problem else "",
                **request.requested,
            }

    def _batch(self, model: Any, requests: Iterator[Request], ctx: Context) -> tuple[int, Iterator[Request]]:
        """Pictures that are denoised together, and the same requests, the first of which is drawn for the search."""
        if "batch" in self.model_fields_set or gpu_name() is None:
            return self.batch, requests
        read = []
        for request in requests:
            read.append(request)
            if not request.problem:
                break
        again = chain(read, requests)
        if not read or read[-1].problem:
            return self.batch, again
        first, image = read[-1], read[-1].of.sample.image
        name, size = self.component_name(), getattr(self, "size", None)
        seen = list(image.shape[:2]) if self.needs_picture and not isinstance(image, bytes) else None

        def make(number: int) -> object:
            return self.draw(model, [first] * number, range(number), first.setting)

        pin = ctx.models.pin(self.model)
        return best_batch(name, pin, [name, size, seen], make, usual=self.batch), again

    def _requests(self, samples: Iterable[Sample], wording: Wording | None, ctx: Context) -> Iterator[Request]:
        name, variants = self.component_name(), self.variants()
        for sample in samples:
            of = Edit(self, sample, ctx)
            for number in range(self.per_sample):
                seed, prompt, told = of.seed(noise(number)), "", dict[str, Json]()
                problem = UNLABELLED if self.needs_label and not sample.labels else None
                if wording:
                    template, prompt, problem = prompt_for(name, sample, number, wording, ctx)
                    told = {"template": template.id, "group": template.group, "prompt": prompt}
                for variant in variants:
                    requested: dict[str, Json] = {
                        "route": name,
                        "class": sample.labels[0] if sample.labels else "",
                        "k": number,
                        "source": sample.id,
                        **told,
                        **variant.asked,
                        "seed": seed,
                    }
                    yield Request(of, variant.name, requested, variant.setting, number, prompt, problem)

    def _result(self, request: Request, drawn: Drawn, model: Any) -> Sample | Failure:
        of, gates = request.of, {"blank": blank(drawn.image, Gates())}
        if drawn.margin is not None:
            gates = {FLAGGED: at_most(drawn.margin, 0), **gates}
        if drawn.flagged and not self.safety.keep:
            seeds = f"flagged by {self.safety.checker} with each of {drawn.attempt + 1} seeds"
            return request.skipped(FLAGGED, seeds, {FLAGGED: gates[FLAGGED]})
        achieved: dict[str, Json] = {
            "size": list(drawn.image.shape[:2]),
            "batch": drawn.together,
            "redraws": drawn.attempt,
            **drawn.facts,
        }
        if request.prompt:
            achieved["prompt_cut"] = model.cut([request.prompt])[0]
        for alias in required_models(self):
            of.model(alias)
        # members of the sample that it is made from, such as a mask, don't describe this picture
        text = request.prompt.encode() if request.prompt else of.sample.extras.get("txt")
        told = (Text(request.prompt, "prompt"),) if request.prompt else ()
        shown = self.shown(request, drawn.image)
        return of.made(
            drawn.image,
            variant=request.variant,
            requested=request.requested,
            achieved={**achieved, **shown.achieved},
            gates={**gates, **drawn.notes, **shown.gates},
            extras={} if text is None else {"txt": text},
            purpose=noise(request.number, drawn.attempt),
            annotations=replace(shown.annotations, texts=(*shown.annotations.texts, *told)),
            digital_source_type=shown.kind,
        )


class PromptedRoute(Route):
    """A route whose model is told what to draw in words: a class by a template, or the sample's caption.

    The prompt is a text of the picture, with the role `prompt`.
    """

    annotated: ClassVar[bool] = True

    templates: Templates = "photo"
    """A named set (`photo`, `neutral`, `name_hypernym`, …), or texts with `{name}`, `{gloss}`, `{hypernym}`,
    `{place}`, `{caption}` in them; of several, each picture gets one by its seed."""
    names: dict[str, str] = Field(default_factory=dict)
    """Other names for classes, by id."""
    negative: str = ""
    """What pictures should not show."""

    def wording(self, ctx: Context) -> Wording:
        """The templates and the classes' names. Raises RecipeError."""
        return wording_for(self.component_name(), self.templates, self.names, ctx)


def check_negative(negative: str, weights: Sequence[float]) -> None:
    """Raise ValueError for a negative prompt at a guidance weight of 1, where it has no effect."""
    if negative and min(weights) == 1:
        raise ValueError("negative has no effect at a guidance of 1")
