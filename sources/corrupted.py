"""The pictures of another source with one of ImageNet-C's corruptions: the same data with a distribution shift.

Hendrycks & Dietterich, ICLR 2019, arXiv 1903.12261. The generator `corruption` has the same kinds and strengths, and
makes several pictures of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from variorum.annotations import resampled
from variorum.edition.samples import decoded
from variorum.kit.corrupt.kinds import check_kind, corrupt, scale_of
from variorum.schemas.canonical import digest
from variorum.schemas.component import Context
from variorum.schemas.lookup import Derived
from variorum.schemas.sample import ENHANCED, Failure, Sample, made_type, source_id


class Corrupted(Derived):
    """All pictures of the source, with its labels and in its order."""

    revision: ClassVar[int] = 2

    kind: str = "gaussian_noise"
    """Kind of corruption, one of those of the generator `corruption`."""
    severity: int = Field(default=3, ge=1, le=5)
    """From 1 to 5."""
    scale: Literal["frame", "absolute"] = "frame"
    """`frame` multiplies lengths such as radii by the picture's shorter side over that of ImageNet-C's pictures, 224
    (CIFAR-10-C's, 32, for pictures under 64 pixels), so that a severity looks the same at any size; `absolute` leaves
    them as published."""

    @field_validator("kind")
    @classmethod
    def _known(cls, value: str) -> str:
        check_kind(value)
        return value

    def pin(self, ctx: Context) -> str:
        """Digest of the source's pin."""
        return digest(["corrupted", self.of.pin(ctx)])

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        """The source's samples with other pixels and ids. What is random depends on the seed of each picture alone.

        Objects move along where pixels do.
        """
        for item in decoded(self.of.read(start, stop, ctx)):
            if isinstance(item, Failure) or isinstance(item.image, bytes):
                yield item
                continue
            size = item.image.shape[:2]
            rng = ctx.rng(self.component_name(), item.id, self.kind)
            scale = scale_of(self.kind, min(size)) if self.scale == "frame" else 1.0
            image, _, origins = corrupt(item.image, self.kind, self.severity, rng, scale=scale)
            key = f"{item.id}/{self.kind}/{self.severity}"
            yield replace(
                item,
                id=source_id("corrupted", key),
                image=image,
                annotations=item.annotations if origins is None else resampled(item.annotations, origins, size),
                origin=f"{item.origin} {self.kind} {self.severity}",
                extras={},
                digital_source_type=made_type(item.digital_source_type, ENHANCED),
                encoded=None,
            )
