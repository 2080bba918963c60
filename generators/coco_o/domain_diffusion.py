"""COCO-O-style pictures by diffusion models, synthetic: photographs repainted, or their layouts painted anew.

The six domains are those of COCO-O (Mao et al., ICCV 2023, arXiv 2307.12730), which collected real pictures. A prompt
names the domain and what the picture shows. Three routes: `image_to_image` noises a photograph and denoises it (SDEdit,
Meng et al., ICLR 2022, arXiv 2108.01073), `edge_to_image` keeps its edges (ControlNet, Zhang et al., ICCV 2023, arXiv
2302.05543), `layout_to_image` keeps its boxes alone (GLIGEN, Li et al., CVPR 2023, arXiv 2301.07093). A model may paint
something else into a box, so a detector should look at every picture: see `detector`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import cv2
import numpy as np
from pydantic import AfterValidator, Field, model_validator

from variorum.generators.coco_o.layouts import Photo, boxes_only, largest, square, squared, stretched
from variorum.generators.coco_o.prompting.domain_prompts import PROMPTS
from variorum.generators.coco_o.stylization import verification
from variorum.generators.coco_o.stylization.domains import DOMAINS, Domain
from variorum.generators.coco_o.stylization.gates import Limits
from variorum.generators.coco_o.stylization.photographs import photograph
from variorum.kit.diffusion.drawing import Request, noise
from variorum.kit.diffusion.route import (
    NO_PICTURE,
    Route,
    Shown,
    Size,
    Variant,
    Weight,
    all_different,
    check_negative,
)
from variorum.kit.pictures.scenes import BadInput
from variorum.kit.prompts.prompts import articled
from variorum.kit.prompts.subjects import subject
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Use
from variorum.schemas.edit import Edit
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import GENERATED, PARTLY_GENERATED, Failure, Sample

if TYPE_CHECKING:
    from variorum.arrays import Pixels

By = Literal["image_to_image", "edge_to_image", "layout_to_image"]
SETTINGS: Mapping[By, str] = {
    "image_to_image": "strength",
    "edge_to_image": "scale",
    "layout_to_image": "grounded",
}
"""The field that only this route has."""
UNKNOWN = "no_subject", "nothing says what it shows: it has neither caption nor objects nor a label"
NO_BOXES = "no_boxes", "it has no boxes to paint"
Some = Annotated[tuple[Annotated[float, Field(gt=0, le=2)], ...], Field(min_length=1), AfterValidator(all_different)]


class DomainDiffusion(Route):
    """The `original` and one picture per domain: `sketch`, `cartoon` and so on.

    A picture is the photograph's middle square, with its objects cut as the square cuts them; by `layout_to_image` it
    is the whole photograph, its boxes scaled to the square and its masks dropped. Style and setting of each picture are
    drawn by its seed. What the prompt calls the picture's content is its caption, or else its objects, counted.

    Without a detector all objects are `unconfirmed`. With one, a picture is kept if enough of the objects that it finds
    in the photograph are found again. The detector may not judge the edition later.
    """

    keeps_objects: ClassVar[bool] = True
    annotated: ClassVar[bool] = True
    needs_picture: ClassVar[bool] = True
    digital_source_type: ClassVar[str] = PARTLY_GENERATED

    route: By = "image_to_image"
    """What a picture starts from: the photograph, its edges, or its boxes."""
    model: str = ""
    """Alias of the model; by default that of the route's name."""
    domains: Annotated[tuple[Domain, ...], Field(min_length=1), AfterValidator(all_different)] = DOMAINS
    """Which of the six are made."""
    captions: bool = True
    """Whether captions say what a picture shows; otherwise its objects do."""
    strength: Some = (0.6,)
    """Of `image_to_image`: share of the way to pure noise; each picture has one of them. Below 0.4 little changes,
    above 0.65 objects move."""
    scale: Some = (0.9,)
    """Of `edge_to_image`: weight of the edges; each picture has one of them."""
    grounded: Some = (0.3,)
    """Of `layout_to_image`: share of the steps that use the boxes; each picture has one of them."""
    guidance: Weight = 7.5
    """Weight of classifier-free guidance, 1 for none."""
    negative: str = ""
    """What pictures should not show."""
    size: Size | None = None
    """Side in pixels; null for the side that the model was trained at."""
    detector: str | None = None
    """Looks for the objects in the photograph and in every picture, and decides which pictures are kept."""
    least_confirmed: float = Field(default=0.8, ge=0, le=1)
    """Share of the boxes found in the photograph that must be found again; 0 only marks the boxes."""

    @model_validator(mode="before")
    @classmethod
    def _model_of_the_route(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and not fields.get("model"):
            return {**fields, "model": fields.get("route", "image_to_image")}
        return fields

    @model_validator(mode="after")
    def _settings_have_an_effect(self) -> Self:
        check_negative(self.negative, (self.guidance,))
        defaults = type(self).model_fields
        for route, field in SETTINGS.items():
            if route != self.route and getattr(self, field) != defaults[field].default:
                raise ValueError(f"{field} is a field of the route {route} and has no effect with {self.route}")
        if self.route != "edge_to_image" and max(self._choices) > 1:
            raise ValueError(f"{SETTINGS[self.route]} is a share, at most 1")
        if self.route == "image_to_image" and int(self.steps * min(self.strength)) < 1:
            raise ValueError(f"a strength of {min(self.strength):g} leaves none of {self.steps} steps")
        return self

    @property
    def _choices(self) -> tuple[float, ...]:
        chosen: tuple[float, ...] = getattr(self, SETTINGS[self.route])
        return chosen

    @cached_property
    def _prompts(self) -> Mapping[Domain, Mapping[str, str]]:
        return {domain: PROMPTS[domain] for domain in self.domains}

    def identity(self) -> dict[str, Json]:
        """The fields, with the prompts that they stand for."""
        prompts: dict[str, Json] = {domain: dict(styles) for domain, styles in self._prompts.items()}
        return {**super().identity(), "prompts": prompts}

    requests: ClassVar[None] = None  # type: ignore[assignment]
    """No table of requests: prompts name the objects, and sources outline their pictures without them."""

    def variants(self) -> list[Variant]:
        """One per domain; style and setting are drawn for each picture."""
        return [Variant(domain, 0.0, {}) for domain in self.domains]

    def settings(self) -> int:
        """One: what is drawn for a picture doesn't depend on its domain, so windows may hold any requests."""
        return 1

    def uses(self) -> list[Use]:
        """Return the models of the route, and the detector, which decides."""
        return [*super().uses(), *([] if self.detector is None else [Use(self.detector, decides=True)])]

    def generate(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Sample | Failure]:
        """For each sample its `original`, then its pictures by number and domain, or a Failure for each without one."""
        waiting: deque[Sample] = deque()
        current = ""

        def noted() -> Iterator[Sample]:
            for sample in samples:
                waiting.append(sample)
                yield sample

        for item in super().generate(noted(), ctx):
            if item.parent != current:
                current = item.parent
                yield self._original(Edit(self, waiting.popleft(), ctx))
            yield item

    def draw(self, model: Any, requests: Sequence[Request], seeds: Sequence[int], setting: float) -> list[Pixels]:
        """Call the route's model. Raises RecipeError for a size that it can't make."""
        prompts = [request.prompt for request in requests]
        told = (prompts, [self.negative] * len(requests))
        how: dict[str, Any] = {SETTINGS[self.route]: setting, "steps": self.steps, "guidance": self.guidance}
        if self.route == "layout_to_image":
            asked = [self._asked(request, model.most) for request in requests]
            boxes, phrases = [boxes for boxes, _ in asked], [phrases for _, phrases in asked]
            return list(model(*told, boxes, phrases, seeds, size=self._side(model), **how))
        side = self._side(model)
        images = [square(self._photo(request.of).image, side or model.size) for request in requests]
        return list(model(images, *told, seeds, **how))

    def shown(self, request: Request, image: Pixels) -> Shown:
        """The objects where the picture should show them, and what the detector says of them."""
        of, photo = request.of, self._photo(request.of)
        height, width = image.shape[:2]
        if self.route == "layout_to_image":
            before = np.asarray(cv2.resize(photo.image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
            most = of.model(self.model).most
            there = replace(photo.annotations, objects=largest(photo.annotations.objects, most))
            placed = stretched(boxes_only(there), photo.image, (height, width))
        else:
            before, placed = square(photo.image, height), squared(photo.annotations, photo.image, height)
        kind = GENERATED if self.route == "layout_to_image" else PARTLY_GENERATED
        counted: dict[str, Json] = {
            "boxes": len(placed.objects),
            "boxes_dropped": photo.dropped + len(photo.annotations.objects) - len(placed.objects),
            "synthetic": True,
        }
        if self.detector is None or not placed.objects:
            unsure = tuple(replace(item, check="unconfirmed") for item in placed.objects)
            return Shown(replace(placed, objects=unsure), {**counted, **verification.counts(unsure)}, {}, kind)
        detector = of.model(self.detector)
        verification.check_detector(self.detector, detector)
        found, again = verification.detected(detector, [before, image], placed, self._names(of.ctx))
        objects = verification.checks(placed.objects, found, again)
        return Shown(
            replace(placed, objects=objects),
            {**counted, **verification.counts(objects)},
            verification.kept_gates(objects, found, self.least_confirmed),
            kind,
        )

    def _requests(self, samples: Iterable[Sample], wording: object, ctx: Context) -> Iterator[Request]:
        names = self._names(ctx)
        for sample in samples:
            of = Edit(self, sample, ctx)
            words, problem = self._subject(sample, names), self._problem(of)
            for number in range(self.per_sample):
                for domain in self.domains:
                    rng = of.rng(f"{domain}/{number}")
                    styles = self._prompts[domain]
                    style = list(styles)[int(rng.integers(len(styles)))]
                    setting = self._choices[int(rng.integers(len(self._choices)))]
                    prompt = articled(styles[style].format(subject=words))
                    requested: dict[str, Json] = {
                        "route": self.route,
                        "class": sample.labels[0] if sample.labels else "",
                        "k": number,
                        "source": sample.id,
                        "domain": domain,
                        "view": "scene",
                        "style": style,
                        "prompt": prompt if words else "",
                        "negative": self.negative,
                        "guidance": self.guidance,
                        SETTINGS[self.route]: setting,
                        "steps": self.steps,
                        "size": self.size,
                        "seed": of.seed(noise(number)),
                    }
                    why = problem or (None if words else UNKNOWN)
                    yield Request(of, domain, requested, setting, number, prompt if words else "", why)

    def _subject(self, sample: Sample, names: Mapping[str, str]) -> str:
        text = sample.extras.get("txt")
        told = text.decode("utf-8", "replace") if isinstance(text, bytes) else sample.annotations.caption()
        label = sample.labels[0] if sample.labels else ""
        return subject(sample.annotations, told if self.captions else "", label, names)

    def _problem(self, of: Edit) -> tuple[str, str] | None:
        """Why nothing can be made of a sample."""
        if isinstance(of.sample.image, bytes):
            return NO_PICTURE
        try:
            photo = self._photo(of)
        except BadInput as error:
            return error.reason, str(error)
        lost = self.route == "layout_to_image" and not largest(photo.annotations.objects, 1)
        return NO_BOXES if lost else None

    def _names(self, ctx: Context) -> Mapping[str, str]:
        return {info.id: info.name for info in ctx.source.classes(ctx)} if ctx.source else {}

    def _photo(self, of: Edit) -> Photo:
        """The photograph with its sound objects. Raises BadInput."""
        found = photograph(of.sample, None, Limits(), None, of.ctx)
        return Photo(found.image, found.annotations, found.dropped)

    def _asked(self, request: Request, most: int) -> tuple[Any, list[str]]:
        """The largest boxes of a sample as fractions of the sides `[n, 4]`, and what is in them."""
        photo, names = self._photo(request.of), self._names(request.of.ctx)
        height, width = photo.image.shape[:2]
        objects = largest(photo.annotations.objects, most)
        corners = np.array([[x, y, x + w, y + h] for x, y, w, h in (item.box for item in objects)], np.float64)
        fractions = (corners / [width, height, width, height]).clip(0, 1)
        return fractions, [names.get(item.label, item.label).replace("_", " ") for item in objects]

    def _side(self, model: Any) -> int | None:
        if self.size is not None and self.size % model.multiple:
            raise RecipeError(f"{self.component_name()}: size {self.size} is no multiple of {model.multiple}")
        return self.size

    def _original(self, of: Edit) -> Sample | Failure:
        """The photograph as the pictures show it, untouched apart from that."""
        try:
            if isinstance(of.sample.image, bytes):
                raise BadInput(*NO_PICTURE)
            photo = self._photo(of)
        except BadInput as error:
            return of.skipped(error.reason, str(error), variant="original", requested={})
        image, annotations = photo.image, photo.annotations
        if self.route != "layout_to_image":
            side = self.size or of.ctx.models.get(self.model).size
            image, annotations = square(image, side), squared(annotations, image, side)
        dropped = photo.dropped + len(photo.annotations.objects) - len(annotations.objects)
        return of.made(
            image,
            variant="original",
            requested={},
            achieved={"boxes": len(annotations.objects), "boxes_dropped": dropped},
            extras={"txt": self._subject(of.sample, self._names(of.ctx)).encode()},  # as all pictures have one
            annotations=annotations,
            digital_source_type=of.sample.digital_source_type,
        )
