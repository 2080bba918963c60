"""Photographs beside versions that models made or improved, as sets for judging detectors of generated pictures.

A detector must not be able to tell the arms by their files: a JPEG against a PNG is found by anybody. So all arms of a
photograph show the same thing in the same frame, are shrunk by the same factor, which wipes out the grid of earlier
compression, and are then compressed alike. The detector `format_trap` checks what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from variorum.arrays import Pixels
from variorum.kit.corrupt.digital import as_jpeg
from variorum.kit.corrupt.frames import MIN_SIDE, Unusable, framed
from variorum.models.diffusion.images import LEAST_SPREAD
from variorum.schemas.canonical import Json, digest
from variorum.schemas.component import Context, Generator, Use
from variorum.schemas.edit import Edit
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import build_component
from variorum.schemas.sample import ENHANCED, GENERATED, PARTLY_GENERATED, Failure, Sample
from variorum.schemas.uses import required_models
from variorum.schemas.watermark import Attacked, Mark, NestedAttack, Refused

LARGER = 9 / 8
"""Side at which arms are made, as a multiple of the frame. Shrinking by it moves a grid of 8 pixels to 7.1."""
MULTIPLE = 16
"""The larger side is rounded up to a multiple of this, as denoisers take no others."""

Truth = Literal["real", "processed", "reconstructed", "partly_generated", "generated"]
"""What an arm is: a photograph; one that an algorithm or a network changed; one whose content a model kept and whose
pixels it made; one with a region that a model made; a picture that a model made from noise or text."""
TYPES: Mapping[Truth, str] = {
    "processed": ENHANCED,
    "reconstructed": PARTLY_GENERATED,
    "partly_generated": PARTLY_GENERATED,
    "generated": GENERATED,
}


class Arm(BaseModel):
    """One version of each photograph."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    name: str = Field(pattern="^[a-z0-9_]{1,40}$")
    """Its variant."""
    truth: Truth
    """What a right detector says of it."""
    by: NestedAttack
    """The technique, such as `purification`, which adds noise to a picture and takes it away with a denoiser."""
    strength: float = Field(default=1.0, gt=0, le=1)
    """Of the technique, relative."""


def _arms() -> tuple[Arm, ...]:
    """Made by the packaged models."""
    return (
        Arm(name="denoised_120", truth="reconstructed", by=_named("purification", t=120)),
        Arm(name="denoised_40", truth="reconstructed", by=_named("purification", t=40)),
        Arm(name="enhanced", truth="processed", by=_named("enhancement")),
        Arm(name="restyled", truth="processed", by=_named("restyling"), strength=0.8),
        Arm(name="blurred", truth="real", by=_named("distortion", kind="blur"), strength=0.04),
    )


def _named(name: str, **fields: Json) -> Any:
    return build_component("attacks", {"name": name, **fields}, "arms")


