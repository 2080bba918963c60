"""Marks whose payload networks hide and read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from variorum.generators.watermark.watermarking.chance import bits_p_values
from variorum.schemas.component import Use
from variorum.schemas.watermark import Detected, Mark

if TYPE_CHECKING:
    from variorum.arrays import Pixels
    from variorum.models.roles import PayloadNetwork
    from variorum.schemas.component import Context


class NetworkMark(Mark):
    """A mark without a key: the key only says the payload, and whoever has the decoder reads it."""

    alias: ClassVar[str]
    """Of the networks."""

    def uses(self) -> list[Use]:
        """Return the networks."""
        return [Use(self.alias)]

    def embed(self, images: Sequence[Pixels], keys: Sequence[bytes], ctx: Context) -> Sequence[Pixels]:
        """The marked pictures."""
        network: PayloadNetwork = ctx.models.get(self.alias)
        return network.embed(images, self.payloads(keys))

    def detect(self, images: Sequence[Pixels], keys: Sequence[bytes], ctx: Context) -> Detected:
        """The share of right bits, the bits, and how often chance gives as many right ones."""
        network: PayloadNetwork = ctx.models.get(self.alias)
        bits, payloads = network.read(images) > 0, self.payloads(keys)
        return Detected((bits == payloads).mean(1), bits, bits_p_values(bits, payloads))
