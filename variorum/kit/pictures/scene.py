"""Analyse a photograph for styles: tone, flow, contrast, borders; each is computed once, on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from variorum.annotations import box_iou, box_of
from variorum.kit.pictures.flow import Flow, Path, average, edge_flow, follow

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles
    from variorum.schemas.annotations import Box

SURROUND = 14
"""Standard deviation of the surroundings that `Scene.contrast` is measured in, in units."""
OUTLINED = 6
"""Number of objects whose borders are drawn more readily."""
OUTLINES = 0.5
"""IoU of a box and a mask's own box from which the mask is taken to be of the object in the box."""
STRIDE, STEPS = 2.0, 3
"""Lengths of the paths along edges: steps of this many units, in each direction."""


@dataclass(frozen=True)
class Scene:
    """A photograph to be redrawn.

    Attributes:
        image: RGB `[H, W, 3]` uint8.
        masks: of its objects `[H, W]` uint8, 255 inside, the largest first; empty if none is known.
        subject: the object that stands alone on an empty ground, 0 to 255, `[H, W]`; None in a whole scene.
        model: the model behind an alias that the style's `models` names.
        boxes: of its objects, left, top, width and height in pixels; of those without a mask as well.
    """

    image: Pixels
    masks: Sequence[Pixels]
    subject: Pixels | None
    model: Callable[[str], Any]
    boxes: Sequence[Box] = ()

    @cached_property
    def grey(self) -> Pixels:
        """Luminance `[H, W]` uint8."""
        return np.asarray(cv2.cvtColor(self.image, cv2.COLOR_RGB2GRAY))

    @cached_property
    def tone(self) -> Singles:
        """Return how bright a draughtsman takes each pixel to be, `[H, W]` in [0, 1].

        It lies between the luminance and the largest channel, as saturated red or blue isn't drawn as dark as black.
        """
        red, green, blue = cv2.split(self.image)
        largest = cv2.max(cv2.max(red, green), blue)
        return np.asarray(cv2.addWeighted(self.grey, 0.6 / 255, largest, 0.4 / 255, 0, dtype=cv2.CV_32F))

    @cached_property
    def light(self) -> Singles:
        """Luminance `[H, W]` in [0, 1]."""
        return self.grey.astype(np.float32) * np.float32(1 / 255)

    @cached_property
    def inside(self) -> Singles:
        """Return how much of each pixel is the subject's, `[H, W]` in [0, 1], with a firm border; 1 for a scene."""
        if self.subject is None:
            return np.ones(self.shape, np.float32)
        firm = self.subject.astype(np.float32) * np.float32(2 / 255) - np.float32(0.5)
        return np.asarray(firm.clip(0, 1), np.float32)

    @cached_property
    def contrast(self) -> Singles:
        """Local contrast `[H, W]`: the standard deviation of the tone in a Gaussian window of `SURROUND` units.

        In an isolated view only the subject's pixels count.
        """
        height, width = self.shape
        factor = min(1.0, 80 / min(height, width))
        size = max(1, round(width * factor)), max(1, round(height * factor))
        weight = np.ones(self.shape, np.float32) if self.subject is None else self.subject.astype(np.float32)
        moments = cv2.merge([weight, weight * self.tone, weight * self.tone * self.tone])
        small = cv2.resize(moments, size, interpolation=cv2.INTER_AREA)
        blurred = cv2.GaussianBlur(small, (0, 0), SURROUND * self.unit * factor)
        total, first, second = cv2.split(blurred)
        total = np.maximum(total, np.float32(1e-3))
        deviation = np.sqrt(np.maximum(second / total - (first / total) ** 2, 0))
        return np.asarray(cv2.resize(deviation, (width, height), interpolation=cv2.INTER_LINEAR))

    @cached_property
    def flow(self) -> Flow:
        """The direction of edges."""
        return edge_flow(self.image)

    @cached_property
    def isotropy(self) -> Singles:
        """1 in flat areas and where edges of all directions meet, as in fur; 0 at straight edges, `[H, W]`."""
        anisotropy = cv2.resize(self.flow.anisotropy, self.shape[::-1], interpolation=cv2.INTER_LINEAR)
        return np.asarray(1 - anisotropy)

    @cached_property
    def objects(self) -> tuple[Singles, Singles]:
        """Of the `OUTLINED` largest objects, at the size of the flow: 1 on their borders, and 1 outside all of them."""
        height, width = self.flow.anisotropy.shape
        sigma = max(0.5, 2.4 * self.unit * height / self.shape[0])
        borders, around = np.zeros((height, width), np.float32), np.ones((height, width), np.float32)
        for mask in self.masks[:OUTLINED]:
            inside = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
            soft = cv2.GaussianBlur(inside * np.float32(1 / 255), (0, 0), sigma)
            np.maximum(borders, smooth_step(np.float32(1.9) - np.abs(soft - np.float32(0.5)) * 4), out=borders)
            around *= 1 - soft
        return borders, around

    @cached_property
    def cared(self) -> Pixels:
        """Where details matter `[H, W]`: 255 in objects, in the whole box of one without a mask, and elsewhere 0."""
        found = np.zeros(self.shape, np.uint8) if self.subject is None else self.subject.copy()
        for mask in self.masks if self.subject is None else ():
            np.maximum(found, mask, out=found)
        around = [box for mask in self.masks if (box := box_of(mask > 127)) is not None]
        for box in self.boxes if self.subject is None else ():
            if all(box_iou(box, other) < OUTLINES for other in around):
                left, top, right, bottom = box[0], box[1], box[0] + box[2], box[1] + box[3]
                found[max(0, round(top)) : max(0, round(bottom)), max(0, round(left)) : max(0, round(right))] = 255
        return found

    @cached_property
    def paths(self) -> list[Path]:
        """Paths along edges from every pixel."""
        return follow(self.flow, self.shape, STRIDE * self.unit, STEPS)

    def along_edges(self, values: Pixels | Singles, sigma: float) -> Singles:
        """Values `[H, W]` averaged along edges by a Gaussian of `sigma` units."""
        return average(values, self.paths, sigma * self.unit)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.image.shape[:2]
        return int(height), int(width)

    @property
    def unit(self) -> float:
        """Length in pixels of what is one pixel in a picture whose short side is 320."""
        return min(self.shape) / 320


def smooth_step(values: Singles) -> Singles:
    """3 v² − 2 v³ of values clipped to [0, 1]."""
    clipped = np.clip(values, 0, 1)
    return clipped * clipped * (np.float32(3) - np.float32(2) * clipped)
