"""RivaGAN: 32 bits by two small networks that were trained together (Zhang et al., arXiv 1909.01285)."""

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

ALIAS = "rivagan"


class Rivagan(Mark):
    """RivaGAN with the weights of the package invisible-watermark, which are fetched like those of other models.

    It has no key: the key only says the payload, and whoever has the decoder reads it. The score is the share of right
    bits. A bit is 1 above .52 of the decoder's output, as in the package. The package refuses pictures of fewer pixels
    than 256 x 256; here the shorter side may be 128, where some bits are lost.
    """

    payload_bits: ClassVar[int] = 32
    least_side: ClassVar[int] = 128

    def uses(self) -> list[Use]:
        """Return the network."""
        return [Use(ALIAS)]

    def embed(self, images: Sequence[Pixels], keys: Sequence[bytes], ctx: Context) -> Sequence[Pixels]:
        """The marked pictures."""
        network: PayloadNetwork = ctx.models.get(ALIAS)
        return network.embed(images, self.payloads(keys))

    def detect(self, images: Sequence[Pixels], keys: Sequence[bytes], ctx: Context) -> Detected:
        """The share of right bits, the bits, and how often chance gives as many right ones."""
        network: PayloadNetwork = ctx.models.get(ALIAS)
        bits, payloads = network.read(images) > 0, self.payloads(keys)
        return Detected((bits == payloads).mean(1), bits, bits_p_values(bits, payloads))
