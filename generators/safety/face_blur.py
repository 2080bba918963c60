"""Faces made unrecognisable, for photographs that are published.

Of each face so few pixels are left that it can't be brought back. People may still be recognised by their clothes, by
the place, or by a network trained on blurred faces (McPherson et al., Defeating Image Obfuscation with Deep Learning,
arXiv 1609.00408), so this protects their privacy and doesn't make a picture anonymous.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import cv2
import numpy as np
from pydantic import Field

from variorum.schemas.canonical import Json
from variorum.schemas.component import Generator, Use
from variorum.schemas.edit import Edit
from variorum.schemas.sample import ENHANCED, Failure, Gate, Sample

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels, Singles

FACES = "face_detector"
"""Alias of the detector."""
ROUNDS = 4
"""Times that faces are looked for and blurred; one that is left after that sends the picture to quarantine."""
BLURRED = 0.5
"""Share of a face's box from which it counts as blurred. A blurred face may still look like a face to the detector."""
KEPT = "mask.png"
"""The only further member that is kept: others may show the same faces."""


class FaceBlur(Generator):
    """Each picture with all faces blurred, as variant `faces_blurred`; the picture itself isn't kept.

    A picture without a face becomes a picture with the same pixels, so that all have one format and one record. If the
    detector finds a face in the result that isn't blurred, the picture is in quarantine. Without the detector each
    picture is a row with the reason.
    """

    keeps_objects: ClassVar[bool] = True
    digital_source_type: ClassVar[str] = ENHANCED

    cells: int = Field(default=5, ge=1, le=8)
    """Pixels of the longer side that are left of a face, before they are enlarged again."""
    margin: float = Field(default=1.4, ge=1, le=3)
    """Sides of the blurred ellipse, as multiples of the detected box."""

    def uses(self) -> list[Use]:
        """Return the detector."""
        return [Use(FACES, optional=True)]

    def edit(self, sample: Sample, of: Edit) -> Iterator[Sample | Failure]:
        """The picture without recognisable faces, or the reason why there is none."""
        variant, requested = "faces_blurred", {"cells": self.cells, "margin": self.margin}
        if isinstance(sample.image, bytes):
            yield of.skipped("no_picture", "there are no pixels to blur", variant=variant, requested=requested)
            return
        if why := of.ctx.models.why_unavailable(FACES):
            yield of.skipped("unavailable", f"unavailable: {why}", variant=variant, requested=requested)
            return
        detector = of.model(FACES)
        image, covered, faces = sample.image, np.zeros(sample.image.shape[:2], bool), 0
        left = detector([image])[0].boxes
        for _ in range(ROUNDS):
            if not len(left):
                break
            faces += len(left)
            image, touched = blurred(image, left, self.margin, self.cells)
            covered |= touched
            left = unblurred(detector([image])[0].boxes, covered)
        achieved: dict[str, Json] = {"faces": faces, "area": round(float(covered.mean()), 6)}
        yield of.made(
            image,
            variant=variant,
            requested=requested,
            achieved=achieved,
            gates={"faces_left": Gate(value=float(len(left)), limit="<= 0", passed=not len(left))},
            extras={KEPT: sample.extras[KEPT]} if KEPT in sample.extras else {},
            digital_source_type=None if covered.any() else sample.digital_source_type,
        )


def blurred(image: Pixels, boxes: Singles, margin: float, cells: int) -> tuple[Pixels, Bools]:
    """A copy of a picture with an ellipse around each box blurred, and where that is, `[H, W]` bool.

    Args:
        image: RGB `[H, W, 3]` uint8.
        boxes: `[n, 4]`: left, top, right, bottom in pixels.
        margin: sides of the ellipse, as multiples of the box.
        cells: pixels of the longer side that are left of each ellipse.
    """
    height, width = image.shape[:2]
    made, covered = image.copy(), np.zeros((height, width), bool)
    for left, top, right, bottom in np.asarray(boxes, np.float64).tolist():
        across, down = (right - left) * margin, (bottom - top) * margin
        x, y = (left + right) / 2, (top + bottom) / 2
        x0, x1 = max(0, int(x - across / 2)), min(width, int(np.ceil(x + across / 2)))
        y0, y1 = max(0, int(y - down / 2)), min(height, int(np.ceil(y + down / 2)))
        high, wide = y1 - y0, x1 - x0
        if min(high, wide) < 1:
            continue
        inside = np.zeros((high, wide), np.uint8)
        cv2.ellipse(inside, ((x - x0, y - y0), (across + 1, down + 1), 0.0), 1, cv2.FILLED)
        part, most = made[y0:y1, x0:x1], max(high, wide)
        size = (max(1, round(cells * wide / most)), max(1, round(cells * high / most)))
        few = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
        part[inside > 0] = cv2.resize(few, (wide, high), interpolation=cv2.INTER_LINEAR)[inside > 0]
        covered[y0:y1, x0:x1] |= inside > 0
    return made, covered


def unblurred(boxes: Singles, covered: Bools) -> Singles:
    """Those of the boxes `[n, 4]` of which less than `BLURRED` is covered.

    Args:
        boxes: left, top, right, bottom in pixels.
        covered: `[H, W]`, where the picture is blurred.
    """
    edges = np.stack([np.floor(boxes[:, 0]), np.floor(boxes[:, 1]), np.ceil(boxes[:, 2]), np.ceil(boxes[:, 3])], axis=1)
    shares = [covered[top:bottom, left:right].mean() for left, top, right, bottom in edges.astype(int)]
    return boxes[np.asarray(shares) < BLURRED]
