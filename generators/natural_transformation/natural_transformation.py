"""Photographs relit: other exposure, white balance, direction of light, a shadow, haze.

After the idea of NaTra (arXiv 2105.04070): attributes that have nothing to do with the class are changed, and a
classifier should not care. There a GAN changes them. Here light is computed in closed form, or a GAN that the user
brings moves along directions that nobody has named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field, field_validator, model_validator

from variorum.generators.natural_transformation.directions import directions
from variorum.generators.natural_transformation.exposure import burnt_out
from variorum.generators.natural_transformation.inversion import inverted, pictured
from variorum.generators.natural_transformation.natural import ATTRIBUTES, KINDS, LEAST_STRENGTH, Attribute
from variorum.generators.natural_transformation.route import FARTHEST, Latent, asking, check_models, gan_of, played
from variorum.kit.corrupt.change import Before
from variorum.kit.corrupt.frames import Framed, Unusable, framed, usable
from variorum.kit.corrupt.linear_light import to_linear, to_srgb
from variorum.kit.corrupt.outcome import is_grey
from variorum.kit.gates import gates
from variorum.kit.pictures.scenes import label_index
from variorum.schemas.canonical import Json, digest
from variorum.schemas.component import Context, Generator, Use
from variorum.schemas.edit import Edit
from variorum.schemas.fields import each_once
from variorum.schemas.sample import ENHANCED, GENERATED, Failure, Gate, Sample

if TYPE_CHECKING:
    from variorum.arrays import Pixels

LIMITS = gates.Gates()
LEAST_STRUCTURE = 0.8
"""Of `structure`: less means that much of what the photograph shows is burnt out, black, or lost in haze."""
MOST_BURNT = 0.1
"""Of `burnt_out`: share of the pixels that newly lack detail in a channel."""
SAME = "every pixel is that of the original"
Strength = Annotated[float, Field(ge=LEAST_STRENGTH, le=1)]


class Wanted(NamedTuple):
    """A picture to make: its variant, its request, the kind of change or number of the direction, and how strong."""

    variant: str
    requested: dict[str, Json]
    name: str
    strength: float


class Made(NamedTuple):
    """A transformed picture before its record."""

    variant: str
    purpose: str
    requested: Mapping[str, Json]
    image: Pixels
    achieved: Mapping[str, Json]
    gates: dict[str, Gate]


class NaturalTransformation(Generator):
    """The `original` and one picture per change and strength, such as `warmer_0.67`.

    Nothing moves, so objects and the mask stay. Strengths of a change share what is drawn, such as the place of the
    shadow. By the latent route pictures are the GAN's: `inverted` of the photograph's middle square, then those of
    moved codes, such as `direction_2_-3`, without objects and masks.
    """

    revision: ClassVar[int] = 2
    keeps_objects: ClassVar[bool] = True
    digital_source_type: ClassVar[str] = ENHANCED

    attributes: tuple[Attribute, ...] = ATTRIBUTES
    """What changes. `exposure` makes pictures brighter and darker, `white_balance` warmer and cooler."""
    strengths: tuple[Strength, ...] = (0.33, 0.67, 1)
    """1 is 1.5 stops, 3000 K or 9000 K, light of 1 ± 0.6, a shadow of 0.35, haze of optical depth 0.8; by the latent
    route three deviations."""
    route: Literal["closed_form", "latent"] = "closed_form"
    """`closed_form` computes the light. `latent` moves codes of a GAN; `attributes` have no effect there, as nobody
    knows what a direction changes."""
    latent: Latent = Field(default=Latent(), description="changes in the latent space of a GAN")
    classifier: str | None = "classifier_gate"
    """Alias of a classifier; the probability that it gives the picture's class is recorded, and decides nothing."""

    _different = field_validator("attributes", "strengths")(each_once("must be one or more, each once", least=1))

    @model_validator(mode="after")
    def _apart(self) -> NaturalTransformation:
        """Names have six digits of a strength, and what is asked for is rounded, so close strengths can be the same."""
        seen: dict[str, Json] = {}
        for one in self._moves() if self.route == "latent" else self._changes():
            strength = one.requested.get("strength")
            asked = {name: value for name, value in one.requested.items() if name != "strength"}
            for same in (one.variant, repr(asked)):
                if (other := seen.setdefault(same, strength)) != strength:
                    raise ValueError(f"strengths has {other} and {strength}, which make the same {one.variant}")
        return self

    def uses(self) -> list[Use]:
        """Return the GAN and its inverter by the latent route, and the classifier."""
        models = [Use(self.latent.gan), Use(self.latent.inverter)] if self.route == "latent" else []
        return [*models, *([] if self.classifier is None else [Use(self.classifier, "classifier")])]

    def check(self, ctx: Context) -> None:
        """Raise ModelUnavailable if the latent route has no GAN."""
        if self.route == "latent":
            check_models(self.latent, ctx)

    def edit(self, sample: Sample, of: Edit) -> Iterator[Sample | Failure]:
        """The original and the pictures made of it, change by change, or a Failure for each."""
        latent = self.route == "latent"
        frame = self._side(of) if latent else None
        wanted = list(self._moves() if latent else self._changes())
        whole: dict[str, Json] = {"frame": frame} if latent else {}
        try:
            usable(sample)
            found = framed(sample, frame, larger=1.0)
        except Unusable as error:
            for variant, requested in [("original", whole), *((one.variant, one.requested) for one in wanted)]:
                yield of.skipped(error.reason, str(error), variant=variant, requested=requested)
            return
        extras = {} if found.mask is None or latent else {"mask.png": found.mask}
        yield of.made(
            found.image,
            variant="original",
            requested=whole,
            gates={"blank": gates.blank(found.image, LIMITS), **self._seen(found.image, of)},
            extras=extras,
            annotations=found.annotations,
            digital_source_type=sample.digital_source_type,
        )
        for draft in self._moved(found, of, wanted) if latent else self._relit(found, of, wanted):
            if isinstance(draft, Failure):
                yield draft
                continue
            yield of.made(
                draft.image,
                variant=draft.variant,
                requested=draft.requested,
                achieved=draft.achieved,
                gates={**draft.gates, **self._seen(draft.image, of)},
                extras=extras,
                purpose=draft.purpose,
                annotations=replace(found.annotations, objects=()) if latent else found.annotations,
                digital_source_type=GENERATED if latent else None,
            )

    def _changes(self) -> Iterator[Wanted]:
        """Changes of light, by attribute and strength."""
        for attribute in self.attributes:
            for name, kind in KINDS.items():
                if kind.attribute != attribute:
                    continue
                for strength in self.strengths:
                    requested: dict[str, Json] = {"attribute": attribute, "strength": strength}
                    yield Wanted(f"{name}_{strength:g}", {**requested, **kind.asks(strength)}, name, strength)

    def _relit(self, found: Framed, of: Edit, wanted: Sequence[Wanted]) -> Iterator[Made | Failure]:
        light, grey, before = to_linear(found.image), is_grey(found.image), Before(found.image)
        for variant, requested, name, strength in wanted:
            kind = KINDS[name]
            if grey and not kind.grey:
                detail = "the picture is grey, so its light has no colour"
                yield of.skipped("grey", detail, variant=variant, requested=requested)
                continue
            changed = kind.apply(light, kind.asks(strength), of.rng(name), grey)
            image = to_srgb(changed.light)
            if np.array_equal(image, found.image):
                yield of.skipped("unchanged", SAME, variant=variant, requested=requested)
                continue
            checks = {
                "structure": gates.at_least(before.structure(image), LEAST_STRUCTURE),
                "burnt_out": gates.at_most(burnt_out(found.image, image), MOST_BURNT),
                "blank": gates.blank(image, LIMITS),
            }
            achieved = {**changed.achieved(found.image, image), **before.change(image)}
            yield Made(variant, name, requested, image, achieved, checks)

    def _side(self, of: Edit) -> int:
        """Of the GAN's pictures."""
        with asking(self.latent):
            return gan_of(of.model(self.latent.gan)).size

    def _moves(self) -> Iterator[Wanted]:
        """Generate from a photograph's code, and from moves along each direction to both sides."""
        how: dict[str, Json] = {"method": self.latent.method, "steps": self.latent.steps}
        yield Wanted("inverted", how, "0", 0.0)
        for direction in range(self.latent.directions):
            for strength in self.strengths:
                for sigmas in (round(FARTHEST * strength, 1), -round(FARTHEST * strength, 1)):
                    move = {"direction": direction, "strength": strength, "deviations": sigmas}
                    requested = {**how, **move, "reference": "inverted"}
                    yield Wanted(f"direction_{direction}_{sigmas:+g}", requested, str(direction), sigmas)

    def _moved(self, found: Framed, of: Edit, wanted: Sequence[Wanted]) -> Iterator[Made | Failure]:
        before = Before(found.image)
        with asking(self.latent):
            gan, inverter = gan_of(of.model(self.latent.gan)), played(of.model(self.latent.inverter))
            code = inverted(gan, inverter, found.image, self.latent.steps)
            ssim = before.change(pictured(gan, code))["ssim"]
        inversion = {"inversion": gates.at_least(ssim, self.latent.least_ssim)}
        if not inversion["inversion"]["passed"]:
            detail = f"the GAN's nearest picture has an SSIM of {ssim:.2f}"
            for one in wanted:
                yield of.skipped(
                    "not_invertible", detail, variant=one.variant, requested=one.requested, gates=inversion
                )
            return
        pin, method, count = of.ctx.models.pin(self.latent.gan), self.latent.method, self.latent.directions
        with asking(self.latent):
            known = of.ctx.memo(digest(["directions", pin, method, count]), lambda: directions(gan, method, count))
        for variant, requested, name, sigmas in wanted:
            if int(name) >= len(known["vectors"]):
                detail = f"codes have {len(known['vectors'])} directions"
                yield of.skipped("no_direction", detail, variant=variant, requested=requested)
                continue
            step = np.float32(sigmas) * known["deviations"][int(name)] * known["vectors"][int(name)]
            with asking(self.latent):
                image = pictured(gan, code + step)
            checks = {**inversion, "blank": gates.blank(image, LIMITS)}
            achieved = {"structure": round(before.structure(image), 5), **before.change(image)}
            yield Made(variant, "", requested, image, achieved, checks)

    def _seen(self, image: Pixels, of: Edit) -> dict[str, Gate]:
        """Classify a picture, seen alone; nothing where no label is one of ImageNet's classes."""
        index = label_index(of.sample)
        if self.classifier is None or index is None:
            return {}
        (row,) = of.model(self.classifier)([image])
        return {"label_p": gates.recorded(float(row[index]))}
