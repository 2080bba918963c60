"""The pictures of another source with one of ImageNet-C's corruptions: the same data with a distribution shift.

Hendrycks & Dietterich, ICLR 2019, arXiv 1903.12261. The strengths are theirs: CIFAR-10-C's for pictures under 64
pixels, ImageNet-C's for larger ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
from PIL import Image
from pydantic import Field

from variorum.edition.samples import decoded
from variorum.schemas.canonical import digest
from variorum.schemas.component import ClassInfo, Context, Source, place_of
from variorum.schemas.lookup import NestedSource
from variorum.schemas.sample import ENHANCED, Failure, Sample, made_type, source_id

if TYPE_CHECKING:
    from variorum.arrays import Pixels

Kind = Literal["gaussian_noise", "gaussian_blur", "contrast", "pixelate", "jpeg"]

SMALL = 64
"""Pictures whose shorter side, in pixels, is below this get the strengths of CIFAR-10-C."""
STRENGTHS: Mapping[Kind, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "gaussian_noise": ((0.04, 0.06, 0.08, 0.09, 0.10), (0.08, 0.12, 0.18, 0.26, 0.38)),
    "gaussian_blur": ((0.4, 0.6, 0.7, 0.8, 1.0), (1, 2, 3, 4, 6)),
    "contrast": ((0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05)),
    "pixelate": ((0.95, 0.9, 0.85, 0.75, 0.65), (0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg": ((80, 65, 58, 50, 40), (25, 18, 15, 10, 7)),
}
"""By severity: standard deviation of noise, and of blur in pixels; share of contrast, or of the side; JPEG quality."""


class Corrupted(Source):
    """All pictures of the source, with its labels and in its order."""

    of: NestedSource
    """The source: a mapping with its name and fields."""
    kind: Kind = "gaussian_noise"
    severity: int = Field(default=3, ge=1, le=5)

    def pin(self, ctx: Context) -> str:
        """Digest of the source's pin."""
        return digest(["corrupted", self.of.pin(ctx)])

    def size(self, ctx: Context) -> int:
        """Size of the source."""
        return self.of.size(ctx)

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """Classes of the source."""
        return self.of.classes(ctx)

    def captioned(self, ctx: Context) -> bool:
        """As the source."""
        return self.of.captioned(ctx)

    def annotated(self, ctx: Context) -> bool:
        """As the source."""
        return self.of.annotated(ctx)

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        """The source's samples with other pixels and ids. Noise depends on the seed of each picture alone.

        Nothing moves, so their annotations hold.
        """
        for item in decoded(self.of.read(start, stop, ctx), lambda _: None):
            if isinstance(item, Failure) or isinstance(item.image, bytes):
                yield item
                continue
            rng = np.random.default_rng(ctx.seed_for(self.component_name(), item.id, self.kind))
            key = f"{item.id}/{self.kind}/{self.severity}"
            yield replace(
                item,
                id=source_id("corrupted", key),
                image=corrupt(item.image, self.kind, self.severity, rng),
                origin=f"{item.origin} {self.kind} {self.severity}",
                extras={},
                digital_source_type=made_type(item.digital_source_type, ENHANCED),
                encoded=None,
            )

    def place(self) -> str:
        """The place of the source."""
        return place_of(self, ["of"])


def corrupt(image: Pixels, kind: Kind, severity: int, rng: np.random.Generator) -> Pixels:
    """The RGB picture `[H, W, 3]` with this corruption at a severity of 1 to 5; a grey picture stays grey."""
    height, width = image.shape[:2]
    strength = STRENGTHS[kind][0 if min(height, width) < SMALL else 1][severity - 1]
    if kind == "jpeg":
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(strength)]
        _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)
        return np.asarray(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))
    if kind == "pixelate":
        small = max(1, round(width * strength)), max(1, round(height * strength))
        reduced = Image.fromarray(image).resize(small, Image.Resampling.BOX)
        return np.asarray(reduced.resize((width, height), Image.Resampling.BOX))
    values = image.astype(np.float64) / 255
    if kind == "gaussian_noise":
        grey = (image == image[..., :1]).all()
        values = values + rng.normal(0, strength, (height, width, 1 if grey else 3))
    elif kind == "gaussian_blur":
        values = cv2.GaussianBlur(values, (0, 0), strength)
    else:
        mean = values.mean(axis=(0, 1))
        values = mean + (values - mean) * strength
    return np.asarray(np.clip(np.round(values * 255), 0, 255), dtype=np.uint8)
