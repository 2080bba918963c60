"""Compare a detector's mAP under a shift with its mAP on the originals, and with what other detectors lose."""

from __future__ import annotations

import numpy as np

from variorum.arrays import Floats

FEWEST = 5
"""Detectors that the line is fitted to, at least; near a line through two or three points any detector lies."""


def effective_robustness(shifted: Floats, original: Floats) -> Floats:
    """The mAP of detectors under a shift beyond what the line through 0 says for their mAP on the originals.

    COCO-O's line has a slope of .45 (Mao et al., ICCV 2023, arXiv 2307.12730). Other pictures have another, so it is
    fitted to the detectors themselves, by least squares.

    Args:
        shifted: mAP under the shift, `[D, …]`, each further axis with a line of its own.
        original: mAP of the same detectors on the originals.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(shifted - original * ((shifted * original).sum(axis=0) / (original**2).sum(axis=0)))


def relative_drop(shifted: Floats, original: Floats) -> Floats:
    """The share of the originals' mAP that is lost; NaN where that is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(original > 0, 1 - shifted / original, np.nan)