class DetectionArms(Generator):
    """The photograph as variant `original`, and one variant per arm, all encoded alike.

    With `class_conditional` there is also the arm `generated`: a picture of the same class, made from nothing by a
    model. An arm whose model is missing is a row with the reason.
    """

    revision: ClassVar[int] = 2
    digital_source_type: ClassVar[str] = GENERATED

    arms: tuple[Arm, ...] = Field(default_factory=_arms)
    """The versions of each photograph."""
    class_conditional: str | None = None
    """Alias of a model that makes pictures of the source's classes; null for none."""
    guidance: float = Field(default=1.5, ge=1)
    """Weight of classifier-free guidance of `class_conditional`."""
    steps: int = Field(default=10, ge=1, le=1000)
    """Steps of `class_conditional`."""
    frame: int | None = Field(default=256, ge=MIN_SIDE, le=1024)
    """Side of all pictures; null leaves them at the size of the source, and doesn't shrink them."""
    jpeg_quality: int | None = Field(default=90, ge=1, le=100)
    """Of the JPEG that all pictures go through at the end; null for none."""
    black: int = Field(default=0, ge=0, le=32)
    """Grey levels up to this become 0 in all arms. Models rarely make exact black, so a source with a black ground,
    such as Fashion-MNIST, gives itself away without it."""

    @field_validator("arms")
    @classmethod
    def _told_apart(cls, value: tuple[Arm, ...]) -> tuple[Arm, ...]:
        names = ["original", "generated", *(arm.name for arm in value)]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two arms are called {twice!r}; give one another name")
        return value

    def identity(self) -> dict[str, Json]:
        """With the identities of the techniques."""
        arms: list[Json] = [{**arm.model_dump(exclude={"by"}), "by": arm.by.identity()} for arm in self.arms]
        return {**super().identity(), "arms": arms}

    def fingerprint(self) -> str:
        """With the techniques' own fingerprints."""
        return digest([super().fingerprint(), [arm.by.fingerprint() for arm in self.arms]])

    def uses(self) -> list[Use]:
        """Return the models of the arms; an arm without its model is left out."""
        own = [self.class_conditional] if self.class_conditional else []
        found = dict.fromkeys([*required_models(*(arm.by for arm in self.arms)), *own])
        return [Use(alias, optional=True) for alias in found]

    def check(self, ctx: Context) -> None:
        """Raise RecipeError for an arm that needs marks or other photographs."""
        for arm in self.arms:
            if arm.by.about_mark or arm.by.own_photographs():
                raise RecipeError(f"{arm.name}: {arm.by.called} works on watermarks, and there are none here")

    def edit(self, sample: Sample, of: Edit) -> Iterator[Sample | Failure]:
        """The photograph and its arms, or a Failure for each."""
        common: dict[str, Json] = {"frame": self.frame, "jpeg_quality": self.jpeg_quality, "black": self.black}
        wanted = [(arm.name, _request(arm, common)) for arm in self.arms]
        if self.class_conditional:
            made_by: dict[str, Json] = {"guidance": self.guidance, "steps": self.steps}
            wanted.append(("generated", {"arm": "generated", "truth": "generated", **made_by, **common}))
        first: dict[str, Json] = {"arm": "original", "truth": "real", **common}
        try:
            image = self._ready(sample)
        except Unusable as error:
            for variant, requested in [("original", first), *wanted]:
                yield of.skipped(error.reason, str(error), variant=variant, requested=requested)
            return
        kept = sample.digital_source_type
        yield of.made(self._even(image), variant="original", requested=first, digital_source_type=kept)
        for arm, (_, requested) in zip(self.arms, wanted, strict=False):
            yield self._arm(arm, requested, image, of)
        if self.class_conditional:
            yield self._generated(self.class_conditional, wanted[-1][1], sample, of)

    def _ready(self, sample: Sample) -> Pixels:
        """The photograph at the size at which arms are made."""
        if isinstance(sample.image, bytes):
            raise Unusable("no_picture", "there are no pixels")
        if self.frame is None:
            return sample.image
        return framed(sample, -(-round(self.frame * LARGER) // MULTIPLE) * MULTIPLE).image

    def _even(self, image: Pixels) -> Pixels:
        """The same last steps for all arms."""
        if self.frame is not None:
            image = np.asarray(cv2.resize(image, (self.frame, self.frame), interpolation=cv2.INTER_AREA))
        if self.black:
            image = np.where(image <= self.black, np.uint8(0), image)
        return image if self.jpeg_quality is None else as_jpeg(image, self.jpeg_quality)

    def _arm(self, arm: Arm, requested: Mapping[str, Json], image: Pixels, of: Edit) -> Sample | Failure:
        for alias in required_models(arm.by):
            if why := of.ctx.models.why_unavailable(alias):
                return of.skipped("unavailable", f"unavailable: {why}", variant=arm.name, requested=requested)
            of.model(alias)
        (found,) = arm.by.apply([image], arm.strength, [of.rng(arm.name)], _Alone(of.ctx))
        if isinstance(found, Refused):
            return of.skipped(found.reason, found.detail, variant=arm.name, requested=requested)
        made = found if isinstance(found, Attacked) else Attacked(found)
        source = of.sample.digital_source_type if arm.truth == "real" else TYPES[arm.truth]
        return of.made(
            self._even(made.image),
            variant=arm.name,
            requested=requested,
            achieved={"drawn": dict(made.drawn)},
            purpose=arm.name,
            digital_source_type=source,
        )

    def _generated(self, alias: str, requested: Mapping[str, Json], sample: Sample, of: Edit) -> Sample | Failure:
        if why := of.ctx.models.why_unavailable(alias):
            return of.skipped("unavailable", f"unavailable: {why}", variant="generated", requested=requested)
        model = of.model(alias)
        label = sample.labels[0] if sample.labels else ""
        if label not in model.classes:
            detail = f"model {alias!r} makes no pictures of {label or 'pictures without a label'!r}"
            return of.skipped("unknown_class", detail, variant="generated", requested=requested)
        place, seed = model.classes.index(label), of.seed("generated")
        (image,) = model([place], [seed], guidance=self.guidance, steps=self.steps, sampler="dpm++")
        if image.std() < LEAST_SPREAD:
            detail = f"model {alias!r} made a picture of one colour"
            return of.skipped("blank", detail, variant="generated", requested=requested)
        return of.made(self._even(image), variant="generated", requested=requested, purpose="generated")


class _Alone:
    """The target of a technique that is used on photographs without marks."""

    mark: Mark | None = None

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx

    def marked(self, images: Sequence[Pixels]) -> list[Pixels]:
        """There is no mark."""
        raise RecipeError("this technique works on watermarks, and there are none here")

    def photographs(self, number: int) -> list[Pixels]:
        """There is no attacker."""
        raise RecipeError("this technique works on watermarks, and there are none here")

    def prepared(self, purpose: str, compute: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        """Compute what isn't kept."""
        return compute()


def _request(arm: Arm, common: Mapping[str, Json]) -> dict[str, Json]:
    return {
        "arm": arm.name,
        "truth": arm.truth,
        "by": arm.by.identity(),
        "strength": arm.strength,
        "amount": dict(arm.by.amount(arm.strength)),
        **common,
    }
