"""Compare a detector's mAP under a shift with its mAP on the originals."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from variorum.arrays import Floats

SLOPE = 0.45
"""mAP on COCO-O per mAP on COCO's validation set, on the line of Mao et al., ICCV 2023, arXiv 2307.12730, through 0."""
Number = TypeVar("Number", float, Floats)


def effective_robustness(shifted: Number, original: Number, slope: float = SLOPE) -> Number:
    """The mAP under the shift beyond what the line says for this mAP on the originals, in the unit of the two."""
    return shifted - slope * original


def relative_drop(shifted: Floats, original: Floats) -> Floats:
    """The share of the originals' mAP that is lost; NaN where that is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(original > 0, 1 - shifted / original, np.nan)
