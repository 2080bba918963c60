"""The checks that stimuli must pass. No classifier sees a stimulus: the pictures show what classifiers look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from variorum.kit.gates.gates import Masks, alone_gates, at_least, at_most, gate
from variorum.kit.pictures.seams import Evenness
from variorum.schemas.sample import Gate

if TYPE_CHECKING:
    from variorum.arrays import Pixels

TUBE = 3
"""Pixels on either side of an outline in which its edge is looked for. This and the next two lengths grow with the
picture's side beyond 224."""
NEAR = 1
"""Pixels that an edge may be away from the outline and still count as found."""
BLUR = 1.4
"""Sigma in pixels before edges are looked for. Without it a fine texture has edges everywhere, and one without any
outline would pass."""
LOW, HIGH = 50, 120
"""Gradients at which Canny's edges go on and start."""


class Limits(BaseModel):
    """Thresholds."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    masks: Masks = Field(
        default="default", description="how sure the segmenter must be of the outline: `strict`, `default`, `many`"
    )
    least_area: float = Field(default=0.05, gt=0, le=1, description="of the object, of the picture")
    most_area: float = Field(default=0.6, gt=0, le=1, description="of the object, of the picture")
    most_border: float = Field(default=0.15, ge=0, le=1, description="share of its outline on the picture's border")
    least_main_part: float = Field(default=0.95, ge=0, le=1, description="share of its mask in one piece")
    least_contour: float = Field(default=0.5, ge=0, le=1, description="F1 of the edges along its outline")
    most_uneven: float = Field(default=1.0, gt=0, description="differences between parts of a texture")
    least_contrast: float = Field(default=2.5, ge=0, description="deviation of lightness within parts of a texture")
    least_patch: float = Field(default=0.14, gt=0, le=1, description="a texture's side, of the picture's side")
    least_deviation: float = Field(default=0.5, ge=0, description="grey levels; below it a picture is blank")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.least_area > self.most_area:
            raise ValueError(f"least_area is {self.least_area:g}, and must be at most most_area, {self.most_area:g}")
        return self


def mask_gates(alpha: Pixels, limits: Limits) -> dict[str, Gate]:
    """`mask_area`, `border_touch` and `scattered` of an object's mask `[H, W]`.

    An object that the frame cuts off has lost part of its shape, and one in many pieces has none of its own.
    """
    found = alone_gates(
        alpha,
        least_area=limits.least_area,
        most_area=limits.most_area,
        most_border=limits.most_border,
        least_main_part=limits.least_main_part,
    )
    return {"scattered" if name == "mask_components" else name: one for name, one in found.items()}


def textured(found: Evenness, limits: Limits) -> dict[str, Gate]:
    """`textured`: parts of a patch are alike; `texture_contrast`: there is something in them."""
    return {
        "textured": at_most(found.unevenness, limits.most_uneven),
        "texture_contrast": at_least(found.contrast, limits.least_contrast),
    }


def patch_side(side: int, frame: int, limits: Limits) -> Gate:
    """`texture_side`: a patch in pixels, large enough that its repetitions aren't the texture."""
    least = limits.least_patch * frame
    return gate(side, side >= least, f">= {least:g}")


def contour_kept(image: Pixels, alpha: Pixels, limits: Limits) -> Gate:
    """`contour_kept`: F1 of a picture's edges along the outline of an object, within 3 pixels on either side of it.

    A white texture on a white ground leaves no outline. A surface without the shape has about 0.3 by chance.

    Args:
        image: RGB `[H, W, 3]`.
        alpha: the object's opacity, `[H, W]`.
        limits: thresholds.
    """
    inside = (alpha > 127).astype(np.uint8)
    scale = max(1.0, min(alpha.shape) / 224)
    outline = cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    outline &= inside
    tube, near = (
        cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(reach * scale) + 1,) * 2) for reach in (TUBE, NEAR)
    )
    light = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), BLUR * scale)
    edges = (cv2.Canny(light, LOW, HIGH) > 0) & (cv2.dilate(outline, tube) > 0)
    line = outline > 0
    if not edges.any() or not line.any():
        return at_least(0.0, limits.least_contour)
    recall = float((cv2.dilate(edges.astype(np.uint8), near)[line] > 0).mean())
    precision = float((cv2.dilate(outline, near)[edges] > 0).mean())
    return at_least(2 * recall * precision / max(recall + precision, 1e-9), limits.least_contour)


def blank(image: Pixels, limits: Limits) -> Gate:
    """`blank`: the largest standard deviation of a channel, so that a picture of one colour is blank too."""
    return at_least(float(cv2.meanStdDev(image)[1].max()), limits.least_deviation)
