"""Pictures of a convolution's filters: a sheet of small squares, so that people can look at weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

MOST = 1024
"""Filters on a sheet."""
SCALE = 8
"""Pixels of the picture for each weight."""
GAP = 2
"""Pixels between filters."""
LEAST = 32
"""Pixels of the shorter side."""
GROUND = 255
FAINT = 0.01
"""Filters with no weight above this share of the layer's largest are drawn at the layer's scale, so they look empty."""


def sheet(filters: Singles, side: int) -> Pixels:
    """A picture `[H, W, 3]` of up to `MOST` filters, evenly spaced among all, row by row.

    Grey is 0. Black and white are a filter's own largest weight in size, negative and positive.

    Args:
        filters: `[n, side²]`.
        side: of a filter.
    """
    shown = filters[np.unique(np.linspace(0, len(filters) - 1, min(len(filters), MOST)).round().astype(int))]
    largest = np.abs(shown).max(axis=1, keepdims=True)
    layer = float(np.abs(filters).max())
    scale = np.where(largest < FAINT * layer, layer, largest)
    grey = np.rint(127.5 + 127.5 * np.divide(shown, scale, out=np.zeros_like(shown), where=scale > 0)).astype(np.uint8)
    tiles = grey.reshape(-1, side, side).repeat(SCALE, axis=1).repeat(SCALE, axis=2)
    columns = int(np.ceil(np.sqrt(len(tiles))))
    rows = -(-len(tiles) // columns)
    step = side * SCALE + GAP
    height, width = (max(LEAST, count * step + GAP) for count in (rows, columns))
    picture = np.full((height, width), GROUND, np.uint8)
    for number, tile in enumerate(tiles):
        top, left = (GAP + step * place for place in divmod(number, columns))
        picture[top : top + step - GAP, left : left + step - GAP] = tile
    return np.repeat(picture[..., None], 3, axis=2)
