"""RivaGAN: 32 bits by two small networks that were trained together (Zhang et al., arXiv 1909.01285)."""

from __future__ import annotations

from typing import ClassVar

from variorum.generators.watermark.watermarking.network_mark import NetworkMark


class Rivagan(NetworkMark):
    """RivaGAN with the weights of the package invisible-watermark, which are fetched like those of other models.

    It has no key: the key only says the payload, and whoever has the decoder reads it. The score is the share of right
    bits. A bit is 1 above .52 of the decoder's output, as in the package. The package refuses pictures of fewer pixels
    than 256 x 256; here the shorter side may be 128, where some bits are lost.
    """

    alias: ClassVar[str] = "rivagan"
    payload_bits: ClassVar[int] = 32
    least_side: ClassVar[int] = 128
