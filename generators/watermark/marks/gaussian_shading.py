"""A payload in the signs of a diffusion model's noise, which stays exactly as random as it was.

Gaussian Shading (Yang, Zeng, Chen, Fang, Zhang & Yu, CVPR 2024, arXiv 2404.04956). Its key stream is ChaCha20's; here
it is the mark's keyed random generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from variorum.generators.watermark.watermarking.chance import normal_tail
from variorum.generators.watermark.watermarking.latents.noise_mark import NoiseMark
from variorum.generators.watermark.watermarking.latents.shifts import corrected, moved_back
from variorum.schemas.watermark import Detected, random_of

if TYPE_CHECKING:
    from variorum.arrays import Bools, Ints, Singles

CERTAIN = 0.001
"""A shift is believed, and the payload read there, if chance gives such signs less often."""


class GaussianShading(NoiseMark):
    """A payload whose bits are repeated all over the noise, each time turned over or not by a stream of random bits.

    The noise keeps its absolute values and gets new signs. To those without the key the signs are fair coins, so the
    noise is standard normal and pictures have the distribution of unmarked ones. That needs a key per picture: with
    `keyed: shared` all pictures have the same signs.

    A bit is read by a vote of all its cells, each weighted by how large the noise is there; the paper's votes are
    equal. The score is the agreement of all signs, as a normal number; the p-value is exact over keys but for the
    normal approximation. A moved picture is looked for within `shift` cells, and p corrected for the number of tries
    (Bonferroni).
    """

    bits: int = Field(default=32, ge=8, le=1024)
    """Bits of the payload; the paper has 256 in noise of 4 x 64 x 64 cells."""
    shift: int = Field(default=3, ge=0, le=8)
    """By how many cells of the noise a picture may have moved, in any direction; 0 for no search, as in the paper."""

    def shape(self, noise: Singles, keys: Sequence[bytes]) -> Singles:
        """The noise with the signs that key and payload say."""
        payloads = self.payloads(keys)
        parts = [self._stream(key, one.size) for one, key in zip(noise, keys, strict=True)]
        signs = [
            np.where(payload[bit] ^ flipped, 1, -1) for payload, (bit, flipped) in zip(payloads, parts, strict=True)
        ]
        return np.asarray(np.abs(noise) * np.array(signs, np.float32).reshape(noise.shape), np.float32)

    def found(self, noise: Sequence[Singles], keys: Sequence[bytes]) -> Detected:
        """The agreement with the key's signs, the bits that are read, and the p-value."""
        outcomes = [self._found(*one) for one in zip(noise, keys, self.payloads(keys), strict=True)]
        scores, bits, p_values = zip(*outcomes, strict=True) if outcomes else ((), (), ())
        return Detected(
            np.array(scores, np.float64), np.array(bits, bool).reshape(-1, self.bits), np.array(p_values, np.float64)
        )

    def _found(self, noise: Singles, key: bytes, payload: Bools) -> tuple[float, Bools, float]:
        bit, flipped = self._stream(key, noise.size)
        turned = np.where(flipped, -1.0, 1.0)
        signs = np.where(payload[bit], 1.0, -1.0) * turned
        tries = [one.ravel().astype(np.float64) for _, one in moved_back(noise, self.shift)]
        agreements = np.array([one @ signs for one in tries]) / (np.linalg.norm(noise) or 1.0)
        best = int(agreements.argmax())
        p_value = corrected(normal_tail(float(agreements[best])), len(tries))
        there = tries[best if p_value < CERTAIN else 0]
        return float(agreements[best]), np.bincount(bit, there * turned, self.bits) > 0, p_value

    def _stream(self, key: bytes, cells: int) -> tuple[Ints, Bools]:
        """For each cell, the bit that it carries and whether it is turned over. Raises ValueError for too few cells."""
        if cells < self.bits:
            raise ValueError(f"{self.bits} bits don't fit into noise of {cells} cells")
        rng = random_of(key, "gaussian_shading")
        return rng.permutation(cells) % self.bits, rng.integers(0, 2, cells).astype(bool)
