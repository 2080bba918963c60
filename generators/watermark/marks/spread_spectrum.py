"""A keyed pattern of fine chips without a payload: its presence, with a p-value for each picture.

After Cox et al., Secure Spread Spectrum Watermarking for Multimedia, IEEE Transactions on Image Processing 1997. Chips
lie in pixels here, not in frequencies, and the detector is this project's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from variorum.generators.watermark.watermarking.spread import add_chips, align, chips_of, correlation, evidence
from variorum.schemas.watermark import Detected, Mark

if TYPE_CHECKING:
    from variorum.arrays import Pixels
    from variorum.schemas.component import Context


class SpreadSpectrum(Mark):
    """A pattern of ±1 on 2 x 2 pixels, stronger where a picture is busy. It says that the mark is there, and no bits.

    The score is the correlation T of a flattened picture with the key's chips. Over keys T has mean 0 and variance 1
    whatever the picture, and its p-value is that of a normal number. A pattern that is the same in all pictures
    (`keyed: shared`) can be averaged out of a few dozen of them.
    """

    decibels: float = Field(default=44, ge=30, le=50)
    """PSNR of the marked picture against the unmarked one. Lower is stronger."""
    resync: bool = False
    """Whether the detector looks for crops down to 80 % of the sides. It then makes thousands of comparisons, which the
    p-value accounts for, and takes 50 times as long."""

    def embed(self, images: Sequence[Pixels], keys: Sequence[bytes], ctx: Context) -> Sequence[Pixels]:
        """The pictures with their chips."""
        return [
            add_chips(image, chips_of(key, "spread", image.shape), self.decibels)
            for image, key in zip(images, keys, strict=True)
        ]

    def detect(self, images: Sequence[Pixels], keys: Sequence[bytes], ctx: Context) -> Detected:
        """T and p-values; no bits."""
        found = [self._evidence(image, key) for image, key in zip(images, keys, strict=True)]
        scores, p_values = np.array(found, np.float64).reshape(-1, 2).T
        return Detected(scores, None, p_values)

    def _evidence(self, image: Pixels, key: bytes) -> tuple[float, float]:
        chips = chips_of(key, "spread", image.shape)
        return evidence(correlation(image, chips), align(image, chips) if self.resync else None)
