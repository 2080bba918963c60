"""Tiles that follow the edges of a picture, as in Hausner, "Simulating Decorative Mosaics", SIGGRAPH 2001.

A tile is what is nearest to its centre by the Chebyshev distance, in axes along the edges; so it is a rough square.
Moving centres to the middle of their tiles a few times makes the tiles even.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Array, Singles
    from variorum.kit.pictures.flow import Flow

ROUNDS = 2
"""Times that centres move."""
CROSSING = 1e3
"""Added to the distance, in sides of a tile, across the outline of an object."""


class Tiles(NamedTuple):
    """A plane covered with tiles.

    Attributes:
        numbers: of each pixel's tile, `[H, W]`, in [0, total).
        total: number of tiles, some of which may be empty.
        margin: distance to the edge of the tile, in sides, `[H, W]`.
        across: place in the tile along its two axes, in sides from the centre, `[H, W]` each.
    """

    numbers: Array
    total: int
    margin: Singles
    across: tuple[Singles, Singles]


def tiled(flow: Flow, regions: Array, side: float, rng: np.random.Generator) -> Tiles:
    """Tiles of about `side` pixels.

    Args:
        flow: the direction of edges.
        regions: number of the object at each pixel `[H, W]`; no tile lies in two.
        side: of a tile, in pixels.
        rng: shakes the centres.
    """
    height, width = regions.shape
    rows, columns = max(1, round(height / side)), max(1, round(width / side))
    down, right = height / rows, width / columns
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    x = (x + 0.5 + rng.uniform(-0.2, 0.2, x.shape).astype(np.float32)) * np.float32(right)
    y = (y + 0.5 + rng.uniform(-0.2, 0.2, y.shape).astype(np.float32)) * np.float32(down)
    coarse = regions[::2, ::2]
    shape = coarse.shape
    factor_y, factor_x = shape[0] / height, shape[1] / width
    place_y, place_x = np.mgrid[: shape[0], : shape[1]].astype(np.float32) + np.float32(0.5)
    for _ in range(ROUNDS):  # half the size will do
        found = _nearest(flow, coarse, x * np.float32(factor_x), y * np.float32(factor_y), side * factor_y)
        numbers = found.numbers.ravel()
        areas = np.bincount(numbers, minlength=x.size).reshape(x.shape)
        for centres, place, factor in ((x, place_x, factor_x), (y, place_y, factor_y)):
            sums = np.bincount(numbers, place.ravel(), x.size).reshape(x.shape)
            centres[areas > 0] = (sums[areas > 0] / (factor * areas[areas > 0])).astype(np.float32)
    return _nearest(flow, regions, x, y, side)


def _nearest(flow: Flow, regions: Array, x: Singles, y: Singles, side: float) -> Tiles:
    """The tile of each pixel, of the nine centres (x, y) whose cells are at or beside its own."""
    height, width = regions.shape
    rows, columns = x.shape
    inside_y, inside_x = np.clip(y.astype(int), 0, height - 1), np.clip(x.astype(int), 0, width - 1)
    heading = flow.tangents[inside_y * flow.tangents.shape[0] // height, inside_x * flow.tangents.shape[1] // width]
    along, up = (np.ascontiguousarray(heading[..., axis] * np.float32(1 / side)) for axis in (0, 1))
    of_centre = regions[inside_y, inside_x]
    # in a tile's own axes, the place of a pixel is linear in its coordinates
    first_offset, second_offset = x * along + y * up, y * along - x * up
    row = np.arange(height) * rows // height
    column = np.arange(width) * columns // width
    place_y, place_x = (
        np.arange(height, dtype=np.float32)[:, None] + 0.5,
        np.arange(width, dtype=np.float32)[None] + 0.5,
    )
    best = np.full(regions.shape, np.inf, np.float32)
    second, numbers = best.copy(), np.full(regions.shape, -1, np.int32)
    first_axis, second_axis = np.zeros_like(best), np.zeros_like(best)
    several = bool(regions.any())
    for beside in range(9):
        beside_row = np.clip(row + beside // 3 - 1, 0, rows - 1)
        beside_column = np.clip(column + beside % 3 - 1, 0, columns - 1)
        number = (beside_row[:, None] * columns + beside_column[None]).astype(np.int32)
        across, down = np.take(along, number), np.take(up, number)
        one = place_x * across + place_y * down - np.take(first_offset, number)
        other = place_y * across - place_x * down - np.take(second_offset, number)
        distance = np.maximum(np.abs(one), np.abs(other))
        if several:
            distance += np.float32(CROSSING) * (np.take(of_centre, number) != regions)
        distance[number == numbers] = np.inf  # at the frame, the same cell comes twice
        closer = distance < best
        np.minimum(second, np.maximum(best, distance), out=second)
        np.minimum(best, distance, out=best)
        np.copyto(numbers, number, where=closer)
        np.copyto(first_axis, one, where=closer)
        np.copyto(second_axis, other, where=closer)
    margin = np.asarray(np.minimum(second - best, 1), np.float32)
    outlines = cv2.morphologyEx(regions.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    margin[outlines] = 0
    return Tiles(numbers, x.size, margin, (first_axis, second_axis))
