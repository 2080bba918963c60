"""A visible logo in a corner of the picture, as stock photographs have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from variorum.generators.watermark.watermarking.drawing import Drawn, logo
from variorum.generators.watermark.watermarking.placed import PlacedMark

if TYPE_CHECKING:
    from variorum.arrays import Bools

LEAST_WIDTH = 16


class Logo(PlacedMark):
    """A V in a ring, half transparent, with an outline. It has no payload; the key turns and moves it a little.

    The detector is a matched filter: it compares the drawing at its place with other turns of it and other places that
    the key could have stood for. In one of those chance matches as well, which is what the p-value says.
    """

    size: float = Field(default=0.2, ge=0.05, le=1)
    """Width of the drawing as a share of the picture's shorter side."""

    def upright(self, width: int, payload: Bools) -> Drawn:
        """The logo."""
        return logo(width)

    def least_width(self) -> int:
        """Pixels of width below which nobody recognises it."""
        return LEAST_WIDTH
