"""Place visible marks; base class of `logo` and `text_mark`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field

from variorum.generators.watermark.watermarking.drawing import Drawn, Ink, blended, mask_of, page_for, pasted, turned
from variorum.generators.watermark.watermarking.matching import judged, placed_matches, residual, template
from variorum.schemas.watermark import Detected, Mark, random_of

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels, Singles
    from variorum.schemas.component import Context

DECOYS = 15
"""Other drawings that a detector compares with the key's."""
MARGIN = 0.02
"""Between a mark and the border, as a share of the shorter side."""


class Spot(NamedTuple):
    """Where a mark may lie: the corner of the first place of its page, and the number of places down and across."""

    top: int
    left: int
    down: int
    across: int


class Turned(NamedTuple):
    """A drawing that a key stands for, on its page, and by how many degrees it is turned to the left."""

    drawn: Drawn
    degrees: float


class PlacedMark(Mark):
    """A drawing in one place. Its key turns it and moves it a little, so that a detector can tell it from chance."""

    visible: ClassVar[bool] = True

    opacity: float = Field(default=0.5, gt=0, le=1)
    """Of the drawing; at 1 nothing of the picture shows through."""
    ink: Ink = "white"
    """The drawing's colour; its outline has the other."""
    size: float = Field(default=0.35, ge=0.05, le=1)
    """Width of the drawing as a share of the picture's shorter side."""
    position: Literal["top_left", "top_right", "bottom_left", "bottom_right", "centre", "anywhere"] = "bottom_right"
    """Where in the picture it lies."""
    jitter: float = Field(default=0.1, ge=0, le=0.5)
    """How far the key may move it from there, as a share of the shorter side."""
    turn: float = Field(default=5, ge=0, le=45)
    """By how many degrees the key may turn it to either side."""

    @abstractmethod
    def upright(self, width: int, payload: Bools) -> Drawn:
        """The drawing before it is turned, about this many pixels wide. All payloads give the same size."""

    @abstractmethod
    def least_width(self) -> int:
        """Pixels of width below which nobody recognises it."""

    def embed(self, images: Sequence[Pixels], keys: Sequence[bytes], ctx: Context) -> Sequence[Pixels]:
        """The marked pictures."""
        return [
            blended(image, self._page(image, key), self.opacity, self.ink)
            for image, key in zip(images, keys, strict=True)
        ]

    def detect(self, images: Sequence[Pixels], keys: Sequence[bytes], ctx: Context) -> Detected:
        """Match each picture with the drawing at its place, and compute how often chance matches as well."""
        found = [self._match(image, key) for image, key in zip(images, keys, strict=True)]
        scores, p_values = (np.array([one[part] for one in found], np.float64) for part in (0, 1))
        return Detected(scores, None, p_values)

    def mask(self, image: Pixels, key: bytes) -> Pixels:
        """Where the drawing covers a picture of this size."""
        return mask_of(self._page(image, key))

    def refusal(self, image: Pixels) -> tuple[str, str] | None:
        """A picture must have room for it, at a size at which it is recognised."""
        height, width = image.shape[:2]
        wide = self._width(image)
        if wide < self.least_width():
            return "too_small", f"{width} x {height} pixels leave {wide} for a mark that needs {self.least_width()}"
        page = self._size(image)
        if page[0] > height or page[1] > width:
            return "too_small", f"the mark needs {page[1]} x {page[0]} pixels, the picture has {width} x {height}"
        return super().refusal(image)

    # ── places ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _width(self, image: Pixels) -> int:
        return int(self.size * min(image.shape[:2]))

    def _size(self, image: Pixels) -> tuple[int, int]:
        """Height and width of the page that the drawing is turned on."""
        empty = np.zeros(self.payload_bits, bool)
        return page_for(self.upright(self._width(image), empty), self.turn)

    def _spot(self, image: Pixels) -> Spot:
        (high, wide), (height, width) = self._size(image), image.shape[:2]
        short = min(height, width)
        across_all, down_all = width - wide + 1, height - high + 1
        if self.position == "anywhere":
            return Spot(0, 0, down_all, across_all)
        reach, margin = int(self.jitter * short) + 1, int(MARGIN * short)
        down, across = min(reach, down_all), min(reach, across_all)
        up_down, _, left_right = self.position.partition("_")
        top = _begin(up_down, down_all - down, margin)
        return Spot(top, _begin(left_right or "centre", across_all - across, margin), down, across)

    def _turned(self, image: Pixels, key: bytes, payload: Bools) -> Turned:
        return self._drawn(image, random_of(key, "turn"), payload)

    def _drawn(self, image: Pixels, rng: np.random.Generator, payload: Bools) -> Turned:
        degrees = float(rng.uniform(-self.turn, self.turn))
        return Turned(turned(self.upright(self._width(image), payload), degrees, self._size(image)), degrees)

    def _place(self, spot: Spot, key: bytes) -> tuple[int, int]:
        rng = random_of(key, "place")
        return int(rng.integers(spot.down)), int(rng.integers(spot.across))

    def _page(self, image: Pixels, key: bytes) -> Drawn:
        """The picture's whole page with the drawing in its place."""
        spot = self._spot(image)
        row, column = self._place(spot, key)
        drawn = self._turned(image, key, self.payloads([key])[0]).drawn
        return pasted(drawn, image.shape, spot.top + row, spot.left + column)

    # ── finding it ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _match(self, image: Pixels, key: bytes) -> tuple[float, float]:
        if self.refusal(image) is not None:
            return 0.0, 1.0
        spot, rng = self._spot(image), random_of(key, "decoys")
        drawings = [self._turned(image, key, self.payloads([key])[0])]
        drawings += [self._drawn(image, rng, rng.random(self.payload_bits) < 0.5) for _ in range(DECOYS)]
        templates = [template(one.drawn, self.ink) for one in drawings]
        high, wide = templates[0].shape
        window = residual(image)[
            spot.top : spot.top + spot.down + high - 1, spot.left : spot.left + spot.across + wide - 1
        ]
        return judged(placed_matches(window, templates), *self._place(spot, key))

    def _window(self, image: Pixels, key: bytes) -> Singles:
        """The part of the residual where the drawing of a key lies."""
        spot = self._spot(image)
        row, column = self._place(spot, key)
        high, wide = self._size(image)
        top, left = spot.top + row, spot.left + column
        return residual(image)[top : top + high, left : left + wide]


def _begin(side: str, room: int, margin: int) -> int:
    """The first of the places along one side; `room` is what they leave."""
    middle = room // 2
    return {"top": min(margin, room), "left": min(margin, room), "centre": middle}.get(side, max(room - margin, 0))
