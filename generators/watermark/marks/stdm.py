"""Bits in the low frequencies of luminance, by quantising keyed projections: invisible, fast, robust to compression.

Spread-transform dither modulation, after Chen & Wornell, Quantization Index Modulation, IEEE Transactions on
Information Theory 2001, on the cosine transform of Haar's low band. The code is this project's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from variorum.generators.watermark.watermarking.blocks import cosines, low_band
from variorum.generators.watermark.watermarking.lattice import Lattice, step_of
from variorum.generators.watermark.watermarking.lattice_mark import LatticeMark
from variorum.generators.watermark.watermarking.masking import hidden
from variorum.generators.watermark.watermarking.spread import accepted, add_chips, align, chips_of, correlation, placed
from variorum.schemas.watermark import random_of

if TYPE_CHECKING:
    from variorum.arrays import Floats, Pixels, Singles
    from variorum.schemas.watermark import Bools

FREQUENCIES = ((0, 1), (1, 0), (1, 1))
"""Of the 4 x 4 cosine transform, vertical first."""
SIDE = 16
"""Of a tile in pixels: 2 x 2 blocks, and so 12 coefficients."""
WIDER = 1.15
"""Times the step that its PSNR allows, as most tiles needn't be moved all the way."""
FLAT = 0.7
"""Change of flat ground as a share of the change that its PSNR stands for: one level by default."""
DOUBTFUL = 0.5
"""Deviation in levels of a tile that counts by half."""
PILOT = "pilot"
"""What the key's chips are drawn for."""


class Stdm(LatticeMark):
    """A payload of 32 or 64 bits in every picture, at a wanted PSNR.

    Each tile of 16 x 16 pixels has 12 coefficients. Their sum with keyed signs is moved to the next point of a lattice
    whose offset says the bit. Tiles are dealt to bits by the key, so each bit is repeated all over the picture.

    The score is the payload's agreement with what is read, weighted by how sure each bit is, in standard deviations;
    p-values are exact over keys. At one rate of false alarms it finds more than a count of right bits does. Crops lose
    the bits unless the picture has a pilot; turns by 1° and more lose them in any case.
    """

    revision: ClassVar[int] = 2
    tile: ClassVar[int] = SIDE

    decibels: float = Field(default=45, ge=30, le=50)
    """PSNR of the marked picture against the unmarked one. Lower is stronger."""
    pilot: float | None = Field(default=None, ge=30, le=50)
    """PSNR of a pattern by which crops down to 80 % of the sides are found; null adds none. Both together have less:
    45 and 47 give about 43. Looking for crops takes most of the detector's time."""

    def _embedded(self, image: Pixels, key: bytes, payload: Bools) -> Pixels:
        if self.pilot is not None:
            image = add_chips(image, chips_of(key, PILOT, image.shape), self.pilot)
        signs, lattice = self._secrets(key, image)
        return hidden(
            image,
            _pattern(signs, image.shape),
            SIDE,
            lambda band: _projected(band, signs),
            lambda values: lattice.nearest(values, payload),
            lattice.step,
            self.decibels,
            FLAT,
            lambda picture: bool(((self._read(picture, signs, lattice) > 0) == payload).all()),
        )

    def _sums(self, image: Pixels, key: bytes) -> Floats:
        """Sum up what the picture's tiles say of each bit.

        With a pilot the picture may be a crop, so its place in the marked picture is tried too, and the more decided
        reading counts. That choice knows nothing of the payload, so p-values stay exact.
        """
        signs, lattice = self._secrets(key, image)
        sums = self._read(image, signs, lattice)
        if self.pilot is None:
            return sums
        chips = chips_of(key, PILOT, image.shape)
        if correlation(image, chips) >= accepted(1):
            return sums
        whole, visible = placed(image, align(image, chips))
        high, wide = (length // SIDE for length in image.shape[:2])
        shares = visible[: high * SIDE, : wide * SIDE].reshape(high, SIDE, wide, SIDE).mean((1, 3)).ravel()
        other = self._read(whole, signs, lattice, shares**4)
        return max(sums, other, key=lambda one: float(np.abs(one).sum()))

    def _read(self, picture: Pixels, signs: Singles, lattice: Lattice, shares: Floats | float = 1.0) -> Floats:
        """Sum up what tiles say. Flat ones count little, as JPEG leaves nothing there.

        Weights have one length, so that sums of different weights can be compared.
        """
        band = low_band(picture, SIDE)
        weights = _trust(band) * shares
        length = float(np.sqrt(np.mean(weights**2)))
        return lattice.sums(_projected(band, signs), self.bits, weights / length if length else weights)

    def _secrets(self, key: bytes, image: Pixels) -> tuple[Singles, Lattice]:
        """The signs of the tiles' coefficients, `[tiles, 12]`, and their lattice."""
        rng, tiles = random_of(key, "stdm"), self.tiles(image)
        drawn = np.unpackbits(np.frombuffer(rng.bytes(tiles * 2), np.uint8)).reshape(tiles, 16)[:, :12]
        signs = drawn.astype(np.float32) * 2 - 1
        bit = rng.permutation(tiles) % self.bits
        return signs, Lattice(WIDER * step_of(self.decibels, tiles, image.shape), rng.random(tiles), bit)


def _projected(band: Singles, signs: Singles) -> Floats:
    """The tiles' coefficients of a low band, summed up with their signs, `[tiles]`."""
    (high, wide), basis = (length // 4 for length in band.shape), cosines()
    rows = np.tensordot(basis[:2], band.reshape(high, 4, wide * 4), (1, 1)).reshape(2, high, wide, 4)
    found = np.stack([rows[u] @ basis[v] for u, v in FREQUENCIES])
    tiles = found.reshape(3, high // 2, 2, wide // 2, 2).transpose(1, 3, 0, 2, 4).reshape(-1, 12)
    return np.asarray((tiles * signs).sum(1) / np.sqrt(12), np.float64)


def _trust(band: Singles) -> Floats:
    """How much each tile counts, `[tiles]`, from 0 for one that is quite flat to nearly 1, by its blocks' deviation."""
    high, wide = (length // 8 for length in band.shape)
    blocks = band.reshape(high, 2, 4, wide, 2, 4)
    deviation = np.sqrt(blocks.var((2, 5), dtype=np.float64)).mean((1, 3)).ravel() / 2
    return np.asarray(deviation / (deviation + DOUBTFUL))


def _pattern(signs: Singles, shape: tuple[int, ...]) -> Singles:
    """The change of the low band that moves each tile's sum by 1."""
    (high, wide), basis = (length // SIDE * 2 for length in shape[:2]), cosines()
    each = signs / np.float32(np.sqrt(12))
    found = each.reshape(high // 2, wide // 2, 3, 2, 2).transpose(2, 0, 3, 1, 4).reshape(3, high, wide)
    rows = np.zeros((2, high, wide, 4), np.float32)
    for values, (u, v) in zip(found, FREQUENCIES, strict=True):
        rows[u] += values[..., None] * basis[v]
    return np.tensordot(rows.reshape(2, high, wide * 4), basis[:2], (0, 0)).transpose(0, 2, 1).reshape(high * 4, -1)
