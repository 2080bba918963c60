"""Tampering: part of another photograph is pasted into a marked picture, which then shows something else.

The mark isn't meant to go. A mark that is still found vouches for a picture that its owner never made, as only a mark
with local checks, a fragile one, would notice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import cv2
import numpy as np
from pydantic import Field

from variorum.generators.watermark.attacks.surrogates.pictures import fitted
from variorum.schemas.canonical import Json
from variorum.schemas.sample import COMPOSITE
from variorum.schemas.watermark import Access, Attack, Attacked, Goal, Target

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles


OUTSIDE = -1.0
"""As the origin of a pixel: it isn't the picture's own, and shows none of its objects."""


class Paste(Attack):
    """Pictures with an ellipse of another photograph in them, at a random place, with soft edges.

    Objects keep what is left of them, and those that are covered in full go.
    """

    revision: ClassVar[int] = 2
    family: ClassVar[str] = "tampering"
    goal: ClassVar[Goal] = "tampering"
    access: ClassVar[Access] = "none"
    digital_source_type: ClassVar[str] = COMPOSITE

    area: float = Field(default=0.5, gt=0, le=0.7)
    """Share of the picture that is covered at full strength."""
    softness: float = Field(default=0.02, ge=0, le=0.2)
    """Width of the edge, as a share of the shorter side."""
    photographs: int = Field(default=16, ge=1, le=10_000)
    """How many the attacker has; each picture gets part of one of them."""

    def amount(self, strength: float) -> Mapping[str, Json]:
        """The share that is covered."""
        return {"area": round(self.area * strength, 6)}

    def own_photographs(self) -> int:
        """Those that parts are taken from."""
        return self.photographs

    def apply(
        self, images: Sequence[Pixels], strength: float, rngs: Sequence[np.random.Generator], target: Target
    ) -> Sequence[Attacked]:
        """The pictures, with the covered share and the number of the other photograph."""
        height, width = images[0].shape[:2]
        others = target.photographs(self.photographs)
        found = []
        for image, rng in zip(images, rngs, strict=True):
            number = int(rng.integers(self.photographs))
            place = _place(height, width, self.area * strength, rng)
            cover = _cover(height, width, place, self.softness * min(height, width) / 2)
            made = image + cover[..., None] * (_laid(others[number], height, width, place) - image)
            drawn: dict[str, Json] = {"photograph": number, "covered": round(float(cover.mean()), 4)}
            origins = np.dstack(np.meshgrid(np.arange(width), np.arange(height))).astype(np.float32)
            origins[cover > 0.5] = OUTSIDE
            found.append(Attacked(np.asarray(np.rint(made), np.uint8), drawn, origins, (number,)))
        return found


class Place(NamedTuple):
    """An ellipse: its middle and radii in pixels, across and down."""

    x: float
    y: float
    across: float
    down: float


def _place(height: int, width: int, area: float, rng: np.random.Generator) -> Place:
    """An ellipse of this share of the picture, inside it. The same draws give a larger one of nearly the same place."""
    lean, right, lower = rng.uniform(-1, 1, 3)
    product = area * height * width / np.pi
    across = min(np.sqrt(product) * 2 ** (0.4 * lean), width / 2)
    down = min(product / across, height / 2)
    across = product / down  # what one side lacks goes to the other
    x = (width - 1) / 2 + right * (width / 2 - across)
    y = (height - 1) / 2 + lower * (height / 2 - down)
    return Place(float(x), float(y), float(across), float(down))


def _cover(height: int, width: int, place: Place, sigma: float) -> Singles:
    """Return how much of each pixel an ellipse covers, `[H, W]` in 0 to 1."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    inside = ((columns - place.x) / place.across) ** 2 + ((rows - place.y) / place.down) ** 2 <= 1
    cover = inside.astype(np.float32)
    return np.asarray(cv2.GaussianBlur(cover, (0, 0), sigma) if sigma else cover, np.float32)


def _laid(other: Pixels, height: int, width: int, place: Place) -> Singles:
    """Another photograph whose middle fills an ellipse; its edges go on to the rest of the picture."""
    wide, high = (max(round(2 * radius), 1) for radius in (place.across, place.down))
    left = int(np.clip(round(place.x - place.across), 0, width - wide))
    top = int(np.clip(round(place.y - place.down), 0, height - high))
    rest = ((top, height - high - top), (left, width - wide - left), (0, 0))
    return np.asarray(np.pad(fitted(other, high, wide), rest, "edge"), np.float32)
