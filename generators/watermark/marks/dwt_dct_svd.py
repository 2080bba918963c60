"""Bits in the largest singular value of small blocks: the stronger classical mark, done with a key and a wanted PSNR.

The idea is that of the method dwtDctSvd of the package invisible-watermark; the code, the channel, the key and the
detector are this project's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from variorum.generators.watermark.watermarking.blocks import low_band
from variorum.generators.watermark.watermarking.lattice import Lattice, step_of
from variorum.generators.watermark.watermarking.lattice_mark import LatticeMark
from variorum.generators.watermark.watermarking.masking import hidden
from variorum.schemas.watermark import random_of

if TYPE_CHECKING:
    from variorum.arrays import Floats, Pixels, Singles
    from variorum.schemas.watermark import Bools

SIDE = 8
"""Of a block in pixels."""
STEPS = 6
"""Of power iteration."""
WIDER = 2.0
"""Times the step that its PSNR allows, as most blocks needn't be moved all the way."""
FLAT = 0.5
"""Change of flat ground as a share of the change that its PSNR stands for: one level by default."""
STEADY = 1.4
"""How many times as much a reading counts at gain 1."""
LEAST = 1e-6
"""Length below which a vector has no direction."""


class DwtDctSvd(LatticeMark):
    """A payload of 32 or 64 bits in the luminance of blocks of 8 x 8 pixels.

    A block is seen as 4 x 4 values of Haar's low band. The cosine transform of the method's name turns this matrix but
    leaves its singular values as they are, so it isn't computed. The largest one is moved to the next point of a
    lattice whose offset says the bit; blocks are dealt to bits by the key.

    That value is nearly a block's brightness, so the mark lives through resizing, blur and JPEG. What shifts brightness
    by half a step turns its bits around, such as noise that black cuts off in dark pictures. It needs more change than
    `stdm`. Scores and p-values are as those of `stdm`.
    """

    revision: ClassVar[int] = 2
    tile: ClassVar[int] = SIDE
    named: ClassVar[str] = "blocks"

    decibels: float = Field(default=42, ge=30, le=48)
    """PSNR of the marked picture against the unmarked one. Lower is stronger."""

    def _embedded(self, image: Pixels, key: bytes, payload: Bools) -> Pixels:
        lattice = self._lattice(key, image)
        _, left, right = largest(_blocks(low_band(image, SIDE)))
        direction = left[:, None] * right[None]
        return hidden(
            image,
            _band(direction, image),
            SIDE,
            lambda band: np.asarray((_blocks(band) * direction).sum((0, 1)), np.float64),
            lambda values: lattice.nearest(values, payload),
            lattice.step,
            self.decibels,
            FLAT,
            lambda picture: bool(((self._sums(picture, key) > 0) == payload).all()),
        )

    def _sums(self, image: Pixels, key: bytes) -> Floats:
        return self._lattice(key, image).sums(largest(_blocks(low_band(image, SIDE)))[0], self.bits)

    def _lattice(self, key: bytes, image: Pixels) -> Lattice:
        rng, blocks = random_of(key, "dwt_dct_svd"), self.tiles(image)
        bit = rng.permutation(blocks) % self.bits
        return Lattice(WIDER * step_of(self.decibels, blocks, image.shape), rng.random(blocks), bit, STEADY)


def largest(blocks: Singles) -> tuple[Floats, Singles, Singles]:
    """The largest singular value of matrices `[4, 4, N]` without negative entries, with its vectors `[4, N]`.

    Such a matrix has vectors without negative entries, so power iteration can begin with equal ones. A black block
    keeps these.
    """
    right = begin = np.full(blocks.shape[1:], 0.5, np.float32)
    squares = np.einsum("kin,kjn->ijn", blocks, blocks)
    for _ in range(STEPS):
        right = _unit((squares * right).sum(1), right)
    images = (blocks * right).sum(1)
    values = np.sqrt((images.astype(np.float64) ** 2).sum(0))
    return np.asarray(values, np.float64), _unit(images, begin), right


def _unit(vectors: Singles, otherwise: Singles) -> Singles:
    lengths = np.sqrt((vectors * vectors).sum(0))
    return np.asarray(np.where(lengths > LEAST, vectors / np.maximum(lengths, LEAST), otherwise), np.float32)


def _blocks(band: Singles) -> Singles:
    """The values of a low band, block by block, `[4, 4, N]`."""
    high, wide = band.shape[0] // 4, band.shape[1] // 4
    return np.ascontiguousarray(band.reshape(high, 4, wide, 4).transpose(1, 3, 0, 2)).reshape(4, 4, -1)


def _band(blocks: Singles, image: Pixels) -> Singles:
    high, wide = image.shape[0] // SIDE, image.shape[1] // SIDE
    return blocks.reshape(4, 4, high, wide).transpose(2, 0, 3, 1).reshape(high * 4, wide * 4)
