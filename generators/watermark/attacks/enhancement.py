"""Enhances a picture as a photo application does: sharper, with stronger colours.

Many marked pictures meet this before a detector sees them, and many photographs that no model has touched too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import cv2
import numpy as np

from variorum.arrays import Pixels
from variorum.schemas.canonical import Json
from variorum.schemas.watermark import Attack, Target

RADIUS = 1.5
"""Of the blur that is subtracted, in pixels at a short side of 256."""
SIDE = 256
LUMA = (0.299, 0.587, 0.114)


class Enhancement(Attack):
    """Unsharp masking and more saturation; at strength 1 colours are 1.3 times as far from grey."""

    family: ClassVar[str] = "enhancement"

    def amount(self, strength: float) -> Mapping[str, Json]:
        """`sharpening`: weight of the picture minus its blurred version. `saturation`: factor."""
        return {"sharpening": round(0.6 * strength, 6), "saturation": round(1 + 0.3 * strength, 6)}

    def apply(
        self, images: Sequence[Pixels], strength: float, rngs: Sequence[np.random.Generator], target: Target
    ) -> list[Pixels]:
        """Each picture enhanced; nothing is random."""
        return [_enhanced(image, 0.6 * strength, 1 + 0.3 * strength) for image in images]


def _enhanced(image: Pixels, sharpening: float, saturation: float) -> Pixels:
    values = image.astype(np.float32)
    soft = cv2.GaussianBlur(values, (0, 0), RADIUS * min(image.shape[:2]) / SIDE)
    sharp = values + np.float32(sharpening) * (values - soft)
    grey = (sharp @ np.array(LUMA, np.float32))[..., None]
    return np.asarray(np.clip(np.rint(grey + np.float32(saturation) * (sharp - grey)), 0, 255), np.uint8)
