"""Photographs darkened: with less light, the noise of a sensor, and what enhancers make of them again.

Light is taken away from finished pictures, so they are darkened pictures and no photographs of dark places: lamps,
colours and shadows are those of the day. The sensor's noise is as Brooks et al. sample it (CVPR 2019, arXiv
1811.11127), and the learned enhancer is NoiSER (Zhang et al., arXiv 2211.04700).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import cv2
import numpy as np
from pydantic import Field, field_validator, model_validator

from variorum.kit.corrupt import low_light
from variorum.kit.corrupt.change import Before
from variorum.kit.corrupt.frames import MIN_SIDE, Framed, Unusable, framed, usable
from variorum.kit.gates import gates
from variorum.schemas.canonical import Json
from variorum.schemas.component import Generator, Use
from variorum.schemas.edit import Edit
from variorum.schemas.fields import each_once
from variorum.schemas.sample import ENHANCED, PARTLY_GENERATED, Failure, Gate, Sample

Enhancer = Literal["linear_gain", "gamma", "low_light_enhancer"]
MODEL: Enhancer = "low_light_enhancer"
MOST_BLACK = 0.6
"""Share of values that may be 0; of a picture with more, too little is left."""
LEAST_LEVEL = 40.0
"""Mean level of a photograph that can be darkened; below it is dark already."""
LEAST_DEVIATION = 0.5
"""Grey levels. A picture whose channels all vary less is blank; six stops leave most photographs ten times as much."""
Stops = Annotated[float, Field(gt=0, le=10)]
Variance = Annotated[float, Field(ge=0, le=1)]


class Wanted(NamedTuple):
    """A picture that is asked for; `enhancer` is empty for a darkened one, `noisy` says whether that has noise."""

    variant: str
    requested: dict[str, Json]
    exposure: float
    noisy: bool = True
    enhancer: str = ""


class LowLight(Generator):
    """The `original` in its frame, one darkened picture per exposure, such as `low_light_4`, and enhanced ones.

    Exposures share their random numbers, so that they differ in the light alone. `gamma_4` is made of `low_light_4` and
    says so as its `reference`, so that `accuracy_drop` compares the two. Nothing moves, so objects and the mask stay.
    """

    keeps_objects: ClassVar[bool] = True
    digital_source_type: ClassVar[str] = ENHANCED

    exposures: tuple[Stops, ...] = (1, 2, 3, 4, 5, 6)
    """Stops of light that are taken away: each halves it."""
    noise: Literal["sampled", "none"] | tuple[Variance, Variance] = "sampled"
    """Of the sensor. `sampled` draws one for each photograph; two numbers are shot and read noise: the variance of
    light in [0, 1] is shot * light + read."""
    noiseless: bool = False
    """Whether each exposure is also made without noise, as `noiseless_4`. It tells what darkness alone does."""
    bits: int = Field(default=12, ge=8, le=16)
    """Of the converter: linear light has 2^bits steps before it becomes a file."""
    enhancers: tuple[Enhancer, ...] = ("linear_gain", "gamma", "low_light_enhancer")
    """`linear_gain` is told the exposure and gives the light back, `gamma` brings the mean to 45 %, and
    `low_light_enhancer` is a model."""
    enhanced: tuple[Stops, ...] = (4,)
    """Exposures whose pictures are enhanced."""
    frame: int | None = Field(default=224, ge=MIN_SIDE, le=1024)
    """Side of the square that the middle of a picture is cut to; null keeps the whole picture at its size. Noise is
    drawn for each pixel, so a classifier that reduces a larger picture sees less of it."""

    _different = field_validator("exposures", "enhancers", "enhanced")(each_once("must name each once"))

    @field_validator("noise", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        """Said here, as a union's own message has a line for each of its types."""
        numbers = isinstance(value, list | tuple) and all(type(one) in (int, float) for one in value)
        if value not in ("sampled", "none") and not (
            numbers and len(value) == 2 and all(0 <= one <= 1 for one in value)
        ):
            raise ValueError("must be sampled, none, or two numbers from 0 to 1: shot and read noise")
        return value

    @model_validator(mode="after")
    def _fits(self) -> LowLight:
        if not self.exposures:
            raise ValueError("exposures is empty; name one or more, such as 4")
        if self.enhancers and (strays := [one for one in self.enhanced if one not in self.exposures]):
            names = ", ".join(f"{one:g}" for one in self.exposures)
            raise ValueError(f"enhanced has {strays[0]:g}; name some of exposures ({names}), or [] for none")
        if len({f"{one:g}" for one in self.exposures}) < len(self.exposures):
            raise ValueError("exposures has two that are the same to six digits")
        if self.noise == (0, 0):
            raise ValueError("noise is [0, 0]; write none")
        if self.noise == "none" and self.noiseless:
            raise ValueError("noiseless adds what noise: none makes anyway; leave one of them out")
        return self

    def uses(self) -> list[Use]:
        """Return the enhancer, where it is used."""
        return [Use(MODEL)] if MODEL in self.enhancers and self.enhanced else []

    def edit(self, sample: Sample, of: Edit) -> Iterator[Sample | Failure]:
        """The original, its darkened pictures and the enhanced ones, or a Failure for each."""
        unframed: dict[str, Json] = {"frame": self.frame}
        try:
            usable(sample)
            found = framed(sample, self.frame)
        except Unusable as error:
            yield of.skipped(error.reason, str(error), variant="original", requested=unframed)
            for wanted in self._wanted():
                yield of.skipped(error.reason, str(error), variant=wanted.variant, requested=wanted.requested)
            return
        blank = _blank(found.image)
        yield of.made(
            found.image,
            variant="original",
            requested=unframed,
            gates={"blank": blank},
            extras=_extras(found),
            annotations=found.annotations,
            digital_source_type=sample.digital_source_type,
        )
        level = gates.at_least(float(found.image.mean()), LEAST_LEVEL)
        if not level["passed"]:
            detail = f"the mean level is {level['value']:.0f}, so the photograph is dark already"
            for wanted in self._wanted():
                skipped = partial(of.skipped, "dark_input", detail, gates={"dark_input": level})
                yield skipped(variant=wanted.variant, requested=wanted.requested)
            return
        empty: dict[str, Gate] = {} if blank["passed"] else {"blank": blank}  # noise alone is no picture
        yield from self._changed(found, {"dark_input": level, **empty}, of)

    def _changed(self, found: Framed, gate: dict[str, Gate], of: Edit) -> Iterator[Sample | Failure]:
        before, sensor = Before(found.image), None
        if self.noise != "none":
            levels = None if self.noise == "sampled" else self.noise
            sensor = low_light.sensor(found.image, levels, of.rng("sensor"))
        dark: dict[str, np.ndarray[Any, Any] | None] = {}
        for wanted in self._wanted():
            keep = partial(self._kept, of, found, before, wanted)
            if wanted.enhancer:
                start = str(wanted.requested["reference"])
                image = dark[start]
                if image is None:
                    detail = f"{start}, which it is made of, is black"
                    yield of.skipped("black", detail, variant=wanted.variant, requested=wanted.requested)
                    continue
                image, achieved = _enhanced(image, wanted, of)
                yield keep(image, achieved, gate)
                continue
            by = sensor if wanted.noisy else None
            image, snr_db = low_light.darkened(found.image, wanted.exposure, bits=self.bits, by=by)
            achieved = {} if by is None else {"shot": by.shot, "read": by.read, "snr_db": round(snr_db or 0.0, 3)}
            black = 1 - np.count_nonzero(image) / image.size
            checks = {**gate, "black": gates.at_most(black, MOST_BLACK)}
            dark[wanted.variant] = image if checks["black"]["passed"] else None
            yield keep(image, {**achieved, "black": round(black, 6)}, checks)

    def _kept(
        self,
        of: Edit,
        found: Framed,
        before: Before,
        wanted: Wanted,
        image: np.ndarray[Any, Any],
        achieved: dict[str, Json],
        checks: dict[str, Gate],
    ) -> Sample | Failure:
        skipped = partial(of.skipped, variant=wanted.variant, requested=wanted.requested, gates=checks)
        if (black := checks.get("black")) and not black["passed"]:
            return skipped("black", f"{100 * black['value']:.0f} % of its values are 0")
        if np.array_equal(image, found.image):
            return skipped("unchanged", "every pixel is that of the original")
        return of.made(
            image,
            variant=wanted.variant,
            requested=wanted.requested,
            achieved={**achieved, **before.change(image)},
            gates={**checks, "blank": checks.get("blank", _blank(image))},
            extras=_extras(found),
            purpose="sensor",
            annotations=found.annotations,
            digital_source_type=PARTLY_GENERATED if wanted.enhancer == MODEL else None,
        )

    def _wanted(self) -> Iterator[Wanted]:
        """Darkened pictures, then enhanced ones. The model comes last, as a record names all models used before."""
        common: dict[str, Json] = {"bits": self.bits, "frame": self.frame}
        noise: Json = self.noise if isinstance(self.noise, str) else list(self.noise)
        for stops in self.exposures:
            requested = {"exposure": stops, "noise": noise, **common}
            yield Wanted(f"low_light_{stops:g}", requested, stops)
        for stops in self.exposures if self.noiseless else ():
            requested = {"exposure": stops, "noise": "none", **common}
            yield Wanted(f"noiseless_{stops:g}", requested, stops, noisy=False)
        for enhancer in sorted(self.enhancers, key=lambda name: name == MODEL):
            for stops in self.enhanced:
                reference = {"enhancer": enhancer, "reference": f"low_light_{stops:g}"}
                requested = {**reference, "exposure": stops, "noise": noise, **common}
                yield Wanted(f"{enhancer}_{stops:g}", requested, stops, enhancer=enhancer)


def _enhanced(dark: np.ndarray[Any, Any], wanted: Wanted, of: Edit) -> tuple[np.ndarray[Any, Any], dict[str, Json]]:
    """The picture after its enhancer, and what that chose itself."""
    if wanted.enhancer == "linear_gain":
        return low_light.linear_gain(dark, wanted.exposure), {}
    if wanted.enhancer == "gamma":
        image, exponent = low_light.gamma(dark)
        return image, {"exponent": round(exponent, 6)}
    (image,) = of.model(MODEL)([dark])
    return image, {}


def _extras(found: Framed) -> dict[str, bytes | np.ndarray[Any, Any]]:
    return {} if found.mask is None else {"mask.png": found.mask}


def _blank(image: np.ndarray[Any, Any]) -> Gate:
    """The largest standard deviation of a channel."""
    return gates.at_least(float(cv2.meanStdDev(image)[1].max()), LEAST_DEVIATION)
