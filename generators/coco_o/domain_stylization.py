"""COCO-O-style pictures, synthetic: photographs as sketches, cartoons, paintings, in weather, as craft and as tattoos.

COCO-O (Mao et al., ICCV 2023, arXiv 2307.12730) is a collection of real pictures of six domains. These are photographs
redrawn, so their boxes and masks hold to the pixel, but their makers are algorithms: what is measured on them says how
a detector takes a change of rendering, not how it would do on drawings by people. Weather without depth is an
approximation, and the frost, flakes and lamps are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from variorum.generators.coco_o.stylization import gates, verification
from variorum.generators.coco_o.stylization.domains import DOMAINS, STYLES, Domain
from variorum.generators.coco_o.stylization.drafts import VIEWS, Canvas, Draft, View, Wanted
from variorum.generators.coco_o.stylization.gates import Limits
from variorum.generators.coco_o.stylization.photographs import Photograph, alone, photograph
from variorum.generators.coco_o.stylization.style import Style
from variorum.kit.gates.gates import Gates as EditGates
from variorum.kit.gates.gates import blank
from variorum.kit.pictures.scenes import BadInput
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Generator, Use
from variorum.schemas.edit import Edit
from variorum.schemas.sample import ENHANCED, PARTLY_GENERATED, Failure, Sample

if TYPE_CHECKING:
    from variorum.arrays import Pixels


class DomainStylization(Generator):
    """The `original` and one picture per domain and view: `sketch`, `sketch_isolated` and so on.

    A `scene` is the whole photograph redrawn. An `isolated` picture shows one object on an empty ground, as most real
    sketches and tattoos do: the largest with a mask that neither the frame nor an object before it cuts off. Its box is
    that of what is drawn; the other boxes are dropped and counted. Which style of a domain a photograph gets, and the
    style's parameters, are drawn by its own seed, so that no detector learns one filter.

    A detector, if one is named, looks for the objects in the photograph and in every picture: see `Object.check`. By
    `least_confirmed` it also decides what is accepted, unless that is 0. Either way it may not judge the edition later.
    Pictures larger than `size` are reduced, the original too. Each picture has the member `mask.png`: the object that
    can stand alone, empty if none can.
    """

    revision: ClassVar[int] = 2
    keeps_objects: ClassVar[bool] = True
    digital_source_type: ClassVar[str] = ENHANCED

    domains: tuple[Domain, ...] = Field(default=DOMAINS, min_length=1)
    """Which of the six are made."""
    styles: dict[Domain, tuple[str, ...]] = Field(default={}, description="to choose from; by default all of a domain")
    views: tuple[View, ...] = Field(default=VIEWS, min_length=1)
    """`scene` is the whole photograph, `isolated` one object on an empty ground."""
    size: int | None = Field(default=512, ge=64, le=8192, description="longest short side in pixels; None for any")
    per_domain: int | Literal["all"] = Field(default=1, description="styles per photograph, domain and view")
    segmenter: str | None = Field(default="segmenter", description="finds masks where there are none; None for no more")
    gates: Limits = Limits()
    """Limits of the checks."""
    detector: str | None = None
    """Alias of a detector that must find the objects again; null for none."""
    least_confirmed: float = Field(
        default=0.8,
        ge=0,
        le=1,
        description="share of the boxes found in the photograph that must be found again; 0 only marks the boxes",
    )

    @model_validator(mode="after")
    def _there_are_styles(self) -> DomainStylization:
        for what, values in (("domains", self.domains), ("views", self.views)):
            if len(set(values)) < len(values):
                raise ValueError(f"{what} {list(values)} names one twice")
        if isinstance(self.per_domain, int) and self.per_domain < 1:
            raise ValueError(f'per_domain is {self.per_domain}; it must be 1 or more, or "all"')
        if strays := sorted(set(self.styles) - set(self.domains)):
            raise ValueError(f"styles names {strays[0]}, which isn't among domains {list(self.domains)}")
        for domain, names in self.styles.items():
            unknown = [name for name in names if name not in STYLES[domain]]
            if unknown or not names or len(set(names)) < len(names):
                said = f"has no style {unknown[0]!r}" if unknown else f"is given {list(names)}"
                raise ValueError(f"the domain {domain} {said}; name each once of {', '.join(STYLES[domain])}")
        for domain in self.domains:
            if STYLES[domain] and not any(self._choices(domain, view) for view in self.views):
                raise ValueError(
                    f"the domain {domain} has only isolated pictures: add isolated to views, or leave it out"
                )
        return self

    def identity(self) -> dict[str, Json]:
        """The fields, with the styles that there are."""
        styles: dict[str, Json] = {domain: list(self._styles[domain]) for domain in self.domains}
        return {**super().identity(), "styles": styles}

    def uses(self) -> list[Use]:
        """Return the models of the styles, the segmenter and the detector, which decides."""
        painters = [alias for styles in self._styles.values() for style in styles.values() for alias in style.models]
        others = [] if self.segmenter is None else [self.segmenter]
        detector = [] if self.detector is None else [Use(self.detector, decides=True)]
        return [*map(Use, dict.fromkeys([*painters, *others])), *detector]

    def edit(self, sample: Sample, of: Edit) -> Iterator[Sample | Failure]:
        """The `original`, then a picture or a Failure for each domain, view and style."""
        try:
            found = photograph(sample, self.size, self.gates, self.segmenter, of.ctx)
        except BadInput as error:
            skipped = partial(of.skipped, error.reason, str(error), status=error.status)
            yield skipped(variant="original", requested={})
            for wanted in self._wanted(of):
                yield skipped(variant=wanted.variant, requested=wanted.requested)
            return
        made: list[Draft | Failure] = [self._original(found)]
        canvas = Canvas(found, of.ctx)
        made += [self._redrawn(canvas, wanted, of) for wanted in self._wanted(of)]
        self._verify([item for item in made if isinstance(item, Draft)], found, of.ctx)
        for item in made:
            yield item if isinstance(item, Failure) else self._sample(item, of)

    @cached_property
    def _styles(self) -> Mapping[Domain, Mapping[str, Style]]:
        """The styles of each domain to choose from."""
        return {
            domain: {name: STYLES[domain][name] for name in self.styles.get(domain, STYLES[domain])}
            for domain in self.domains
        }

    def _choices(self, domain: Domain, view: View) -> list[str]:
        """The domain's styles that can draw such a view."""
        return [name for name, style in self._styles[domain].items() if view == "isolated" or not style.needs_subject]

    def _wanted(self, of: Edit) -> Iterator[Wanted]:
        """List what is asked for. It depends on fields and seed alone, so ids are known before any picture is."""
        for domain in self.domains:
            for view in self.views:
                choices = self._choices(domain, view)
                number = len(choices) if self.per_domain == "all" else min(self.per_domain, len(choices))
                order = of.rng(f"styles_{domain}_{view}").permutation(len(choices))[:number]
                for place in sorted(order.tolist()):
                    yield Wanted(domain, view, choices[place])

    def _original(self, found: Photograph) -> Draft:
        return Draft(
            found.image,
            found.annotations,
            _mask(found),
            achieved={"boxes": len(found.annotations.objects), "boxes_dropped": found.dropped},
            gates={"blank": blank(found.image, EditGates())},
            models=dict(found.models),
        )

    def _redrawn(self, canvas: Canvas, wanted: Wanted, of: Edit) -> Draft | Failure:
        """The photograph in a style."""
        found = canvas.found
        subject = found.subject if wanted.view == "isolated" else None
        if wanted.view == "isolated" and subject is None:
            detail = f"no object can stand alone: {found.refusal}"
            return of.skipped("no_subject", detail, variant=wanted.variant, requested=wanted.requested)
        annotations, others = (found.annotations, 0) if subject is None else alone(found)
        alpha = None if subject is None else subject.alpha
        style = self._styles[wanted.domain][wanted.style]
        rng = of.rng(wanted.purpose)
        drawn = style.draw(rng)
        image, models = canvas.painted(style, drawn, wanted.view, rng)
        if np.array_equal(image, found.image):
            detail = f"{wanted.style} left the picture as it was"
            return of.skipped("unchanged", detail, variant=wanted.variant, requested=wanted.requested)
        scores = gates.legibility(canvas.slopes, gates.slopes(image), found.boxes(annotations), alpha)
        return Draft(
            image,
            annotations,
            _mask(found),
            wanted,
            {
                "drawn": dict(drawn),
                "synthetic": True,
                **gates.statistics(image),
                "legibility": [round(score, 3) if np.isfinite(score) else None for score in scores],
                "boxes": len(annotations.objects),
                "boxes_dropped": found.dropped + others,
            },
            {
                **({} if subject is None else subject.gates),
                **gates.legible(scores, self.gates),
                **gates.domain_gates(wanted.domain, wanted.style, found.image, image),
                "blank": blank(image, EditGates()),
            },
            models,
        )

    def _verify(self, drafts: list[Draft], found: Photograph, ctx: Context) -> None:
        """Ask the detector, in one call for all pictures of a photograph."""
        if self.detector is None or not found.annotations.objects:
            return
        names = {info.id: info.name for info in ctx.source.classes(ctx)} if ctx.source else {}
        detector = ctx.models.get(self.detector)
        verification.check_detector(self.detector, detector)
        seen = verification.detected(detector, [draft.image for draft in drafts], found.annotations, names)
        in_photograph = dict(zip(map(id, found.annotations.objects), seen[0], strict=True))
        for draft, hits in zip(drafts, seen, strict=True):
            again = dict(zip(map(id, found.annotations.objects), hits, strict=True))
            objects = draft.annotations.objects
            before, after = ([there[id(item)] for item in objects] for there in (in_photograph, again))
            checked = verification.checks(objects, before, after)
            draft.annotations = replace(draft.annotations, objects=checked)
            draft.models[self.detector] = ctx.models.pin(self.detector)
            draft.achieved |= verification.counts(checked)
            if draft.wanted is not None:
                draft.gates |= verification.kept_gates(checked, before, self.least_confirmed)

    def _sample(self, draft: Draft, of: Edit) -> Sample:
        wanted = draft.wanted
        variant, purpose = ("original", "original") if wanted is None else (wanted.variant, wanted.purpose)
        painted = wanted is not None and bool(self._styles[wanted.domain][wanted.style].models)
        kind = PARTLY_GENERATED if painted else self.digital_source_type
        return of.made(
            draft.image,
            variant=variant,
            requested={} if wanted is None else wanted.requested,
            achieved=draft.achieved,
            gates=draft.gates,
            models=draft.models,
            purpose=purpose,
            extras={"mask.png": draft.mask},
            annotations=draft.annotations,
            digital_source_type=of.sample.digital_source_type if wanted is None else kind,
        )


def _mask(found: Photograph) -> Pixels:
    """The member `mask.png`: the subject's alpha, empty without one."""
    return np.zeros(found.image.shape[:2], np.uint8) if found.subject is None else found.subject.alpha
