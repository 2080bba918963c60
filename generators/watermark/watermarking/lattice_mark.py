"""Marks whose payload lies in many values of a picture, each moved to a point of a lattice."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from variorum.generators.watermark.watermarking.chance import agreement
from variorum.schemas.watermark import Detected, Mark

if TYPE_CHECKING:
    from variorum.arrays import Floats, Pixels
    from variorum.schemas.component import Context
    from variorum.schemas.watermark import Bools


class LatticeMark(Mark):
    """A payload of 32 or 64 bits, dealt to the tiles of a picture by the key."""

    tile: ClassVar[int]
    """Side of a tile in pixels."""
    named: ClassVar[str] = "tiles"

    bits: Literal[32, 64] = 32
    """Of the payload."""

    def embed(self, images: Sequence[Pixels], keys: Sequence[bytes], ctx: Context) -> Sequence[Pixels]:
        """The marked pictures. Busy places are changed most, flat ones least; black and white take up to three passes.

        A picture that is flat all over is changed as much as its bits need to be read after JPEG 50.
        """
        payloads = self.payloads(keys)
        return [self._embedded(*one) for one in zip(images, keys, payloads, strict=True)]

    def detect(self, images: Sequence[Pixels], keys: Sequence[bytes], ctx: Context) -> Detected:
        """The payload's weighted agreement in standard deviations, the bits, and exact p-values."""
        sums = [
            self._sums(image, key) if self.tiles(image) >= self.bits else np.zeros(self.bits)
            for image, key in zip(images, keys, strict=True)
        ]
        return agreement(np.array(sums).reshape(-1, self.bits), self.payloads(keys))

    def refusal(self, image: Pixels) -> tuple[str, str] | None:
        """A picture needs a tile for each bit."""
        height, width = image.shape[:2]
        if (tiles := self.tiles(image)) < self.bits:
            return (
                "too_small",
                f"{width} x {height} pixels have {tiles} {self.named} of {self.tile} for {self.bits} bits",
            )
        return None

    def tiles(self, image: Pixels) -> int:
        """Number of whole tiles."""
        return int(image.shape[0] // self.tile) * int(image.shape[1] // self.tile)

    @abstractmethod
    def _embedded(self, image: Pixels, key: bytes, payload: Bools) -> Pixels: ...

    @abstractmethod
    def _sums(self, image: Pixels, key: bytes) -> Floats:
        """Sum up what the picture says of each bit, `[bits]`."""
