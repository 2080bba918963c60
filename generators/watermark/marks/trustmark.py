"""TrustMark: 100 bits by Adobe's networks (Bui et al., arXiv 2311.18297), for who has its package and weights."""

from __future__ import annotations

from typing import ClassVar

from variorum.generators.watermark.watermarking.network_mark import NetworkMark


class Trustmark(NetworkMark):
    """TrustMark by its own package, without the error-correcting code, so that bits can be counted.

    Its weights are in no package, so only the profile `hub` has the alias, and its files must be put into a folder. It
    has no key: the key only says the payload. Whoever has the decoder reads it. The score is the share of right bits.
    """

    alias: ClassVar[str] = "trustmark"
    payload_bits: ClassVar[int] = 100
    least_side: ClassVar[int] = 128
