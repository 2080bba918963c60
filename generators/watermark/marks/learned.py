"""A learned mark: 32 bits by an encoder and a decoder of this project, trained against distortions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from variorum.generators.watermark.watermarking.network_mark import NetworkMark

if TYPE_CHECKING:
    from variorum.arrays import Pixels
    from variorum.models.roles import LearnedWatermark
    from variorum.schemas.component import Context


class Learned(NetworkMark):
    """The model `learned_watermark`, which `training/watermark.py` trains, at a wanted PSNR.

    It has no key: the key only says the payload, and whoever has the decoder reads it. The score is the share of right
    bits.
    """

    alias: ClassVar[str] = "learned_watermark"
    payload_bits: ClassVar[int] = 32
    least_side: ClassVar[int] = 64

    decibels: float = Field(default=38, ge=28, le=50)
    """PSNR of the marked picture against the unmarked one. Lower is stronger."""

    def embed(self, images: Sequence[Pixels], keys: Sequence[bytes], ctx: Context) -> Sequence[Pixels]:
        """The marked pictures."""
        network: LearnedWatermark = ctx.models.get(self.alias)
        return network.embed(images, self.payloads(keys), self.decibels)
