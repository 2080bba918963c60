"""Visible text as a score: how surely a picture shows a line of text, by the model `text_detector`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Floats, Pixels, Singles
    from variorum.models.roles import TextDetector

Finder = Literal["template", "text_detector"]

LEAST = 0.3
"""Probability of text above which pixels make a line, as in PaddleOCR."""
THINNEST = 3
"""Pixels of a line's height."""
LONG, LARGE = 3.0, 0.005
"""How many times as long as high, and which share of the picture, a line must be to count in full."""
REST = 0.001
"""Weight of all other text, which breaks ties."""


def text_scores(model: TextDetector, images: Sequence[Pixels]) -> Floats:
    """Score how surely each picture shows a line of text, `[N]` in [0, 1]."""
    return np.array([line_score(one) for one in model(images)], np.float64)


def line_score(probabilities: Singles) -> float:
    """The score of the surest line in a map of text `[H, W]`.

    It is the mean probability in the smallest rectangle around the line, less for short and small ones. Things that are
    taken for text are seldom straight, so they leave most of their rectangle empty.
    """
    contours, _ = cv2.findContours((probabilities > LEAST).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    best = max((_score(probabilities, cv2.minAreaRect(contour)) for contour in contours), default=0.0)
    return (1 - REST) * best + REST * float(probabilities.mean(dtype=np.float64))


def _score(probabilities: Singles, rectangle: tuple[Sequence[float], Sequence[float], float]) -> float:
    short, long = sorted(rectangle[1])
    if short < THINNEST:
        return 0.0
    inside = np.zeros(probabilities.shape, np.uint8)
    cv2.fillConvexPoly(inside, np.rint(cv2.boxPoints(rectangle)).astype(np.int32), 1)
    sure = float(probabilities[inside > 0].mean(dtype=np.float64)) if inside.any() else 0.0
    return sure * min(1.0, long / short / LONG) * min(1.0, short * long / probabilities.size / LARGE)
