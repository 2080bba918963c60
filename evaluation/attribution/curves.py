"""What a map is worth: curves of insertion and deletion, the pointing game, and boxes.

Insertion shows the pixels of a picture by falling value of the map and asks for the class each time; deletion hides
them (Petsiuk et al., BMVC 2018, arXiv 1806.07421). The pointing game asks whether the largest value is on the object
(Zhang et al., ECCV 2016, arXiv 1608.00507), and weakly supervised localisation whether the largest patch above a share
of that value fits the object's box.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from variorum.annotations import box_iou, box_of

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Ints, Pixels
    from variorum.schemas.annotations import Box

BLUR = 10 / 224
"""Deviation of the Gaussian that hides a picture, as a share of the side that is seen."""
REACH = 15 / 224
"""How far beside the object the largest value may be, as a share of that side."""
THRESHOLDS = np.arange(1, 20) / 20
"""Shares of a map's largest value, from which a box is drawn."""


def hidden(image: Pixels, seen: Bools, how: str, side: int) -> Pixels:
    """The picture without anything to recognise: `blur`red, its `mean` colour where it is seen, or `black`."""
    if how == "blur":
        return np.asarray(cv2.GaussianBlur(image, (0, 0), BLUR * side), np.uint8)
    colour = np.rint(image[seen].mean(axis=0)) if how == "mean" else np.zeros(3)
    return np.broadcast_to(colour.astype(np.uint8), image.shape).copy()


def order_of(values: Floats, seen: Bools, rng: np.random.Generator) -> Ints:
    """The pixels that are seen by falling value, as flat indices; equal ones in random order."""
    pixels = rng.permutation(np.flatnonzero(seen))
    return pixels[np.argsort(-values.ravel()[pixels], kind="stable")]


def between(start: Pixels, end: Pixels, order: Ints, steps: int) -> Iterator[Pixels]:
    """The pictures between two others, one for each step but the last, as pixels change in this order."""
    found, after = start.reshape(-1, 3).copy(), end.reshape(-1, 3)
    for step in range(1, steps):
        changed = order[: round(step * len(order) / steps)]
        found[changed] = after[changed]
        yield found.reshape(start.shape).copy()


def area(first: float, inner: Sequence[float], last: float) -> float:
    """The area below a curve over [0, 1], by trapezoids."""
    return float((sum(inner) + (first + last) / 2) / (len(inner) + 1))


def points_at(first: int, what: Bools, side: int) -> bool:
    """Return whether a pixel, a flat index, is on the object `[H, W]` or near it."""
    away = cv2.distanceTransform((~what).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return bool(away.ravel()[first] <= REACH * side)


def overlaps(values: Floats, seen: Bools, boxes: Sequence[Box]) -> Floats:
    """By threshold, the largest IoU of the box around the largest patch with one of the objects' boxes, `[T]`."""
    found, most = np.zeros(len(THRESHOLDS)), values[seen].max()
    for place, share in enumerate(THRESHOLDS if most > 0 else ()):
        above = (seen & (values >= share * most)).astype(np.uint8)
        _, labels, facts, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
        box = box_of(labels == 1 + int(facts[1:, cv2.CC_STAT_AREA].argmax()))
        found[place] = max(box_iou(box, other) for other in boxes) if box else 0
    return found
