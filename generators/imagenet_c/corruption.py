"""ImageNet-C's operations: each picture with every kind of corruption at every severity.

After Hendrycks & Dietterich, ICLR 2019 (arXiv 1903.12261), and for the kinds of ImageNet-C-bar Mintun et al., NeurIPS
2021 (arXiv 2102.11273). Frost is drawn, not photographed, so errors aren't those of ImageNet-C to the last digit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import cv2
import numpy as np
from pydantic import Field, field_validator

from variorum.annotations import resampled, resampled_mask
from variorum.kit.corrupt.change import Before
from variorum.kit.corrupt.digital import as_jpeg
from variorum.kit.corrupt.frames import MIN_SIDE, Framed, Unusable, framed
from variorum.kit.corrupt.kinds import (
    COMMON,
    SEVERITIES,
    check_kind,
    corrupt,
    scale_of,
    strength_of,
)
from variorum.schemas.canonical import Json
from variorum.schemas.component import Generator
from variorum.schemas.edit import Edit
from variorum.schemas.sample import ENHANCED, Failure, Gate, Sample

PUBLISHED_QUALITY = 85
"""Of the JPEGs that ImageNet-C is published as."""
LEAST_DEVIATION = 0.5
"""Grey levels. Below it a picture is blank; low contrast at severity 5 leaves a photograph about 3."""


class Corruption(Generator):
    """The `original` in its frame, and one picture per kind and severity, such as `fog_3`.

    The severities of a kind share their random numbers, so that they differ in strength alone. Objects and the mask
    stay, and move along where pixels do: in `elastic_transform`, `zoom_blur` and `motion_blur`.
    """

    keeps_objects: ClassVar[bool] = True
    digital_source_type: ClassVar[str] = ENHANCED

    kinds: tuple[str, ...] = COMMON
    """The 15 of ImageNet-C by default."""
    severities: tuple[int, ...] = SEVERITIES
    """From 1, mild, to 5."""
    frame: int | None = Field(default=224, ge=MIN_SIDE, le=1024)
    """Side of the square that the middle of a picture is cut to; null keeps the whole picture at its size."""
    scale: Literal["frame", "absolute"] = "frame"
    """`frame` multiplies lengths such as radii by the frame's side over 224, so that a severity looks the same at any
    size; `absolute` leaves them as published."""
    published_jpeg: bool = False
    """Whether corrupted pictures go through a JPEG of quality 85, as those that ImageNet-C is published as."""

    @field_validator("kinds")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for kind in value:
            check_kind(kind)
        if not value or len(set(value)) < len(value):
            raise ValueError("must be one or more kinds, each once")
        return value

    @field_validator("severities")
    @classmethod
    def _in_range(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        for severity in value:
            if severity not in SEVERITIES:
                raise ValueError(f"severity {severity} doesn't exist; there are 1 to 5")
        if not value or len(set(value)) < len(value):
            raise ValueError("must be one or more of 1 to 5, each once")
        return value

    def edit(self, sample: Sample, of: Edit) -> Iterator[Sample | Failure]:
        """The original and its corrupted pictures, kind by kind, or a Failure for each."""
        unframed: dict[str, Json] = {"frame": self.frame}
        try:
            found = framed(sample, self.frame)
        except Unusable as error:
            side = self.frame or min(np.shape(sample.image)[:2], default=0)
            yield of.skipped(error.reason, str(error), variant="original", requested=unframed)
            for variant, requested in self._wanted(side):
                yield of.skipped(error.reason, str(error), variant=variant, requested=requested)
            return
        yield of.made(
            found.image,
            variant="original",
            requested=unframed,
            gates={"blank": _blank(found)},
            extras=_extras(found),
            annotations=found.annotations,
            digital_source_type=sample.digital_source_type,
        )
        before = Before(found.image)
        for variant, requested in self._wanted(min(found.image.shape[:2])):
            yield self._made(of, found, before, variant, requested)

    def _wanted(self, side: int) -> Iterator[tuple[str, dict[str, Json]]]:
        """Variant and request of each corrupted picture, for pictures with this shorter side."""
        for kind in self.kinds:
            scale = scale_of(kind, side) if self.scale == "frame" else 1.0
            for severity in self.severities:
                yield (
                    f"{kind}_{severity}",
                    {
                        "kind": kind,
                        "severity": severity,
                        "constants": list(strength_of(kind, severity, side)),
                        "scale": round(scale, 6),
                        "frame": self.frame,
                    },
                )

    def _made(
        self, of: Edit, found: Framed, before: Before, variant: str, requested: dict[str, Json]
    ) -> Sample | Failure:
        kind, severity, scale = str(requested["kind"]), int(str(requested["severity"])), float(str(requested["scale"]))
        image, drawn, origins = corrupt(found.image, kind, severity, of.rng(kind), scale=scale)
        if self.published_jpeg:
            image = as_jpeg(image, PUBLISHED_QUALITY)
        if np.array_equal(image, found.image):
            detail = "every pixel is that of the original"
            return of.skipped("unchanged", detail, variant=variant, requested=requested)
        made, annotations = Framed(image, found.mask, found.annotations), found.annotations
        if origins is not None:
            annotations = resampled(annotations, origins, found.image.shape[:2])
            if found.mask is not None:
                made = made._replace(mask=resampled_mask(found.mask, origins))
        return of.made(
            image,
            variant=variant,
            requested=requested,
            achieved={**drawn, **before.change(image)},
            gates={"blank": _blank(made)},
            extras=_extras(made),
            purpose=kind,
            annotations=annotations,
        )


def _extras(made: Framed) -> dict[str, bytes | np.ndarray]:
    return {} if made.mask is None else {"mask.png": made.mask}


def _blank(made: Framed) -> Gate:
    """The standard deviation over all pixels and channels."""
    value = float(cv2.meanStdDev(made.image.reshape(-1, 1))[1][0, 0])
    return Gate(value=round(value, 6), limit=f">= {LEAST_DEVIATION:g}", passed=value >= LEAST_DEVIATION)
