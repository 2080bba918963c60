"""Render an object that is given as points on its surface, each with a normal and a colour.

A point covers 2 × 2 pixels, the nearest one wins, and the picture is shrunk by area. A view takes the same time
whatever the mesh was, and needs neither a GPU nor a graphics library. All arithmetic is elementwise, so its bytes don't
depend on the threads of a library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Array, Pixels

MEMBER = "surfels.npy"
"""The member of a sample with an object: `[N]` of type `SURFEL`."""
SURFEL = np.dtype([("point", "<f4", 3), ("normal", "i1", 3), ("colour", "u1", 3)])
"""A point in the unit ball, y up; its unit normal times 127; RGB."""
FINER = 1.5
"""Pixels rendered along a side for each of the picture."""
FIELD = 0.3
"""Tangent of half the field of view, which is 33° in all: at a distance of 4 the seen part just holds the unit ball."""
INNER = 7 / 8
"""Share of a side that classifiers see of a picture; what lies outside counts as cut off."""
SPECK = 6
"""Pixels of a gap in the silhouette, at most, that is a hole between points and none of the object's own."""
AMBIENT = 0.45
"""Share of the light that comes from everywhere."""
LIGHT = (-0.37, 0.56, 0.74)
"""Where the rest comes from, seen from the camera: left, above, behind it. It shines on both sides of a surface."""


class View(NamedTuple):
    """A camera that looks at the origin; the object lies in the unit ball.

    Degrees about the vertical from the front (z), above the horizontal, and about the line of sight; distance; and by
    how much the object is moved to the right and up.
    """

    yaw: float
    pitch: float
    roll: float = 0.0
    distance: float = 4.5
    right: float = 0.0
    up: float = 0.0


class Rendered(NamedTuple):
    """RGB `[side, side, 3]` uint8 on white; shares: of it covered, of points outside what classifiers see, of gaps."""

    image: Pixels
    share: float
    cut_off: float
    holes: float


def render(surfels: Array, view: View, side: int) -> Rendered:
    """A view of an object, `[N]` of type `SURFEL`; the camera must stand outside the unit ball."""
    canvas = round(side * FINER)
    towards = _axes(view)
    x, y, z = (_along(surfels["point"], axis) for axis in towards)
    depth = np.float32(view.distance) - z
    scale = np.float32(canvas / 2 / FIELD) / depth
    across = (x + np.float32(view.right)) * scale
    down = -(y + np.float32(view.up)) * scale
    limit = np.float32(canvas / 2 * INNER)
    cut_off = 1 - int(np.count_nonzero((np.abs(across) <= limit) & (np.abs(down) <= limit))) / len(surfels)

    column, row = (np.floor(one + np.float32(canvas / 2 - 0.5)).astype(np.int32) for one in (across, down))
    inside = np.flatnonzero((column >= -1) & (column < canvas) & (row >= -1) & (row < canvas))
    key = (depth[inside].view(np.int32).astype(np.int64) << 32) | inside  # positive floats are ordered as their bits
    nearest = np.full((canvas + 1) * (canvas + 1), EMPTY)
    np.minimum.at(nearest, (row[inside] + 1) * (canvas + 1) + column[inside] + 1, key)
    grid = nearest.reshape(canvas + 1, canvas + 1)
    grid = np.minimum(np.minimum(grid[:-1, :-1], grid[:-1, 1:]), np.minimum(grid[1:, :-1], grid[1:, 1:]))

    covered = grid != EMPTY
    seen = surfels[grid[covered] & 0xFFFFFFFF]
    lamp = [sum(weight * axis[one] for weight, axis in zip(LIGHT, towards, strict=True)) for one in range(3)]
    lit = np.abs(_along(seen["normal"], lamp)) / np.float32(127)
    shade = np.float32(AMBIENT) + np.float32(1 - AMBIENT) * np.minimum(lit, np.float32(1))
    picture = np.full((canvas, canvas, 3), 255, np.uint8)
    picture[covered] = np.round(seen["colour"] * shade[:, None])
    return Rendered(
        np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)),
        float(covered.mean()),
        cut_off,
        _holes(covered),
    )


EMPTY = np.iinfo(np.int64).max


def _axes(view: View) -> tuple[tuple[float, float, float], ...]:
    """Directions to the right, upwards, and to the camera, in the object's coordinates."""
    (sin_yaw, cos_yaw), (sin_pitch, cos_pitch), (sin_roll, cos_roll) = (
        (float(np.sin(angle)), float(np.cos(angle))) for angle in np.radians([view.yaw, view.pitch, view.roll])
    )
    right = cos_yaw, 0.0, -sin_yaw
    up = -sin_yaw * sin_pitch, cos_pitch, -cos_yaw * sin_pitch
    back = sin_yaw * cos_pitch, sin_pitch, cos_yaw * cos_pitch
    turned = tuple(cos_roll * one + sin_roll * other for one, other in zip(right, up, strict=True))
    upright = tuple(cos_roll * other - sin_roll * one for one, other in zip(right, up, strict=True))
    return (turned[0], turned[1], turned[2]), (upright[0], upright[1], upright[2]), back


def _along(vectors: Array, axis: tuple[float, ...] | list[float]) -> Array:
    """Lengths of vectors `[N, 3]` along a direction, float32 `[N]`."""
    a, b, c = (np.float32(one) for one in axis)
    return np.asarray(vectors[:, 0] * a + vectors[:, 1] * b + vectors[:, 2] * c, np.float32)


def _holes(covered: Array) -> float:
    """Share of the silhouette that is gaps of at most `SPECK` pixels."""
    number, _, stats, _ = cv2.connectedComponentsWithStats((~covered).astype(np.uint8), connectivity=4)
    sizes = stats[1:number, cv2.CC_STAT_AREA]
    gaps = int(sizes[sizes <= SPECK].sum())
    return gaps / max(gaps + int(covered.sum()), 1)
