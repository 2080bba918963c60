"""TrustMark: 100 bits by Adobe's networks (Bui et al., arXiv 2311.18297), for who has its package and weights."""

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

ALIAS = "trustmark"


class Trustmark(Mark):
    """TrustMark by its own package, without the error-correcting code, so that bits can be counted.

    Its weights are in no package, so only the profile `hub` has the alias, and its files must be put into a folder. It
    has no key: the key only says the payload. Whoever has the decoder reads it. The score is the share of right bits.
    """

    payload_bits: ClassVar[int] = 100
    least_side: ClassVar[int] = 128

    def uses(self) -> list[Use]:
        """Return the networks."""
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
