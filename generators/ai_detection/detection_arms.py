"""Photographs beside versions that models made or processed, as sets for judging detectors of generated pictures.

A detector must not be able to tell the arms by their files: a JPEG against a PNG is found by anybody. So all arms of a
photograph show the same thing in the same frame, are shrunk by the same factor, which wipes out the grid of earlier
compression, and are then compressed alike. The detector `format_trap` checks what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from variorum.arrays import Bools, Pixels
from variorum.generators.ai_detection.region import drawn, put_into
from variorum.kit.corrupt.digital import as_jpeg
from variorum.kit.corrupt.frames import MIN_SIDE, Unusable, framed
from variorum.kit.pictures.local_statistics import with_histogram_of, with_statistics_of
from variorum.models.diffusion.images import LEAST_SPREAD
from variorum.schemas.canonical import Json, digest
from variorum.schemas.component import Context, Generator, Use
from variorum.schemas.edit import Edit
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import build_component
from variorum.schemas.sample import ENHANCED, GENERATED, MADE_BY_MODEL, PARTLY_GENERATED, Failure, Sample
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
    """What it is."""
    by: NestedAttack
    """The technique, such as `purification`, which adds noise to a picture and takes it away with a denoiser."""
    strength: float = Field(default=1.0, gt=0, le=1)
    """Of the technique, relative."""
    matched: bool = False
    """Whether it gets the photograph's local contrast, spectrum and histogram."""
    region: bool = False
    """Whether only a region of 10 to 40 % of the frame is the technique's, and all else the photograph's."""
    counter: bool = False
    """Whether there is also a counter-arm, a photograph with the arm's local contrast, spectrum and histogram."""
    counter_of: str = ""
    """An arm to which this one is the counter-arm: a photograph that a detector shouldn't call, if it finds the arm."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.counter_of and (self.truth != "real" or self.counter):
            raise ValueError(f"{self.name}: a counter-arm must have `truth: real` and no `counter`")
        return self


def _arms() -> tuple[Arm, ...]:
    """Made by the packaged models."""
    denoising, styles = _named("purification", t=120), _named("restyling")
    cubic = _named("super_resolution", enlarger=None)
    return (
        Arm(name="denoised_120", truth="reconstructed", by=denoising, matched=True, counter=True),
        Arm(name="super_resolved", truth="reconstructed", by=_named("super_resolution")),
        Arm(name="enlarged", truth="real", by=cubic, counter_of="super_resolved"),
        Arm(name="region_denoised", truth="partly_generated", by=denoising, matched=True, region=True),
        Arm(name="region_restyled", truth="partly_generated", by=styles, strength=0.8, matched=True, region=True),
        Arm(name="restyled", truth="processed", by=styles, strength=0.8),
        Arm(name="enhanced", truth="processed", by=_named("enhancement")),
        Arm(name="blurred", truth="real", by=_named("distortion", kind="blur"), strength=0.04),
    )


def _named(name: str, **fields: Json) -> Any:
    return build_component("attacks", {"name": name, **fields}, "arms")


class DetectionArms(Generator):
    """The photograph as variant `original`, and one variant per arm, all encoded alike.

    An arm has a `name`, the technique that makes it (`by`, `strength`) and a `truth`: `real`; `processed`, if an
    algorithm or a network changed the photograph; `reconstructed`, if a model made all pixels, but not what they show;
    `partly_generated`, if a model made a region; or `generated`, if it made all from noise or text.

    `matched` gives an arm its photograph's local contrast, spectrum and histogram. A counter-arm is a real picture
    that looks like an arm to whoever goes by such statistics: `counter` adds one, `<arm>_counter`, the photograph with
    the arm's statistics, and `counter_of` names the arm to which an arm of your own is the counter-arm. With `region`
    only a region of 10 to 40 % of the frame is the technique's; its share is recorded as `area`, and all pictures have
    the member `mask.png`, white where a model made the pixels.

    With `class_conditional` there is also the arm `generated`: a picture of the same class, made from nothing by a
    model. Arms by the same technique at the same strength are made once. An arm whose model is missing is a row with
    the reason.
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
    same_tones: bool = False
    """Whether the picture of `class_conditional` gets the histogram of its photograph. Models rarely make exact black,
    so a source with a black ground, such as Fashion-MNIST, gives itself away without it."""

    @field_validator("arms")
    @classmethod
    def _told_apart(cls, value: tuple[Arm, ...]) -> tuple[Arm, ...]:
        names = ["original", "generated", *(name for arm in value for name in _variants(arm))]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two arms are called {twice!r}; give one another name")
        if lost := next((arm for arm in value if arm.counter_of and arm.counter_of not in names[2:]), None):
            raise ValueError(f"{lost.name}: counter_of names {lost.counter_of!r}, and there is no such arm; name one")
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
        common: dict[str, Json] = {"frame": self.frame, "jpeg_quality": self.jpeg_quality}
        wanted = [(variant, _request(arm, variant, common)) for arm in self.arms for variant in _variants(arm)]
        if self.class_conditional:
            made_by: dict[str, Json] = {"guidance": self.guidance, "steps": self.steps, "same_tones": self.same_tones}
            wanted.append(("generated", {"arm": "generated", "truth": "generated", **made_by, **common}))
        first: dict[str, Json] = {"arm": "original", "truth": "real", **common}
        try:
            image = self._ready(sample)
        except Unusable as error:
            for variant, requested in [("original", first), *wanted]:
                yield of.skipped(error.reason, str(error), variant=variant, requested=requested)
            return
        kept, plain = sample.digital_source_type, self._small(image)
        nothing = self._mask(np.zeros(plain.shape[:2], bool))
        yield of.made(
            self._shipped(plain), variant="original", requested=first, extras=nothing, digital_source_type=kept
        )
        techniques: dict[str, Attacked | Refused] = {}
        for arm in self.arms:
            yield from self._arm(arm, common, image, plain, techniques, of)
        if self.class_conditional:
            yield self._generated(self.class_conditional, wanted[-1][1], sample, plain, of)

    def _ready(self, sample: Sample) -> Pixels:
        """The photograph at the size at which arms are made."""
        if isinstance(sample.image, bytes):
            raise Unusable("no_picture", "there are no pixels")
        if self.frame is None:
            return sample.image
        return framed(sample, -(-round(self.frame * LARGER) // MULTIPLE) * MULTIPLE).image

    def _small(self, image: Pixels) -> Pixels:
        """At the size of the frame."""
        if self.frame is None:
            return image
        return np.asarray(cv2.resize(image, (self.frame, self.frame), interpolation=cv2.INTER_AREA))

    def _shipped(self, image: Pixels) -> Pixels:
        """The same last step for all arms."""
        return image if self.jpeg_quality is None else as_jpeg(image, self.jpeg_quality)

    def _arm(
        self,
        arm: Arm,
        common: Mapping[str, Json],
        image: Pixels,
        plain: Pixels,
        techniques: dict[str, Attacked | Refused],
        of: Edit,
    ) -> Iterator[Sample | Failure]:
        """The arm and its counter-arm, if it has one. `techniques` holds what was made of `image` before."""
        requests = {variant: _request(arm, variant, common) for variant in _variants(arm)}
        for alias in required_models(arm.by):
            if why := of.ctx.models.why_unavailable(alias):
                for variant, requested in requests.items():
                    yield of.skipped("unavailable", f"unavailable: {why}", variant=variant, requested=requested)
                return
            of.model(alias)
        key = digest([arm.by.identity(), arm.strength])
        if key not in techniques:
            (found,) = arm.by.apply([image], arm.strength, [of.rng(key)], _Alone(of.ctx))
            techniques[key] = found if isinstance(found, Attacked | Refused) else Attacked(found)
        made = techniques[key]
        if isinstance(made, Attacked) and (arm.matched or arm.region or arm.counter):
            made = _alike(self._small(made.image), plain) or made
        if isinstance(made, Refused):
            for variant, requested in requests.items():
                yield of.skipped(made.reason, made.detail, variant=variant, requested=requested)
            return
        pixels = self._small(made.image)
        if arm.matched:
            pixels = with_statistics_of(pixels, plain)
        versions = [pixels, with_statistics_of(plain, pixels)] if arm.counter else [pixels]
        achieved: dict[str, Json] = {"drawn": dict(made.drawn)}
        height, width = plain.shape[:2]
        region = np.ones((height, width), bool)
        if arm.region:
            region = drawn(of.rng(f"{arm.name} region"), height, width)
            versions = [put_into(plain, version, region) for version in versions]
            achieved["area"] = round(float(region.mean()), 4)
        truths: list[Truth] = [arm.truth, "real"]
        for (variant, requested), version, truth in zip(requests.items(), versions, truths, strict=False):
            yield of.made(
                self._shipped(version),
                variant=variant,
                requested=requested,
                achieved=achieved,
                extras=self._mask(region & (truth in MADE_BY_MODEL)),
                purpose=key,
                digital_source_type=TYPES.get(truth, of.sample.digital_source_type),
            )

    def _mask(self, made: Bools) -> dict[str, bytes | Pixels]:
        """The member `mask.png`, if there are regions."""
        return {"mask.png": made.astype(np.uint8) * 255} if any(arm.region for arm in self.arms) else {}

    def _generated(
        self, alias: str, requested: Mapping[str, Json], sample: Sample, plain: Pixels, of: Edit
    ) -> Sample | Failure:
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
        pixels = self._small(image)
        if self.same_tones:
            if wrong := _alike(pixels, plain):
                return of.skipped(wrong.reason, wrong.detail, variant="generated", requested=requested)
            pixels = with_histogram_of(pixels, plain)
        mask = self._mask(np.ones(pixels.shape[:2], bool))
        return of.made(
            self._shipped(pixels), variant="generated", requested=requested, extras=mask, purpose="generated"
        )


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


def _variants(arm: Arm) -> list[str]:
    """The arm's own variant, and that of its counter-arm."""
    return [arm.name, f"{arm.name}_counter"] if arm.counter else [arm.name]


def _alike(made: Pixels, plain: Pixels) -> Refused | None:
    """Why a picture can't be compared with the photograph pixel by pixel; None if it can."""
    if made.shape == plain.shape:
        return None
    (height, width), (tall, wide) = made.shape[:2], plain.shape[:2]
    return Refused("size_mismatch", f"{width} x {height} pixels; the photograph has {wide} x {tall}")


def _request(arm: Arm, variant: str, common: Mapping[str, Json]) -> dict[str, Json]:
    counter_of = arm.counter_of if variant == arm.name else arm.name
    return {
        "arm": variant,
        "truth": arm.truth if variant == arm.name else "real",
        "by": arm.by.identity(),
        "strength": arm.strength,
        "amount": dict(arm.by.amount(arm.strength)),
        "matched": arm.matched,
        "region": arm.region,
        **({"counter_of": counter_of} if counter_of else {}),
        **common,
    }
